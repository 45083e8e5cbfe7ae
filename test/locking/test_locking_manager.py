"""The lock manager against a simple model, and the promises it makes."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest
from ganeti.errors import LockError, ProgrammerError
from ganeti.locking.attempts import attempt_timeouts
from ganeti.locking.manager import LockManager
from ganeti.locking.names import EXCLUSIVE, LEVELS, RANK, SHARED, Level, Mode
from ganeti.locking.request import Held, LockRequest, Wanted
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

NAMES = ["a", "b", "c"]
MODES = st.sampled_from([SHARED, EXCLUSIVE])
WANTED = st.one_of(MODES, st.dictionaries(st.sampled_from(NAMES), MODES, min_size=1))
SOME_LEVELS = [Level.INSTANCE, Level.NODE, Level.NODE_RES]


def overlap(one: Wanted, other: Wanted) -> bool:
    """Whether two requests for the same level can't be held by two owners at once."""
    if isinstance(one, Mode) and isinstance(other, Mode):
        return EXCLUSIVE in (one, other)
    if isinstance(one, Mode):
        return overlap(other, one)
    if isinstance(other, Mode):
        return bool(one) and (other is EXCLUSIVE or EXCLUSIVE in one.values())
    return any(EXCLUSIVE in (one[name], other[name]) for name in one.keys() & other.keys())


@dataclass
class Model:
    """The rules, written down without a thought about cost."""

    held: dict[int, dict[Level, Wanted]] = field(default_factory=dict)
    waiting: dict[int, tuple[Level, Wanted, int]] = field(default_factory=dict)
    arrival: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def place(self, owner: int) -> tuple[int, int]:
        return self.waiting[owner][2], self.arrival[owner]

    def may_have(self, owner: int, level: Level, wanted: Wanted, place: tuple[int, int]) -> bool:
        for other, levels in self.held.items():
            if other != owner and level in levels and overlap(levels[level], wanted):
                return False
        return not any(
            other != owner
            and other_level is level
            and self.place(other) < place
            and overlap(other_wanted, wanted)
            for other, (other_level, other_wanted, _) in self.waiting.items()
        )

    def ask(self, owner: int, level: Level, wanted: Wanted, priority: int) -> bool:
        if owner not in self.arrival:
            self.count += 1
            self.arrival[owner] = self.count
        if self.may_have(owner, level, wanted, (priority, self.arrival[owner])):
            self.held.setdefault(owner, {})[level] = wanted
            return True
        self.waiting[owner] = (level, wanted, priority)
        return False

    def settle(self) -> list[int]:
        granted: list[int] = []
        while True:
            for owner in sorted(self.waiting, key=self.place):
                level, wanted, _ = self.waiting[owner]
                if self.may_have(owner, level, wanted, self.place(owner)):
                    del self.waiting[owner]
                    self.held.setdefault(owner, {})[level] = wanted
                    granted.append(owner)
                    break
            else:
                return sorted(granted)


class LockMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.manager = LockManager()
        self.model = Model()

    def highest(self, owner: int) -> int:
        return max((RANK[level] for level in self.model.held.get(owner, {})), default=-1)

    @rule(
        owner=st.integers(1, 6),
        level=st.sampled_from(SOME_LEVELS),
        wanted=WANTED,
        priority=st.integers(-1, 1),
    )
    def ask(self, owner: int, level: Level, wanted: Wanted, priority: int) -> None:
        if owner in self.model.waiting or self.highest(owner) >= RANK[level]:
            return
        assert self.manager.ask(owner, level, wanted, priority=priority) == self.model.ask(
            owner, level, wanted, priority
        )

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def release_a_level(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.model.held)))
        level = data.draw(st.sampled_from(sorted(self.model.held[owner])))
        del self.model.held[owner][level]
        self.drop_empty(owner)
        assert sorted(self.manager.release(owner, level)) == self.model.settle()

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), keep=st.sets(st.sampled_from(NAMES), min_size=1))
    def reduce(self, data: st.DataObject, keep: set[str]) -> None:
        owner = data.draw(st.sampled_from(sorted(self.model.held)))
        level = data.draw(st.sampled_from(sorted(self.model.held[owner])))
        held = self.model.held[owner][level]
        if isinstance(held, Mode):
            self.model.held[owner][level] = dict.fromkeys(keep, held)
        else:
            left = {name: mode for name, mode in held.items() if name in keep}
            self.model.held[owner][level] = left
            if not left:
                del self.model.held[owner][level]
        self.drop_empty(owner)
        assert sorted(self.manager.reduce(owner, level, keep)) == self.model.settle()

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def downgrade(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.model.held)))
        level = data.draw(st.sampled_from(sorted(self.model.held[owner])))
        held = self.model.held[owner][level]
        self.model.held[owner][level] = (
            SHARED if isinstance(held, Mode) else dict.fromkeys(held, SHARED)
        )
        assert sorted(self.manager.downgrade(owner, level)) == self.model.settle()

    @rule(owner=st.integers(1, 6), keep_place=st.booleans())
    def release_all(self, owner: int, keep_place: bool) -> None:
        self.model.held.pop(owner, None)
        self.model.waiting.pop(owner, None)
        if not keep_place:
            self.model.arrival.pop(owner, None)
        granted = self.manager.release_all(owner, keep_place=keep_place)
        assert sorted(granted) == self.model.settle()

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.model.waiting)))
        del self.model.waiting[owner]
        assert sorted(self.manager.cancel(owner)) == self.model.settle()

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data(), priority=st.integers(-2, 2))
    def change_priority(self, data: st.DataObject, priority: int) -> None:
        owner = data.draw(st.sampled_from(sorted(self.model.waiting)))
        level, wanted, _ = self.model.waiting[owner]
        self.model.waiting[owner] = (level, wanted, priority)
        assert sorted(self.manager.set_priority(owner, priority)) == self.model.settle()

    def drop_empty(self, owner: int) -> None:
        if not self.model.held[owner]:
            del self.model.held[owner]

    @invariant()
    def the_same_is_held(self) -> None:
        for owner in range(1, 7):
            held = self.manager.held(owner)
            expected = self.model.held.get(owner, {})
            assert {level: held.of(level) for level in LEVELS if held.of(level)} == expected
            assert self.manager.is_waiting(owner) == (owner in self.model.waiting)

    @invariant()
    def nobody_shares_an_exclusive_lock(self) -> None:
        for info in self.manager.describe():
            assert info.mode is not EXCLUSIVE or len(info.owners) == 1

    def teardown(self) -> None:
        """Those who hold all they want end one after the other: everybody gets his turn."""
        while self.model.held or self.model.waiting:
            ready = sorted(self.model.held.keys() - self.model.waiting.keys())
            assert ready, "everybody waits: a deadlock"
            self.release_all(ready[0], False)
        assert self.manager.describe() == []


LockMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestLockMachine = LockMachine.TestCase


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_no_request_starves_while_new_ones_keep_coming(seed: int) -> None:
    draw = random.Random(seed)
    manager = LockManager()
    holders = [1, 2]
    for owner in holders:
        manager.ask(owner, Level.NODE, {"a": SHARED})
    assert not manager.ask(3, Level.NODE, EXCLUSIVE)
    for owner in range(4, 40):
        manager.ask(owner, Level.NODE, {draw.choice(NAMES): draw.choice([SHARED, EXCLUSIVE])})
    granted = [owner for holder in holders for owner in manager.release_all(holder)]
    assert granted == [3]


def test_an_owner_who_asks_again_is_where_he_was_in_the_line() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, {"a": EXCLUSIVE})
    manager.ask(2, Level.INSTANCE, {"x": EXCLUSIVE})
    manager.ask(3, Level.NODE, {"a": EXCLUSIVE})
    manager.release_all(2, keep_place=True)
    manager.ask(2, Level.NODE, {"a": EXCLUSIVE})
    assert manager.release_all(1) == [2]


def test_a_more_urgent_request_goes_first() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, {"a": EXCLUSIVE})
    manager.ask(2, Level.NODE, {"a": EXCLUSIVE}, priority=0)
    manager.ask(3, Level.NODE, {"a": EXCLUSIVE}, priority=-10)
    assert manager.release_all(1) == [3]


def test_whole_level_covers_names_and_future_names() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, EXCLUSIVE)
    assert manager.ask(1, Level.NODE, {"new": EXCLUSIVE})
    assert not manager.ask(2, Level.NODE, {"new": SHARED})


