"""Locks for jobs: rounds, waiting, canceling, priorities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from ganeti.errors import JobCanceled
from ganeti.locking.names import EXCLUSIVE, SHARED, Level, Mode
from ganeti.locking.request import Held, LockRequest
from ganeti.master.locks import ROUNDS, JobLocks


class Unit:
    """Wants what a function says; remembers how often it was asked when all was held."""

    def __init__(self, wants: Callable[[Held], LockRequest]) -> None:
        self._wants = wants
        self.asked = 0

    def locks(self, config: Any, held: Held) -> LockRequest:
        self.asked += 1
        return self._wants(held)


class Run:
    """The part of jobs.run.OpRun that locks use."""

    def __init__(self, priority: int = 0) -> None:
        self.priority = priority

    def raise_priority(self) -> int:
        self.priority -= 1
        return self.priority


def wanting(**levels: Any) -> Unit:
    return Unit(lambda held: LockRequest(**levels))


async def acquire(locks: JobLocks, unit: Unit, owner: int, run: Run | None = None) -> None:
    await locks.acquire(unit, owner, lambda: None, run or Run())  # type: ignore[arg-type, return-value]


async def soon(locks: JobLocks, unit: Unit, owner: int, run: Run | None = None) -> Any:
    """A task that waits for its locks."""
    task = asyncio.create_task(acquire(locks, unit, owner, run))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def node(mode: Mode = EXCLUSIVE, name: str = "a") -> Unit:
    return wanting(nodes={name: mode})


def test_all_levels_are_held_when_it_returns() -> None:
    async def main() -> None:
        locks = JobLocks()
        await acquire(locks, wanting(instances={"web": EXCLUSIVE}, nodes={"a": SHARED}), 1)
        held = locks.held(1)
        assert held.of(Level.INSTANCE) == {"web": EXCLUSIVE}
        assert held.of(Level.NODE) == {"a": SHARED}
        locks.release_all(1)
        assert locks.describe() == []

    asyncio.run(main())


def test_a_waiting_job_gets_its_lock_when_the_other_lets_go() -> None:
    async def main() -> None:
        locks = JobLocks()
        await acquire(locks, node(), 1)
        task = await soon(locks, node(), 2)
        assert not task.done()
        locks.release_all(1)
        await asyncio.wait_for(task, 1)
        assert locks.held(2).of(Level.NODE) == {"a": EXCLUSIVE}

    asyncio.run(main())


def test_a_canceled_wait_ends_and_leaves_no_trace() -> None:
    async def main() -> None:
        locks = JobLocks()
        await acquire(locks, node(), 1)
        task = await soon(locks, node(), 2)
        locks.cancel(2)
        with pytest.raises(JobCanceled):
            await asyncio.wait_for(task, 1)
        locks.release_all(2)
        locks.release_all(1)
        assert locks.describe() == []

    asyncio.run(main())


def test_the_more_urgent_job_comes_first() -> None:
    async def main() -> None:
        locks = JobLocks()
        await acquire(locks, node(), 1)
        early = await soon(locks, node(), 2)
        late = await soon(locks, node(), 3)
        locks.change_priority(3, -10)
        locks.release_all(1)
        await asyncio.wait_for(late, 1)
        assert not early.done()
        locks.release_all(3)
        await asyncio.wait_for(early, 1)

    asyncio.run(main())


def test_a_unit_that_finds_out_more_goes_round_again() -> None:
    """With the instance held it learns of the node."""

    def wants(held: Held) -> LockRequest:
        nodes = {"a": EXCLUSIVE} if held.of(Level.INSTANCE) else {}
        return LockRequest(instances={"web": EXCLUSIVE}, nodes=nodes)

    async def main() -> None:
        locks = JobLocks()
        await acquire(locks, Unit(wants), 1)
        assert locks.held(1).of(Level.NODE) == {"a": EXCLUSIVE}

    asyncio.run(main())


def test_a_unit_that_never_settles_gets_whole_levels() -> None:
    """Each time it is asked, the node is another one: after some rounds it gets all of them."""
    unit: Unit

    def wants(held: Held) -> LockRequest:
        return LockRequest(nodes={f"node{unit.asked}": EXCLUSIVE})

    unit = Unit(wants)

    async def main() -> None:
        locks = JobLocks()
        await asyncio.wait_for(acquire(locks, unit, 1), 5)
        assert locks.held(1).of(Level.NODE) is EXCLUSIVE
        assert unit.asked >= ROUNDS
        locks.release_all(1)
        assert locks.describe() == []

    asyncio.run(main())


def test_keep_only_gives_back_the_rest() -> None:
    async def main() -> None:
        locks = JobLocks()
        unit = wanting(instances={"web": EXCLUSIVE}, nodes={"a": EXCLUSIVE, "b": EXCLUSIVE})
        await acquire(locks, unit, 1)
        locks.keep_only(1, LockRequest(instances={"web": EXCLUSIVE}, nodes={"b": EXCLUSIVE}))
        assert locks.held(1).of(Level.NODE) == {"b": EXCLUSIVE}
        await asyncio.wait_for(acquire(locks, node(), 2), 1)
        locks.keep_only(1, LockRequest(instances={"web": EXCLUSIVE}))
        assert not locks.held(1).of(Level.NODE)

    asyncio.run(main())


def test_the_master_takes_a_lock_only_when_it_is_free() -> None:
    async def main() -> None:
        locks = JobLocks()
        await acquire(locks, node(SHARED), 1)
        with locks.if_free(Level.NODE, "a") as is_free:
            assert not is_free
        await acquire(locks, node(SHARED), 2)  # nobody waits before it
        locks.release_all(1)
        locks.release_all(2)
        with locks.if_free(Level.NODE, "a") as is_free:
            assert is_free
            task = await soon(locks, node(), 3)
            assert not task.done()
        await task
        assert locks.describe()[-1].owners == (3,)

    asyncio.run(main())
