"""What a crash, a failing disk or a restart leaves of the queue."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from fakes.faulty_disk import FaultyDisk
from fakes.job_executor import NullExecutor, SteeredExecutor
from fakes.job_machine import Machine, delay, until, until_end
from fakes.virtual_time import run
from ganeti.errors import GenericError, JobQueueError
from ganeti.jobs.job import Job
from ganeti.jobs.queue import JobQueue, OpRun
from ganeti.jobs.store import JobStore
from ganeti.jobs.undo import Failed, Step
from ganeti.rpc.base import Target
from ganeti.serializer import Json, loads

T = TypeVar("T")


class Recording(NullExecutor):
    """Notes what was begun, in one or two steps of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[tuple[int, int]] = []

    async def execute(self, job: Job, index: int, run: OpRun) -> Json:
        await run.started()
        self.begun.append((job.id, index))
        run.log("message", f"opcode {index}")
        await run.before(Step("undo", (job.id,)))
        await asyncio.sleep(0)
        return index


async def work(queue: JobQueue, given: list[int], archived: list[int]) -> None:
    """A little of everything; `given` has what a client was told."""
    given += await queue.submit_many([[delay()], [delay(), delay()]])
    given.append(await queue.submit([delay(depends=[[-1, []]])]))
    for number in list(given):
        await until_end(queue, number)
    archived.append(given[0])
    await queue.archive(given[0])
    given.append(await queue.submit([delay()]))
    await until_end(queue, given[-1])


async def attempt(machine: Machine, given: list[int], archived: list[int]) -> None:
    """The work, as far as the disk allows it."""
    queue = machine.queue(journal_bytes=2500)
    try:
        await queue.start()
        async with asyncio.timeout(100):
            await work(queue, given, archived)
            await asyncio.sleep(2)
    except (OSError, GenericError, TimeoutError):
        pass


async def everything_ends(queue: JobQueue) -> None:
    for number in list(queue.jobs):
        await until_end(queue, number)


