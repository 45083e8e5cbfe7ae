"""One job that has its turn: its opcodes one after the other. Source: facts/jobs.md §3, §6, §8."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ganeti.constants import PRIORITY_HIGHEST
from ganeti.errors import GenericError, JobCanceled, OpExecError, encode_error
from ganeti.jobs.job import MESSAGE, Job, LogEntry, split_time
from ganeti.jobs.journal import Logged, Moved, Prioritized, UndoAdded
from ganeti.jobs.recorder import Recorder
from ganeti.jobs.status import JobStatus, OpStatus
from ganeti.jobs.undo import Failed, Step
from ganeti.serializer import Json, encode

logger = logging.getLogger(__name__)

CANCELED_TEXT = "Job canceled by request"
PRECEDING_FAILED = ["OpExecError", ["Preceding opcode failed"]]


class OpRun(Protocol):
    """What the queue gives to the executor of one opcode; to be used on the loop."""

    @property
    def priority(self) -> int:
        """Priority of the opcode at this moment."""

    async def started(self) -> None:
        """All locks are held: returns once `running` is durable; JobCanceled if it was canceled.

        A job that gets here within the turn of the loop in which it was begun costs no write of
        its own for that.
        """

    def log(self, kind: str, content: Json) -> None:
        """A log line; of kind `message` also a list of lines with one time stamp.

        Readers see it at once.
        """

    async def before(self, *steps: Step) -> None:
        """Returns when the undo steps are durable; to be called before what they undo.

        JobQueueError when the master's disk fails: what would be undone must not be done.
        """

    async def owe(self, steps: Sequence[Step]) -> Sequence[str]:
        """Undo steps whose node does not answer are tried again when it does, also after the job.

        A sentence for each that can't be kept.
        """

    async def waiting_again(self) -> None:
        """Internal retry: back from running to waiting for locks."""

    def raise_priority(self) -> int:
        """A full round of lock attempts has failed: one step more urgent; the new priority."""


class Executor(Protocol):
    """Supplied by the master: what an opcode means."""

    async def execute(self, job: Job, index: int, run: OpRun) -> Json:
        """Do opcode `index` (`job.ops[index].opcode`); its result in JSON form.

        Raises GenericError; undo steps of a failed opcode have been run by then.
        """

    def cancel(self, job_id: int, *, kill: bool = False) -> None:
        """Make `execute` of a job that waits for locks raise JobCanceled soon.

        `kill`: also of one that runs; its next call through the bridge fails.
        """

    def change_priority(self, job_id: int, priority: int) -> None:
        """The waiting opcode of this job has another priority now."""

    async def undo(self, job: Job, index: int, steps: Sequence[Step]) -> Sequence[Failed]:
        """After a restart: run the steps backwards; those that failed."""

    async def undo_late(self, step: Step) -> Failed | None:
        """Run a step that is owed, unless what it would remove is in use again."""


class JobRun:
    """A job from its turn to its end. Its own view of states is ahead of what is visible."""

    def __init__(
        self,
        job: Job,
        recorder: Recorder,
        executor: Executor,
        now: Callable[[], float],
        status_of: Callable[[int], Awaitable[JobStatus | None]],
        owe: Callable[[int, Sequence[Step]], Awaitable[Sequence[str]]],
    ) -> None:
        self.job = job
        self.index = job.next_index or 0
        self.phase = OpStatus.QUEUED
        self._recorder = recorder
        self._executor = executor
        self._now = now
        self._status_of = status_of
        self._owe = owe
        self._priorities = [op.priority for op in job.ops]
        self.ended = asyncio.Event()

    # What the queue asks for.

    async def run(self) -> None:
        """The job has ended, durably and visibly. JobQueueError when it could not be submitted."""
        try:
            while self.index < len(self.job.ops) and await self._run_opcode(self.index):
                self.index += 1
        finally:
            self.ended.set()

    def cancel(self) -> bool:
        """Whether the job will be canceled: only one that waits for locks can be."""
        if self.phase is not OpStatus.WAITING:
            return False
        self.phase = OpStatus.CANCELING
        self._recorder.put(self._moved(self.index, OpStatus.CANCELING))
        self._executor.cancel(self.job.id)
        return True

    def kill(self) -> None:
        self._executor.cancel(self.job.id, kill=True)

    def change_priority(self, priority: int) -> None:
        """Also what waits for locks now."""
        first = self.index + (self.phase is OpStatus.RUNNING)
        self._priorities[first:] = [priority] * len(self._priorities[first:])
        if self.phase is OpStatus.WAITING:
            self._executor.change_priority(self.job.id, priority)

    # What the executor asks for: OpRun.

    @property
    def priority(self) -> int:
        return self._priorities[self.index]

    async def started(self) -> None:
        if self.phase is OpStatus.CANCELING:
            raise JobCanceled(CANCELED_TEXT)
        self.phase = OpStatus.RUNNING
        await self._recorder.commit(self._moved(self.index, OpStatus.RUNNING))

    async def waiting_again(self) -> None:
        self.phase = OpStatus.WAITING
        await self._recorder.commit(self._moved(self.index, OpStatus.WAITING))

    def log(self, kind: str, content: Json) -> None:
        lines = content if kind == MESSAGE and isinstance(content, (list, tuple)) else [content]
        stamp = split_time(self._now())
        serial = self.job.log_serial
        entries: list[LogEntry] = [
            (serial + n, stamp, kind, encode(line)) for n, line in enumerate(lines, start=1)
        ]
        if entries:
            self._recorder.note(Logged(self.job.id, self.index, tuple(entries)))

    async def before(self, *steps: Step) -> None:
        await self._recorder.try_commit(
            *(UndoAdded(self.job.id, self.index, step) for step in steps)
        )

    async def owe(self, steps: Sequence[Step]) -> Sequence[str]:
        return await self._owe(self.job.id, steps)

    def raise_priority(self) -> int:
        raised = max(PRIORITY_HIGHEST, self.priority - 1)
        if raised != self.priority:
            self._priorities[self.index] = raised
            self._recorder.put(Prioritized(self.job.id, raised, self.index))
        return raised

    # One opcode.

    async def _run_opcode(self, index: int) -> bool:
        """Whether the job goes on."""
        self.phase = OpStatus.QUEUED
        try:
            if not await self._may_begin(index):
                await self._end(index, OpStatus.CANCELED, None)
                return False
            self.phase = OpStatus.WAITING
            self._recorder.put(self._moved(index, OpStatus.WAITING))
            result = encode(await self._executor.execute(self.job, index, self))
            if self.phase is not OpStatus.CANCELING:
                await self._succeed(index, result)
                return True
        except asyncio.CancelledError:
            self._put_back(index)
            raise
        except Exception as error:
            if self.phase is not OpStatus.CANCELING:
                await self._fail(index, error)
                return False
        await self._end(index, OpStatus.CANCELED, CANCELED_TEXT)
        return False

    async def _may_begin(self, index: int) -> bool:
        """False when a dependency was canceled. OpExecError when one ended the wrong way."""
        for number, wanted in self.job.ops[index].depends:
            status = None if number == self.job.id else await self._status_of(number)
            if number == self.job.id:
                raise OpExecError(f"Dependency error: Job {number} depends on itself")
            if status is None:
                raise OpExecError(f"Dependency error: Job {number} not found")
            if not wanted or status.value in wanted:
                continue
            if status is JobStatus.CANCELED:
                return False
            needed = ", ".join(repr(str(one)) for one in wanted)
            raise OpExecError(
                f"Dependency job {number} finished with status '{status}', not one of {needed} as"
                " required"
            )
        return True

    async def _succeed(self, index: int, result: Json) -> None:
        records = [self._moved(index, OpStatus.SUCCESS, result)]
        if self.phase is OpStatus.WAITING:  # nothing to lock and nobody told
            records.insert(0, self._moved(index, OpStatus.RUNNING))
        if index + 1 < len(self.job.ops):
            self._recorder.put(*records)  # durable with the start of the next one
        else:
            await self._recorder.commit(*records)

    async def _fail(self, index: int, error: Exception) -> None:
        if not isinstance(error, GenericError):
            logger.error("job %d, opcode %d failed", self.job.id, index, exc_info=error)
        later = [
            self._moved(n, OpStatus.ERROR, PRECEDING_FAILED)
            for n in range(index + 1, len(self.job.ops))
        ]
        await self._recorder.commit(
            self._moved(index, OpStatus.ERROR, encode(encode_error(error))), *later
        )

    async def _end(self, index: int, status: OpStatus, result: Json) -> None:
        """This opcode and all after it end with the same status."""
        await self._recorder.commit(
            *(self._moved(n, status, result) for n in range(index, len(self.job.ops)))
        )

    def _put_back(self, index: int) -> None:
        """The queue stops: what has not begun is queued again, what has is found at the start."""
        if self.phase is OpStatus.WAITING:
            self._recorder.put(self._moved(index, OpStatus.QUEUED))
        elif self.phase is OpStatus.CANCELING:
            self._recorder.put(
                *(
                    self._moved(n, OpStatus.CANCELED, CANCELED_TEXT)
                    for n in range(index, len(self.job.ops))
                )
            )

    def _moved(self, index: int, status: OpStatus, result: Json = None) -> Moved:
        return Moved(self.job.id, index, status, split_time(self._now()), result)


def ends_after_crash(job: Job, index: int, now: float) -> list[Moved]:
    """An opcode ran when the master daemon ended: it and the later ones are in error."""
    at = split_time(now)
    text = f"job {job.id} ran when the master daemon ended; what it did up to then is in its log"
    first = Moved(job.id, index, OpStatus.ERROR, at, ["OpExecError", [text]])
    return [first] + [
        Moved(job.id, n, OpStatus.ERROR, at, PRECEDING_FAILED)
        for n in range(index + 1, len(job.ops))
    ]
