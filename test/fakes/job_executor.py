"""An executor of jobs whose opcodes end when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ganeti.errors import JobCanceled
from ganeti.jobs.job import Job
from ganeti.jobs.queue import OpRun
from ganeti.jobs.undo import Failed, Step
from ganeti.serializer import Json


class NullExecutor:
    """Every opcode succeeds at once."""

    def __init__(self, result: Json = None) -> None:
        self.result = result
        self.most_running = 0
        self.running = 0
        self.undone: list[tuple[int, Sequence[Step]]] = []

    async def execute(self, job: Job, index: int, run: OpRun) -> Json:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await run.started()
            return self.result
        finally:
            self.running -= 1

    def cancel(self, job_id: int, *, kill: bool = False) -> None:
        return None

    def change_priority(self, job_id: int, priority: int) -> None:
        return None

    async def undo(self, job: Job, index: int, steps: Sequence[Step]) -> Sequence[Failed]:
        self.undone.append((job.id, tuple(steps)))
        return []

    async def undo_late(self, step: Step) -> Failed | None:
        return None


class SteeredExecutor(NullExecutor):
    """Each opcode waits for locks until `grant`, and works until `finish` or `fail`."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[int, OpRun] = {}
        self.priorities: dict[int, int] = {}
        self.started: list[int] = []
        self._locks: dict[int, asyncio.Future[None]] = {}
        self._work: dict[int, asyncio.Future[Json]] = {}

    async def execute(self, job: Job, index: int, run: OpRun) -> Json:
        loop = asyncio.get_running_loop()
        self.runs[job.id] = run
        self._locks[job.id] = loop.create_future()
        self._work[job.id] = loop.create_future()
        await self._locks[job.id]
        await run.started()
        self.started.append(job.id)
        return await self._work[job.id]

    def is_waiting(self, number: int) -> bool:
        return number in self._locks and not self._locks[number].done()

    def grant(self, number: int) -> None:
        self._locks[number].set_result(None)

    def finish(self, number: int, result: Json = None) -> None:
        self._work[number].set_result(result)

    def fail(self, number: int, error: Exception) -> None:
        self._work[number].set_exception(error)

    def cancel(self, job_id: int, *, kill: bool = False) -> None:
        future = self._locks.get(job_id)
        if future is not None and not future.done():
            future.set_exception(JobCanceled("Job canceled by request"))
        elif kill:
            self._work[job_id].set_exception(JobCanceled("killed"))

    def change_priority(self, job_id: int, priority: int) -> None:
        self.priorities[job_id] = priority
