"""Instances on real daemons: changed, renamed, grown, moved; what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_bed import ClusterBed, virtual_cluster, without_dates
from virtual_cluster import FILE_STORAGE

SHARED = "/srv/ganeti/shared-file-storage"
OS = "empty+default"
REMINDER = (
    "Please don't forget that most parameters take effect only at the next (re)start of the"
    " instance initiated by ganeti; restarting from within the instance will not be enough.\n"
)
SYNC = (
    " - INFO: Waiting for instance {0} to sync disks\n - INFO: Instance {0}'s disks are in sync\n"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Three nodes that see one directory for shared files."""
    with virtual_cluster(3) as bed:
        common = bed.cluster.directory / "shared"
        common.mkdir()
        for name in bed.cluster.names:
            paths = bed.cluster.paths(name)
            paths.below(SHARED).symlink_to(common)
            with paths.file_storage_paths.open("a") as file:
                file.write(f"{SHARED}\n")
        bed.add_empty_os("empty")
        bed.ok(
            "gnt-cluster init --enabled-hypervisors=fake"
            " --enabled-disk-templates=diskless,file,sharedfile"
            f" --file-storage-dir={FILE_STORAGE} --shared-file-storage-dir={SHARED}"
            " --ipolicy-bounds-specs min:memory-size=1,cpu-count=1,disk-size=1,disk-count=0,"
            "nic-count=0,spindle-use=1/max:memory-size=32768,cpu-count=8,disk-size=1048576,"
            "disk-count=16,nic-count=8,spindle-use=12 cluster.example.com"
        )
        for name in bed.cluster.names[1:]:
            bed.ok(f"gnt-node add {name}")
        yield bed


def add(bed: ClusterBed, name: str, template: str, *more: str, node: int = 2) -> str:
    """Full name of a new instance with little memory."""
    full = f"{name}.example.com"
    bed.ok(
        f"gnt-instance add --no-name-check --no-ip-check -t {template} -n node{node} -o {OS}"
        f" -B memory=16 {' '.join(more)} {full}"
    )
    return full


def fields(bed: ClusterBed, name: str, wanted: str) -> list[str]:
    return (
        bed.ok(f"gnt-instance list --no-headers --separator=| -o {wanted} {name}")
        .strip()
        .split("|")
    )


def place(bed: ClusterBed, name: str) -> tuple[str, str]:
    """(short name of its node, status)."""
    node, status = fields(bed, name, "pnode,status")
    return node.partition(".")[0], status


def files(bed: ClusterBed, name: str, node: int = 2) -> list[Path]:
    return sorted(bed.cluster.paths(node).below(FILE_STORAGE).glob(f"{name}/*"))


def runs_on(bed: ClusterBed, name: str) -> list[int]:
    return [
        number
        for number in (1, 2, 3)
        if (bed.cluster.paths(number).run / "fake-hypervisor" / name).exists()
    ]


# Where it is.


def test_modify_tells_what_has_changed(cluster: ClusterBed) -> None:
    name = add(cluster, "modify1", "file", "-s 4M")
    out = cluster.ok(f"gnt-instance modify -B vcpus=2 {name}")
    assert out == f"Modified instance {name}\n - be/vcpus -> 2\n{REMINDER}"
    out = cluster.ok(f"gnt-instance modify -B -vcpus {name}")
    assert " - be/vcpus -> default\n" in out
    assert fields(cluster, name, "be/vcpus") == ["1"]
    assert cluster.ok(f"gnt-instance modify --os-type={OS} {name}") == ""


def test_modify_changes_interfaces(cluster: ClusterBed) -> None:
    name = add(cluster, "modify2", "diskless", "--no-nics")
    out = cluster.ok(f"gnt-instance modify --net add:ip=192.0.2.210 {name}")
    assert out.startswith(f"Modified instance {name}\n - nic.0 -> add:mac=aa:00:00:")
    assert ",ip=192.0.2.210,mode=bridged,link=" in out
    out = cluster.ok(f"gnt-instance modify --net 0:modify,ip=none {name}")
    lines = [line.rpartition(" -> ")[0].strip(" -") for line in out.splitlines()[1:5]]
    assert lines == ["nic.ip/0", "nic.link/0", "nic.mode/0", "nic.vlan/0"]
    assert " - nic.ip/0 -> None\n" in out
    done = cluster(f"gnt-instance modify --net 9:modify,ip=none {name}")
    assert (done.rc, done.err.splitlines()[0]) == (1, "Failure: command execution error:")
    done = cluster(f"gnt-instance modify --net wrong:ip=none {name}")
    assert (done.rc, done.err.splitlines()[1]) == (1, "error type: unknown_entity, error details:")
    out = cluster.ok(f"gnt-instance modify --net remove {name}")
    assert " - NIC/0 -> remove\n" in out
    assert fields(cluster, name, "nic.count") == ["0"]


