"""The job queue: durable before it says yes.

The loop owns it. A change of state is appended to the journal, here and on the candidates, and
becomes visible once that is durable; log lines are visible at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ganeti.jobs.job import Job
from ganeti.jobs.undo import Step
from ganeti.serializer import Json


class OpRun(Protocol):
    """What the queue gives to the executor of one opcode; to be used on the loop."""

    @property
    def priority(self) -> int:
        """Priority of the opcode at this moment."""

    async def started(self) -> None:
        """All locks are held: returns once `running` is durable; JobCanceled if it was canceled."""

    def log(self, kind: str, content: Json | Sequence[str]) -> None:
        """A log line (kind `message`), or several with one time stamp; readers see it at once."""

    async def before(self, step: Step) -> None:
        """Returns when the undo step is durable; call it before what it undoes."""

    async def waiting_again(self) -> None:
        """Internal retry: back from running to waiting for locks."""

    def raise_priority(self) -> int:
        """A full round of lock attempts has failed: one step more urgent; the new priority."""


class Executor(Protocol):
    """Supplied by the master: what an opcode means."""

    async def execute(self, job: Job, index: int, run: OpRun) -> Json:
        """Do opcode `index`; its result. Raises GenericError.

        Own undo steps have been run when it raises.
        """

    def cancel(self, job_id: int, *, kill: bool = False) -> None:
        """Make `execute` of a job that waits for locks raise JobCanceled soon.

        `kill`: also one that runs; its next call through the bridge fails.
        """

    def change_priority(self, job_id: int, priority: int) -> None:
        """The waiting opcode of this job has another priority now."""

    async def undo(self, job: Job, index: int, steps: Sequence[Step]) -> list[str]:
        """After a restart: run the steps backwards; what went wrong, one sentence each."""
