"""Events and figures of a running master."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from fakes.short_root import short_root
from fakes.small_cluster import Client, SmallCluster, add_tags, create, delay, node_name
from ganeti.master import metrics
from ganeti.master.event_feed import LINGER_S, EventFeed
from ganeti.types import EventKind as Kind
from ganeti.utils.openmetrics import render
from prometheus_client.openmetrics.parser import text_string_to_metric_families


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


def live(cluster: SmallCluster, act: Callable[[Client], Awaitable[None]]) -> None:
    async def life() -> None:
        async with cluster.master() as client:
            await act(client)

    asyncio.run(life())


async def read(client: Client, last: str | None, *kinds: str) -> tuple[str, list[Any]]:
    answer = await client("WaitForEvents", last, list(kinds) or None, 10)
    assert not answer["reset"]
    return answer["last"], answer["events"]


async def read_until(client: Client, last: str, job: int, *kinds: str) -> list[Any]:
    """Kinds and data of the events up to the end of the job."""
    events: list[Any] = []
    async with asyncio.timeout(20):
        while not any(kind == "job" and ended(data, job) for kind, data in events):
            last, more = await read(client, last, *kinds)
            events += [(kind, data) for _, kind, data in more]
    return events


def ended(data: dict[str, Any], job: int) -> bool:
    return data["id"] == job and data["opcode"] is None


def test_the_life_of_a_job_is_told_in_order(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        last, nothing = await read(client, None)
        assert nothing == []
        job = await client.submit(delay(0.01), delay(0.01))
        events = await read_until(client, last, job, "job")
        told = [(data["status"], data["opcode"]) for _, data in events]
        assert told[-1] == ("success", None)
        assert ("running", 0) in told and ("running", 1) in told
        assert told == sorted(told, key=lambda one: 9 if one[1] is None else one[1])
        assert events[0][1]["summary"] == ["TEST_DELAY(0.01)"] * 2

    live(cluster, act)


def test_changes_of_instances_come_with_the_job_that_makes_them(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        last, _ = await read(client, None)
        job = await client.submit(create("web1.example.com"))
        events = await read_until(client, last, job)
        added = next(data for kind, data in events if kind == "instance")
        assert added["change"] == "added" and added["primary_node"] == node_name(2)
        serials = [data["serial_no"] for kind, data in events if kind == "config"]
        assert serials == sorted(set(serials)) and serials

    live(cluster, act)


def test_an_archived_job_is_told(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        job = await client.submit(delay())
        await client.wait(job)
        last, _ = await read(client, None)
        assert await client("ArchiveJob", job)
        _, events = await read(client, last)
        assert [(kind, data["id"], data["archived"]) for _, kind, data in events] == [
            ("job", job, True)
        ]

    live(cluster, act)


def test_any_number_of_readers_wait_without_a_thread(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        last, _ = await read(client, None)
        readers = [asyncio.create_task(read(client, last, "config")) for _ in range(500)]
        await asyncio.sleep(0)
        await client.wait(await client.submit(add_tags("x")))
        answers = await asyncio.gather(*readers)
        assert {len(events) for _, events in answers} == {1}

    live(cluster, act)


def test_an_id_of_the_last_run_is_answered_with_a_reset(cluster: SmallCluster) -> None:
    kept = ""

    async def before(client: Client) -> None:
        nonlocal kept
        await read(client, None)
        await client.wait(await client.submit(delay()))
        kept, _ = await read(client, None)

    async def after(client: Client) -> None:
        answer = await client("WaitForEvents", kept, None, 10)
        assert answer["reset"] and answer["events"] == []
        again = await client("WaitForEvents", answer["last"], None, 0)
        assert not again["reset"]

    live(cluster, before)
    live(cluster, after)


def test_nothing_is_noted_when_nobody_has_asked_for_long() -> None:
    now = 0.0
    feed = EventFeed("run", dict, lambda: now)

    async def act() -> None:
        nonlocal now
        feed._add(Kind.JOB, {})
        last = (await feed.wait(None, None, 0))["last"]
        now = LINGER_S - 1
        assert not (await feed.wait(last, None, 0))["reset"]
        now = 3 * LINGER_S
        feed.jobs_changed([1])
        assert (await feed.wait(last, None, 0))["reset"]

    asyncio.run(act())


# Figures.


def text_of(client: Client) -> Awaitable[dict[str, Any]]:
    async def scrape() -> dict[str, Any]:
        text = render(await client("QueryMetrics")).decode()
        return {one.name: one for one in text_string_to_metric_families(text)}

    return scrape()


def value(families: dict[str, Any], name: str, **labels: str) -> float:
    """The sum of the samples that bear these labels."""
    samples = [one for family in families.values() for one in family.samples if one.name == name]
    return float(sum(one.value for one in samples if labels.items() <= one.labels.items()))


def test_figures_tell_what_has_happened(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        await client.wait(await client.submit(create("web1.example.com", start=False)))
        await client.wait(await client.submit(delay(-1)))  # refused
        running = await client.submit(delay(30, on_master=True))
        found = await text_of(client)
        assert set(found) == {one.name for one in metrics.FAMILIES}
        assert value(found, "ganeti_jobs", status="success", age="1m") == 1
        assert value(found, "ganeti_jobs", status="error") == 1
        assert value(found, "ganeti_jobs_submitted_total") == 3
        assert value(found, "ganeti_instances", admin_state="down") == 1
        assert value(found, "ganeti_journal_write_seconds_count", journal="config") > 0
        assert value(found, "ganeti_journal_write_seconds_count", journal="queue") > 0
        assert value(found, "ganeti_rpc_seconds_count", node=node_name(2)) > 0
        assert value(found, "ganeti_rpc_failures_total") == 0
        assert value(found, "ganeti_node_instances", node=node_name(2), relation="primary") == 1
        assert value(found, "ganeti_node_memory_bytes", kind="total") > 0
        assert value(found, "ganeti_node_answers") == 3
        assert (await client("CancelJob", running, True))[0]

    live(cluster, act)


def test_a_node_that_is_away_is_counted_and_shown(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        cluster.machines[node_name(3)].up = False
        found = await text_of(client)
        assert value(found, "ganeti_node_answers") == 2
        assert value(found, "ganeti_rpc_failures_total", node=node_name(3), kind="no_answer") >= 1
        cluster.machines[node_name(3)].up = True

    live(cluster, act)


def test_jobs_that_wait_for_locks_are_counted(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        first = await client.submit(delay(30, on_master=True, no_locks=False))
        while (await client("QueryJobs", [first], ["status"]))[0] != ["running"]:
            await asyncio.sleep(0.001)
        second = await client.submit(delay(0, on_master=True, no_locks=False))
        while (await client("QueryJobs", [second], ["status"]))[0] != ["waiting"]:
            await asyncio.sleep(0.001)
        assert value(await text_of(client), "ganeti_lock_waiting") == 1
        await client("CancelJob", first, True)
        await client.wait(second)
        found = await text_of(client)
        assert value(found, "ganeti_lock_waiting") == 0
        assert value(found, "ganeti_lock_wait_seconds_count") == 1

    live(cluster, act)
