"""Another node becomes the master: in good order, and after the old one's death."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster
from ganeti.constants import EXIT_NOT_MASTER
from ganeti.errors import GenericError
from ganeti.luxi.client import Client
from ganeti.serializer import Json
from ganeti.utils.daemons import MASTERD, NODED, program

STATE = "error type: wrong_state"


@pytest.fixture
def fresh() -> Iterator[ClusterBed]:
    """Three nodes, for one test."""
    with virtual_cluster(3) as bed:
        bed.init_all()
        yield bed


def call(bed: ClusterBed, node: int, method: str, *args: Json) -> Json:
    with Client(bed.cluster.paths(node)) as client:
        return client.call(method, *args)


def delay(bed: ClusterBed, node: int, duration_s: float) -> int:
    op = {"OP_ID": "OP_TEST_DELAY", "duration": duration_s, "no_locks": True, "reason": []}
    return int(call(bed, node, "SubmitJob", [op]))


def status(bed: ClusterBed, node: int, number: int) -> str:
    return str(call(bed, node, "QueryJobs", [number], ["status"])[0][0])


def test_the_role_moves_with_jobs_and_configuration(fresh: ClusterBed) -> None:
    bed = fresh
    bed.ok("gnt-cluster add-tags before")
    bed.ok("gnt-cluster queue drain")
    refused = bed("gnt-cluster master-failover")
    assert refused.rc == 1 and "already the master" in refused.err
    numbers = [row[0] for row in bed.call("QueryJobs", [], ["id"])]

    done = bed("gnt-cluster master-failover", node=2)
    assert (done.rc, done.out, done.err) == (0, "", "")

    master = bed.cluster.full_name(2)
    for node in (1, 2, 3):
        assert bed.ok("gnt-cluster getmaster", node=node).strip() == master
    assert bed.pid(MASTERD, 1) is None and bed.pid(MASTERD, 2) is not None
    assert "before" in bed.ok("gnt-cluster list-tags", node=2).split()
    assert [row[0] for row in call(bed, 2, "QueryJobs", [], ["id"])] == numbers
    assert {status(bed, 2, number) for number in numbers} == {"success"}
    assert delay(bed, 2, 0) > max(numbers)  # the queue is not drained any more
    bed.ok("gnt-cluster add-tags after", node=2)
    assert bed("gnt-cluster master-failover", node=1).rc == 0  # and back
    assert {"before", "after"} <= set(bed.ok("gnt-cluster list-tags").split())


def test_after_the_masters_death_nothing_that_was_confirmed_is_lost(fresh: ClusterBed) -> None:
    bed = fresh
    running = bed.delay(60)
    bed.await_status(running, "running")
    ended = bed.delay(0)
    bed.await_status(ended, "success")
    waiting = bed.delay(0, depends=[[running, []]])
    bed.ok("gnt-cluster add-tags confirmed")
    bed.kill(MASTERD, 1)
    bed.kill(NODED, 1)

    done = bed("gnt-cluster master-failover", node=3)
    assert done.rc == 0, done.err
    assert "may still run on node" in done.err

    until(lambda: status(bed, 3, running) == "error", "the interrupted job has ended")
    until(lambda: status(bed, 3, waiting) == "success", "the queued job has run")
    assert status(bed, 3, ended) == "success"
    assert "confirmed" in bed.ok("gnt-cluster list-tags", node=3).split()

    # The old master comes back, and still believes in itself.
    bed.start(NODED, 1)
    before = bed.ok("gnt-cluster list-tags", node=3)
    back = bed(f"{program(MASTERD)}", node=1)
    assert back.rc == EXIT_NOT_MASTER, back.err
    assert bed.pid(MASTERD, 1) is None
    forced = bed(f"{program(MASTERD)} --no-voting --yes-do-it", node=1)
    assert forced.rc == EXIT_NOT_MASTER, forced.err
    # By its configuration, or by the ssconf files which it has got meanwhile.
    assert bed.cluster.full_name(3) in forced.err
    bed.ok("gnt-cluster add-tags still-there", node=3)
    assert set(before.split()) < set(bed.ok("gnt-cluster list-tags", node=3).split())


def test_a_master_that_was_asleep_says_yes_to_nobody_and_ends(fresh: ClusterBed) -> None:
    bed = fresh
    last = bed.delay(0)
    bed.await_status(last, "success")
    with bed.paused(MASTERD, 1), bed.paused(NODED, 1):
        done = bed("gnt-cluster master-failover --no-voting --yes-do-it", node=2)
        assert bed.pid(MASTERD, 2) is not None, done.err
        numbers = [delay(bed, 2, 0) for _ in range(3)]
    with pytest.raises(GenericError):
        bed.delay(0)
    until(lambda: bed.pid(MASTERD, 1) is None, "the old master has ended")
    assert [status(bed, 2, number) for number in numbers] == ["success"] * 3
    assert delay(bed, 2, 0) == max(numbers) + 1


def test_without_a_majority_it_is_refused_and_nothing_changes(fresh: ClusterBed) -> None:
    bed = fresh
    bed.kill(NODED, 1)
    bed.kill(NODED, 3)
    done = bed("gnt-cluster master-failover", node=2)
    assert done.rc == 1
    assert "majority of nodes are still healthy" in done.err
    assert bed.cluster.full_name(1) in done.err and bed.cluster.full_name(3) in done.err
    assert bed.pid(MASTERD, 1) is not None
    bed.start(NODED, 1)
    bed.start(NODED, 3)
    bed.ok("gnt-node modify -C no", "-f", bed.cluster.full_name(3))
    refused = bed("gnt-cluster master-failover", node=3)
    assert refused.rc == 1 and STATE in refused.err and "not a master candidate" in refused.err


def test_offline_nodes_may_be_counted_as_well() -> None:
    """By default they do not count: neither for the failover nor when the new master starts."""
    with virtual_cluster(4) as bed:
        bed.init_all()
        for node in (3, 4):
            bed.ok(f"gnt-node modify -O yes node{node}")
        bed.kill(NODED, 3)
        bed.kill(NODED, 4)
        refused = bed("gnt-cluster master-failover --ignore-offline-nodes=no", node=2)
        assert refused.rc == 1
        assert "Unhealthy nodes: ['node3.example.com', 'node4.example.com']" in refused.err
        assert bed.ok("gnt-cluster getmaster", node=2).strip() == bed.cluster.full_name(1)

        bed.start(NODED, 3)  # offline, it will never hear of the new master
        done = bed("gnt-cluster master-failover", node=2)
        assert done.rc == 0, done.err
        assert bed.pid(MASTERD, 2) is not None and bed.pid(MASTERD, 1) is None
        bed.ok("gnt-cluster add-tags half", node=2)
        bed.kill(MASTERD, 2)
        bed.ok(f"{program(MASTERD)}", node=2)  # and it can start again
        assert "half" in bed.ok("gnt-cluster list-tags", node=2).split()
        assert bed.ok("gnt-cluster getmaster", node=3).strip() == bed.cluster.full_name(1)