def numbers_everywhere(queue: JobQueue, machine: Machine, wanted: Sequence[int]) -> set[int]:
    return {job for job in wanted if job in queue.jobs} | {
        number
        for number in wanted
        if machine.disk.exists(machine.paths.queue / f"archive/0/job-{number}")
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_number_once_given_survives_a_crash_at_any_moment_and_nothing_runs_twice(
    seed: int,
) -> None:
    async def life(nth: int) -> bool:
        first = Recording()
        machine = Machine(first, FaultyDisk(fail_at=nth, lasting=True, seed=seed + nth))
        given: list[int] = []
        archived: list[int] = []
        await attempt(machine, given, archived)
        second = Recording()
        after = machine.after_crash(second)
        queue = after.queue()
        await queue.start()
        await everything_ends(queue)
        assert numbers_everywhere(queue, after, given) == set(given)
        assert queue.serial >= max(given, default=0)
        assert not set(first.begun) & set(second.begun)
        await queue.stop()
        again = after.after_crash().queue()
        await again.start()
        assert set(again.jobs) == set(queue.jobs)
        await again.stop()
        return machine.disk.failed

    for nth in itertools.count(1):
        if not run(life(nth)):
            assert nth > 40
            return


def test_number_once_given_survives_any_single_fault() -> None:
    async def life(nth: int) -> bool:
        machine = Machine(Recording(), FaultyDisk(fail_at=nth, seed=nth))
        given: list[int] = []
        await attempt(machine, given, [])
        after = Machine(Recording(), machine.disk.repaired(), now=machine.now)
        queue = after.queue()
        await queue.start()
        await everything_ends(queue)
        assert numbers_everywhere(queue, after, given) == set(given)
        assert queue.serial >= max(given, default=0)
        await queue.stop()
        return machine.disk.failed

    for nth in itertools.count(1):
        if not run(life(nth)):
            return


def test_submission_that_cannot_be_stored_is_refused_and_never_runs() -> None:
    async def main() -> None:
        executor = SteeredExecutor()
        machine = Machine(executor)
        queue = machine.queue()
        await queue.start()
        machine.disk.fail_at = machine.disk.operations + 1
        with pytest.raises(JobQueueError):
            await queue.submit([delay()])
        await asyncio.sleep(5)
        assert not queue.jobs and queue.running == 0
        assert await queue.submit([delay()]) == 2
        after = machine.after_crash().queue()
        await after.start()
        assert list(after.jobs) == [2]
        await after.stop()

    run(main())


def test_change_of_a_running_job_waits_for_a_better_disk() -> None:
    async def main() -> None:
        executor = SteeredExecutor()
        machine = Machine(executor)
        queue = machine.queue()
        await queue.start()
        number = await queue.submit([delay()])
        executor.grant(number)
        await until(queue, number, "running")
        machine.disk.fail_at = machine.disk.operations + 1
        executor.finish(number, 7)
        job = await until_end(queue, number)
        assert machine.disk.failed and job.ops[0].result == 7
        await queue.stop()

    run(main())


def test_full_disk_refuses_jobs_and_undo_steps_and_is_overcome() -> None:
    async def main() -> None:
        executor = SteeredExecutor()
        machine = Machine(executor)
        queue = machine.queue()
        await queue.start()
        number = await queue.submit([delay()])
        executor.grant(number)
        await until(queue, number, "running")
        machine.disk.full = True
        for _ in range(3):
            with pytest.raises(JobQueueError, match="No space left on device; it takes jobs again"):
                await queue.submit([delay()])
        with pytest.raises(JobQueueError, match="No space left on device") as caught:
            await executor.runs[number].before(Step("blockdev_remove", ("disk-1",), "node-uuid"))
        executor.fail(number, caught.value)
        await asyncio.sleep(60)
        assert queue.jobs[number].status == "running"  # nobody was told that it has ended
        machine.disk.full = False
        job = await until_end(queue, number)
        assert job.ops[0].result[0] == "JobQueueError"
        new = await queue.submit([delay()])
        assert list(queue.jobs) == [number, new]
        after = machine.after_crash().queue()
        await after.start()
        assert list(after.jobs) == [number, new]
        await after.stop()

    run(main())


def test_restart_runs_what_was_queued_or_waited_and_ends_what_ran() -> None:
    async def main() -> None:
        executor = SteeredExecutor()
        machine = Machine(executor)
        queue = machine.queue()
        await queue.start()
        runs, waits = await queue.submit_many([[delay(), delay()], [delay(priority=-10)]])
        queued = await queue.submit([delay(depends=[[waits, []]])])
        executor.grant(runs)
        await until(queue, runs, "running")
        steps = tuple(Step("blockdev_remove", (disk,), "node-uuid") for disk in ("one", "two"))
        await executor.runs[runs].before(*steps)
        await queue.change_priority(waits, -7)

        second = SteeredExecutor()
        after = machine.after_crash(second).queue()
        await after.start()
        ended = await until_end(after, runs)
        assert second.undone == [(runs, steps)]
        assert ended.status == "error"
        assert ended.ops[0].result[0] == "OpExecError"
        assert ended.ops[1].result == ["OpExecError", ["Preceding opcode failed"]]
        assert ended.ops[0].undo == []
        await until(after, waits, "waiting")
        assert after.jobs[waits].priority == -7
        assert after.jobs[queued].status == "queued"
        await after.stop()

    run(main())


def test_no_job_begins_before_what_a_crash_left_is_undone() -> None:
    class SlowUndo(SteeredExecutor):
        def __init__(self) -> None:
            super().__init__()
            self.may_end = asyncio.Event()

        async def undo(self, job: Job, index: int, steps: Sequence[Step]) -> Sequence[Failed]:
            await self.may_end.wait()
            return await super().undo(job, index, steps)

    async def main() -> None:
        executor = SteeredExecutor()
        machine = Machine(executor)
        queue = machine.queue()
        await queue.start()
        runs = await queue.submit([delay()])
        executor.grant(runs)
        await until(queue, runs, "running")
        await executor.runs[runs].before(Step("blockdev_remove", ("disk-1",), "node-uuid"))

        second = SlowUndo()
        after = machine.after_crash(second).queue()
        await after.start()
        new = await after.submit([delay()])
        await asyncio.sleep(0)
        assert after.jobs[new].status == "queued" and not second.runs
        second.may_end.set()
        await until(after, new, "waiting")
        assert second.undone and after.jobs[runs].status == "error"
        await after.stop()

    run(main())


def test_canceling_job_is_canceled_after_a_restart() -> None:
    class Deaf(SteeredExecutor):
        def cancel(self, job_id: int, *, kill: bool = False) -> None:
            return None

    async def main() -> None:
        machine = Machine(Deaf())
        queue = machine.queue()
        await queue.start()
        number = await queue.submit([delay()])
        asking = asyncio.create_task(queue.cancel(number))
        await until(queue, number, "canceling")
        after = machine.after_crash().queue()
        await after.start()
        assert (await until_end(after, number)).status == "canceled"
        asking.cancel()
        await after.stop()

    run(main())


def test_queue_is_ready_before_the_candidates_have_the_new_journal() -> None:
    async def main() -> None:
        machine = Machine(SteeredExecutor())
        queue = machine.queue()
        await queue.start()
        numbers = await queue.submit_many([[delay()] for _ in range(4)])
        for number in numbers:
            await until(queue, number, "waiting")

        executor = SteeredExecutor()
        after = machine.after_crash(executor)
        journal = after.journal()
        journal.set_followers([Target("a", "a", "silent")])
        queue = after.queue(journal)
        began = asyncio.get_running_loop().time()
        await queue.start()
        assert asyncio.get_running_loop().time() - began < 0.1
        assert not executor.runs and {job.status for job in queue.jobs.values()} == {"waiting"}
        canceled = await queue.cancel(numbers[0])
        assert canceled[0] and journal.degraded  # the deadline is over
        for number in numbers[1:]:
            executor.grant(number)
            executor.finish(number)
            assert (await until_end(queue, number)).status == "success"
        await asyncio.sleep(1)
        assert queue.jobs[numbers[0]].status == "canceled" and queue.running == 0
        await queue.stop()

    run(main())


def test_queue_is_ready_before_the_files_of_live_jobs_are_written() -> None:
    async def main() -> None:
        machine = Machine(SteeredExecutor())
        queue = machine.queue()
        await queue.start()
        numbers = await queue.submit_many([[delay()] for _ in range(100)])
        after = machine.after_crash(SteeredExecutor())
        before = after.disk.operations
        queue = after.queue()
        await queue.start()
        assert after.disk.operations - before < 20
        await asyncio.sleep(5)
        for number in numbers:
            assert loads(after.file(f"job-{number}"))["id"] == number
        await queue.stop()

    run(main())


def test_orderly_stop_puts_a_waiting_job_back_and_leaves_files_only() -> None:
    async def main() -> None:
        machine = Machine(SteeredExecutor())
        queue = machine.queue()
        await queue.start()
        number = await queue.submit([delay()])
        await queue.stop()
        assert loads(machine.file(f"job-{number}"))["ops"][0]["status"] == "queued"
        machine.disk.unlink(machine.paths.queue_journal)
        after = Machine(SteeredExecutor(), machine.disk).queue()
        await after.start()
        await until(after, number, "waiting")
        await after.stop()

    run(main())


def test_unreadable_job_file_goes_to_the_archive_and_its_number_is_not_given_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        machine = Machine()
        machine.disk.put(machine.paths.queue / "job-17", b'{"id": 17, "ops": [')
        machine.disk.put(machine.paths.queue / "version", b"1\n")
        queue = machine.queue()
        await queue.start()
        assert not queue.jobs
        assert machine.file("archive/0/job-17")
        assert await queue.submit([]) == 18
        await queue.stop()

    run(main())
    assert "job 17 is lost" in caplog.text


def test_queue_of_another_version_is_refused() -> None:
    async def main() -> None:
        machine = Machine()
        machine.disk.put(machine.paths.queue / "version", b"2\n")
        with pytest.raises(JobQueueError, match="version 2"):
            await machine.queue().start()

    run(main())


def test_journal_begins_anew_when_it_has_grown() -> None:
    async def main() -> None:
        machine = Machine(Recording())
        queue = machine.queue(journal_bytes=20_000)
        await queue.start()
        for _ in range(100):
            await until_end(queue, await queue.submit([delay()]))
        await asyncio.sleep(2)
        assert machine.disk.size(machine.paths.queue_journal) < 25_000
        after = machine.after_crash().queue()
        await after.start()
        assert list(after.jobs) == list(range(1, 101))
        await after.stop()

    run(main())


@pytest.fixture
def late(samples: Path) -> Path:
    return samples / "state" / "5-late" / "queue"


def test_every_recorded_job_is_loaded_and_saved_without_loss(late: Path) -> None:
    files = [*late.glob("job-*"), *late.glob("archive/*/job-*")]
    assert len(files) > 400
    for path in files:
        recorded = loads(path.read_bytes())
        assert loads(Job.from_json(recorded, path.name).encode()) == recorded


def test_recorded_queue_is_taken_over(late: Path) -> None:
    machine = Machine()
    for path in late.rglob("*"):
        if path.is_file():
            machine.disk.put(machine.paths.queue / path.relative_to(late), path.read_bytes())
    live = {int(path.name[4:]): loads(path.read_bytes()) for path in late.glob("job-*")}

    async def main() -> None:
        queue = machine.queue()
        await queue.start()
        assert queue.jobs.keys() == live.keys()
        assert list(queue.jobs) == sorted(queue.jobs)
        assert await queue.query([260], ["status", "archived"]) == [["error", True]]
        for number, recorded in live.items():
            assert loads(machine.file(f"job-{number}")) == recorded
        assert await queue.submit([delay()]) == 501
        await queue.stop()

    run(main())


def test_stored_opcode_that_nobody_knows_is_shown_as_invalid() -> None:
    job = Job.from_json(
        {"id": 1, "ops": [{"input": {"OP_ID": "OP_GONE", "x": 1}, "status": "success"}]}, "job-1"
    )
    assert job.ops[0].summary == "INVALID_OP"


def test_file_of_a_job_that_the_journal_has_costs_no_sync() -> None:
    async def main() -> None:
        machine = Machine(Recording())
        queue = machine.queue()
        await queue.start()
        del machine.disk.log[:]
        number = await queue.submit([delay()])
        await until_end(queue, number)
        await asyncio.sleep(2)
        assert f"rename job-{number}" in machine.disk.log
        assert not {f"sync job-{number}", "sync serial", "sync names queue"} & {*machine.disk.log}
        await queue.stop()
        assert f"sync job-{number}" in machine.disk.log

    run(main())


@pytest.mark.parametrize("seed", range(8))
def test_damaged_file_of_a_job_that_the_journal_has_is_made_again(seed: int) -> None:
    async def main() -> None:
        machine = Machine(Recording(), FaultyDisk(seed=seed))
        queue = machine.queue()
        await queue.start()
        numbers = await queue.submit_many([[delay()]] * 10)
        for number in numbers:
            await until_end(queue, number)
        await asyncio.sleep(2)
        after = machine.after_crash()
        again = after.queue()
        await again.start()
        assert [again.jobs[number].status.value for number in numbers] == ["success"] * 10
        await again.stop()
        assert not after.disk.exists(after.paths.queue / "archive/0")

    run(main())


def test_job_that_ends_while_the_journal_begins_anew_is_in_the_new_one() -> None:
    async def main() -> None:
        machine = Machine(Recording())
        queue = machine.queue()
        await queue.start()
        for _ in range(30):
            number = await queue.submit([delay()])
            renewing = asyncio.ensure_future(queue._engine.keeper.renew_journal())
            await until_end(queue, number)
            await renewing
            after = machine.after_crash().queue()
            await after.start()
            assert after.jobs[number].status.value == "success"
            await after.stop()
        await queue.stop()

    run(main())


async def slowly(function: Callable[[], T]) -> T:
    """A disk that takes a second."""
    await asyncio.sleep(1)
    return function()


def test_a_stop_while_job_files_are_written_loses_none() -> None:
    async def first_life(machine: Machine) -> list[int]:
        store = JobStore(machine.paths, machine.disk, offload=slowly)
        queue = JobQueue(store, machine.journal(), machine.executor, machine.clock)
        await queue.start()
        numbers = await queue.submit_many([[delay()], [delay()]])
        for number in numbers:
            await until_end(queue, number)
        await asyncio.sleep(0.5)  # their files are being written
        await queue.stop()
        return numbers

    async def second_life(machine: Machine) -> list[int]:
        queue = machine.queue()
        await queue.start()
        there = list(queue.jobs)
        await queue.stop()
        return there

    machine = Machine()
    numbers = run(first_life(machine))
    assert run(second_life(machine)) == numbers