def test_modify_adds_and_removes_disks(cluster: ClusterBed) -> None:
    name = add(cluster, "modify3", "file", "-s 4M", "--no-start")
    out = without_dates(cluster.ok(f"gnt-instance modify --disk add:size=1M,name=extra {name}"))
    assert out == (
        f"* disk 1, size 4M\n{SYNC.format(name)}Modified instance {name}\n"
        f" - disk/1 -> add:size=4,mode=rw\n{REMINDER}"
    )
    assert len(files(cluster, name)) == 2
    assert " - disk.mode/1 -> ro\n" in cluster.ok(
        f"gnt-instance modify --disk extra:mode=ro {name}"
    )
    assert " - disk/0 -> remove\n" in cluster.ok(f"gnt-instance modify --disk 0:remove {name}")
    assert len(files(cluster, name)) == 1
    assert fields(cluster, name, "disk.count,disk.names") == ["1", "['extra']"]
    out = cluster.ok(f"gnt-instance modify --disk extra:detach {name}")
    assert " - disk/0 -> detach\n" in out
    assert len(files(cluster, name)) == 1
    assert " - disk/0 -> attach:" in cluster.ok(
        f"gnt-instance modify --disk attach:name=extra {name}"
    )


def test_modify_converts_disks(cluster: ClusterBed) -> None:
    name = add(cluster, "modify4", "file", "-s 4M", "--no-start")
    (file,) = files(cluster, name)
    file.write_bytes(b"kept" + file.read_bytes()[4:])
    out = cluster.ok(f"gnt-instance modify -t sharedfile {name}")
    assert " - disk_template -> sharedfile\n" in out
    assert files(cluster, name) == []
    (moved,) = cluster.cluster.paths(2).below(SHARED).glob(f"{name}/*")
    assert moved.read_bytes()[:4] == b"kept"
    assert fields(cluster, name, "disk_template") == ["sharedfile"]


def test_memory_of_a_running_guest_and_marks(cluster: ClusterBed) -> None:
    name = add(cluster, "modify5", "diskless", "--no-nics")
    cluster.ok(f"gnt-instance modify -B minmem=8 {name}")
    assert " - runtime_memory -> 12\n" in cluster.ok(f"gnt-instance modify -m 12 {name}")
    assert fields(cluster, name, "oper_ram")[0].startswith("12")
    assert "wrong_input" in cluster(f"gnt-instance modify -m 512 {name}").err
    assert "wrong_state" in cluster(f"gnt-instance modify --offline {name}").err
    cluster.ok(f"gnt-instance shutdown {name}")
    assert " - admin_state -> offline\n" in cluster.ok(f"gnt-instance modify --offline {name}")
    assert place(cluster, name)[1] == "ADMIN_offline"
    cluster.ok(f"gnt-instance modify --online {name}")
    assert place(cluster, name)[1] == "ADMIN_down"
    cluster.ok(f"gnt-instance modify --new-primary=node3 {name}")
    assert place(cluster, name)[0] == "node3"


def test_hotplug_is_refused_where_the_hypervisor_has_none(cluster: ClusterBed) -> None:
    name = add(cluster, "modify6", "diskless", "--no-nics")
    done = cluster(f"gnt-instance modify --hotplug --net add {name}")
    assert (done.rc, "wrong_state" in done.err) == (1, True)
    out = cluster.ok(f"gnt-instance modify --hotplug-if-possible --net add {name}")
    assert "WARNING" in out and "nic.0 -> add:" in out


