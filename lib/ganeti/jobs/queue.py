"""The job queue: durable before it says yes. What clients may ask of it; facts/jobs.md §4, §9, §10.

The loop owns it. A change of state is appended to the journal, here and on the candidates, and
becomes visible once that is durable; log lines are visible at once. A job that waits is a small
object: a ticket of the scheduler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from ganeti.constants import LUXI_WAIT_TIMEOUT_S, PRIORITY_HIGHEST, PRIORITY_LOWEST
from ganeti.errors import Code, GenericError, JobLost, JobQueueError, OpPrereqError
from ganeti.jobs.archive import batches, is_old
from ganeti.jobs.engine import Engine
from ganeti.jobs.fields import FIELDS, field_values, log_lines
from ganeti.jobs.job import Job, split_time
from ganeti.jobs.journal import Archived, Prioritized
from ganeti.jobs.keeper import JOURNAL_BYTES, REST_S
from ganeti.jobs.recorder import Journal
from ganeti.jobs.replicate import JobFileReplicator
from ganeti.jobs.rules import JobFilter, read_rules
from ganeti.jobs.run import Executor, OpRun
from ganeti.jobs.store import JobStore
from ganeti.jobs.submission import check_dependencies, new_job
from ganeti.opcodes import Opcode
from ganeti.serializer import Json

CANCEL_WAIT_S = 44.0  # how long a canceled job may take to let go of what it waits for

__all__ = ["Executor", "JobQueue", "OpRun"]


class JobQueue:
    """`start` first, `stop` last. `now`: Unix seconds."""

    def __init__(
        self,
        store: JobStore,
        journal: Journal,
        executor: Executor,
        now: Callable[[], float],
        replicator: JobFileReplicator | None = None,
        *,
        rest_s: float = REST_S,
        journal_bytes: int = JOURNAL_BYTES,
    ) -> None:
        self._store = store
        self._executor = executor
        self._now = now
        self._replicator = replicator
        self._engine = Engine(
            store, journal, executor, now, replicator, rest_s=rest_s, journal_bytes=journal_bytes
        )
        self.drained = False
        self._on_archive: Callable[[Sequence[Job]], None] = lambda jobs: None

    def watch(
        self,
        changed: Callable[[Sequence[int]], None],
        archived: Callable[[Sequence[Job]], None],
    ) -> None:
        """From now on `changed` gets the numbers of jobs about which something new is visible,
        `archived` the jobs that have left. Called often: both must be quick, and never raise."""
        self._engine.on_change = changed
        self._on_archive = archived

    async def start(self) -> None:
        """Jobs of the last time are here; queued ones run, one that ran ends in error.

        JobQueueError, ConfigurationError, ParseError or OSError: the queue can't be used.
        """
        await self._engine.start()
        self.drained = await self._store.offload(self._store.is_drained)

    async def stop(self, grace_s: float = 0.0) -> None:
        """No job begins any more; those that run have `grace_s` to end; files are written."""
        await self._engine.stop(grace_s)

    def node_answers(self, node: str) -> None:
        """A call to this node (its uuid) was answered: what it missed can be made up for."""
        self._engine.debts.node_answers(node)

    def configure(self, max_running: int, filters: Iterable[JobFilter] = ()) -> None:
        """The configuration has these values now. ParseError: a rule is wrong, nothing changed."""
        self._engine.set_rules(read_rules(filters), max_running)

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The jobs that are not archived, by number."""
        return self._engine.jobs.by_id

    @property
    def serial(self) -> int:
        """The highest number that was given."""
        return self._engine.serial

    @property
    def running(self) -> int:
        return self._engine.scheduler.running

    # Submission.

    async def submit(self, opcodes: Sequence[Opcode], *, to_drained: bool = False) -> int:
        """The number of the new job, which is durable. Errors: see `submit_many`."""
        return (await self.submit_many([opcodes], to_drained=to_drained))[0]

    async def submit_many(
        self, jobs: Sequence[Sequence[Opcode]], *, to_drained: bool = False
    ) -> list[int]:
        """Numbers in the order of `jobs`: all jobs are queued, durably, or none.

        GenericError "Queue drained"; OpPrereqError INVAL for a relative dependency on a job
        before the first one; JobQueueError when they can't be stored.
        """
        if self.drained and not to_drained:
            raise GenericError("Queue drained")
        if self._engine.stopping:
            raise JobQueueError("the master daemon is stopping and takes no jobs")
        first = self._engine.serial + 1
        for number, opcodes in enumerate(jobs, first):
            check_dependencies(number, opcodes)
        received = split_time(self._now())
        new = [new_job(number, opcodes, received) for number, opcodes in enumerate(jobs, first)]
        self._engine.serial += len(new)
        if new:
            await asyncio.shield(self._engine.submit(new))
        return [job.id for job in new]

    async def set_drained(self, drained: bool) -> bool:
        """The queue takes jobs, or not; here and on the candidates. True."""
        await self._store.offload(lambda: self._store.set_drained(drained))
        self.drained = drained
        if self._replicator is not None:
            await self._replicator.set_drain_flag(drained)
        return True

    # Changing jobs.

    async def cancel(self, number: int, *, kill: bool = False) -> tuple[bool, str]:
        """Whether the job is canceled (or killed), and a sentence about it."""
        if number in self._engine.resuming:
            await self._engine.resumed.wait()
        job = self._live(number)
        if job is None:
            return False, not_in_queue(number)
        if self._engine.scheduler.is_queued(number):
            await self._engine.cancel_queued([job])
            return True, f"Job {number} was queued and is canceled now"
        run = self._engine.runs.get(number)
        if run is not None and run.cancel():
            try:
                async with asyncio.timeout(CANCEL_WAIT_S):
                    await run.ended.wait()
            except TimeoutError:
                return True, f"Job {number} will be canceled when it stops waiting"
            return True, f"Job {number} was waiting for locks and is canceled now"
        if run is not None and kill:
            run.kill()
            return True, f"Job {number} was told to end"
        return False, f"Job {number} is no longer waiting and can't be canceled"

    async def change_priority(self, number: int, priority: int) -> tuple[bool, str]:
        """Whether opcodes that have not begun have this priority now, and a sentence about it.

        OpPrereqError INVAL for a priority outside -20..19.
        """
        if self._live(number) is None:
            return False, not_in_queue(number)
        if not PRIORITY_HIGHEST <= priority <= PRIORITY_LOWEST:
            raise OpPrereqError(
                f"priority {priority} is not in {PRIORITY_HIGHEST}..{PRIORITY_LOWEST}", Code.INVAL
            )
        run = self._engine.runs.get(number)
        if run is not None:
            run.change_priority(priority)
        self._engine.scheduler.change_priority(number, priority)
        await self._engine.recorder.commit(Prioritized(number, priority))
        return True, f"Opcodes of job {number} that have not begun have priority {priority} now"

    async def archive(self, number: int) -> bool:
        """Whether the job is archived now: only one that has ended can be."""
        job = self.jobs.get(number)
        if job is None or not job.is_final:
            return False
        await self._archive([number])
        return True

    async def auto_archive(self, age_s: float, timeout_s: float) -> tuple[int, int]:
        """How many jobs that ended more than `age_s` seconds ago (-1: any) were archived, and how
        many were not looked at when `timeout_s` was over."""
        now = self._now()
        old = [number for number, job in self.jobs.items() if is_old(job, age_s, now)]
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        done = 0
        for some in batches(old, lambda: loop.time() >= until):
            await self._archive(some)
            done += len(some)
        return done, len(old) - done

    async def _archive(self, numbers: Sequence[int]) -> None:
        await self._engine.keeper.write(numbers)
        jobs = [self.jobs[number] for number in numbers if number in self.jobs]
        await self._engine.recorder.commit(Archived(tuple(numbers)))
        self._on_archive(jobs)
        await self._engine.keeper.move_to_archive(numbers)

    # Looking at jobs.

    async def query(self, numbers: Sequence[int] | None, fields: Sequence[str]) -> list[list[Json]]:
        """Rows in the order of `numbers`; without numbers all jobs that are not archived.

        A job that is not there has its number and nulls. OpPrereqError INVAL: unknown field.
        """
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise OpPrereqError(f"unknown fields: {', '.join(unknown)}", Code.INVAL)
        if not numbers:
            return [field_values(job, fields) for job in await self.all_jobs(False)]
        found = await self.find_jobs(numbers)
        return [
            field_values(found[number], fields)
            if number in found
            else [number if name == "id" else None for name in fields]
            for number in numbers
        ]

    async def find_jobs(self, numbers: Sequence[int]) -> dict[int, Job]:
        """The jobs of these numbers, archived ones too; those that don't exist are left out."""
        found = {number: self.jobs[number] for number in numbers if number in self.jobs}
        for number in numbers:
            if number not in found and 0 < number <= self.serial:
                job = await self._read_archived(number)
                if job is not None:
                    found[number] = job
        return found

    async def _read_archived(self, number: int) -> Job | None:
        return await self._store.offload(lambda: self._store.read_archived(number))

    async def all_jobs(self, archived: bool) -> list[Job]:
        """All jobs by number; with the archived ones (which are read from disk) if `archived`."""
        live = list(self.jobs.values())
        if not archived:
            return live
        old = await self._store.offload(self._store.all_archived)
        return sorted([*(job for job in old if job.id not in self.jobs), *live], key=_by_id)

    async def wait_for_change(
        self,
        number: int,
        fields: Sequence[str],
        previous: Sequence[Json] | None,
        serial: int | None,
        timeout_s: float,
    ) -> tuple[list[Json], list[Json]]:
        """Field values and log entries newer than `serial`, when there is something new.

        At once if the values differ from `previous`, there are such entries, or the job has
        ended; the same values and no entries when the time is over. An unknown field makes all
        values null, at once (facts/luxi.json). JobLost: there is no such job.
        """
        if number not in self.jobs:
            raise JobLost("Can't load job file")
        if any(name not in FIELDS for name in fields):
            return [None] * len(fields), []
        loop = asyncio.get_running_loop()
        until = loop.time() + min(timeout_s, LUXI_WAIT_TIMEOUT_S)
        before = None if previous is None else list(previous)
        while True:
            job = self.jobs.get(number)
            if job is None:
                raise JobLost("Can't load job file")
            values, lines = field_values(job, fields), log_lines(job, serial or 0)
            late = self._engine.stopping or loop.time() >= until
            if lines or late or job.is_final or values != before:
                return values, lines
            await self._engine.waiters.wait(number, until - loop.time())

    def _live(self, number: int) -> Job | None:
        """The job if it has not ended."""
        job = self.jobs.get(number)
        return None if job is None or job.is_final else job


def not_in_queue(number: int) -> str:
    return f"Job {number} not found in queue: there is no such job, or it has ended"


def _by_id(job: Job) -> int:
    return job.id
