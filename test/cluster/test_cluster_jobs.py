"""The job queue as commands and LUXI clients see it."""

from __future__ import annotations

import json
import re

import pytest
from cluster_bed import ClusterBed, until, without_dates
from ganeti.errors import GenericError

NODE_LOCKED = {"no_locks": False, "on_master": True}


def test_a_job_is_submitted_followed_and_listed(cluster: ClusterBed) -> None:
    submitted = cluster("gnt-debug delay --submit --print-jobid 0.01")
    number = int(submitted.out)
    assert submitted.err == f"JobID: {number}\n"
    watched = cluster(f"gnt-job watch {number}")
    assert watched.rc == 0
    assert watched.out.splitlines()[0] == f"Output from job {number} follows"
    assert cluster(f"gnt-job wait {number}").out == ""
    row = cluster.ok(f"gnt-job list --no-headers --separator=: {number}")
    assert row == f"{number}:success:TEST_DELAY(0.01)\n"


@pytest.mark.parametrize("form", ["json", "csv", "yaml", "table"])
def test_every_format_of_the_list_has_the_job(cluster: ClusterBed, form: str) -> None:
    number = cluster.delay(0)
    cluster.await_status(number, "success")
    text = cluster.ok(f"gnt-job list -o id,status --format {form} {number}")
    assert str(number) in text
    assert "success" in text
    if form == "json":
        assert json.loads(text) == [{"id": number, "status": "success"}]


def test_info_shows_opcode_and_result(cluster: ClusterBed) -> None:
    number = cluster.delay(0)
    cluster.await_status(number)
    page = cluster.ok(f"gnt-job info {number}")
    assert re.search(rf"^- Job ID: {number}$", page, re.MULTILINE)
    assert "Opcode: OP_TEST_DELAY" in page
    assert "Total processing time: " in page
    missing = cluster("gnt-job info 999999")
    assert "999999 not found" in missing.out + missing.err


def test_the_error_of_a_failed_job_is_the_commands_error(cluster: ClusterBed) -> None:
    done = cluster("gnt-debug delay -n nowhere 0")
    assert done.rc == 1
    assert "unknown_entity" in done.err
    number = cluster.delay(0, on_nodes=["nowhere"])
    assert cluster.await_status(number) == "error"
    watched = cluster(f"gnt-job watch {number}")
    assert watched.rc == 1
    assert f"Job {number} failed: " in watched.err


def test_a_waiting_job_can_be_cancelled_and_a_finished_one_can_not(cluster: ClusterBed) -> None:
    with cluster.running_delay(**NODE_LOCKED) as holder:
        waiter = cluster.delay(0, **NODE_LOCKED)
        cluster.await_status(waiter, "waiting")
        locks = cluster.ok("gnt-debug locks --no-headers -o name,mode,owner,pending")
        assert f"job{waiter}" in locks or f"job/{waiter}" in locks or str(waiter) in locks
        cluster.ok(f"gnt-job cancel {waiter}")
        assert cluster.await_status(waiter) == "canceled"
    refused = cluster(f"gnt-job cancel {holder}")
    assert refused.rc == 1
    assert str(holder) in refused.out
    watched = cluster(f"gnt-job watch {waiter}")
    assert watched.rc == 1


def test_a_job_waits_for_the_one_it_depends_on(cluster: ClusterBed) -> None:
    with cluster.running_delay() as first:
        second = cluster.delay(0, depends=[[first, ["success"]]])
        never = cluster.delay(0, depends=[[first, ["error"]]])
        assert cluster.statuses([second])[0] != "success"
    assert cluster.await_status(second) == "success"
    assert cluster.statuses([first]) == ["success"]
    assert cluster.await_status(never) == "error"


