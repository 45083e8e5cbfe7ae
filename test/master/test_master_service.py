"""LUXI methods against a running master, compared with a recorded one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.short_root import short_root
from fakes.small_cluster import Client, SmallCluster, add_tags, delay, node_name
from ganeti.errors import GenericError, JobLost, ParseError, encode_error
from ganeti.luxi.methods import METHODS
from ganeti.serializer import encode


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


def live(cluster: SmallCluster, act: Callable[[Client], Awaitable[None]]) -> None:
    async def life() -> None:
        async with cluster.master() as client:
            await act(client)

    asyncio.run(life())


# Recordings.

WITH_CLUSTER_QUERY = 7  # that opcode failed there by a bug of 3.0.2; here it succeeds


async def answer(client: Client, method: str, args: Any) -> list[Any]:
    """[success, result] as LUXI would say."""
    try:
        return [True, await client(method, *args)]
    except ParseError as error:
        return [False, f"Failed to parse request: {error}"]
    except GenericError as error:
        return [False, encode(encode_error(error))]


def shape(value: Any) -> Any:
    """Success, and the class of the error."""
    success, result = value
    if success:
        return True
    return result[0] if isinstance(result, list) else str


def test_submissions_are_answered_as_recorded(cluster: SmallCluster, samples: Path) -> None:
    lines = (samples / "luxi" / "submit.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    first = json.loads(records[0]["recv"])["result"]

    async def act(client: Client) -> None:
        for record in records:
            sent, received = json.loads(record["send"]), json.loads(record["recv"])
            args = sent["args"]
            wanted = [received["success"], received["result"]]
            if sent["method"] == "QueryJobs" and args[1] is not None:
                await compare_jobs(client, args[0], wanted[1], first - 1)
                continue
            got = await answer(client, sent["method"], args)
            assert shape(got) == shape(wanted), record["send"]
            if isinstance(wanted[1], int) and not isinstance(wanted[1], bool):
                assert got[1] == wanted[1] - first + 1

    live(cluster, act)


async def compare_jobs(
    client: Client, numbers: list[int], rows: list[list[Any]], before: int
) -> None:
    ours = [number - before for number in numbers]
    for number in ours:
        if client.master.queue.jobs[number].ops:
            await client.wait(number)
    got = await client("QueryJobs", ours, ["id", "status", "opstatus", "opresult"])
    for mine, theirs in zip(got, rows):
        if mine[0] == WITH_CLUSTER_QUERY:
            continue
        assert mine[0] == theirs[0] - before
        assert mine[1:3] == theirs[1:3]
        assert [one and one[0] for one in mine[3]] == [one and one[0] for one in theirs[3]]


def test_the_life_of_a_job_is_answered_as_recorded(cluster: SmallCluster) -> None:
    """As in job-life.jsonl: a running job, one that waits for it, one that is canceled."""

    async def act(client: Client) -> None:
        running = await client.submit(delay(30, on_master=True))
        depends = await client.submit(delay(depends=[[running, ["success"]]]))
        dequeued = await client.submit(delay(depends=[[running, ["error"]]]))
        await until_status(client, running, "running")
        ids = [running, depends, dequeued]
        assert await client("QueryJobs", ids, ["status", "opstatus", "opresult", "priority"]) == [
            ["running", ["running"], [None], 0],
            ["queued", ["queued"], [None], 0],
            ["queued", ["queued"], [None], 0],
        ]
        assert (await client("ChangeJobPriority", depends, -5))[0] is True
        assert (await client("CancelJob", running, False))[0] is False
        assert (await client("CancelJob", dequeued, False))[0] is True
        assert await client("QueryJobs", ids, ["status", "priority"]) == [
            ["running", 0],
            ["queued", -5],
            ["canceled", 0],
        ]
        assert await client("ArchiveJob", running) is False
        assert (await client("CancelJob", running, True))[0] is True
        assert await client.wait(running) == "error"
        assert await client.wait(depends) == "error"
        assert (await client.result(depends))[0][0] == "OpExecError"
        assert await client("ArchiveJob", running) is True
        assert await client("QueryJobs", [running], ["id", "status", "archived"]) == [
            [running, "error", True]
        ]
        assert await client("ArchiveJob", running) is False
        assert await client("AutoArchiveJobs", 999999, 5) == [0, 0]
        assert await client("AutoArchiveJobs", -1, 5) == [2, 0]
        assert client.master.queue.jobs == {}

    live(cluster, act)


async def until_status(client: Client, number: int, wanted: str) -> None:
    values = None
    async with asyncio.timeout(10):
        while values != [wanted]:
            values, _ = await client("WaitForJobChange", number, ["status"], values, 99, 10)


# One by one.


def test_every_method_that_is_not_internal_is_served(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        served = set(client.master.service._methods)
        from ganeti.query.calls import METHODS as QUERIES

        known = {name for name, method in METHODS.items() if not method.internal}
        assert known == served | set(QUERIES)

    live(cluster, act)


def test_waiting_for_an_unknown_job_or_field(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        with pytest.raises(JobLost):
            await client("WaitForJobChange", 99, ["status"], None, None, 1)
        number = await client.submit(delay())
        nulls = await client("WaitForJobChange", number, ["id", "start_exec"], None, None, 10)
        assert nulls == [[None, None], []]

    live(cluster, act)


def test_the_pause_of_the_watcher_reaches_every_node(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        until = 4_000_000_000
        assert await client("SetWatcherPause", until) == until
        assert await client("QueryConfigValues", ["watcher_pause"]) == [until]
        for machine in cluster.machines.values():
            assert machine.paths.watcher_pause.read_text().strip() == str(until)
        assert await client("SetWatcherPause", None) is None
        assert await client("QueryConfigValues", ["watcher_pause"]) == [None]
        assert not any(m.paths.watcher_pause.exists() for m in cluster.machines.values())

    live(cluster, act)


def test_a_drained_queue_stays_drained_after_a_restart(cluster: SmallCluster) -> None:
    async def drain(client: Client) -> None:
        assert await client("SetDrainFlag", True) is True

    async def look(client: Client) -> None:
        assert await client("QueryConfigValues", ["drain_flag"]) == [True]
        with pytest.raises(GenericError, match="Queue drained"):
            await client.submit(delay())
        for number in (2, 3):
            queue = cluster.machines[node_name(number)].paths.queue
            assert (queue / "drain").exists()

    live(cluster, drain)
    live(cluster, look)


def test_filter_rules_hold_jobs_back(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        rule = [["opcode", ["=", "OP_ID", "OP_TEST_DELAY"]]]
        uuid = await client("ReplaceFilter", None, 5, rule, "REJECT", [])
        rows = await client("QueryFilters", None, ["uuid", "priority", "action"])
        assert rows == [[uuid, 5, "REJECT"]]
        rejected = await client.submit(delay())
        assert await client.wait(rejected) == "canceled"
        assert await client.run(add_tags("other")) == "success"
        same = await client("ReplaceFilter", uuid, 6, rule, "ACCEPT", [])
        assert same == uuid
        assert await client.run(delay()) == "success"
        assert await client("DeleteFilter", uuid) is None
        with pytest.raises(GenericError, match="does not exist"):
            await client("DeleteFilter", uuid)

    live(cluster, act)


def test_a_job_of_an_unknown_instance_ends_with_class_and_code(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        op = {"OP_ID": "OP_TAGS_SET", "kind": "instance", "name": "nosuch", "tags": ["a"]}
        error = await client.error({**op, "reason": []})
        assert error[0] == "OpPrereqError"
        assert error[1][1] == "unknown_entity"

    live(cluster, act)


# Real sockets.


def test_a_client_that_vanishes_while_it_waits_costs_nothing(cluster: SmallCluster) -> None:
    async def life() -> None:
        from ganeti.master.daemon import Master

        master = Master(cluster.settings())
        await master.start()
        try:
            client = Client(master)
            number = await client.submit(delay(0.3))
            before = len(asyncio.all_tasks())
            for _ in range(5):
                reader, writer = await asyncio.open_unix_connection(cluster.paths.master_socket)
                request = {
                    "method": "WaitForJobChange",
                    "args": [number, ["status"], ["running"], 99, 60],
                }
                writer.write(json.dumps(request).encode() + b"\x03")
                await writer.drain()
                writer.close()
            assert await client.wait(number) == "success"
            async with asyncio.timeout(5):
                while len(asyncio.all_tasks()) > before:
                    await asyncio.sleep(0.01)
            assert await client.run(delay()) == "success"
        finally:
            await master.stop()
        assert not cluster.paths.master_socket.exists()

    asyncio.run(life())
