"""From opcode to unit: crossing between loop and workers, retries, generated jobs, killing."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.services import FakeServices, a_cluster
from fakes.short_root import short_root
from fakes.small_cluster import Client, SmallCluster, create, delay, node_name
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import OpExecError, OpResultError
from ganeti.logic.base import LogicalUnit
from ganeti.master.bridge import Bridge
from ganeti.master.processor import carry_out
from ganeti.master.worker import wait_for
from ganeti.opcodes.test import OpTestDelay
from ganeti.serializer import Json


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


def live(cluster: SmallCluster, act: Callable[[Client], Awaitable[None]]) -> None:
    async def life() -> None:
        async with cluster.master() as client:
            await act(client)

    asyncio.run(life())


async def until_running(client: Client, number: int) -> None:
    async with asyncio.timeout(10):
        while (await client("QueryJobs", [number], ["status"])) != [["running"]]:
            await asyncio.sleep(0.005)


# The bridge.


async def answer(value: int) -> int:
    return value


async def fail() -> int:
    raise KeyError("from the loop")


def on_bridge(work: Callable[[Bridge], object]) -> object:
    """The result of `work` in a worker."""

    async def main() -> object:
        bridge = Bridge(asyncio.get_running_loop(), 1)
        try:
            return await bridge.work(lambda: work(bridge))
        finally:
            bridge.close()

    return asyncio.run(main())


def test_a_worker_gets_the_result_of_the_loop() -> None:
    assert on_bridge(lambda bridge: bridge.wait(answer(7))) == 7


def test_a_worker_gets_the_error_of_the_loop() -> None:
    with pytest.raises(KeyError, match="from the loop"):
        on_bridge(lambda bridge: bridge.wait(fail()))


def test_what_takes_too_long_is_cancelled_on_the_loop() -> None:
    ended = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    def work(bridge: Bridge) -> bool:
        with pytest.raises(TimeoutError):
            bridge.wait(slow(), timeout_s=0.01)
        return ended.wait(5)

    assert on_bridge(work) is True


def test_a_wait_without_end_is_an_error_that_says_what_hangs() -> None:
    def work(bridge: Bridge) -> None:
        wait_for(bridge, asyncio.sleep(60), "call os_get", 0.01)

    with pytest.raises(OpExecError, match="call os_get did not end within 0 s: a disk or a node"):
        on_bridge(work)


def test_a_worker_has_the_context_of_who_asked() -> None:
    job = contextvars.ContextVar("job", default=0)

    async def main() -> int:
        bridge = Bridge(asyncio.get_running_loop(), 1)
        job.set(12)
        try:
            return await bridge.work(job.get)
        finally:
            bridge.close()

    assert asyncio.run(main()) == 12


# Opcodes.


def test_too_few_free_nodes_are_tried_again_with_all_locks(cluster: SmallCluster) -> None:
    """Only a drained node is free, so the allocator finds nothing; the next try waits."""

    def drain(draft: Draft) -> None:
        draft.update(replace(draft.snapshot.master(), vm_capable=False))

    async def act(client: Client) -> None:
        await client.master.store.commit(drain)
        busy = [node_name(2), node_name(3)]
        holder = await client.submit(delay(0.5, no_locks=False, on_nodes=busy, on_master=False))
        await until_running(client, holder)
        wanted = create(
            "web1.example.com",
            node=None,
            template="diskless",
            opportunistic_locking=True,
            beparams={"minmem": 128, "maxmem": 128},
        )
        number = await client.submit({**wanted, "iallocator": "hail"})
        assert await client.wait(number) == "success", await client.result(number)
        assert await client.wait(holder) == "success"

    live(cluster, act)


def test_jobs_of_a_job_carry_its_reason_trail(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        trail = [["user", "spring cleaning", 1]]
        verify = {"OP_ID": "OP_CLUSTER_VERIFY", "reason": trail}
        number = await client.submit(verify)
        assert await client.wait(number) == "success"
        (result,) = await client.result(number)
        assert all(ok for ok, _ in result["jobs"])
        numbers = [one for _, one in result["jobs"]]
        assert len(numbers) >= 2
        for one in numbers:
            await client.wait(one)
            op = client.master.queue.jobs[one].ops[0].input
            assert list(map(list, op["reason"]))[0] == trail[0]

    live(cluster, act)


def test_a_killed_job_ends_in_error_and_holds_nothing(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        number = await client.submit(delay(60, no_locks=False, on_master=True))
        await until_running(client, number)
        assert client.master.locks.describe() != []
        await client("CancelJob", number, True)
        assert await client.wait(number) == "error"
        assert (await client.result(number))[0][0] == "JobCanceled"
        assert client.master.locks.describe() == []

    live(cluster, act)


def test_more_jobs_may_run_when_the_limit_grows(cluster: SmallCluster) -> None:
    def limit(number: int) -> Callable[[Draft], object]:
        return lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, max_running_jobs=number)
        )

    async def set_limit(client: Client) -> None:
        await client.master.store.commit(limit(1))

    async def act(client: Client) -> None:
        await client.master.store.commit(limit(3))
        numbers = [await client.submit(delay(60, on_master=True)) for _ in range(3)]
        workers = client.master.bridge.pool._threads
        async with asyncio.timeout(5):
            while len(workers) < 3:
                await asyncio.sleep(0.005)
        for number in numbers:
            await client("CancelJob", number, True)
            await client.wait(number)

    live(cluster, set_limit)
    live(cluster, act)


def test_no_worker_outlives_the_master(cluster: SmallCluster) -> None:
    """Threads of the pool are waited for at the end of the process."""

    async def act(client: Client) -> None:
        number = await client.submit(delay(600, on_master=True))
        await until_running(client, number)

    async def life() -> None:
        async with cluster.master() as client:
            await act(client)
            await client.master.stop()
            workers = client.master.bridge.pool._threads
            async with asyncio.timeout(5):
                while any(worker.is_alive() for worker in workers):
                    await asyncio.sleep(0.01)

    asyncio.run(life())

    async def look(client: Client) -> None:
        assert await client.wait(1) == "error"

    live(cluster, look)


def test_a_job_that_waits_for_locks_is_canceled(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        holder = await client.submit(delay(60, no_locks=False, on_master=True))
        await until_running(client, holder)
        waiting = await client.submit(delay(no_locks=False, on_master=True))
        async with asyncio.timeout(10):
            while not any(lock.pending for lock in client.master.locks.describe()):
                await asyncio.sleep(0.005)
        assert (await client("CancelJob", waiting, False))[0] is True
        assert await client.wait(waiting) == "canceled"
        await client("CancelJob", holder, True)
        await client.wait(holder)
        assert client.master.locks.describe() == []

    live(cluster, act)


def test_a_dry_run_changes_nothing(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        before = client.master.store.snapshot
        number = await client.submit(create("web1.example.com", dry_run=True))
        assert await client.wait(number) == "success"
        config = client.master.store.snapshot
        assert config.instances == before.instances
        assert client.master.store.reservations.owners == frozenset()

    live(cluster, act)


class SevenSeconds(LogicalUnit[OpTestDelay, None]):
    """Answers a number where the opcode declares null."""

    def check(self, config: Snapshot) -> None:
        pass

    def dry_run_result(self, plan: None) -> Json:
        return 7

    def execute(self, plan: None) -> Json:
        return 7


def test_a_result_of_another_shape_than_declared_is_an_error(tmp_path: Path) -> None:
    services = FakeServices(a_cluster(), tmp_path)
    with pytest.raises(OpResultError, match="OP_TEST_DELAY: result: null is expected"):
        carry_out(SevenSeconds(OpTestDelay(duration=0.0), services), services)
    dry = OpTestDelay(duration=0.0, dry_run=True)
    assert carry_out(SevenSeconds(dry, services), services) == 7
    assert services.messages == [
        " - INFO: dry-run mode requested, not actually executing the operation"
    ]