def test_priority_changes_while_the_job_waits(cluster: ClusterBed) -> None:
    with cluster.running_delay(**NODE_LOCKED):
        waiter = cluster.delay(0, **NODE_LOCKED)
        cluster.ok(f"gnt-job change-priority --priority=high {waiter}")
        assert cluster.ok(f"gnt-job list --no-headers -o priority {waiter}") == "-10\n"
    assert cluster.await_status(waiter) == "success"


def test_a_drained_queue_takes_nothing_until_it_is_undrained(cluster: ClusterBed) -> None:
    cluster.ok("gnt-cluster queue drain")
    try:
        assert cluster.ok("gnt-cluster queue info") == "The drain flag is set\n"
        done = cluster("gnt-debug delay 0")
        assert done.rc == 1
        assert done.err == "Unhandled Ganeti error: Queue drained\n"
        with pytest.raises(GenericError, match="Queue drained"):
            cluster.delay(0)
        assert (cluster.cluster.paths(1).queue / "drain").exists()
    finally:
        cluster.ok("gnt-cluster queue undrain")
    assert cluster.ok("gnt-cluster queue info") == "The drain flag is unset\n"
    assert cluster.await_status(cluster.delay(0)) == "success"


def test_archived_jobs_leave_the_list_but_not_the_cluster(cluster: ClusterBed) -> None:
    number = cluster.delay(0)
    cluster.await_status(number)
    cluster.ok(f"gnt-job archive {number}")
    assert str(number) not in cluster.ok("gnt-job list --no-headers -o id").split()
    archived = cluster.ok("gnt-job list --archived --no-headers --separator=: -o id,status")
    assert f"{number}:success:Y" in archived.splitlines()
    assert f"Job ID: {number}" in cluster.ok(f"gnt-job info {number}")
    with cluster.running_delay() as running:
        assert cluster(f"gnt-job archive {running}").rc == 1
    assert re.fullmatch(
        r"Archived \d+ jobs, 0 unchecked left\n", cluster.ok("gnt-job autoarchive all")
    )
    assert cluster.ok("gnt-job list --no-headers") == ""
    place = cluster.cluster.paths(1).archive / str(number // 10000) / f"job-{number}"
    assert json.loads(place.read_text())["id"] == number


def test_messages_of_a_running_job_come_as_they_are_written(cluster: ClusterBed) -> None:
    done = cluster("gnt-debug delay -r 2 0.01")
    assert done.rc == 0
    assert all(line for line in without_dates(done.out).splitlines())


def test_opcodes_of_a_file_are_one_job(cluster: ClusterBed) -> None:
    path = cluster.cluster.directory / "jobs.json"
    path.write_text(json.dumps([{"OP_ID": "OP_TEST_DELAY", "duration": 0, "no_locks": True}] * 2))
    cluster.ok(f"gnt-debug submit-job --job-repeat 3 {path}")
    rows = cluster.ok("gnt-job list --no-headers -o summary,status").splitlines()
    wanted = [["TEST_DELAY(0.00),TEST_DELAY(0.00)", "success"]] * 3
    assert [row.split() for row in rows[-3:]] == wanted or len(rows) >= 3
    path.write_text('[{"OP_ID": "OP_NO_SUCH"}]')
    refused = cluster(f"gnt-debug submit-job {path}")
    assert refused.rc == 1
    assert "OP_NO_SUCH" in refused.err
    path.write_text("[")
    assert cluster(f"gnt-debug submit-job {path}").rc == 1


def test_jobs_of_many_clients_get_numbers_of_their_own(cluster: ClusterBed) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda _: cluster.delay(0), range(40)))
    assert len(set(numbers)) == 40
    until(lambda: set(cluster.statuses(numbers)) == {"success"}, "all have succeeded")


def test_no_lock_is_held_when_nothing_runs(cluster: ClusterBed) -> None:
    rows = cluster.ok("gnt-debug locks --no-headers --separator=: -o name,mode,owner,pending")
    held = [row for row in rows.splitlines() if not row.endswith(":-:-:-")]
    assert not held
