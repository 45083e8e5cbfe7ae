"""Daemons that are killed, damaged files, and what is true afterwards."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess

import pytest
from cluster_bed import ClusterBed, until
from ganeti.errors import OpExecError
from ganeti.utils.daemons import MASTERD, NODED

MOST_RUNNING = 20  # max_running_jobs of a new cluster
HTOOLS_TIMEOUT_S = 30
HTOOLS_SAY = {"hinfo": "Loaded 3 nodes, 0 instances, 1 node group", "hbal": "Cluster is empty"}


def test_numbers_given_out_survive_the_masters_death(cluster: ClusterBed) -> None:
    running = [cluster.delay(60) for _ in range(MOST_RUNNING)]
    until(lambda: set(cluster.statuses(running)) == {"running"}, "all are running")
    queued = [cluster.delay(0) for _ in range(10)]
    assert set(cluster.statuses(queued)) == {"queued"}
    cluster.kill(MASTERD)
    cluster.start(MASTERD)
    until(lambda: set(cluster.statuses(queued)) == {"success"}, "queued jobs have run")
    until(lambda: set(cluster.statuses(running)) == {"error"}, "interrupted jobs are in error")
    assert cluster.delay(0) > max(queued)
    watched = cluster(f"gnt-job watch {running[0]}")
    assert watched.rc == 1
    assert watched.err.strip()


def test_locks_of_a_killed_master_are_free(cluster: ClusterBed) -> None:
    locked = {"no_locks": False, "on_nodes": list(cluster.cluster.names), "on_master": False}
    holder = cluster.delay(60, **locked)
    cluster.await_status(holder, "running")
    cluster.kill(MASTERD)
    cluster.start(MASTERD)
    assert cluster.await_status(holder) == "error"
    assert cluster.await_status(cluster.delay(0, **locked)) == "success"


def test_a_change_that_was_confirmed_survives_the_masters_death(cluster: ClusterBed) -> None:
    cluster.ok("gnt-cluster add-tags before-the-kill")
    cluster.kill(MASTERD)
    cluster.start(MASTERD)
    assert "before-the-kill" in cluster.ok("gnt-cluster list-tags").split()
    until(lambda: journals(cluster, 1) == journals(cluster, 2) == journals(cluster, 3), "equal")


def journals(bed: ClusterBed, node: int) -> tuple[bytes, bytes]:
    paths = bed.cluster.paths(node)
    return paths.config_journal.read_bytes(), paths.queue_journal.read_bytes()


def test_a_killed_node_daemon_comes_back_alone(cluster: ClusterBed) -> None:
    cluster.kill(NODED, 3)
    cluster.ok("gnt-cluster add-tags node3-is-away")
    cluster.start(NODED, 3)
    cluster.ok("gnt-cluster add-tags node3-is-back")
    until(lambda: journals(cluster, 1) == journals(cluster, 3), "node 3 has caught up")


def test_a_second_daemon_does_not_start(cluster: ClusterBed) -> None:
    for daemon in (MASTERD, NODED):
        done = cluster(daemon)
        assert done.rc == 1
        assert str(cluster.pid(daemon)) in done.err


def test_daemons_end_at_once_although_a_job_runs(cluster: ClusterBed) -> None:
    on_node = {"on_master": False, "on_nodes": ["node2.example.com"]}
    jobs = [cluster.delay(60), cluster.delay(60, **on_node)]
    for job in jobs:
        cluster.await_status(job, "running")
    for daemon, node in ((MASTERD, 1), (NODED, 2)):
        pid = cluster.pid(daemon, node)
        assert pid is not None
        cluster.stop(daemon, node)
        until(lambda pid=pid: pid not in cluster.cluster.leftovers(), f"{daemon} has ended", 5)
        cluster.start(daemon, node)
    for job in jobs:
        assert cluster.await_status(job) == "error"


def test_a_damaged_configuration_is_named_and_kept(cluster: ClusterBed) -> None:
    place = cluster.cluster.paths(1).config_data
    cluster.stop(MASTERD)
    good = place.read_bytes()
    damaged = good[: len(good) // 2]
    place.write_bytes(damaged)
    try:
        with pytest.raises(OpExecError, match=f"{place} is not JSON"):
            cluster.start(MASTERD)
        assert place.read_bytes() == damaged
        assert cluster.pid(MASTERD) is None
        assert str(place) in cluster.cluster.paths(1).daemon_log("master").read_text()
    finally:
        place.write_bytes(good)
    cluster.start(MASTERD)
    cluster.ok("gnt-cluster info")


def test_a_damaged_job_file_is_named_and_goes_to_the_archive(cluster: ClusterBed) -> None:
    paths = cluster.cluster.paths(1)
    number, other = cluster.delay(0), cluster.delay(0)
    cluster.await_status(number)
    cluster.await_status(other)
    cluster.stop(MASTERD)
    place = paths.job_file(number)
    damaged = place.read_bytes()[:100]
    place.write_bytes(damaged)
    cluster.start(MASTERD)
    assert cluster.statuses([number, other]) == ["unknown", "success"]
    archived = paths.archive / str(number // 10000) / place.name
    assert archived.read_bytes() == damaged
    assert not place.exists()
    assert f"{place} is not JSON" in paths.daemon_log("master").read_text()
    assert cluster.delay(0) > other, "its number is not given again"


def test_a_clean_restart_of_everything_changes_nothing(cluster: ClusterBed) -> None:
    def told() -> str:
        return cluster.ok("gnt-cluster info") + cluster.ok("gnt-job list")

    before = told()
    cluster.cluster.stop()
    assert not cluster.cluster.leftovers()
    cluster.cluster.start()
    assert told() == before


def test_rubbish_on_the_socket_does_not_hurt(cluster: ClusterBed) -> None:
    address = str(cluster.cluster.paths(1).master_socket)
    for rubbish in (b"\x03", b"{\x03", b'{"method": 1}\x03', b"\xff" * 1000 + b"\x03", b"no end"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(address)
            peer.sendall(rubbish)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(4096):
                pass
    assert cluster("gnt-cluster master-ping").rc == 0


@pytest.mark.parametrize("name", ["hinfo", "hbal"])
@pytest.mark.parametrize("listening", ["master_socket", "query_socket"])
def test_the_packaged_tools_understand_the_socket(
    cluster: ClusterBed, name: str, listening: str
) -> None:
    program = shutil.which(name)
    if program is None:
        pytest.skip("needs the Debian package ganeti-htools")
    place = getattr(cluster.cluster.paths(1), listening)
    done = subprocess.run(
        [program, f"-L{place}"], capture_output=True, text=True, timeout=HTOOLS_TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    assert HTOOLS_SAY[name] in done.stdout


def test_job_files_are_what_other_programs_read(cluster: ClusterBed) -> None:
    number = cluster.delay(0)
    cluster.await_status(number)
    place = cluster.cluster.paths(1).job_file(number)
    until(place.exists, f"{place.name} is written")
    job = json.loads(place.read_text())
    assert job["id"] == number
    assert job["ops"][0]["status"] == "success"
    assert job["ops"][0]["input"]["OP_ID"] == "OP_TEST_DELAY"