def test_an_instance_is_renamed_with_its_files(cluster: ClusterBed) -> None:
    name = add(cluster, "rename1", "file", "-s 4M")
    flags = "--no-name-check --no-ip-check"
    done = cluster(f"gnt-instance rename -f {flags} {name} rename2.example.com")
    assert (done.rc, "wrong_state" in done.err) == (1, True)
    cluster.ok(f"gnt-instance shutdown {name}")
    assert cluster(f"gnt-instance rename {flags} {name} rename2.example.com").rc == 1  # asks
    out = cluster.ok(f"gnt-instance rename -f {flags} rename1 rename2.example.com")
    assert out == "Instance 'rename1' renamed to 'rename2.example.com'\n"
    assert files(cluster, name) == []
    assert len(files(cluster, "rename2.example.com")) == 1
    cluster.ok("gnt-instance startup rename2")
    done = cluster("gnt-instance rename -f rename2 nowhere")
    assert "resolver_error" in done.err


def test_an_os_is_installed_again(cluster: ClusterBed) -> None:
    name = add(cluster, "install1", "file", "-s 4M", "--no-start")
    assert cluster(f"gnt-instance reinstall {name}").rc == 1  # asks
    out = without_dates(cluster.ok(f"gnt-instance reinstall -f {name}"))
    first, second = out.splitlines()
    assert first.startswith("Waiting for job ") and first.endswith(f" for {name} ...")
    assert second == " - INFO: Running instance OS create scripts..."
    done = cluster(f"gnt-instance reinstall -f -o nosuch {name}")
    assert done.rc == 1
    assert f" for {name} has failed: Failure: command execution error:" in done.err
    done = cluster(f"gnt-instance reinstall -f --select-os {name}")
    assert done.rc == 1
    assert f": {OS}\n" in done.out and done.out.startswith("Available OS templates:\n")
    assert done.err == "User aborted reinstall, exiting\n"


def test_disks_grow_and_are_recreated(cluster: ClusterBed) -> None:
    name = add(cluster, "grow1", "file", "-s 4M")
    out = without_dates(cluster.ok(f"gnt-instance grow-disk {name} 0 1M"))
    assert out == f"Growing disk 0 of instance '{name}' by 4M to 8M\n{SYNC.format(name)}"
    (file,) = files(cluster, name)
    assert file.stat().st_size == 8 << 20
    assert fields(cluster, name, "disk.sizes") == ["8"] or fields(cluster, name, "disk.sizes") == [
        "8M"
    ]
    cluster.ok(f"gnt-instance grow-disk --absolute {name} 0 16M")
    assert file.stat().st_size == 16 << 20
    for words, code in (
        ("0 1x", "wrong_input"),
        ("x 1M", "wrong_input"),
        ("9 1M", "wrong_input"),
        ("--absolute 0 1M", "wrong_state"),
    ):
        flags, *rest = words.split() if words.startswith("--") else ["", *words.split()]
        done = cluster(f"gnt-instance grow-disk {flags} {name} {' '.join(rest)}")
        assert (done.rc, f"error type: {code}," in done.err) == (1, True), words
    cluster.ok(f"gnt-instance shutdown {name}")
    done = cluster(f"gnt-instance recreate-disks {name}")
    assert (done.rc, done.err.splitlines()[0]) == (1, "Failure: command execution error:")
    assert file.exists()
    file.unlink()
    assert "wrong_input" in cluster(f"gnt-instance recreate-disks --disk 7 {name}").err
    cluster.ok(f"gnt-instance recreate-disks --disk 0:size=12M {name}")
    assert file.stat().st_size == 12 << 20
    cluster.ok(f"gnt-instance startup {name}")


def test_disks_are_activated_by_hand(cluster: ClusterBed) -> None:
    name = add(cluster, "active1", "file", "-s 4M", "--no-start")
    out = cluster.ok(f"gnt-instance activate-disks {name}")
    assert out.startswith("node2.example.com:disk/0:") and out.endswith(".file.disk0\n")
    assert cluster.ok(f"gnt-instance deactivate-disks {name}") == ""
    cluster.ok(f"gnt-instance startup {name}")
    assert "wrong_state" in cluster(f"gnt-instance deactivate-disks {name}").err


# To another node.