def test_lower_level_is_refused_while_a_higher_one_is_held() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, {"a": SHARED})
    with pytest.raises(LockError, match="level node"):
        manager.ask(1, Level.INSTANCE, {"x": SHARED})


def test_shared_whole_level_does_not_rise_to_exclusive_names() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, SHARED)
    with pytest.raises(LockError):
        manager.ask(1, Level.NODE, {"a": EXCLUSIVE})


def test_a_waiting_owner_can_not_ask_for_more() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, EXCLUSIVE)
    manager.ask(2, Level.NODE, EXCLUSIVE)
    with pytest.raises(ProgrammerError):
        manager.ask(2, Level.NETWORK, SHARED)


def test_opportunistic_request_takes_what_is_free() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, {"a": EXCLUSIVE})
    wanted = dict.fromkeys("abc", EXCLUSIVE)
    assert manager.ask(2, Level.NODE, wanted, at_least=2)
    assert manager.held(2).of(Level.NODE) == {"b": EXCLUSIVE, "c": EXCLUSIVE}


def test_opportunistic_request_waits_until_enough_is_free_and_stops_nobody() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, {"a": EXCLUSIVE, "b": EXCLUSIVE})
    assert not manager.ask(2, Level.NODE, dict.fromkeys("abc", EXCLUSIVE), at_least=2)
    assert manager.ask(3, Level.NODE, {"c": EXCLUSIVE})
    assert manager.release(1, Level.NODE, ["a"]) == []
    assert manager.release(1, Level.NODE, ["b"]) == [2]
    assert manager.held(2).of(Level.NODE) == {"a": EXCLUSIVE, "b": EXCLUSIVE}


def test_listing_shows_holders_and_waiters() -> None:
    manager = LockManager()
    manager.ask(12, Level.CLUSTER, {"BGL": SHARED})
    manager.ask(11, Level.CLUSTER, {"BGL": SHARED})
    manager.ask(13, Level.CLUSTER, {"BGL": EXCLUSIVE})
    manager.ask(14, Level.NODE, SHARED)
    shown = [(i.name, i.mode, i.owners, i.pending) for i in manager.describe()]
    assert shown == [
        ("cluster/BGL", SHARED, (11, 12), ((EXCLUSIVE, (13,)),)),
        ("node/[lockset]", SHARED, (14,), ()),
    ]


def test_shared_waiters_of_one_priority_are_listed_together() -> None:
    manager = LockManager()
    manager.ask(1, Level.NODE, {"a": EXCLUSIVE})
    for owner in (2, 3):
        manager.ask(owner, Level.NODE, {"a": SHARED})
    assert manager.describe()[0].pending == ((SHARED, (2, 3)),)


def lines_run(work: Callable[[], None]) -> int:
    """How many lines of Python the work takes: the same on every machine."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_cost_follows_what_is_asked_not_what_is_known() -> None:
    def cost(known: int) -> int:
        manager = LockManager()
        for number in range(known):
            manager.ask(number + 1, Level.INSTANCE, {f"i{number}": EXCLUSIVE})
        owners = range(1_000_000, 1_000_020)

        def work() -> None:
            for owner in owners:
                manager.ask(owner, Level.INSTANCE, {"own": EXCLUSIVE})
            for owner in owners:
                manager.release_all(owner)

        return lines_run(work)

    assert cost(1_000) == cost(10)


def test_request_is_within_what_is_held() -> None:
    held = Held({Level.INSTANCE: {"x": EXCLUSIVE}}, {Level.CLUSTER: SHARED, Level.NODE: SHARED})
    assert LockRequest(instances={"x": SHARED}, nodes={"a": SHARED}).is_within(held)
    assert not LockRequest(nodes={"a": EXCLUSIVE}).is_within(held)
    assert not LockRequest(networks=SHARED).is_within(held)


def test_request_lists_its_levels_in_locking_order() -> None:
    request = LockRequest(networks=SHARED, instances={"x": EXCLUSIVE})
    assert list(request.levels()) == [Level.CLUSTER, Level.INSTANCE, Level.NETWORK]


def test_attempts_begin_short_grow_and_end() -> None:
    timeouts = list(attempt_timeouts(lambda: 0.0))
    assert timeouts[0] == 5.0
    assert timeouts == sorted(timeouts) and timeouts[-1] == 75.0
    assert 1800 <= sum(timeouts) < 1875
