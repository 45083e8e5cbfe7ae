"""Allocator scripts on real daemons: Debian's hail carries the cluster; bad ones are told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster
from virtual_cluster import FILE_STORAGE

HAIL = Path("/usr/lib/ganeti/iallocators/hail")
SHARED = "/srv/ganeti/shared-file-storage"
OS = "empty+default"
GROUP1 = ("node1", "node2", "node3")
GROUP2 = ("node4", "node5")

pytestmark = pytest.mark.skipif(not HAIL.exists(), reason="needs hail (package ganeti-htools)")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Two groups of three and two nodes that see one directory for shared files; hail decides."""
    with virtual_cluster(5) as bed:
        common = bed.cluster.directory / "shared"
        common.mkdir()
        for name in bed.cluster.names:
            paths = bed.cluster.paths(name)
            paths.below(SHARED).symlink_to(common)
            with paths.file_storage_paths.open("a") as file:
                file.write(f"{SHARED}\n")
        bed.add_empty_os("empty")
        put(bed, "hail", f'#!/bin/sh\ncp "$1" {asked(bed)}\nexec {HAIL} "$@"\n')
        bed.ok(
            "gnt-cluster init --enabled-hypervisors=fake --default-iallocator=hail"
            " --enabled-disk-templates=diskless,file,sharedfile"
            f" --file-storage-dir={FILE_STORAGE} --shared-file-storage-dir={SHARED}"
            " --ipolicy-vcpu-ratio=64 --ipolicy-bounds-specs min:memory-size=1,cpu-count=1,"
            "disk-size=1,disk-count=0,nic-count=0,spindle-use=1/max:memory-size=32768,cpu-count=8,"
            "disk-size=1048576,disk-count=16,nic-count=8,spindle-use=12 cluster.example.com"
        )
        for name in bed.cluster.names[1:]:
            bed.ok(f"gnt-node add {name}")
        bed.ok("gnt-group add two")
        bed.ok("gnt-group assign-nodes two node4 node5")
        yield bed


def asked(bed: ClusterBed) -> Path:
    """Where the last request to hail is kept."""
    return bed.cluster.directory / "request.json"


def last_request(bed: ClusterBed) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(asked(bed).read_text())
    return document["request"]  # type: ignore[no-any-return]


def put(bed: ClusterBed, name: str, text: str) -> None:
    """An allocator in the search path of the master."""
    place = bed.cluster.paths(1).allocator_search[0] / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)


def add(bed: ClusterBed, name: str, *more: str) -> str:
    """Full name of a new instance with little memory, where the allocator wants it."""
    full = f"{name}.example.com"
    bed.ok(
        "gnt-instance add --no-name-check --no-ip-check -t sharedfile -s 4M"
        f" -o {OS} -B memory=16 {' '.join(more)} {full}"
    )
    return full


def home(bed: ClusterBed, name: str) -> str:
    """Short name of its node, where it runs."""
    row = bed.ok(f"gnt-instance list --no-headers --separator=| -o pnode,status {name}")
    node, status = row.strip().split("|")
    assert status == "running"
    return node.partition(".")[0]


def test_hail_places_a_new_instance_wherever_the_default_asks_it(cluster: ClusterBed) -> None:
    name = add(cluster, "web1")
    request = last_request(cluster)
    assert (request["type"], request["name"]) == ("allocate", name)
    assert home(cluster, name) in GROUP1 + GROUP2
    other = add(cluster, "web2", "-I .", "-t file", "-s 4M")
    assert last_request(cluster)["disk_template"] == "file"
    for one in (name, other):
        cluster.ok(f"gnt-instance remove -f {one}")