@pytest.mark.parametrize("template", ["sharedfile -s 4M", "diskless"])
def test_an_instance_fails_over_and_migrates(cluster: ClusterBed, template: str) -> None:
    name = add(cluster, f"go-{template[:4]}", template)
    assert cluster(f"gnt-instance failover {name}").rc == 1  # asks
    out = without_dates(cluster.ok(f"gnt-instance failover -f -n node3 {name}"))
    assert out.splitlines()[0] == f"Failover instance {name}"
    assert (place(cluster, name), runs_on(cluster, name)) == (("node3", "running"), [3])
    out = without_dates(cluster.ok(f"gnt-instance migrate -f -n node1 {name}"))
    assert out.splitlines()[0] == f"Migrating instance {name}"
    assert (place(cluster, name), runs_on(cluster, name)) == (("node1", "running"), [1])
    out = cluster.ok(f"gnt-instance migrate -f --non-live {name}")
    assert "via iallocator hail: node" in out
    assert len(runs_on(cluster, name)) == 1 and runs_on(cluster, name) != [1]
    cluster.ok(f"gnt-instance migrate -f --cleanup {name}")
    cluster.ok(f"gnt-instance shutdown {name}")
    assert "wrong_state" in cluster(f"gnt-instance migrate -f -n node1 {name}").err
    cluster.ok(f"gnt-instance migrate -f --allow-failover -n node1 {name}")
    assert place(cluster, name) == ("node1", "ADMIN_down")


def test_a_migration_that_fails_leaves_the_guest_where_it_was(cluster: ClusterBed) -> None:
    name = add(cluster, "fail1", "diskless")
    control = cluster.cluster.paths(2).run / "fake-hypervisor" / ".control"
    control.write_text(json.dumps({name: {"fail_migrate": "the link is cut"}}))
    try:
        done = cluster(f"gnt-instance migrate -f -n node3 {name}")
    finally:
        control.unlink()
    assert (done.rc, done.err.splitlines()[0]) == (1, "Failure: command execution error:")
    assert "goes on running on node node2.example.com" in done.err
    assert (place(cluster, name), runs_on(cluster, name)) == (("node2", "running"), [2])


def test_cleanup_finds_an_instance_that_is_elsewhere(cluster: ClusterBed) -> None:
    name = add(cluster, "lost1", "diskless")
    here, there = (
        cluster.cluster.paths(number).run / "fake-hypervisor" / name for number in (2, 3)
    )
    there.parent.mkdir(exist_ok=True)
    here.rename(there)
    assert place(cluster, name)[1].startswith("ERROR_")
    out = cluster.ok(f"gnt-instance migrate -f --cleanup {name}")
    assert "* instance running on: node3.example.com\n" in out
    assert place(cluster, name) == ("node3", "running")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("failover -f {file}", "wrong_state"),
        ("migrate -f {file}", "wrong_state"),
        ("failover -f -n node2 -I hail {file}", "wrong_input"),
        ("migrate -f --non-live --migration-mode=live {file}", "wrong_input"),
        ("failover -f -n node9 {file}", "unknown_entity"),
        ("migrate -f nosuch", "unknown_entity"),
        ("move -f -n node2 {file}", "wrong_state"),
        ("move -f {file}", "wrong_input"),
        ("replace-disks {file}", "wrong_input"),
        ("replace-disks -p -a {file}", "wrong_input"),
        ("replace-disks -n node3 {file}", "internal_error"),
        ("change-group --to nogroup {file}", "unknown_entity"),
        ("change-group {file}", "wrong_input"),
        ("modify -t diskless {file}", "wrong_input"),
        ("modify -t drbd -n node3 {file}", "wrong_state"),
        ("modify --ext-params provider=x -B vcpus=1 {file}", "wrong_input"),
    ],
)
def test_what_can_not_be_is_refused_with_its_code(
    cluster: ClusterBed, words: str, code: str
) -> None:
    name = "refuse1.example.com"
    if cluster(f"gnt-instance list {name}").rc:
        add(cluster, "refuse1", "file", "-s 4M")
    done = cluster("gnt-instance " + words.format(file=name))
    assert done.rc == 1
    assert f"error type: {code}, error details:" in done.err
    assert "Traceback" not in done.err
    assert place(cluster, name) == ("node2", "running")


def test_nothing_given_is_no_job(cluster: ClusterBed) -> None:
    done = cluster("gnt-instance modify nosuch")
    assert (done.rc, done.err) == (1, "Please give at least one of the parameters.\n")
    done = cluster("gnt-instance modify nosuch -B vcpus=1 more")
    assert (done.rc, done.err) == (1, "Error: Command modify expects 1 argument(s)\n")


# Whole nodes and groups.


