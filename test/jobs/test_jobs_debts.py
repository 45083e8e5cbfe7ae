"""Undo steps whose node was away: kept, tried again, given up in the end. On virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from fakes.job_executor import SteeredExecutor
from fakes.job_machine import Machine, delay, until
from fakes.virtual_time import run
from ganeti.jobs import debts
from ganeti.jobs.queue import JobQueue
from ganeti.jobs.undo import Failed, Step

STEP = Step("blockdev_remove", ("disk-1",), "node-uuid")
OTHER = Step("blockdev_remove", ("disk-2",), "other-uuid")


class Nodes(SteeredExecutor):
    """`away` nodes do not answer, `rude` ones refuse."""

    def __init__(self, *, away: Sequence[str] = (), rude: Sequence[str] = ()) -> None:
        super().__init__()
        self.away = set(away)
        self.rude = set(rude)
        self.done: list[Step] = []
        self.asked: list[Step] = []

    async def undo_late(self, step: Step) -> Failed | None:
        self.asked.append(step)
        if step.node in self.away | self.rude:
            return Failed(step, "no", step.node in self.away)
        self.done.append(step)
        return None


async def owing(machine: Machine, executor: Nodes, *steps: Step) -> JobQueue:
    """A queue in which a running job owes the steps."""
    queue = machine.queue()
    await queue.start()
    number = await queue.submit([delay()])
    executor.grant(number)
    await until(queue, number, "running")
    assert not await executor.runs[number].owe(steps)
    executor.finish(number)
    await until(queue, number, "success")
    return queue


def test_a_step_is_tried_again_when_its_node_answers() -> None:
    async def main() -> None:
        executor = Nodes(away=["node-uuid"])
        machine = Machine(executor)
        queue = await owing(machine, executor, STEP, OTHER)
        await asyncio.sleep(debts.PAUSE_S + 1)
        assert executor.done == [OTHER]
        executor.away.clear()
        queue.node_answers("node-uuid")
        await asyncio.sleep(1)
        assert executor.done == [OTHER, STEP]
        await queue.stop()
        assert b"blockdev_remove" not in machine.disk.read(machine.paths.queue_journal)

    run(main())


def test_a_node_that_nobody_calls_is_tried_every_minute() -> None:
    async def main() -> None:
        executor = Nodes(away=["node-uuid"])
        queue = await owing(Machine(executor), executor, STEP)
        await asyncio.sleep(debts.PAUSE_S + 1)
        executor.away.clear()
        await asyncio.sleep(debts.RETRY_S + debts.PAUSE_S)
        assert executor.done == [STEP]
        await queue.stop()

    run(main())


@pytest.mark.parametrize("orderly", [True, False])
def test_what_is_owed_outlives_the_master(orderly: bool) -> None:
    async def main() -> None:
        executor = Nodes(away=["node-uuid"])
        machine = Machine(executor)
        queue = await owing(machine, executor, STEP)
        if orderly:
            await queue.stop()
        second = Nodes()
        after = machine.after_crash(second).queue()
        await after.start()
        await asyncio.sleep(1)
        assert second.done == [STEP]
        await after.stop()

    run(main())


def test_what_a_node_refuses_is_given_up_and_named(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        executor = Nodes(rude=["node-uuid"])
        queue = await owing(Machine(executor), executor, STEP)
        await asyncio.sleep(10 * debts.RETRY_S)
        assert executor.asked == [STEP] * debts.MOST_TRIES
        await queue.stop()

    run(main())
    assert "undo step blockdev_remove of job 1 on node node-uuid: given up: no" in caplog.text


def test_a_node_that_stays_away_is_given_up_after_a_week(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        executor = Nodes(away=["node-uuid"])
        machine = Machine(executor)
        queue = await owing(machine, executor, STEP)
        machine.now += debts.KEEP_S + 1
        await asyncio.sleep(2 * debts.RETRY_S)
        count = len(executor.asked)
        await asyncio.sleep(10 * debts.RETRY_S)
        assert len(executor.asked) == count
        await queue.stop()

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "given up" in caplog.text


def test_no_more_than_a_bounded_number_is_kept() -> None:
    async def main() -> None:
        executor = Nodes(away=["node-uuid"])
        machine = Machine(executor)
        queue = await owing(machine, executor, *[STEP] * debts.MOST_OWED)
        number = await queue.submit([delay()])
        executor.grant(number)
        await until(queue, number, "running")
        (said,) = await executor.runs[number].owe([STEP])
        assert "not kept" in said
        executor.finish(number)
        await queue.stop(grace_s=1)

    run(main())
