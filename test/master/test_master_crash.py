"""The master's machine loses power at every named step; what clients were told stays true.

The script below submits jobs, tags, makes and removes instances. It is run once to learn the steps
(of the master's disk and of calls to nodes), then once per chosen step, where the power is cut.
The next master is held against what the client had been told.

By default one occurrence of each step is drawn; GANETI_FULL_SWEEP=1 takes all.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.short_root import short_root
from fakes.small_cluster import (
    ENDED,
    Client,
    SmallCluster,
    Steps,
    add_tags,
    create,
    delay,
    disk_files,
    node_name,
    on_instance,
    running,
)
from ganeti.errors import GenericError
from ganeti.types import AdminState

FULL = bool(os.environ.get("GANETI_FULL_SWEEP"))
SEED = 20_240_501
MOST_SAMPLES = 18

pytestmark = pytest.mark.timeout(1800 if FULL else 120)


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: sockets lie below it."""
    with short_root() as made:
        yield made


@dataclass
class History:
    """What the client was told before the power went."""

    numbers: list[int] = field(default_factory=list)
    statuses: dict[int, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    there: set[str] = field(default_factory=set)  # instances whose making has succeeded …
    gone: set[str] = field(default_factory=set)  # … and whose removal has
    archived: list[int] = field(default_factory=list)


class Dark(Exception):
    """The master that should have answered has no power."""


class Told:
    """A client that writes its history, and hears nothing from a master without power."""

    def __init__(self, client: Client, cluster: SmallCluster, history: History) -> None:
        self.client = client
        self._cluster = cluster
        self.history = history

    async def __call__(self, method: str, *args: Any) -> Any:
        answer = await self.client(method, *args)
        self._hear(method)
        return answer

    async def submit(self, *jobs: list[dict[str, Any]]) -> list[int]:
        answers = await self("SubmitManyJobs", list(jobs))
        numbers = [number for _, number in answers]
        self.history.numbers += numbers
        return numbers

    async def wait(self, number: int) -> str:
        status = await self.client.wait(number)
        self._hear("WaitForJobChange")
        self.history.statuses[number] = status
        return status

    async def run(self, *ops: dict[str, Any]) -> bool:
        (number,) = await self.submit(list(ops))
        return await self.wait(number) == "success"

    def _hear(self, method: str) -> None:
        self._cluster.steps.tell(f"client: answer of {method}")
        if self._cluster.master_machine.disk.stopped:
            raise Dark


async def script(told: Told) -> None:
    """Every kind of step at least once."""
    history = told.history
    numbers = await told.submit([delay()], [delay(), delay()], [delay(depends=[[-1, ["success"]]])])
    waiting = asyncio.gather(*(told.wait(number) for number in numbers))
    for tag in ("a", "b"):
        if await told.run(add_tags(tag)):
            history.tags.append(tag)
    await waiting
    if await told.run(create("web1.example.com")):
        history.there.add("web1.example.com")
    made = asyncio.gather(
        told.run(create("web2.example.com", node=3)),
        told.run(create("web3.example.com", node=1, template="diskless")),
    )
    if await told("ArchiveJob", numbers[0]):
        history.archived.append(numbers[0])
    for name, done in zip(("web2.example.com", "web3.example.com"), await made):
        if done:
            history.there.add(name)
    await told.run(on_instance("OP_INSTANCE_SHUTDOWN", "web1.example.com", timeout=0))
    await told.run(on_instance("OP_INSTANCE_STARTUP", "web1.example.com"))
    if await told.run(on_instance("OP_INSTANCE_REMOVE", "web2.example.com")):
        history.gone.add("web2.example.com")


async def live(
    cluster: SmallCluster, history: History, act: Callable[[Told], Awaitable[None]] = script
) -> None:
    """One master's life, up to its end in good order or to the power cut."""
    loop = asyncio.get_running_loop()
    dark = asyncio.Event()

    def cut() -> None:
        cluster.master_machine.disk.stop()
        loop.call_soon_threadsafe(dark.set)

    cluster.steps.act = cut

    async def session() -> None:
        async with cluster.master() as client:
            await act(Told(client, cluster, history))

    work = asyncio.create_task(session())
    watch = asyncio.create_task(dark.wait())
    done, _ = await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
    if work not in done:
        work.cancel()
    try:
        await work
    except (asyncio.CancelledError, Dark, OSError, GenericError):
        assert cluster.master_machine.disk.stopped
    watch.cancel()


# What must be true afterwards.


async def check(cluster: SmallCluster, history: History) -> None:
    """A new master has kept every promise, and works."""
    async with cluster.master() as client:
        await all_have_ended(client)
        check_jobs(client, history)
        await use_what_stayed(client)
        await finish_removals(client, history)
        check_configuration(client, history)
        check_nodes(cluster, client)
        assert client.master.locks.describe() == []
        assert client.master.store.reservations.owners == frozenset()
        number = await client.submit(add_tags("afterwards"))
        assert number > max(history.numbers, default=0)
        assert await client.wait(number) == "success"
        assert "afterwards" in client.master.store.snapshot.cluster.tags
        assert not client.master.store.degraded
    check_copies(cluster)
    async with cluster.master() as client:
        assert client.master.queue.serial == number
        assert "afterwards" in client.master.store.snapshot.cluster.tags


async def all_have_ended(client: Client) -> None:
    async with asyncio.timeout(20):
        for job in list(client.master.queue.jobs.values()):
            await client.wait(job.id)


def check_jobs(client: Client, history: History) -> None:
    queue = client.master.queue
    assert len(history.numbers) == len(set(history.numbers))
    assert queue.serial >= max(history.numbers, default=0)
    for number in history.numbers:
        job = queue.jobs.get(number)
        if job is None:
            assert number in (history.archived or history.numbers[:1]), f"job {number} is lost"
            continue
        assert job.status.value in ENDED
        told = history.statuses.get(number)
        assert told in (None, job.status.value), f"job {number} was {told}, is {job.status}"
    for number in history.archived:
        assert number not in queue.jobs


async def use_what_stayed(client: Client) -> None:
    """An interrupted creation leaves nothing, or an instance that is whole: it starts."""
    for job in list(client.master.queue.jobs.values()):
        op = job.ops[0].input
        if op["OP_ID"] != "OP_INSTANCE_CREATE" or job.status.value != "error":
            continue
        name = op["instance_name"]
        if client.master.store.snapshot.find_instance(name) is not None:
            said = " ".join(str(entry[3]) for entry in job.ops[0].log)
            installed = "running the instance OS create scripts" in said
            assert installed or op["disk_template"] == "diskless", "half-made"
            assert await client.run(on_instance("OP_INSTANCE_STARTUP", name)) == "success"


async def finish_removals(client: Client, history: History) -> None:
    """A removal can't be undone, so an interrupted one must be possible again."""
    for job in list(client.master.queue.jobs.values()):
        op = job.ops[0].input
        if op["OP_ID"] != "OP_INSTANCE_REMOVE":
            continue
        if client.master.store.snapshot.find_instance(op["instance_name"]) is not None:
            assert job.status.value == "error"
            assert await client.run(on_instance("OP_INSTANCE_REMOVE", op["instance_name"])) == (
                "success"
            )
        history.gone.add(op["instance_name"])


def check_configuration(client: Client, history: History) -> None:
    config = client.master.store.snapshot
    assert set(history.tags) <= set(config.cluster.tags)
    names = {instance.name for instance in config.instances.values()}
    assert history.there - history.gone <= names
    assert not names & history.gone
    for job in client.master.queue.jobs.values():
        op = job.ops[0].input
        if op["OP_ID"] != "OP_INSTANCE_CREATE":
            continue
        if job.status.value == "success" and op["instance_name"] not in history.gone:
            assert op["instance_name"] in names
    assert client.master.store.problems == []


def check_nodes(cluster: SmallCluster, client: Client) -> None:
    """Disk files and guests on nodes are those of the configuration."""
    config = client.master.store.snapshot
    for machine in cluster.machines.values():
        node = config.find_node(machine.name)
        assert node is not None
        instances = config.primary_instances(node.uuid)
        disks = {
            machine.paths.below(str(disk.logical_id[1]))
            for instance in instances
            for disk in config.disks_of(instance)
        }
        assert disk_files(machine.paths) == disks
        up = {one.name for one in instances if one.admin_state is AdminState.UP}
        assert running(machine.paths) <= {one.name for one in instances}
        removed = {"web2.example.com", "web1.example.com"}  # being stopped or started
        assert up - running(machine.paths) <= removed


def check_copies(cluster: SmallCluster) -> None:
    """After an end in good order every candidate has the master's files."""
    ours = cluster.master_machine.paths
    names = ["config.data", "config.journal", "queue/journal", "queue/serial"]
    names += [str(p.relative_to(ours.data)) for p in ours.queue.rglob("job-*")]
    for name in names:
        mine = (ours.data / name).read_bytes()
        for machine in cluster.machines.values():
            copy = machine.paths.data / name
            assert copy.exists(), f"{machine.name} has no {name}"
            assert copy.read_bytes() == mine, f"{name} differs on {machine.name}"


# The sweep.


def steps_of_a_good_run(root: Path) -> list[tuple[str, int]]:
    cluster = SmallCluster(root)
    history = History()
    asyncio.run(live(cluster, history))
    assert set(history.statuses.values()) == {"success"}
    assert history.gone == {"web2.example.com"}
    seen = list(cluster.steps.order)
    asyncio.run(check(cluster, history))
    return seen


def drawn(steps: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """One occurrence of every step; of all of them with GANETI_FULL_SWEEP."""
    if FULL:
        return steps
    chance = random.Random(SEED)
    by_name: dict[str, list[int]] = {}
    for name, nth in steps:
        by_name.setdefault(name, []).append(nth)
    chosen = [(name, chance.choice(numbers)) for name, numbers in sorted(by_name.items())]
    chance.shuffle(chosen)
    return chosen[:MOST_SAMPLES]


def test_promises_survive_a_power_cut_at_any_step(root: Path) -> None:
    steps = drawn(steps_of_a_good_run(root / "good"))
    reached = 0
    problems: list[str] = []
    for index, step in enumerate(steps):
        place = root / str(index)
        try:
            reached += power_cut_at(place, step)
        except Exception as error:
            if not FULL:
                raise AssertionError(f"power cut at {step}") from error
            problems.append(f"{step}: {error!r}")
        shutil.rmtree(place)
    assert not problems, "\n".join(problems)
    assert reached > len(steps) // 2


def power_cut_at(place: Path, step: tuple[str, int]) -> bool:
    """Whether the run came to that step."""
    cluster = SmallCluster(place)
    cluster.steps.at = step
    history = History()
    asyncio.run(live(cluster, history))
    reached = cluster.steps.reached
    cluster.steps.at = None
    if reached:
        cluster.reboot_master()
    asyncio.run(check(cluster, history))
    return reached


def test_a_finished_instance_survives_a_power_cut_during_its_start(root: Path) -> None:
    for number, step in enumerate(
        ("call instance_start to node2", "call instance_start to node2 answered")
    ):
        cluster, history = SmallCluster(root / str(number)), History()
        cluster.steps.at = (step, 1)
        asyncio.run(live(cluster, history))
        assert cluster.steps.reached
        cluster.reboot_master()
        cluster.steps.restart()

        async def look(told: Told) -> None:
            await all_have_ended(told.client)
            instance = told.client.master.store.snapshot.find_instance("web1.example.com")
            assert instance is not None and instance.admin_state is AdminState.UP

        asyncio.run(live(cluster, history, look))
        asyncio.run(check(cluster, history))


# A second cut, while the next master begins.


async def recover(told: Told) -> None:
    """A life in which only the jobs of the last one come to their ends."""
    await all_have_ended(told.client)


def test_promises_survive_a_second_power_cut_at_the_start(root: Path) -> None:
    steps = steps_of_a_good_run(root / "good")
    chance = random.Random(SEED)
    reached = 0
    rounds = 200 if FULL else 6
    for index in range(rounds):
        first, later = chance.choice(steps), chance.randint(1, 150)
        place = root / str(index)
        cluster, history = SmallCluster(place), History()
        try:
            cluster.steps.at = first
            asyncio.run(live(cluster, history))
            if not cluster.steps.reached:
                continue
            cluster.reboot_master()
            cluster.steps.restart(at_any=later)
            asyncio.run(live(cluster, history, recover))
            if cluster.steps.reached:
                reached += 1
                cluster.reboot_master()
            cluster.steps.restart()
            asyncio.run(check(cluster, history))
        except Exception as error:
            raise AssertionError(f"power cuts at {first}, then at step {later}") from error
        shutil.rmtree(place)
    assert reached > rounds // 3


# A node without power.


def node_steps(cluster: SmallCluster, name: str) -> Steps:
    """What happens on the disk of a node; at the chosen step it boots anew, at once."""
    steps, machine = Steps(), cluster.machines[name]

    def watch() -> None:
        machine.disk.on_event = steps.tell

    def reboot() -> None:
        machine.reboot()
        watch()

    steps.act = reboot
    watch()
    return steps


@pytest.mark.parametrize("number", [2, 3])
def test_promises_survive_a_node_that_boots_at_any_step(root: Path, number: int) -> None:
    cluster = SmallCluster(root / "good")
    learned = node_steps(cluster, node_name(number))
    asyncio.run(live(cluster, History()))
    for index, step in enumerate(drawn(learned.order)[: None if FULL else 3]):
        place = root / str(index)
        cluster, history = SmallCluster(place), History()
        node_steps(cluster, node_name(number)).at = step
        try:
            asyncio.run(live(cluster, history))
            asyncio.run(check(cluster, history))
        except Exception as error:
            raise AssertionError(f"node {number} boots at {step}") from error
        assert set(history.statuses.values()) <= {"success", "error"}
        shutil.rmtree(place)
