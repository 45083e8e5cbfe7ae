"""A job queue on a disk in memory, with its real journal and no candidates, on virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fakes.faulty_disk import FaultyDisk
from fakes.job_executor import NullExecutor
from fakes.virtual_time import in_place
from ganeti.jobs.job import Job
from ganeti.jobs.queue import JobQueue
from ganeti.jobs.store import JobStore
from ganeti.opcodes import Opcode, load
from ganeti.paths import Paths
from ganeti.rpc.base import Call, Outcome, P, R, Target
from ganeti.rpc.replicate import ReplicatedJournal
from ganeti.serializer import Json

ROOT = Path("/machine")
NO_LOG = 1_000_000  # a serial beyond every log line


class NoNetwork:
    """Nobody is there."""

    async def ask(
        self, node: Target, call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Outcome[R]:
        return Outcome(node, error="no network")


@dataclass
class Machine:
    """The master's disk, and what runs on it."""

    executor: NullExecutor = field(default_factory=NullExecutor)
    disk: FaultyDisk = field(default_factory=FaultyDisk)
    paths: Paths = field(default_factory=lambda: Paths(ROOT))
    now: float = 1_700_000_000.0

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def journal(self) -> ReplicatedJournal:
        return ReplicatedJournal(
            "queue",
            self.paths.queue_journal,
            disk=self.disk,
            rpc=NoNetwork(),
            identity="abc",
            offload=in_place,
        )

    def queue(
        self, journal: ReplicatedJournal | None = None, *, journal_bytes: int = 1 << 20
    ) -> JobQueue:
        journal = journal or self.journal()
        store = JobStore(self.paths, self.disk, offload=in_place)
        return JobQueue(store, journal, self.executor, self.clock, journal_bytes=journal_bytes)

    def after_crash(self, executor: NullExecutor | None = None) -> Machine:
        return Machine(executor or NullExecutor(), self.disk.crash(), now=self.now + 60)

    def file(self, name: str) -> bytes:
        return self.disk.read(self.paths.queue / name)


def delay(**more: Json) -> Opcode:
    """An opcode, as a client sends it."""
    return load({"OP_ID": "OP_TEST_DELAY", "duration": 0.1, "reason": [], **more})


async def until(queue: JobQueue, number: int, *statuses: str) -> Job:
    """The job once its status is one of these; TimeoutError after a minute without a change."""
    seen: list[Json] | None = None
    while seen is None or seen[0] not in statuses:
        values, _ = await queue.wait_for_change(number, ["status"], seen, NO_LOG, 60)
        if values == seen:
            raise TimeoutError(f"job {number} stays {values[0]}, not {statuses}")
        seen = values
    return queue.jobs[number]


async def until_end(queue: JobQueue, number: int) -> Job:
    return await until(queue, number, "success", "error", "canceled")
