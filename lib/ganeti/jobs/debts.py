"""Undo steps whose node did not answer: kept in the journal, tried again when it does.

A step is tried when the node answers some other call, after each start of the master daemon, and
every minute. What the node refuses, and what waits for longer than a week, is given up; the log
names it, so that somebody can clean up by hand.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from ganeti.errors import GenericError, JobQueueError
from ganeti.jobs.journal import Owed, Paid
from ganeti.jobs.recorder import Recorder
from ganeti.jobs.undo import Failed, Step
from ganeti.utils.waking import is_set_within

logger = logging.getLogger(__name__)

RETRY_S: Final = 60.0  # a node that nobody else calls is noticed by then
PAUSE_S: Final = 1.0  # between two rounds, however often a node answers
KEEP_S: Final = 7 * 24 * 3600.0
MOST_TRIES: Final = 3  # by a node that answers and refuses
MOST_OWED: Final = 1000

UndoLate = Callable[[Step], Awaitable[Failed | None]]


class Debts:
    """The steps that are owed. The loop owns it; one background task while there are any.

    `undo_late` carries one step out, or says why not. `now`: Unix seconds.
    """

    def __init__(self, recorder: Recorder, undo_late: UndoLate, now: Callable[[], float]) -> None:
        self._recorder = recorder
        self._undo_late = undo_late
        self._now = now
        self._tries: Counter[int] = Counter()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def add(self, job: int, steps: Sequence[Step]) -> list[str]:
        """These steps are owed, durably; a sentence for each that is not kept."""
        owed = self._recorder.jobs.owed
        room = max(0, MOST_OWED - len(owed))
        first = max(owed, default=0) + 1
        kept = [Owed(n, job, step, self._now()) for n, step in enumerate(steps[:room], first)]
        try:
            await self._recorder.try_commit(*kept)
        except JobQueueError as error:
            return [f"{step.call}: not kept for later: {error}" for step in steps]
        self.start()
        for one in kept:
            logger.warning("%s: its node does not answer; tried again when it does", shown(one))
        return [
            f"{step.call}: not kept for later, {MOST_OWED} steps wait already"
            for step in steps[room:]
        ]

    def start(self) -> None:
        """What is owed is tried, now and whenever there is reason to."""
        if self._recorder.jobs.owed and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    def node_answers(self, node: str) -> None:
        """A call to this node (its uuid) has been answered."""
        if any(one.step.node == node for one in self._recorder.jobs.owed.values()):
            self._wake.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._recorder.jobs.owed:
            self._wake.clear()
            try:
                await self._try(list(self._recorder.jobs.owed.values()))
            except (OSError, GenericError) as error:
                logger.error("undo steps that are owed: %s", error)
            await asyncio.sleep(PAUSE_S)
            await is_set_within(self._wake, RETRY_S)

    async def _try(self, owed: Iterable[Owed]) -> None:
        """One round. Steps of one node keep their order, and one that is away is asked once."""
        away: set[str] = set()
        for one in owed:
            if one.step.node in away:
                continue
            failed = await self._undo_late(one.step)
            if failed is None:
                logger.info("%s: done, now that the node answers", shown(one))
            elif failed.away and self._now() - one.since < KEEP_S:
                away.add(one.step.node)
                continue
            elif not failed.away and self._may_try_again(one.number):
                continue
            else:
                logger.error("%s: given up: %s; clean up by hand", shown(one), failed.text)
            await self._recorder.commit(Paid(one.number))

    def _may_try_again(self, number: int) -> bool:
        self._tries[number] += 1
        return self._tries[number] < MOST_TRIES


def shown(owed: Owed) -> str:
    return f"undo step {owed.step.call} of job {owed.job} on node {owed.step.node}"
