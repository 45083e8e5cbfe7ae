"""What clients may ask of the queue, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fakes.job_executor import NullExecutor, SteeredExecutor
from fakes.job_machine import Machine, delay, until, until_end
from fakes.virtual_time import run
from ganeti.errors import GenericError, JobLost, OpExecError, OpPrereqError
from ganeti.jobs.queue import JobQueue
from ganeti.jobs.undo import Step
from ganeti.model.filter import JobFilter
from ganeti.serializer import Json


def with_queue(
    test: Callable[[JobQueue, SteeredExecutor, Machine], Awaitable[None]],
) -> Callable[[], None]:
    """The test gets a started queue whose opcodes it steers."""

    def wrapped() -> None:
        async def main() -> None:
            executor = SteeredExecutor()
            machine = Machine(executor)
            queue = machine.queue()
            await queue.start()
            await test(queue, executor, machine)
            await queue.stop()

        run(main())

    wrapped.__name__ = test.__name__
    return wrapped


async def running(queue: JobQueue, executor: SteeredExecutor, **more: Json) -> int:
    number = await queue.submit([delay(**more)])
    executor.grant(number)
    await until(queue, number, "running")
    return number


def rule(action: Json, *predicates: Json, priority: int = 0) -> JobFilter:
    return JobFilter(
        uuid=f"rule-{priority}",
        watermark=2,
        priority=priority,
        predicates=predicates,
        action=action,
        reason_trail=(),
    )


@with_queue
async def test_numbers_begin_with_one_and_follow_each_other(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    assert await queue.submit([delay()]) == 1
    assert await queue.submit_many([[delay()], [delay()]]) == [2, 3]


@with_queue
async def test_job_without_opcodes_is_a_success_at_once(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([])
    fields = ["status", "opstatus", "opresult", "oplog"]
    assert await queue.query([number], fields) == [["success", [], [], []]]


@with_queue
async def test_submission_adds_to_the_reason_trail(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([delay(reason=[["me", "because", 1]]), delay()])
    ops = queue.jobs[number].ops
    seconds, micro = queue.jobs[number].received_timestamp or (0, 0)
    when = seconds * 10**9 + micro * 1000
    assert ops[0].input["reason"] == [
        ["me", "because", 1],
        ["gnt:opcode:test_delay", "job=1;index=0", when],
    ]
    assert ops[1].input["reason"] == [["gnt:opcode:test_delay", "job=1;index=1", when]]


@with_queue
async def test_a_life_is_told_step_by_step(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([delay(), delay()])
    fields = ["status", "opstatus"]
    seen: list[Json] = []

    async def step() -> None:
        values, _ = await queue.wait_for_change(number, fields, seen[-1] if seen else None, 0, 10)
        seen.append(values)

    await step()
    executor.grant(number)
    await step()
    executor.finish(number)
    while seen[-1][1] != ["success", "waiting"]:
        await step()
    executor.grant(number)
    await step()
    executor.fail(number, OpExecError("no"))
    await step()
    assert seen == [
        ["waiting", ["waiting", "queued"]],
        ["running", ["running", "queued"]],
        ["waiting", ["success", "waiting"]],
        ["running", ["success", "running"]],
        ["error", ["success", "error"]],
    ]


@with_queue
async def test_log_lines_reach_a_waiter_before_they_are_durable(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await running(queue, executor)
    operations = machine.disk.operations
    waiter = asyncio.create_task(queue.wait_for_change(number, ["status"], ["running"], 0, 10))
    await asyncio.sleep(0)
    executor.runs[number].log("message", ["one", "two"])
    values, lines = await waiter
    assert machine.disk.operations == operations
    assert values == ["running"]
    assert [(line[0], line[2], line[3]) for line in lines] == [
        (1, "message", "one"),
        (2, "message", "two"),
    ]
    assert lines[0][1] == lines[1][1]
    values, lines = await queue.wait_for_change(number, ["status"], ["running"], 2, 1)
    assert lines == []


@with_queue
async def test_wait_ends_with_the_same_values_after_its_time(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await running(queue, executor)
    begin = asyncio.get_running_loop().time()
    answer = await queue.wait_for_change(number, ["status"], ["running"], 0, 30)
    assert answer == (["running"], [])
    assert asyncio.get_running_loop().time() - begin == pytest.approx(30, abs=0.1)


@with_queue
async def test_wait_for_an_unknown_job_is_an_error(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    with pytest.raises(JobLost, match="Can't load job file"):
        await queue.wait_for_change(99, ["status"], None, None, 1)


@with_queue
async def test_unknown_field_makes_every_value_null_in_a_wait(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([delay()])
    answer = await queue.wait_for_change(number, ["id", "nosuch"], [None, None], None, 10)
    assert answer == ([None, None], [])


@with_queue
async def test_query_shows_missing_jobs_and_refuses_unknown_fields(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    await queue.submit([])
    assert await queue.query([1, 99], ["id", "status"]) == [[1, "success"], [99, None]]
    assert await queue.query(None, ["id"]) == [[1]]
    with pytest.raises(OpPrereqError, match="lock_status"):
        await queue.query([1], ["lock_status"])


@with_queue
async def test_error_ends_the_opcodes_after_it(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([delay(), delay()])
    executor.grant(number)
    await until(queue, number, "running")
    executor.fail(number, OpPrereqError("no such thing", "unknown_entity"))
    job = await until_end(queue, number)
    assert [op.result for op in job.ops] == [
        ["OpPrereqError", ["no such thing", "unknown_entity"]],
        ["OpExecError", ["Preceding opcode failed"]],
    ]
    assert job.end_timestamp is not None


@with_queue
async def test_result_that_is_no_json_is_an_error_of_the_opcode(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await running(queue, executor)
    executor.finish(number, object())
    job = await until_end(queue, number)
    assert job.ops[0].status == "error"


@with_queue
async def test_queued_job_is_canceled_with_a_null_result(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    first = await running(queue, executor)
    second = await queue.submit([delay(depends=[[first, []]])])
    assert (await queue.cancel(second))[0]
    assert await queue.query([second], ["status", "opresult"]) == [["canceled", [None]]]
    assert not (await queue.cancel(second))[0]


@with_queue
async def test_job_that_waits_for_locks_is_canceled(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([delay(), delay()])
    assert (await queue.cancel(number))[0]
    job = await until_end(queue, number)
    assert job.status == "canceled"
    assert [op.result for op in job.ops] == ["Job canceled by request"] * 2
    assert executor.started == []


@with_queue
async def test_running_job_is_not_canceled_but_can_be_killed(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await running(queue, executor)
    assert not (await queue.cancel(number))[0]
    assert (await queue.cancel(number, kill=True))[0]
    assert (await until_end(queue, number)).status == "error"


@with_queue
async def test_dependent_job_waits_and_then_runs(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    first, second = await queue.submit_many([[delay()], [delay(depends=[[-1, ["success"]]])]])
    assert queue.jobs[second].ops[0].input["depends"] == [[first, ["success"]]]
    executor.grant(first)
    await until(queue, first, "running")
    assert queue.jobs[second].status == "queued"
    executor.finish(first)
    await until(queue, second, "waiting")


@with_queue
async def test_dependency_that_ended_otherwise_is_an_error_which_names_both(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    first, second = await queue.submit_many([[delay()], [delay(depends=[[-1, ["success"]]])]])
    executor.grant(first)
    await until(queue, first, "running")
    executor.fail(first, OpExecError("no"))
    job = await until_end(queue, second)
    assert job.ops[0].result == [
        "OpExecError",
        [f"Dependency job {first} finished with status 'error', not one of 'success' as required"],
    ]


@with_queue
async def test_job_is_canceled_with_the_one_it_depends_on(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    first, second = await queue.submit_many([[delay()], [delay(depends=[[-1, ["success"]]])]])
    await queue.cancel(first)
    assert (await until_end(queue, second)).status == "canceled"


@with_queue
async def test_dependency_on_an_archived_job_is_looked_up(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    first = await queue.submit([])
    assert await queue.archive(first)
    second = await queue.submit([delay(depends=[[first, ["success"]]])])
    await until(queue, second, "waiting")


@with_queue
async def test_unknown_dependency_is_an_error(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([delay(depends=[[99999, ["success"]]])])
    job = await until_end(queue, number)
    assert job.ops[0].result == ["OpExecError", ["Dependency error: Job 99999 not found"]]


@with_queue
async def test_dependency_before_the_first_job_refuses_all(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    with pytest.raises(OpPrereqError):
        await queue.submit_many([[delay()], [delay(depends=[[-7, []]])]])
    assert not queue.jobs and queue.serial == 0


@with_queue
async def test_drained_queue_takes_only_what_is_meant_for_it(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    await queue.set_drained(True)
    assert machine.file("drain") == b""
    with pytest.raises(GenericError, match="Queue drained"):
        await queue.submit([delay()])
    assert await queue.submit([delay()], to_drained=True) == 1
    await queue.set_drained(False)
    assert await queue.submit([delay()]) == 2


@with_queue
async def test_priority_of_a_queued_and_a_waiting_job_changes(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    first = await queue.submit([delay()])
    second = await queue.submit([delay(depends=[[first, []]])])
    for number in (first, second):
        assert (await queue.change_priority(number, -5))[0]
    assert await queue.query([first, second], ["priority", "oppriority"]) == [[-5, [-5]]] * 2
    assert executor.priorities == {first: -5}
    assert executor.runs[first].raise_priority() == -6


@with_queue
async def test_priority_of_an_ended_job_does_not_change(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await queue.submit([])
    assert not (await queue.change_priority(number, 50))[0]


@with_queue
async def test_only_ended_jobs_are_archived_and_can_still_be_asked_for(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    done, runs = await queue.submit([]), await running(queue, executor)
    assert not await queue.archive(runs)
    assert await queue.archive(done)
    assert not await queue.archive(done)
    assert await queue.query([done], ["id", "status", "archived"]) == [[done, "success", True]]
    assert machine.file("archive/0/job-1")
    assert list(queue.jobs) == [runs]


@with_queue
async def test_old_jobs_are_archived_by_age(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    await queue.submit_many([[], []])
    assert await queue.auto_archive(1000, 10) == (0, 0)
    machine.now += 2000
    await queue.submit([])
    assert await queue.auto_archive(1000, 10) == (2, 0)
    assert await queue.auto_archive(-1, 10) == (1, 0)


@with_queue
async def test_pausing_rule_keeps_jobs_queued_until_it_is_gone(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    queue.configure(20, [rule("PAUSE", ["opcode", ["=", "OP_ID", "OP_TEST_DELAY"]])])
    number = await queue.submit([delay()])
    assert queue.jobs[number].status == "queued"
    queue.configure(20, [])
    await until(queue, number, "waiting")


@with_queue
async def test_first_rule_that_matches_decides(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    watermark = ["jobid", [">", "id", "watermark"]]
    reason = ["reason", ["=~", "reason", "^urgent"]]
    queue.configure(20, [rule("REJECT", watermark, priority=2), rule("ACCEPT", reason, priority=1)])
    await queue.submit_many([[delay()], [delay()]])
    rejected = await queue.submit([delay()])
    accepted = await queue.submit([delay(reason=[["me", "urgent thing", 1]])])
    assert (await until_end(queue, rejected)).status == "canceled"
    await until(queue, accepted, "waiting")


@with_queue
async def test_rate_limits_of_rules_and_reasons_hold(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    queue.configure(20, [rule(["RATE_LIMIT", 2])])
    numbers = await queue.submit_many([[delay()]] * 4)
    assert [queue.jobs[n].status for n in numbers] == ["waiting"] * 2 + ["queued"] * 2
    queue.configure(20, [])
    limited = [[delay(reason=[["me", "rate-limit:1:x", 1]])]] * 2
    numbers = await queue.submit_many(limited)
    assert [queue.jobs[n].status for n in numbers] == ["waiting", "queued"]


@with_queue
async def test_job_file_of_an_ended_job_is_written_at_once(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await running(queue, executor)
    executor.finish(number)
    await until_end(queue, number)
    await asyncio.sleep(0.2)
    assert b'"status":"success"' in machine.file("job-1")
    assert machine.file("serial") == b"1\n"


@with_queue
async def test_job_file_of_a_waiting_job_is_written_after_a_second_of_rest(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    await queue.submit([delay()])
    await asyncio.sleep(1.3)
    assert b'"status":"waiting"' in machine.file("job-1")


def test_trivial_job_costs_two_writes_of_the_journal() -> None:
    async def main() -> None:
        machine = Machine(NullExecutor("done"))
        queue = machine.queue()
        await queue.start()
        before = machine.disk.log.count("sync journal")
        number = await queue.submit([delay()])
        await until_end(queue, number)
        assert machine.disk.log.count("sync journal") - before == 2
        await queue.stop()

    run(main())


def test_five_hundred_jobs_run_twenty_at_a_time_and_share_their_writes() -> None:
    async def main() -> None:
        machine = Machine()
        queue = machine.queue()
        await queue.start()
        before = machine.disk.log.count("sync journal")
        numbers = await queue.submit_many([[delay()]] * 500)
        for number in numbers:
            await until_end(queue, number)
        assert machine.executor.most_running == 20
        assert machine.disk.log.count("sync journal") - before <= 51
        await queue.stop()

    run(main())


@with_queue
async def test_undo_step_is_durable_before_the_next_step(
    queue: JobQueue, executor: SteeredExecutor, machine: Machine
) -> None:
    number = await running(queue, executor)
    await executor.runs[number].before(Step("blockdev_remove", ("disk",), "uuid"))
    assert b"blockdev_remove" in machine.disk.crash().read(machine.paths.queue_journal)
    executor.finish(number)
    await until_end(queue, number)
    assert queue.jobs[number].ops[0].undo == []
