"""The queue answers what a real cluster answered to the same submissions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes.job_executor import NullExecutor, SteeredExecutor
from fakes.job_machine import Machine, until, until_end
from fakes.luxi_replay import LuxiReplay
from fakes.virtual_time import run
from ganeti.cli.info import page
from ganeti.cli.job_info import pages
from ganeti.errors import GenericError, OpPrereqError, ProgrammerError, encode_error
from ganeti.jobs.fields import FIELDS
from ganeti.jobs.job import Job, decode_job
from ganeti.jobs.queue import JobQueue, OpRun
from ganeti.opcodes import Opcode, load_submitted
from ganeti.serializer import Json, loads


class Recorded(NullExecutor):
    """Opcodes end as they did when the recording was made."""

    async def execute(self, job: Job, index: int, run: OpRun) -> Json:
        await run.started()
        given = job.ops[index].input
        if given.get("duration", 0) < 0:
            raise OpPrereqError("Duration must be greater than zero")
        if given["OP_ID"] == "OP_INSTANCE_STARTUP":
            raise OpPrereqError("Instance 'nosuch' not known", "unknown_entity")
        if given["OP_ID"] == "OP_CLUSTER_QUERY":
            raise ProgrammerError("Architecture information hasn't been initialized")
        return None


def conversation(path: Path) -> Iterator[tuple[str, list[Json], bool, Json]]:
    """Method, arguments, whether it was granted, and the result."""
    for line in path.read_text().splitlines():
        record = loads(line)
        sent, received = loads(record["send"]), loads(record["recv"])
        yield sent["method"], sent["args"], received["success"], received["result"]


def is_for_the_queue(success: bool, result: Json) -> bool:
    """Requests that could not be parsed are answered before the queue is asked."""
    return success or not str(result).startswith("Failed to parse")


def opcodes(values: list[Json]) -> list[Opcode]:
    return [load_submitted(value) for value in values]


async def answer(queue: JobQueue, method: str, args: list[Json]) -> Json:
    match method, args:
        case "SubmitJob", [ops]:
            return await queue.submit(opcodes(ops))
        case "SubmitJobToDrainedQueue", [ops]:
            return await queue.submit(opcodes(ops), to_drained=True)
        case "SubmitManyJobs", [jobs]:
            return [[True, n] for n in await queue.submit_many([opcodes(job) for job in jobs])]
        case "SetDrainFlag", [flag]:
            return await queue.set_drained(flag)
        case "QueryConfigValues", _:
            return [queue.drained]
        case "QueryJobs", [numbers, fields]:
            for number in queue.jobs:
                await until_end(queue, number)
            return await queue.query(numbers, fields)
    raise AssertionError(f"unexpected request {method}")


def test_submissions_get_the_recorded_answers(samples: Path) -> None:
    async def main() -> None:
        machine = Machine(Recorded())
        machine.disk.put(machine.paths.queue / "version", b"1\n")
        machine.disk.put(machine.paths.queue / "serial", b"247\n")
        queue = machine.queue()
        await queue.start()
        asked = 0
        for method, args, success, result in conversation(samples / "luxi" / "submit.jsonl"):
            if is_for_the_queue(success, result):
                asked += 1
                try:
                    given = await answer(queue, method, args)
                except GenericError as error:
                    assert not success
                    given = encode_error(error)
                assert given == result, (method, args)
        assert asked > 15
        await queue.stop()

    run(main())


def test_dependencies_cancel_kill_and_archive_get_the_recorded_answers(samples: Path) -> None:
    """job-life.jsonl from job 260 on; texts of ours differ, states and shapes don't."""
    records = list(conversation(samples / "luxi" / "job-life.jsonl"))
    begin = next(n for n, record in enumerate(records) if record[3] == 260)

    async def main() -> None:
        executor = SteeredExecutor()
        machine = Machine(executor)
        machine.disk.put(machine.paths.queue / "version", b"1\n")
        machine.disk.put(machine.paths.queue / "serial", b"259\n")
        queue = machine.queue()
        await queue.start()
        for method, args, _, result in records[begin:]:
            match method, args:
                case "SubmitJob", [ops]:
                    number = await queue.submit(opcodes(ops))
                    assert number == result
                    if number == 260:
                        executor.grant(260)
                        await until(queue, 260, "running")
                case "QueryJobs", [numbers, fields]:
                    await asyncio.sleep(1)
                    if "opresult" in fields:
                        place = fields.index("opresult")
                        rows = await queue.query(numbers, fields)
                        assert without_death(rows, place) == without_death(result, place)
                    else:
                        assert await queue.query(numbers, fields) == result
                case "ChangeJobPriority", [number, priority]:
                    assert (await queue.change_priority(number, priority))[0] == result[0]
                case "CancelJob", [number, kill]:
                    assert (await queue.cancel(number, kill=kill))[0] == result[0]
                case "ArchiveJob", [number]:
                    assert await queue.archive(number) == result
                case "AutoArchiveJobs", [age, timeout]:
                    assert list(await queue.auto_archive(age, timeout)) == result
        await queue.stop()

    run(main())


