"""gnt-instance move on real daemons: disks copied by import-export between virtual nodes."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster, without_dates
from ganeti.node import impexp_dir
from virtual_cluster import FILE_STORAGE

pytestmark = pytest.mark.skipif(shutil.which("socat") is None, reason="needs socat")

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Three nodes with little instances."""
    with virtual_cluster(3) as bed:
        bed.add_empty_os("empty")
        done = bed.init(
            "--ipolicy-bounds-specs",
            "min:memory-size=1,cpu-count=1,disk-size=1,disk-count=0,nic-count=0,spindle-use=1/"
            "max:memory-size=32768,cpu-count=8,disk-size=1048576,disk-count=16,nic-count=8,"
            "spindle-use=12",
        )
        assert done.rc == 0, done.err
        for name in bed.cluster.names[1:]:
            bed.ok(f"gnt-node add {name}")
        yield bed


def add(bed: ClusterBed, name: str, *more: str) -> str:
    """Full name of a new instance on node2, whose first disk is full of data."""
    full = f"{name}.example.com"
    bed.ok(
        "gnt-instance add --no-name-check --no-ip-check -t file -n node2 -o empty+default"
        f" -B memory=16 {' '.join(more) or '-s 8M'} {full}"
    )
    files(bed, full, 2)[0].write_bytes(os.urandom(8 * MIB))
    return full


def files(bed: ClusterBed, name: str, node: int) -> list[Path]:
    return sorted(
        bed.cluster.paths(node).below(FILE_STORAGE).glob(f"{name}/*"),
        key=lambda path: path.name.rpartition(".")[2],
    )


def place(bed: ClusterBed, name: str) -> list[str]:
    """Short name of its node, and its status."""
    row = bed.ok(f"gnt-instance list --no-headers --separator=| -o pnode,status {name}")
    node, status = row.strip().split("|")
    return [node.partition(".")[0], status]


def is_bare(bed: ClusterBed, name: str, node: int) -> bool:
    """Nothing of the instance and of its transfers is on the node."""
    paths = bed.cluster.paths(node)
    return not (
        paths.below(f"{FILE_STORAGE}/{name}").exists()
        or any(paths.transfers.glob("*"))
        or any(paths.crypto_keys.glob("*"))
    )


def receivers(bed: ClusterBed, node: int) -> list[Path]:
    """Transfers to this node that are connected."""
    found = bed.cluster.paths(node).transfers.glob("import-*")
    return [one for one in found if (status := impexp_dir.status(one)) and status.connected]


@contextmanager
def stuck_move(bed: ClusterBed, name: str) -> Iterator[tuple[int, Path]]:
    """A job that moves to node3 and waits for the data of the disk: (its number, the disk).

    The disk is a pipe for that time, and the same file as before afterwards.
    """
    (disk,) = files(bed, name, 2)
    kept = disk.with_suffix(".kept")
    disk.rename(kept)
    os.mkfifo(disk)
    try:
        line = f"gnt-instance move -f --submit --print-jobid -n node3 {name}"
        number = int(bed.ok(line).split()[0])
        until(lambda: receivers(bed, 3), "both ends are connected")
        yield number, disk
    finally:
        if kept.exists():
            kept.rename(disk)


def feed(disk: Path, data: bytes) -> None:
    with disk.open("wb") as pipe:
        pipe.write(data)


def test_a_stopped_instance_goes_with_all_its_bytes(cluster: ClusterBed) -> None:
    name = add(cluster, "move1", "--disk 0:size=8M --disk 1:size=4M --no-start")
    before = [path.read_bytes() for path in files(cluster, name, 2)]
    out = without_dates(cluster.ok(f"gnt-instance move -f -n node3 {name}"))
    assert [path.read_bytes() for path in files(cluster, name, 3)] == before
    assert place(cluster, name) == ["node3", "ADMIN_down"]
    assert is_bare(cluster, name, 2)
    assert not any(cluster.cluster.paths(3).transfers.glob("*"))
    nodes = "from node2.example.com to node3.example.com"
    lines = out.splitlines()
    assert lines[:4] == [
        " - INFO: Not checking memory on the secondary node as instance will not be started",
        f" - INFO: Shutting down instance {name} on source node node2.example.com",
        f"Exporting disk/0 {nodes}",
        f"Exporting disk/1 {nodes}",
    ]
    assert sorted(lines[4:-1]) == sorted(
        f"disk/{index} {what}"
        for index in (0, 1)
        for what in (
            "is now listening, starting export",
            "finished receiving data",
            "finished sending data",
        )
    )
    assert lines[-1] == " - INFO: Removing the disks on the original node"


