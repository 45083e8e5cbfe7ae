"""From an opcode to its logical unit: locks, checks, hooks, execution, result.

The queue calls `execute` on the loop. Locks are awaited there; the unit itself runs in a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ganeti.errors import Code, OpPrereqError
from ganeti.jobs.job import Job
from ganeti.jobs.queue import OpRun
from ganeti.jobs.undo import Failed, Step
from ganeti.logic import identity
from ganeti.logic.base import INFO, GeneratedJobs, LogicalUnit, Services
from ganeti.logic.registry import unit_for
from ganeti.master.hooks import Hooks
from ganeti.master.undoing import run_late, run_steps
from ganeti.master.worker import Kill, LoopSide, OpServices
from ganeti.opcodes.base import Opcode
from ganeti.serializer import Json, encode

_log = logging.getLogger(__name__)

SubmitJobs = Callable[[Sequence[Sequence[Opcode]]], Awaitable[Sequence[Json]]]
"""Submits jobs, each a list of opcodes; per job [True, number] or [False, text]."""


class Processor:
    """Supplies the queue with the meaning of opcodes; see jobs.queue.Executor."""

    def __init__(self, loop_side: LoopSide, submit: SubmitJobs) -> None:
        self._side = loop_side
        self._submit = submit
        self._running: dict[int, Kill] = {}

    async def execute(self, job: Job, index: int, run: OpRun) -> Json:
        op = job.ops[index].opcode
        kill = self._running[job.id] = Kill(job.id)
        try:
            result = await self._with_retry(op, job, run, kill)
            if isinstance(result, GeneratedJobs):
                return await self._submit_generated(op, result)
            return result
        finally:
            del self._running[job.id]

    async def _with_retry(
        self, op: Opcode, job: Job, run: OpRun, kill: Kill
    ) -> Json | GeneratedJobs:
        """Once more with full locking, when opportunistic locks left too few nodes."""
        try:
            return await self._attempt(op, job, run, kill)
        except OpPrereqError as error:
            if error.code != Code.TEMP_NORES or not getattr(op, "opportunistic_locking", False):
                raise
        await run.waiting_again()
        return await self._attempt(op.replace(opportunistic_locking=False), job, run, kill)

    async def _attempt(self, op: Opcode, job: Job, run: OpRun, kill: Kill) -> Json | GeneratedJobs:
        services = OpServices(self._side, job.id, run, kill)
        op = identity.with_names(services.snapshot(), op)
        unit = unit_for(op.OP_ID)(op, services)
        unit.arguments()
        identity.confirm(services.snapshot(), op)
        try:
            await self._side.locks.acquire(unit, job.id, services.snapshot, run)
            await run.started()
            return await self._side.bridge.work(lambda: carry_out(unit, services))
        finally:
            self._side.locks.release_all(job.id)
            self._side.store.reservations.release(services.owner)

    async def _submit_generated(self, op: Opcode, result: GeneratedJobs) -> Json:
        """Submit the jobs that an opcode made; they carry its reason trail in front."""
        trail = tuple(op.reason or ())
        jobs = [
            [one.replace(reason=(*trail, *(one.reason or ()))) for one in generated]
            for generated in result.jobs
        ]
        answers = await self._submit(jobs)
        whole = {**encode(result.other), "jobs": [list(answer) for answer in answers]}
        op.check_result(whole)
        return whole

    def cancel(self, job_id: int, *, kill: bool = False) -> None:
        self._side.locks.cancel(job_id)
        if kill and job_id in self._running:
            self._running[job_id].is_set = True

    def end_all(self) -> None:
        """Workers end at their next step: the process can't end before them."""
        for kill in self._running.values():
            kill.is_set = True

    def change_priority(self, job_id: int, priority: int) -> None:
        self._side.locks.change_priority(job_id, priority)

    async def undo(self, job: Job, index: int, steps: Sequence[Step]) -> list[Failed]:
        return await run_steps(self._side.rpc, self._side.store, steps)

    async def undo_late(self, step: Step) -> Failed | None:
        return await run_late(self._side.rpc, self._side.store, self._side.locks, step)


def carry_out(unit: LogicalUnit[Any, Any], services: Services) -> Json | GeneratedJobs:
    """In a worker: check, pre hooks, execute, post hooks. The result in JSON form.

    OpResultError when it is not of the shape that the opcode declares: what was done stays.
    """
    op = unit.op
    config = services.snapshot()
    identity.confirm(config, op)
    plan = unit.check(config)
    hooks = Hooks(op, services)
    before = unit.hooks(config, plan)
    if before is not None and before.pre_nodes:
        hooks.before(config, before)
    if op.dry_run:
        services.feedback(f"{INFO}dry-run mode requested, not actually executing the operation")
        return encode(unit.dry_run_result(plan))
    result = unit.execute(plan)
    if before is not None:
        now = unit.hooks(services.snapshot(), plan) or before
        outcomes = hooks.after(services.snapshot(), before, now) if now.post_nodes else {}
        result = unit.after_hooks(outcomes, result)
    if unit.config_hook and services.snapshot().serial_no != config.serial_no:
        hooks.config_updated(services.snapshot(), before)
    if isinstance(result, GeneratedJobs):
        return result
    made = encode(result)
    op.check_result(made)
    return made
