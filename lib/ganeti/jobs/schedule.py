"""Which queued job runs next. Pure. Source: facts/jobs.md §5, §6, §8.

A job may start when no job that it depends on is queued or running, in the order of priority and
number, while fewer than `max_running` jobs run and no limit it is under is reached.

Costs follow what changes: a job that has to wait lies in one place (by a dependency, in the heap
of a limit, paused, or in the heap of the ready ones) and is not looked at until that place opens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import TypeAlias

from ganeti.serializer import Json

Order: TypeAlias = tuple[int, int]
"""Priority (lower is more urgent), number."""

RATE_LIMIT = "rate-limit"

READY = "ready"
PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the scheduler knows about a job.

    `limits`: label → how many jobs with this label may run at once. `paused`: a filter rule says
    so.
    """

    id: int
    priority: int = 0
    depends: frozenset[int] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)
    paused: bool = False

    @property
    def order(self) -> Order:
        return self.priority, self.id


def ad_hoc_limits(reasons: Iterable[Json]) -> dict[str, int]:
    """Limits that a reason trail asks for with the text `rate-limit:<n>:<label>`."""
    limits = {}
    for entry in reasons:
        match entry:
            case [_, str(text), *_] if text.startswith(RATE_LIMIT):
                kind, _, rest = text.partition(":")
                number, _, label = rest.partition(":")
                if kind == RATE_LIMIT and label and number.isdigit() and int(number) > 0:
                    limits[f"{int(number)}:{label}"] = int(number)
    return limits


class Scheduler:
    """Queued and running jobs."""

    def __init__(self, max_running: int) -> None:
        self.max_running = max_running
        self._queued: dict[int, Ticket] = {}
        self._running: dict[int, Ticket] = {}
        self._missing: dict[int, set[int]] = {}  # queued job → live jobs it waits for
        self._dependents: dict[int, set[int]] = {}  # live job → queued jobs that wait for it
        # A job lies in one place, but heaps may still have it where it was before.
        self._place: dict[int, str] = {}  # READY, PAUSED, or the label whose limit stops it
        self._ready: list[Order] = []
        self._parked: dict[str, list[Order]] = {}  # by label
        self._used: Counter[str] = Counter()
        self._open: set[str] = set()  # labels whose parked jobs are to be looked at

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def queued(self) -> int:
        return len(self._queued)

    def is_queued(self, number: int) -> bool:
        return number in self._queued

    def add(self, tickets: Iterable[Ticket]) -> None:
        """These jobs are queued. They may depend on each other."""
        new = list(tickets)
        self._queued.update((ticket.id, ticket) for ticket in new)
        for ticket in new:
            missing = {n for n in ticket.depends if n != ticket.id and self._is_live(n)}
            for number in missing:
                self._dependents.setdefault(number, set()).add(ticket.id)
            if missing:
                self._missing[ticket.id] = missing
            else:
                self._make_ready(ticket)

    def adopt(self, ticket: Ticket) -> None:
        """This job holds a place among the running ones, whatever the limits are."""
        self._running[ticket.id] = ticket
        self._used.update(ticket.limits.keys())

    def take(self) -> list[int]:
        """The jobs to start now, most urgent first; they are running from here on."""
        taken = []
        while len(self._running) < self.max_running:
            self._open_limits()
            if not self._ready:
                break
            ticket = self._found(heappop(self._ready), READY)
            if ticket is None:
                continue
            if ticket.paused:
                self._place[ticket.id] = PAUSED
            elif not self._park(ticket):
                del self._queued[ticket.id], self._place[ticket.id]
                self.adopt(ticket)
                taken.append(ticket.id)
            self._open.update(ticket.limits.keys())
        return taken

    def finished(self, number: int) -> None:
        """A running job has ended."""
        ticket = self._running.pop(number, None)
        if ticket is not None:
            self._used.subtract(ticket.limits.keys())
            self._open.update(ticket.limits.keys())
            self._let_go(number)

    def remove(self, number: int) -> None:
        """A queued job will not run."""
        ticket = self._queued.pop(number, None)
        if ticket is not None:
            self._forget_place(number)
            self._open.update(ticket.limits.keys())
            self._let_go(number)

    def change_priority(self, number: int, priority: int) -> None:
        """Later choices go by the new priority."""
        ticket = self._queued.get(number)
        if ticket is not None and ticket.priority != priority:
            self.update(replace(ticket, priority=priority))

    def update(self, ticket: Ticket) -> None:
        """The job has other limits, another priority, is paused or no longer so."""
        number = ticket.id
        if number in self._running:
            old = self._running[number]
            self._used.subtract(old.limits.keys())
            self._open.update(old.limits.keys())
            self.adopt(ticket)
        elif number in self._queued:
            self._open.update(self._queued[number].limits.keys())
            self._forget_place(number)
            self.add([ticket])

    def _is_live(self, number: int) -> bool:
        return number in self._queued or number in self._running

    def _let_go(self, number: int) -> None:
        for dependent in self._dependents.pop(number, ()):
            missing = self._missing[dependent]
            missing.discard(number)
            if not missing:
                del self._missing[dependent]
                self._make_ready(self._queued[dependent])

    def _make_ready(self, ticket: Ticket) -> None:
        self._place[ticket.id] = READY
        heappush(self._ready, ticket.order)

    def _found(self, order: Order, place: str) -> Ticket | None:
        """The job that lies at this place; None if it is elsewhere by now."""
        ticket = self._queued.get(order[1])
        if ticket is None or ticket.order != order or self._place.get(ticket.id) != place:
            return None
        return ticket

    def _forget_place(self, number: int) -> None:
        self._place.pop(number, None)
        for other in self._missing.pop(number, ()):
            self._dependents[other].discard(number)

    def _park(self, ticket: Ticket) -> bool:
        """Puts the job aside if a limit is reached."""
        for label, limit in ticket.limits.items():
            if self._used[label] >= limit:
                self._place[ticket.id] = label
                heappush(self._parked.setdefault(label, []), ticket.order)
                return True
        return False

    def _open_limits(self) -> None:
        """The first of those parked at each opened label is looked at again.

        The next one follows when that one was looked at, since whatever happens to a ready job
        opens its labels.
        """
        while self._open:
            label = self._open.pop()
            parked = self._parked.get(label, [])
            while parked:
                ticket = self._found(parked[0], label)
                if ticket is not None and self._used[label] >= ticket.limits[label]:
                    break
                heappop(parked)
                if ticket is not None:
                    self._make_ready(ticket)
                    break
            if not parked:
                self._parked.pop(label, None)
                if not self._used[label]:
                    del self._used[label]
