"""gnt-cluster init and destroy: what they make, refuse and leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_bed import INIT, ClusterBed, until
from ganeti.utils.daemons import MASTERD, NODED, RAPI

REFUSED = {
    "a name that does not resolve": ([*INIT, "nowhere.example.com"], 1),
    "an unknown hypervisor": (
        ["gnt-cluster", "init", "--enabled-hypervisors=vmwear", "cluster"],
        1,
    ),
    "an unknown disk template": ([*INIT, "--enabled-disk-templates=floppy", "cluster"], 1),
    "a bad MAC prefix": ([*INIT, "-m", "zz:00", "cluster"], 1),
    "a MAC prefix that is not hexadecimal": ([*INIT, "-m", "zz:yy:xx", "cluster"], 1),
    "a bad netmask": ([*INIT, "--master-netmask=99", "cluster"], 1),
    "an unknown hypervisor parameter": ([*INIT, "-H", "fake:colour=red", "cluster"], 1),
    "an unknown backend parameter": ([*INIT, "-B", "colour=red", "cluster"], 1),
    "a backend parameter of a wrong type": ([*INIT, "-B", "vcpus=many", "cluster"], 1),
    "an unknown option": ([*INIT, "--no-such-option", "cluster"], 2),
    "no name": ([*INIT], 1),
    "two names": ([*INIT, "cluster", "cluster"], 1),
}


def files_of(root: Path) -> dict[str, bytes]:
    """What a refused command must not change; logs may grow."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "log" not in path.parts
    }


def test_refused_inits_say_one_sentence_and_change_nothing(bare: ClusterBed) -> None:
    root = bare.cluster.paths(1).root
    before = files_of(root)
    wrong = []
    for what, (argv, code) in REFUSED.items():
        done = bare(argv[0], *argv[1:])
        if done.rc != code or not done.err.strip() or "Traceback" in done.err:
            wrong.append(f"{what}: exit code {done.rc}, {done.err!r}")
        if files_of(root) != before or bare.cluster.leftovers():
            wrong.append(f"{what}: something was changed")
            before = files_of(root)
    assert not wrong, "\n".join(wrong)


def test_commands_before_init_name_the_missing_cluster(bare: ClusterBed) -> None:
    done = bare("gnt-node list")
    assert done.rc == 1
    assert "not initialised" in done.err
    adding = bare("gnt-node add node2")
    assert adding.rc == 1
    assert "not initialised" in adding.err
    assert bare("gnt-cluster getmaster").rc == 2
    assert bare("gnt-cluster master-ping").rc == 1


def test_master_daemon_refuses_to_run_without_a_cluster(bare: ClusterBed) -> None:
    done = bare("ganeti-masterd")
    assert done.rc == 11
    assert "not part of a cluster" in done.err


def test_a_cluster_lives_from_init_to_destroy(bare: ClusterBed) -> None:
    assert bare.init().rc == 0
    assert bare.ok("gnt-cluster getmaster") == "node1.example.com\n"
    assert "gnt:client:gnt-cluster" in bare.cluster.paths(1).job_file(1).read_text()
    for directory, mode in bare.cluster.paths(1).directories.items():
        assert directory.stat().st_mode & 0o7777 == mode, directory
    assert bare("gnt-cluster master-ping").rc == 0
    again = bare.init()
    assert again.rc == 1
    assert again.err.splitlines()[-1] == "Cluster is already initialised"

    bare.ok("gnt-node add node2")
    refused = bare("gnt-cluster destroy --yes-do-it")
    assert refused.rc == 1
    assert "node2.example.com" in refused.err
    bare.ok("gnt-node remove node2")
    assert bare("gnt-cluster destroy").rc == 1
    bare.ok("gnt-cluster destroy --yes-do-it")
    until(lambda: not bare.cluster.leftovers(), "all processes have ended")
    assert bare("gnt-node list").rc == 1
    assert bare.init().rc == 0, "the same directories can become a cluster again"


def test_a_failed_init_leaves_nothing_and_can_be_repeated(bare: ClusterBed) -> None:
    paths = bare.cluster.paths(1)
    paths.master_socket.mkdir(parents=True)  # in the master daemon's way
    done = bare.init()
    assert done.rc == 1
    assert MASTERD in done.err
    until(lambda: not bare.cluster.leftovers(), "all processes have ended")
    assert not paths.config_data.exists()
    paths.master_socket.rmdir()
    assert bare.init().rc == 0


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_sockets_are_short_in_any_directory(long: bool, tmp_path: Path) -> None:
    from virtual_cluster import VirtualCluster

    directory = tmp_path / ("a-directory-with-a-long-name" * 3 if long else "d")
    made = VirtualCluster.create(directory, 1)
    try:
        longest = made.paths(1).run / "kvm-hypervisor/ctrl/web1.example.com.monitor"
        assert len(str(longest)) < 100
        bed = ClusterBed(made)
        assert bed.init().rc == 0
        assert bed.ok("gnt-node list --no-headers -o name") == "node1.example.com\n"
        assert set(made.running()["node1.example.com"]) == {MASTERD, NODED, RAPI}
    finally:
        made.remove()
    assert not made.leftovers()
    assert not made.base.exists()