def test_hail_places_many_at_once(cluster: ClusterBed, tmp_path: Path) -> None:
    batch = tmp_path / "batch.json"
    common = {
        "disk_template": "sharedfile", "disks": [{"size": 4}], "nics": [{}], "os_type": OS,
        "name_check": False, "ip_check": False, "beparams": {"memory": 16},
    }  # fmt: skip
    names = [f"many{number}.example.com" for number in range(1, 6)]
    batch.write_text(json.dumps([{**common, "instance_name": name} for name in names]))
    out = cluster.ok(f"gnt-instance batch-create -I hail {batch}")
    assert out.endswith("All instances created successfully.\n")
    request = last_request(cluster)
    assert [one["name"] for one in request["instances"]] == names
    assert len({home(cluster, name) for name in names}) > 1
    for name in names:
        cluster.ok(f"gnt-instance remove -f {name}")


def test_hail_finds_where_an_instance_fails_over_and_migrates_to(cluster: ClusterBed) -> None:
    name = add(cluster, "move1", "-g default")
    was = home(cluster, name)
    for command in ("failover", "migrate"):
        cluster.ok(f"gnt-instance {command} -f -I hail {name}")
        request = last_request(cluster)
        assert (request["type"], request["relocate_from"]) == ("relocate", [f"{was}.example.com"])
        now = home(cluster, name)
        assert now != was and now in GROUP1
        was = now
    cluster.ok(f"gnt-instance remove -f {name}")


def test_hail_empties_a_node(cluster: ClusterBed) -> None:
    names = [add(cluster, f"away{number}", "-n node2") for number in (1, 2)]
    out = cluster.ok("gnt-node evacuate -f -p -I hail node2")
    assert out.endswith("All instances evacuated successfully.\n")
    request = last_request(cluster)
    assert (request["type"], request["instances"]) == ("node-evacuate", names)
    assert {home(cluster, name) for name in names} <= {"node1", "node3"}
    for name in names:
        cluster.ok(f"gnt-instance remove -f {name}")


def test_hail_changes_groups(cluster: ClusterBed) -> None:
    name = add(cluster, "group1", "-n node1")
    cluster.ok(f"gnt-instance change-group -I hail --to two {name}")
    assert last_request(cluster)["type"] == "change-group"
    assert home(cluster, name) in GROUP2
    out = cluster.ok("gnt-group evacuate -I hail two")
    assert out.endswith("All instances evacuated successfully.\n")
    assert home(cluster, name) in GROUP1
    cluster.ok("gnt-group modify --alloc-policy=unallocable two")
    done = cluster(f"gnt-instance change-group -I hail {name}")
    assert done.rc != 0 and name in done.err
    cluster.ok("gnt-group modify --alloc-policy=preferred two")
    cluster.ok(f"gnt-instance remove -f {name}")


def test_hail_without_a_place_is_no_resources(cluster: ClusterBed) -> None:
    cluster.ok("gnt-group modify --alloc-policy=unallocable two")
    words = "gnt-instance add --no-name-check --no-ip-check -t diskless"
    for node in GROUP1[1:]:
        cluster.ok(f"gnt-node modify -D yes {node}")
    cluster.ok(f"{words} -n node1 -o {OS} -B memory=16 first.example.com")
    done = cluster("gnt-instance failover -f -I hail first.example.com")
    assert done.rc == 1 and "hail" in done.err, done.err
    assert "insufficient_resources" in done.err
    for node in GROUP1[1:]:
        cluster.ok(f"gnt-node modify -D no {node}")
    cluster.ok("gnt-group modify --alloc-policy=preferred two")
    cluster.ok("gnt-instance remove -f first.example.com")


def test_parameters_of_the_cluster_are_options_of_the_script(cluster: ClusterBed) -> None:
    put(
        cluster,
        "listing",
        '#!/bin/sh\nshift\necho "{\\"success\\": false, \\"info\\": \\"$*\\", \\"result\\": []}"\n',
    )
    cluster.ok("gnt-cluster modify --default-iallocator-params=a=b,mond=False")
    try:
        out = cluster.ok("gnt-debug iallocator --dir=out -I listing -m change-group", name(cluster))
        assert json.loads(out)["info"] == "--a=b --mond=False"
    finally:
        cluster.ok("gnt-cluster modify --default-iallocator-params=")


