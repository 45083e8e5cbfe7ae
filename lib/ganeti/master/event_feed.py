"""Events for those who wait for them, on the loop. Waiting costs one future, no thread.

Nothing is noted as long as nobody asks; who has asked may come back within LINGER_S and misses
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Delta
from ganeti.constants import LUXI_WAIT_TIMEOUT_S
from ganeti.jobs.job import Job
from ganeti.master.events import (
    KEPT_EVENTS,
    Part,
    Ring,
    config_events,
    job_data,
    job_place,
)
from ganeti.serializer import Json
from ganeti.types import EventKind as Kind

LINGER_S = 600.0  # how long after the last question events are still noted
MOST_AT_ONCE = 500  # events in one answer, some 200 KiB


class EventFeed:
    """`jobs`: those that are not archived, by number. `start`: see `Ring`; `now`: monotonic."""

    def __init__(
        self,
        start: str,
        jobs: Callable[[], Mapping[int, Job]],
        now: Callable[[], float],
        *,
        kept: int = KEPT_EVENTS,
    ) -> None:
        self._ring = Ring(start, kept)
        self._jobs = jobs
        self._now = now
        self._awake = False
        self._asked_at = 0.0
        self._places: dict[int, tuple[str, int | None]] = {}  # of jobs that have not ended
        self._waiting: set[asyncio.Future[None]] = set()

    # What happens.

    def jobs_changed(self, numbers: Iterable[int]) -> None:
        """Something about these jobs is new and visible."""
        if not self._awake or self._falls_asleep():
            return
        jobs = self._jobs()
        for number in numbers:
            job = jobs.get(number)
            if job is None:
                continue
            place = job_place(job)
            if self._places.get(number) == place:
                continue
            self._add(Kind.JOB, job_data(job))
            if place[1] is None:
                self._places.pop(number, None)
            else:
                self._places[number] = place

    def jobs_archived(self, jobs: Iterable[Job]) -> None:
        if self._awake and not self._falls_asleep():
            for job in jobs:
                self._add(Kind.JOB, job_data(job))

    def config_changed(self, before: Snapshot, after: Snapshot, delta: Delta) -> None:
        """A change of the configuration is durable."""
        if self._awake and not self._falls_asleep():
            for kind, data in config_events(before, after, delta):
                self._add(kind, data)

    def _add(self, kind: Kind, data: dict[str, Json]) -> None:
        self._ring.add(kind, data)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def _falls_asleep(self) -> bool:
        """Whether nobody has asked for long: nothing is noted any more."""
        if self._waiting or self._now() < self._asked_at + LINGER_S:
            return False
        self._awake = False
        self._ring.forget()
        self._places.clear()
        return True

    # Who waits.

    async def wait(
        self, after: str | None, kinds: Sequence[str] | None, timeout_s: float
    ) -> dict[str, Json]:
        """Events behind the one with id `after`, as soon as there is one, or when time is over.

        Without `after` only the id of the newest event, at once; so with `reset` when events
        behind `after` are gone.
        """
        wanted = None if kinds is None else frozenset(kinds)
        until = self._now() + min(timeout_s, LUXI_WAIT_TIMEOUT_S)
        last = after
        while True:
            self._awake, self._asked_at = True, self._now()
            part = self._ring.after(last, wanted, MOST_AT_ONCE)
            left = until - self._asked_at
            if last is None or part.events or part.reset or left <= 0:
                return self._answer(part)
            last = part.last
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await asyncio.wait([future], timeout=left)
            finally:
                self._waiting.discard(future)

    def _answer(self, part: Part) -> dict[str, Json]:
        rows = [[self._ring.identify(one.number), one.kind.value, one.data] for one in part.events]
        return {"last": part.last, "reset": part.reset, "events": rows}