@pytest.mark.parametrize("tool", ["none", "gzip"])
def test_a_running_instance_runs_at_its_new_node(cluster: ClusterBed, tool: str) -> None:
    name = add(cluster, f"move2-{tool}")
    (before,) = [path.read_bytes() for path in files(cluster, name, 2)]
    cluster.ok(f"gnt-instance move -f --compress={tool} -n node3 {name}")
    (after,) = files(cluster, name, 3)
    assert after.read_bytes() == before
    assert place(cluster, name) == ["node3", "running"]
    assert is_bare(cluster, name, 2)
    cluster.ok(f"gnt-instance move -f -n node2 {name}")
    assert place(cluster, name) == ["node2", "running"]
    assert files(cluster, name, 2)[0].read_bytes() == before
    assert cluster.ok("gnt-cluster verify")


def test_a_cut_connection_leaves_the_instance_where_it_runs(cluster: ClusterBed) -> None:
    name = add(cluster, "move3")
    with stuck_move(cluster, name) as (number, _):
        (receiver,) = receivers(cluster, 3)
        session = impexp_dir.running(receiver)
        assert session is not None
        (socat,) = [
            pid
            for pid in impexp_dir.session_members(session)
            if Path(f"/proc/{pid}/comm").read_text() == "socat\n"
        ]
        os.kill(socat, signal.SIGKILL)
        assert cluster.await_status(number) == "error"
    assert "receiving on node node3.example.com" in cluster.ok(f"gnt-job info {number}")
    assert place(cluster, name) == ["node2", "running"]
    assert is_bare(cluster, name, 3)
    cluster.ok(f"gnt-instance move -f -n node3 {name}")
    assert place(cluster, name) == ["node3", "running"]


def test_a_killed_job_ends_the_transfer(cluster: ClusterBed) -> None:
    name = add(cluster, "move4")
    with stuck_move(cluster, name) as (number, _):
        cluster.ok(f"gnt-job cancel --kill --yes-do-it {number}")
        assert cluster.await_status(number) in ("error", "canceled")
    assert place(cluster, name) == ["node2", "running"]
    assert is_bare(cluster, name, 3)


def test_a_node_daemon_that_comes_back_in_time_does_no_harm(cluster: ClusterBed) -> None:
    name = add(cluster, "move5")
    with stuck_move(cluster, name) as (number, disk):
        data = os.urandom(8 * MIB)
        cluster.kill("ganeti-noded", 3)
        cluster.start("ganeti-noded", 3)
        feed(disk, data)
        assert cluster.await_status(number) == "success"
        disk.with_suffix(".kept").unlink()
    assert place(cluster, name) == ["node3", "running"]
    assert files(cluster, name, 3)[0].read_bytes() == data


def test_a_dead_target_leaves_the_instance_where_it_runs(cluster: ClusterBed) -> None:
    name = add(cluster, "move6")
    try:
        with stuck_move(cluster, name) as (number, _):
            cluster.kill("ganeti-noded", 3)
            assert cluster.await_status(number) == "error"
    finally:
        cluster.start("ganeti-noded", 3)
    assert place(cluster, name) == ["node2", "running"]
    assert re.search(r"node node3\S* does not tell its part", cluster.ok(f"gnt-job info {number}"))
    assert not any(cluster.cluster.paths(2).transfers.glob("*"))
    sessions = cluster.cluster.paths(3).transfers.glob("import-*")
    until(
        lambda: not any(impexp_dir.running(one) for one in sessions), "the receiver has ended too"
    )
    # What it had made there goes when its node answers again, and is no longer in the way.
    until(lambda: is_bare(cluster, name, 3), "nothing is left at the target")
    cluster.ok(f"gnt-instance move -f -n node3 {name}")
    assert place(cluster, name) == ["node3", "running"]
    assert files(cluster, name, 3)


def test_what_is_in_the_way_is_not_touched(cluster: ClusterBed) -> None:
    name = add(cluster, "move7")
    (disk,) = files(cluster, name, 2)
    other = cluster.cluster.paths(3).below(f"{FILE_STORAGE}/{name}") / disk.name
    other.parent.mkdir()
    other.write_bytes(b"precious")
    done = cluster(f"gnt-instance move -f -n node3 {name}")
    assert (done.rc, done.err.splitlines()[1]) == (1, "error type: wrong_state, error details:")
    assert other.read_bytes() == b"precious"
    assert place(cluster, name) == ["node2", "running"]


def test_what_is_refused(cluster: ClusterBed) -> None:
    name = add(cluster, "move8")
    for line, code in (
        (f"-n node2 {name}", "wrong_state"),
        (f"-n node9 {name}", "unknown_entity"),
        (f"-n node3 --compress=rot13 {name}", "wrong_input"),
        (f"{name}", "wrong_input"),
        ("-n node3 nosuch", "unknown_entity"),
    ):
        done = cluster(f"gnt-instance move -f {line}")
        assert (done.rc, code in done.err) == (1, True), done.err
    assert place(cluster, name) == ["node2", "running"]