def test_a_node_is_evacuated_failed_over_and_migrated(cluster: ClusterBed) -> None:
    for line in cluster.ok("gnt-instance list --no-headers -o name").split():
        cluster.ok(f"gnt-instance remove -f {line}")
    name = add(cluster, "away1", "sharedfile", "-s 4M")
    done = cluster("gnt-node evacuate -f node2")
    assert "wrong_input" in done.err
    done = cluster("gnt-node evacuate -f -s node2")
    assert (done.rc, done.err) == (0, "No instances to evacuate on node(s) node2, exiting.\n")
    assert cluster("gnt-node evacuate -p node2").rc == 13
    out = cluster.ok("gnt-node evacuate -f -p node2")
    assert out.endswith("All instances evacuated successfully.\n")
    assert place(cluster, name)[0] != "node2"
    home = place(cluster, name)[0]
    assert cluster(f"gnt-node failover {home}").rc == 2
    out = cluster.ok(f"gnt-node failover -f {home}")
    assert out.endswith("All 1 instance(s) failed over successfully.\n")
    home = place(cluster, name)[0]
    assert cluster(f"gnt-node migrate {home}").rc == 13
    out = cluster.ok(f"gnt-node migrate -f {home}")
    assert out.splitlines()[0].startswith("Submitted jobs ")
    assert out.endswith("All instances migrated successfully.\n")
    assert place(cluster, name)[1] == "running"
    cluster.ok(f"gnt-instance remove -f {name}")


def test_instances_change_groups(cluster: ClusterBed) -> None:
    name = add(cluster, "group1", "sharedfile", "-s 4M")
    cluster.ok("gnt-group add two")
    cluster.ok("gnt-group assign-nodes two node3")
    out = cluster.ok(f"gnt-instance change-group --to two {name}")
    assert out.endswith(f"Instance '{name}' changed group successfully.\n")
    assert place(cluster, name) == ("node3", "running")
    out = cluster.ok("gnt-group evacuate --sequential --force-failover two")
    assert out.endswith("All instances evacuated successfully.\n")
    assert place(cluster, name)[0] in ("node1", "node2")
    assert "unknown_entity" in cluster("gnt-group evacuate nosuch").err
    cluster.ok("gnt-group assign-nodes default node3")
    cluster.ok("gnt-group remove two")


def test_many_instances_are_made_at_once(cluster: ClusterBed, tmp_path: Path) -> None:
    batch = tmp_path / "batch.json"
    common = {
        "disk_template": "diskless", "disks": [], "nics": [], "os_type": OS,
        "name_check": False, "ip_check": False, "beparams": {"memory": 16},
    }  # fmt: skip
    batch.write_text(
        json.dumps([{**common, "instance_name": f"batch{n}.example.com"} for n in (1, 2)])
    )
    out = cluster.ok(f"gnt-instance batch-create {batch}")
    assert out.splitlines()[0].startswith("Submitted jobs ")
    assert out.endswith("All instances created successfully.\n")
    assert place(cluster, "batch2.example.com")[1] == "running"
    done = cluster("gnt-instance batch-create /nosuch")
    assert done.rc == 1
    assert done.err.startswith("Can't parse the instance definition file: ")
    batch.write_text('[{"instance_name": "x", "disks": 5}]')
    assert "wrong_input" in cluster(f"gnt-instance batch-create {batch}").err
    batch.write_text("{x")
    assert cluster(f"gnt-instance batch-create {batch}").err.startswith("Can't parse the instance")


def test_a_dead_node_is_left_behind(cluster: ClusterBed) -> None:
    """Its daemon is gone: the instance stays until the node is marked offline."""
    from ganeti.utils.daemons import NODED

    name = add(cluster, "dead1", "sharedfile", "-s 4M", node=3)
    cluster.kill(NODED, 3)
    done = cluster(f"gnt-instance failover -f -n node2 {name}")
    assert (done.rc, done.err.splitlines()[0]) == (1, "Failure: command execution error:")
    assert place(cluster, name)[0] == "node3"
    done = cluster(f"gnt-instance migrate -f -n node2 {name}")
    assert done.rc == 1
    cluster.start(NODED, 3)
    cluster.ok(f"gnt-instance migrate -f -n node2 {name}")
    assert (place(cluster, name), runs_on(cluster, name)) == (("node2", "running"), [2])
