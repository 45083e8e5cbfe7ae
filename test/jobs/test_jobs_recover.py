"""A node that becomes the master gets the queue's files that belong to the newest journal."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from fakes.candidates import FakeNetwork
from fakes.faulty_disk import FaultyDisk
from fakes.virtual_time import in_place, run
from ganeti.errors import ConfigurationError
from ganeti.jobs.recover import recover_queue
from ganeti.jobs.store import JobStore, archived_name
from ganeti.paths import Paths
from ganeti.utils.journal import Generation, Header, new_journal, read

OLD, NEW = Generation(3, 1, "aa"), Generation(3, 2, "aa")
MASTER, ME = "node1", "node2"


@dataclass
class Here:
    """This node, node2; node3 is the other candidate that lives."""

    network: FakeNetwork
    paths: Paths
    disk: FaultyDisk

    async def recover(self, hostname: str = ME, *, majority: bool = True) -> str | None:
        store = JobStore(self.paths, self.disk, offload=in_place)
        others = self.network.targets
        return await recover_queue(
            store, self.network, others, hostname, majority=majority, answer_s=1.0
        )

    def files(self) -> dict[str, bytes]:
        store = JobStore(self.paths, self.disk, offload=in_place)
        return {name: self.disk.read(self.paths.queue / name) for name in store.checksums()}

    def records(self) -> tuple[bytes, ...]:
        return read(self.disk.read(self.paths.queue_journal), "here").records


def journal(generation: Generation, *records: bytes, master: str = MASTER) -> bytes:
    return new_journal(Header("queue", generation, {}, master), records)


def nodes(here: bytes, there: bytes, *, alive: bool = True) -> Here:
    """`here` and `there`: the journals; node1 is dead."""
    network = FakeNetwork([MASTER, "node3"])
    network[MASTER].up, network["node3"].up = False, alive
    paths, disk = Paths("/here"), FaultyDisk()
    disk.put(paths.queue_journal, here)
    other = network["node3"]
    other.disk.put(other.paths.queue_journal, there)
    return Here(network, paths, disk)


def test_jobs_that_ended_before_the_newest_journal_began_have_their_files() -> None:
    here = nodes(journal(OLD, b"of job 1 and 2"), journal(NEW, b"of job 4"))
    other = here.network["node3"]
    for name, content in (("job-1", b"ended"), ("job-3", b"ended")):
        other.disk.put(other.paths.queue / name, content)
    other.disk.put(other.paths.queue / archived_name(2), b"archived")
    for name in ("job-1", "job-2"):  # they would run again
        here.disk.put(here.paths.queue / name, b"queued")
    assert run(here.recover()) == "node3"
    assert here.files() == {"job-1": b"ended", "job-3": b"ended"}
    assert here.disk.read(here.paths.queue / archived_name(2)) == b"archived"
    assert here.records() == (b"of job 4",)


def test_an_interrupted_recovery_is_done_again() -> None:
    for fail_at in itertools.count(1):
        here = nodes(journal(OLD), journal(NEW, b"new"))
        other = here.network["node3"]
        other.disk.put(other.paths.queue / "job-1", b"ended")
        here.disk.put(here.paths.queue / "job-1", b"queued")
        here.disk.fail_at = fail_at
        try:
            run(here.recover())
        except OSError:
            assert here.disk.failed
        failed, here.disk = here.disk.failed, here.disk.crash()
        run(here.recover())
        assert (here.files(), here.records()) == ({"job-1": b"ended"}, (b"new",)), fail_at
        if not failed:
            return


def test_a_longer_copy_of_the_same_journal_counts_for_a_new_master_only() -> None:
    short, long = journal(NEW, b"one"), journal(NEW, b"one", b"two")
    after_takeover = nodes(short, long)
    assert run(after_takeover.recover()) == "node3"
    assert after_takeover.records() == (b"one", b"two")
    # Who wrote it here last knows: what it does not have was refused.
    as_before = nodes(short, long)
    assert run(as_before.recover(MASTER)) is None
    assert as_before.records() == (b"one",)


def test_a_later_generation_counts_for_the_old_master_too() -> None:
    here = nodes(journal(NEW), journal(Generation(4, 1, "bb"), b"of the other", master="node3"))
    assert run(here.recover(MASTER)) == "node3"
    assert here.records() == (b"of the other",)


def test_a_new_master_needs_a_majority_unless_told_otherwise() -> None:
    here = nodes(journal(NEW, b"one"), b"", alive=False)
    with pytest.raises(ConfigurationError, match="only 1 of 3 .* missing: node1, node3"):
        run(here.recover())
    assert run(here.recover(majority=False)) is None
    assert run(here.recover(MASTER)) is None  # it was the master before
