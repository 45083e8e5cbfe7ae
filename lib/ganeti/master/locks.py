"""Locks for jobs: the pure lock manager, with jobs that wait on the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ganeti.config.snapshot import Snapshot
from ganeti.errors import JobCanceled
from ganeti.jobs.queue import OpRun
from ganeti.locking.manager import Granted, LockInfo, LockManager
from ganeti.locking.names import EXCLUSIVE, LEVELS, SHARED, Level, Mode
from ganeti.locking.request import Held, LockRequest, Wanted
from ganeti.logic.base import LogicalUnit
from ganeti.utils.openmetrics import LONG_SECONDS, Histogram

_log = logging.getLogger(__name__)

ROUNDS = 5  # then whole levels are asked for, which no change can outdate
MASTER = 0  # owner of what no job wants; jobs are numbered from 1
PATIENCE_S = 1800.0  # waiting so long makes a job one step more urgent (facts/master.md §B)


class JobLocks:
    """Waiting costs one future; it is woken when the manager says so."""

    def __init__(self) -> None:
        self._manager = LockManager()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self.waits = Histogram(LONG_SECONDS)  # of locks that were not free at once

    @property
    def waiting(self) -> int:
        """How many jobs wait now."""
        return len(self._waiting)

    def describe(self) -> list[LockInfo]:
        return self._manager.describe()

    def held(self, owner: int) -> Held:
        return self._manager.held(owner)

    async def acquire(
        self, unit: LogicalUnit[Any, Any], owner: int, snapshot: Callable[[], Snapshot], run: OpRun
    ) -> None:
        """All locks that the unit names, level by level.

        The unit is asked again at each level, and once more when all is held; if it then wants
        something else, it goes round again and keeps its place.
        """
        for _ in range(ROUNDS):
            for level in LEVELS:
                request = unit.locks(snapshot(), self.held(owner))
                wanted = request.at(level)
                if wanted and not self.held(owner).covers_all(level, wanted):
                    await self._ask(owner, level, wanted, run, request.at_least(level))
            if unit.locks(snapshot(), self.held(owner)).is_within(self.held(owner)):
                return
            self._wake(self._manager.release_all(owner, keep_place=True))
        await self._acquire_whole_levels(unit, owner, snapshot, run)

    async def _acquire_whole_levels(
        self, unit: LogicalUnit[Any, Any], owner: int, snapshot: Callable[[], Snapshot], run: OpRun
    ) -> None:
        request = unit.locks(snapshot(), Held())
        for level in request.levels():
            wanted = request.at(level)
            modes = {wanted} if isinstance(wanted, Mode) else set(wanted.values())
            mode = EXCLUSIVE if EXCLUSIVE in modes else SHARED
            whole: Wanted = request.at(level) if level is Level.CLUSTER else mode
            await self._ask(owner, level, whole, run, None)

    async def _ask(
        self, owner: int, level: Level, wanted: Wanted, run: OpRun, at_least: int | None
    ) -> None:
        if self._manager.ask(owner, level, wanted, priority=run.priority, at_least=at_least):
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        future = self._waiting[owner] = loop.create_future()
        try:
            while True:
                done, _ = await asyncio.wait([future], timeout=PATIENCE_S)
                if done:
                    future.result()
                    return
                self._wake(self._manager.set_priority(owner, run.raise_priority()))
        finally:
            self.waits.observe(loop.time() - began)
            del self._waiting[owner]
            if self._manager.is_waiting(owner):
                self._wake(self._manager.cancel(owner))

    @contextmanager
    def if_free(self, level: Level, name: str) -> Iterator[bool]:
        """Whether nobody holds the lock or waits for it; then it is the master's own for that
        time. One at a time."""
        is_free = self._manager.ask(MASTER, level, {name: EXCLUSIVE})
        if not is_free:
            self.release_all(MASTER)
        try:
            yield is_free
        finally:
            self.release_all(MASTER)

    def release_all(self, owner: int) -> None:
        self._wake(self._manager.release_all(owner))

    def keep_only(self, owner: int, request: LockRequest) -> None:
        """Give back what `request` does not name."""
        for level in reversed(LEVELS):
            if level is Level.CLUSTER:
                continue
            wanted, held = request.at(level), self.held(owner).of(level)
            if not held or wanted == held:
                continue
            if not wanted:
                self._wake(self._manager.release(owner, level))
            elif not isinstance(wanted, Mode):
                self._wake(self._manager.reduce(owner, level, tuple(wanted)))

    def cancel(self, owner: int) -> None:
        """Make a waiting `acquire` of this job raise JobCanceled."""
        future = self._waiting.get(owner)
        if future is not None and not future.done():
            future.set_exception(JobCanceled(f"job {owner} was canceled while waiting for locks"))

    def change_priority(self, owner: int, priority: int) -> None:
        if self._manager.is_waiting(owner):
            self._wake(self._manager.set_priority(owner, priority))

    def _wake(self, granted: Granted) -> None:
        for owner in granted:
            future = self._waiting.get(owner)
            if future is not None and not future.done():
                future.set_result(None)