def without_death(rows: list[list[Json]], place: int) -> list[list[Json]]:
    """The result of the killed job is told in other words: no process is found dead."""
    return [
        [*row[:place], None if row[0] == 260 else row[place], *row[place + 1 :]] for row in rows
    ]


# Jobs whose files are there, and what the same master told of them.


def recorded_jobs(samples: Path) -> dict[int, Job]:
    """The newest file of each, archived or not."""
    found = {}
    for pattern in ("state/*/queue/job-*", "state/*/queue/archive/*/job-*"):
        for path in sorted(samples.glob(pattern)):
            found[int(path.name[4:])] = decode_job(path.read_bytes(), path.name)
    return found


def recorded_rows(samples: Path) -> Iterator[dict[str, Any]]:
    """Answers to queries for jobs with their numbers, by field."""
    for line in (samples / "luxi" / "query.jsonl").read_text().splitlines():
        record = json.loads(line)
        method, arguments = json.loads(record["send"]).values()
        answer = json.loads(record["recv"])
        if method == "Query" and arguments[0] == "job" and answer["success"]:
            if "id" in arguments[1]:
                for row in answer["result"]["data"]:
                    yield dict(zip(arguments[1], (value for _, value in row)))


def in_json(value: Any) -> str:
    """6 and 6.0 differ."""
    return json.dumps(value, sort_keys=True)


def test_every_field_of_a_job_is_told_as_recorded(samples: Path) -> None:
    jobs, count = recorded_jobs(samples), 0
    for row in recorded_rows(samples):
        job = jobs.get(row["id"])
        for name in FIELDS.keys() & row.keys() - {"archived"} if job else ():
            assert in_json(FIELDS[name](job)) == in_json(row[name]), (row["id"], name)
            count += 1
    assert count > 1500


def test_job_info_is_printed_as_recorded(samples: Path) -> None:
    jobs = recorded_jobs(samples)

    def query(what: str, fields: list[str], wanted: Any) -> Any:
        numbers = [number for _, _, number in wanted[1:] if number in jobs]
        rows = [[[0, FIELDS[name](jobs[number])] for name in fields] for number in numbers]
        return {"data": rows}

    master: Any = LuxiReplay({"Query": query})
    count = 0
    for name in ("21-info", "70-jobs"):
        for line in (samples / "cli" / f"{name}.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["argv"][:2] == ["gnt-job", "info"] and record["rc"] == 0:
                numbers = [int(word) for word in record["argv"][2:]]
                if "Status: running" not in record["stdout"]:  # its file is of a later moment
                    assert page(pages(master, numbers)) == record["stdout"]
                    count += 1
    assert count >= 5
