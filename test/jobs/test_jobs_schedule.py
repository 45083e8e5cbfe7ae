"""The scheduler against the rule as the facts state it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ganeti.jobs.schedule import Scheduler, Ticket, ad_hoc_limits
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

LIMITS = {"1:a": 1, "2:b": 2, "3:c": 3}


def naive_choice(
    queued: dict[int, Ticket], running: dict[int, Ticket], max_running: int
) -> list[int]:
    """facts/jobs.md §8: eligible → sort → rate limits → rules → take while running < max."""
    now = dict(running)
    taken = []
    for ticket in sorted(queued.values(), key=lambda t: t.order):
        live = (queued.keys() | running.keys()) - {ticket.id}
        if ticket.depends & live or ticket.paused:
            continue
        if any(
            sum(label in other.limits for other in now.values()) >= limit
            for label, limit in ticket.limits.items()
        ):
            continue
        if len(now) >= max_running:
            break
        now[ticket.id] = ticket
        taken.append(ticket.id)
    return taken


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(3)
        self.queued: dict[int, Ticket] = {}
        self.running: dict[int, Ticket] = {}
        self.next = 1

    def ticket(self, data: st.DataObject, number: int, last: int) -> Ticket:
        return Ticket(
            number,
            data.draw(st.integers(-2, 2)),
            data.draw(st.frozensets(st.integers(max(1, number - 4), last), max_size=2)),
            {name: LIMITS[name] for name in data.draw(st.sets(st.sampled_from(sorted(LIMITS))))},
            data.draw(st.sampled_from([False, False, False, True])),
        )

    @rule(data=st.data(), count=st.integers(1, 4))
    def submit(self, data: st.DataObject, count: int) -> None:
        new = [self.ticket(data, self.next + n, self.next + count - 1) for n in range(count)]
        self.next += count
        self.scheduler.add(new)
        self.queued.update((ticket.id, ticket) for ticket in new)

    @rule(most=st.integers(0, 4))
    def set_maximum(self, most: int) -> None:
        self.scheduler.max_running = most

    @rule()
    def choose(self) -> None:
        expected = naive_choice(self.queued, self.running, self.scheduler.max_running)
        assert self.scheduler.take() == expected
        for number in expected:
            self.running[number] = self.queued.pop(number)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[number]
        self.scheduler.finished(number)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.queued)))
        del self.queued[number]
        self.scheduler.remove(number)

    @precondition(lambda self: self.queued)
    @rule(data=st.data(), priority=st.integers(-3, 3))
    def change_priority(self, data: st.DataObject, priority: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.queued)))
        self.queued[number] = replace(self.queued[number], priority=priority)
        self.scheduler.change_priority(number, priority)

    @precondition(lambda self: self.queued or self.running)
    @rule(data=st.data())
    def change_rules(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.queued | self.running)))
        place = self.queued if number in self.queued else self.running
        drawn = self.ticket(data, number, number)
        place[number] = replace(place[number], limits=drawn.limits, paused=drawn.paused)
        self.scheduler.update(place[number])

    @invariant()
    def numbers_agree(self) -> None:
        assert self.scheduler.queued == len(self.queued)
        assert self.scheduler.running == len(self.running)


SchedulerMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
TestSchedulerMachine = SchedulerMachine.TestCase


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("rate-limit:3:upgrade", {"3:upgrade": 3}),
        ("rate-limit:3:a:b", {"3:a:b": 3}),
        ("rate-limit:0:x", {}),
        ("rate-limit:x:y", {}),
        ("rate-limit:3", {}),
        ("a rate-limit:3:x", {}),
    ],
)
def test_limit_stands_in_the_reason_text(text: str, limits: dict[str, int]) -> None:
    assert ad_hoc_limits([["gnt:user", text, 1]]) == limits


def test_ten_thousand_limited_jobs_are_not_looked_at_for_every_start() -> None:
    scheduler = Scheduler(20)
    scheduler.add(Ticket(number, limits={"1:x": 1}) for number in range(1, 10_001))
    for number in range(1, 10_001):
        assert scheduler.take() == [number]
        scheduler.finished(number)
