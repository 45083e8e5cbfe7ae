"""What moves jobs along: scheduler, runs, journal and files together. The loop owns it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from ganeti.errors import GenericError, JobQueueError
from ganeti.jobs.debts import Debts
from ganeti.jobs.job import MESSAGE, Job, split_time
from ganeti.jobs.journal import Jobs, Logged, Moved, Submitted, decode_record
from ganeti.jobs.keeper import JOURNAL_BYTES, REST_S, Keeper
from ganeti.jobs.recorder import Journal, Recorder
from ganeti.jobs.replicate import JobFileReplicator
from ganeti.jobs.rules import Action, Rule, effective_rule
from ganeti.jobs.run import CANCELED_TEXT, Executor, JobRun, ends_after_crash
from ganeti.jobs.schedule import Scheduler, Ticket, ad_hoc_limits
from ganeti.jobs.status import JobStatus, OpStatus
from ganeti.jobs.store import JobStore
from ganeti.jobs.waiters import Waiters

logger = logging.getLogger(__name__)

MAX_RUNNING = 20  # the cluster parameter max_running_jobs, until it is read
UNDO_FIRST_S = (
    60.0  # how long what a crash left behind keeps other jobs waiting; a node may be away
)


class Engine:
    """Live jobs from their submission to their end."""

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
        self.jobs = Jobs()
        self.scheduler = Scheduler(MAX_RUNNING)
        self.rules: Sequence[Rule] = ()
        self.runs: dict[int, JobRun] = {}
        self.waiters = Waiters()
        self.on_change: Callable[[Sequence[int]], None] = lambda numbers: None
        self.recorder = Recorder(self.jobs, journal, self._changed)
        self.keeper = Keeper(
            store,
            self.recorder,
            journal,
            replicator,
            rest_s=rest_s,
            journal_bytes=journal_bytes,
        )
        self.debts = Debts(self.recorder, executor.undo_late, now)
        self.serial = 0  # last number given out, durable or not
        self.stopping = False
        self.resuming: set[int] = set()  # see `_resume`
        self.resumed = asyncio.Event()
        self._undoing: set[int] = set()  # crashed jobs whose undo steps are under way
        self._store = store
        self._journal = journal
        self._executor = executor
        self._now = now
        self._submitted: dict[int, Job] = {}  # not durable yet
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._open = ExitStack()

    # Beginning and end.

    async def start(self) -> None:
        """Jobs of the last time are here; queued ones run, one that ran ends in error.

        JobQueueError, ConfigurationError, ParseError or OSError: the queue can't be used.
        """
        self._open.enter_context(self._store.ours())
        try:
            await self._load()
        except BaseException:
            self._open.close()
            raise
        self.keeper.start()
        live = [job for job in self.jobs.by_id.values() if not job.is_final]
        crashed = [job for job in live if running_index(job) is not None]
        back = [record for job in live for record in self._back(job)]
        self.resuming = {record.id for record in back}
        for job in crashed:
            self.scheduler.adopt(Ticket(job.id))
        self.scheduler.add(self.ticket(job) for job in live if running_index(job) is None)
        self._undoing = {job.id for job in crashed if job.ops[running_index(job) or 0].undo}
        for job in crashed:
            self._spawn(job.id, self._end_after_crash(job))
        if self._undoing:
            asyncio.get_running_loop().call_later(UNDO_FIRST_S, self._undone, *self._undoing)
        if back:
            self._spawn(0, self._resume(back))
        self.debts.start()
        self.reject(live)
        self.start_jobs()

    async def _resume(self, back: Sequence[Moved]) -> None:
        """Jobs that waited for locks are queued again, those that were being canceled have ended.

        The daemon is ready before: this takes as long as a majority of the candidates needs to
        get the new journal. Until then these jobs hold still.
        """
        await self.recorder.commit(*back)
        numbers, self.resuming = self.resuming, set()
        jobs = [self.jobs.by_id[number] for number in numbers if number in self.jobs.by_id]
        live = [job for job in jobs if not job.is_final]
        for number in numbers - {job.id for job in live}:
            self.scheduler.remove(number)
        for job in live:
            self.scheduler.update(self.ticket(job))
        self.reject(live)
        self.resumed.set()
        await asyncio.sleep(0)  # who waited to cancel one of them comes first
        self.start_jobs()

    async def _load(self) -> None:
        loaded = await self._store.offload(self._store.load)
        contents = await self._journal.load()
        told: set[int] = set()  # the journal has them from their beginning
        for line in contents.records if contents is not None else ():
            record = decode_record(line, "the job queue's journal")
            loaded.apply(record)
            if isinstance(record, Submitted):
                told.add(record.job["id"])
        self.jobs.by_id.update(sorted(loaded.by_id.items()))
        self.jobs.owed.update(loaded.owed)
        self.jobs.serial = self.serial = loaded.serial
        damaged = self._store.unreadable.keys() - loaded.by_id.keys() - loaded.archived
        if damaged:
            await self._store.offload(lambda: self._store.put_aside(sorted(damaged)))
        if loaded.archived:
            await self.keeper.archive_again(sorted(loaded.archived))
        self.recorder.adopt(told & self.jobs.by_id.keys())
        self.keeper.changed(told)  # what the journal does not name stands in files durably
        await self.keeper.renew_journal(live_too=False)

    def _back(self, job: Job) -> list[Moved]:
        """What a restart means for a job that waited for locks; facts/jobs.md §12."""
        at = split_time(self._now())
        for index, op in enumerate(job.ops):
            if op.status is OpStatus.WAITING:
                return [Moved(job.id, index, OpStatus.QUEUED, at)]
            if op.status is OpStatus.CANCELING:
                return [
                    Moved(job.id, n, OpStatus.CANCELED, at, CANCELED_TEXT)
                    for n in range(index, len(job.ops))
                ]
        return []

    async def _end_after_crash(self, job: Job) -> None:
        """What the interrupted opcode left behind is undone, then the job ends in error."""
        index = running_index(job) or 0
        steps = tuple(job.ops[index].undo)
        if steps:
            try:
                failed = await self._executor.undo(job, index, steps)
                problems = [one.text for one in failed]
                problems += await self.debts.add(job.id, [one.step for one in failed if one.away])
            except GenericError as error:
                problems = [f"undoing failed: {error}"]
            at = split_time(self._now())
            lines = [
                (job.log_serial + n, at, MESSAGE, text) for n, text in enumerate(problems, start=1)
            ]
            if lines:
                self.recorder.note(Logged(job.id, index, tuple(lines)))
        await self.recorder.commit(*ends_after_crash(job, index, self._now()))
        self._undone(job.id)

    def _undone(self, *numbers: int) -> None:
        """These jobs keep no other waiting any more: undone, or their time is over."""
        if self._undoing & set(numbers):
            self._undoing.difference_update(numbers)
            self.start_jobs()

    async def stop(self, grace_s: float) -> None:
        """No job begins any more; those that run have `grace_s` to end; files are written.

        A job that waits for locks is queued again. One that still runs is left as it is, and ends
        in error at the next start.
        """
        self.stopping = True
        await self.debts.stop()
        if self._tasks and grace_s > 0:
            await asyncio.wait(list(self._tasks), timeout=grace_s)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.waiters.wake_all()
        await self.recorder.drain()
        self.recorder.stop()
        await self.keeper.stop()
        await self._journal.stop()
        self._open.close()

    # Jobs in and out.

    def submit(self, jobs: Sequence[Job]) -> asyncio.Future[None]:
        """Done when the jobs are durable. They may begin before, and do nothing until then."""
        self._submitted.update((job.id, job) for job in jobs)
        stored = self.recorder.submit(jobs)
        stored.add_done_callback(lambda done: self._stored(jobs, done))
        waiting = [job for job in jobs if not job.is_final]
        self.scheduler.add(self.ticket(job) for job in waiting)
        self.reject(waiting)
        self.start_jobs()
        return stored

    def _stored(self, jobs: Sequence[Job], done: asyncio.Future[None]) -> None:
        for job in jobs:
            self._submitted.pop(job.id, None)
        if not done.cancelled() and done.exception() is None:
            return
        refused = {job.id for job in jobs}
        for number in refused:
            self.scheduler.remove(number)
        for task, number in self._tasks.items():
            if number in refused:
                task.cancel()

    def start_jobs(self) -> None:
        """All jobs that may run do; after a crash not before what it left has been undone."""
        if self.stopping or self._undoing:
            return
        for number in self.scheduler.take():
            job = self.jobs.by_id.get(number) or self._submitted[number]
            run = JobRun(
                job, self.recorder, self._executor, self._now, self.status_of, self.debts.add
            )
            self.runs[number] = run
            self._spawn(number, run.run())

    def _spawn(self, number: int, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"job {number}")
        self._tasks[task] = number
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        """A job's task is over: its place is free."""
        number = self._tasks.pop(task)
        self.runs.pop(number, None)
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, JobQueueError):
                logger.error("job %d was left in the middle", number, exc_info=error)
        if not self.stopping:
            self.scheduler.finished(number)
            self.start_jobs()

    async def cancel_queued(self, jobs: Sequence[Job], result: str | None = None) -> None:
        """Jobs that have not begun end as canceled."""
        at = split_time(self._now())
        for job in jobs:
            self.scheduler.update(replace(self.ticket(job), paused=True))
        await self.recorder.commit(
            *(
                Moved(job.id, index, OpStatus.CANCELED, at, result)
                for job in jobs
                for index, op in enumerate(job.ops)
                if not op.is_final
            )
        )
        for job in jobs:
            self.scheduler.remove(job.id)  # not before it can be seen: others depend on its end
        self.start_jobs()

    # Rules.

    def ticket(self, job: Job) -> Ticket:
        """What the scheduler has to know about the job under the rules of today."""
        reasons = [entry for op in job.ops for entry in op.input.get("reason") or ()]
        limits = ad_hoc_limits(reasons)
        rule = effective_rule(self.rules, job)
        if rule is not None and rule.action is Action.RATE_LIMIT:
            limits[f"rule {rule.uuid}"] = rule.limit
        paused = rule is not None and rule.action in (Action.PAUSE, Action.REJECT)
        return Ticket(
            job.id, job.priority, job.dependencies, limits, paused or job.id in self.resuming
        )

    def set_rules(self, rules: Sequence[Rule], max_running: int) -> None:
        """From now on these count, also for jobs that are queued already."""
        self.rules = rules
        self.scheduler.max_running = max_running
        live = [job for job in self.jobs.by_id.values() if not job.is_final]
        live += self._submitted.values()
        for job in live:
            self.scheduler.update(self.ticket(job))
        self.reject(live)
        self.start_jobs()

    def reject(self, jobs: Iterable[Job]) -> None:
        """Jobs of these that a rule rejects are canceled, also those that wait for locks."""
        if not any(rule.action is Action.REJECT for rule in self.rules):
            return
        queued = []
        for job in jobs:
            rule = effective_rule(self.rules, job)
            if rule is None or rule.action is not Action.REJECT or job.id in self.resuming:
                continue
            if self.scheduler.is_queued(job.id):
                queued.append(job)
            elif job.id in self.runs:
                self.runs[job.id].cancel()
        if queued:
            task = asyncio.get_running_loop().create_task(self.cancel_queued(queued))
            self._tasks[task] = 0
            task.add_done_callback(self._left)

    async def status_of(self, number: int) -> JobStatus | None:
        """State of a live or archived job; None if there is none."""
        job = self.jobs.by_id.get(number)
        if job is None:
            job = await self._store.offload(lambda: self._store.read_archived(number))
        return job.status if job is not None else None

    def _changed(self, numbers: Iterable[int]) -> None:
        numbers = list(numbers)
        self.keeper.changed(numbers)
        self.waiters.wake(numbers)
        self.on_change(numbers)


def running_index(job: Job) -> int | None:
    """The opcode that is marked as running."""
    return next((i for i, op in enumerate(job.ops) if op.status is OpStatus.RUNNING), None)