# Allocators that do not work.


def name(bed: ClusterBed) -> str:
    """An instance that is there, for requests."""
    full = "here.example.com"
    if bed(f"gnt-instance list {full}").rc != 0:
        add(bed, "here", "-n node1")
    return full


BAD = {
    "twice": (
        """echo '{"success": true, "info": "", "result": ["a", "b"]}'""",
        "2 nodes",
        "1 was asked",
    ),
    "exits": ("echo no memory file >&2; exit 3", "exit code 3", "no memory file"),
    "killed": ("kill -9 $$", "signal 9", "no output"),
    "rubbish": ("echo this is no answer", "not JSON", "this is no answer"),
    "half": ("""printf '{"success": true, "info"'""", "not JSON", '"info"'),
    "silent": ("true", "wrote nothing", "not JSON"),
    "stranger": (
        """echo '{"success": true, "info": "", "result": ["node9.example.com"]}'""",
        "node9.example.com",
        "not known",
    ),
    "few": ("""echo '{"success": true, "info": "", "result": []}'""", "0 nodes", "1 was asked"),
    "refuses": (
        """echo '{"success": false, "info": "no room today", "result": []}'""",
        "no room today",
        "insufficient_resources",
    ),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_a_bad_allocator_is_told_with_its_last_words(cluster: ClusterBed, kind: str) -> None:
    script, fact, words = BAD[kind]
    put(cluster, kind, f"#!/bin/sh\n{script}\n")
    add_it = "gnt-instance add --no-name-check --no-ip-check -t diskless"
    done = cluster(f"{add_it} -I {kind} -o {OS} -B memory=16 bad.example.com")
    assert done.rc == 1
    told = done.err.strip().splitlines()[-1]
    assert kind in told and fact in told and words in done.err, done.err
    assert cluster("gnt-instance list bad.example.com").rc != 0
    for command in (
        f"gnt-instance change-group -I {kind} --to two {name(cluster)}",
        f"gnt-node evacuate -f -p -I {kind} node1",
    ):
        done = cluster(command)
        assert done.rc == 1 and kind in done.err, done.err
        assert home(cluster, name(cluster)) == "node1"


def test_an_allocator_that_is_not_there_is_named(cluster: ClusterBed) -> None:
    words = "gnt-instance add --no-name-check --no-ip-check -t diskless"
    done = cluster(f"{words} -I nosuch -o {OS} -B memory=16 bad.example.com")
    assert done.rc == 1 and "'nosuch'" in done.err and "search path" in done.err


def test_answers_that_name_strangers_to_move_make_no_jobs(cluster: ClusterBed) -> None:
    known = name(cluster)
    move = {"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": known, "target_node": "node9"}
    for number, result in enumerate(
        (
            [[[known, "default", ["node9"]]], [], [[move]]],
            [[["other.example.com", "default", ["node2"]]], [], [[]]],
            [[[known, "default", ["node2"]]], [], [[{**move, "instance_name": "other"}]]],
            [[[known, "default", ["node2"]]], [], [[{**move, "colour": "red"}]]],
        )
    ):
        answer = json.dumps({"success": True, "info": "", "result": result})
        put(cluster, f"liar{number}", f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
        before = cluster.ok("gnt-job list --no-headers -o id").split()
        done = cluster(f"gnt-node evacuate -f -p -I liar{number} node1")
        assert done.rc == 1 and f"liar{number}" in done.err, (number, done.err)
        assert len(cluster.ok("gnt-job list --no-headers -o id").split()) == len(before) + 1


# gnt-debug iallocator.

NEW = (
    "--memory=64M --disks=1G,2G -t sharedfile -o noop -p 2 --tags=a,b --spindle-use=3"
    " --nics=aa:00:00:00:00:01/192.0.2.7/br0,aa:00:00:00:00:02"
)


def debug(bed: ClusterBed, *words: str, direction: str = "in") -> Any:
    return json.loads(bed.ok(f"gnt-debug iallocator --dir={direction} -I hail", *words))


def test_gnt_debug_shows_every_kind_of_request(cluster: ClusterBed) -> None:
    known = name(cluster)
    request = debug(cluster, "-m", "allocate", *NEW.split(), "new.example.com")["request"]
    assert request == {
        "type": "allocate", "name": "new.example.com", "disk_template": "sharedfile",
        "group_name": None, "tags": ["a", "b"], "os": "noop", "vcpus": 2, "memory": 64,
        "spindle_use": 3, "disk_space_total": 3072, "required_nodes": 1, "hypervisor": "fake",
        "disks": [{"size": size, "mode": "rw", "dev_type": "sharedfile"} for size in (1024, 2048)],
        "nics": [
            {"mac": "aa:00:00:00:00:01", "ip": "192.0.2.7", "bridge": "br0"},
            {"mac": "aa:00:00:00:00:02"},
        ],
    }  # fmt: skip
    words = ("-m", "multi-allocate", "--count=3", *NEW.split(), "new")
    many = debug(cluster, *words)["request"]
    assert [one["name"] for one in many["instances"]] == ["new0", "new1", "new2"]
    assert debug(cluster, known)["request"]["relocate_from"] == ["node1.example.com"]
    words = ("-m", "node-evacuate", "--evac-mode=primary-only", known)
    assert debug(cluster, *words)["request"]["evac_mode"] == "primary-only"
    words = ("-m", "change-group", "--target-groups=two", known)
    assert len(debug(cluster, *words)["request"]["target_groups"]) == 1
    second = debug(cluster, "-m", "allocate-secondary", known)["request"]
    assert second == {"type": "allocate-secondary", "name": known}


def test_gnt_debug_shows_what_hail_answers(cluster: ClusterBed) -> None:
    known = name(cluster)
    for words in (
        ("-m", "allocate", *NEW.split(), "new.example.com"),
        ("-m", "multi-allocate", *NEW.split(), "new"),
        ("-m", "relocate", known),
        ("-m", "node-evacuate", "--evac-mode=primary-only", known),
        ("-m", "change-group", "--target-groups=two", known),
    ):
        answer = debug(cluster, *words, direction="out")
        assert answer["success"] is True and answer["result"], words


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ("-m allocate new.example.com", "needs"),
        ("-m relocate nosuch.example.com", "unknown_entity"),
        ("-m change-group --target-groups=nosuch here.example.com", "unknown_entity"),
        ("-m relocate a b", "wrong_input"),
        ("--dir=out here.example.com", "wrong_input"),
        ("-m allocate --disks=4x -t file -o noop new.example.com", "4x"),
        ("-m allocate -t file -o noop here.example.com", "already_exists"),
    ],
)
def test_gnt_debug_refuses_what_is_no_request(cluster: ClusterBed, words: str, fact: str) -> None:
    name(cluster)
    done = cluster(f"gnt-debug iallocator {words}")
    assert done.rc == 1 and fact in done.err, done.err


# A script that hangs.


def test_a_job_that_waits_for_its_allocator_does_not_hold_up_others(cluster: ClusterBed) -> None:
    goes = cluster.cluster.directory / "goes"
    put(
        cluster,
        "slow",
        f'#!/bin/sh\nuntil [ -e {goes} ]; do sleep 0.05; done\nexec {HAIL} "$@"\n',
    )
    op = {
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": "slow.example.com", "mode": "create",
        "disk_template": "diskless", "disks": [], "nics": [], "os_type": OS, "reason": [],
        "name_check": False, "ip_check": False, "beparams": {"memory": 16}, "iallocator": "slow",
    }  # fmt: skip
    number = int(cluster.call("SubmitJob", [op]))
    until(lambda: cluster.statuses([number]) == ["running"], "the job runs")
    assert cluster.await_status(cluster.delay(0.01)) == "success"
    goes.touch()
    assert cluster.await_status(number) == "success"
