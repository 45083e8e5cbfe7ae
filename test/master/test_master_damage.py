"""Damaged files at the start, full disks, nodes that lose power: named, kept, and survived."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from fakes.short_root import short_root
from fakes.small_cluster import (
    ENDED,
    Client,
    SmallCluster,
    add_tags,
    create,
    delay,
    disk_files,
    node_name,
    on_instance,
    running,
)
from ganeti.errors import ConfigurationError, GenericError, ParseError
from ganeti.types import AdminState

FULL = bool(os.environ.get("GANETI_FULL_SWEEP"))
ROUNDS = range(1, 21) if FULL else range(1, 8, 2)


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    """With some history: two finished jobs and a tag."""
    with short_root() as root:
        made = SmallCluster(root)

        async def first_life() -> None:
            async with made.master() as client:
                assert await client.run(delay()) == "success"
                assert await client.run(add_tags("kept")) == "success"

        asyncio.run(first_life())
        yield made


def live(cluster: SmallCluster, act: Callable[[Client], Awaitable[None]]) -> None:
    async def life() -> None:
        async with cluster.master() as client:
            await act(client)

    asyncio.run(life())


def crashed(cluster: SmallCluster) -> None:
    """A life that ends with a power cut, so that both journals hold records."""

    async def life() -> None:
        async with cluster.master() as client:
            for tag in ("one", "two", "three"):
                assert await client.run(add_tags(tag)) == "success"
            cluster.master_machine.disk.stop()

    asyncio.run(life())
    cluster.reboot_master()


async def nothing(client: Client) -> None:
    return None


# Damage.


def cut_in_half(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: len(data) // 2]


def flip_in_the_middle(path: Path) -> bytes:
    """One bit in a record that others follow."""
    data = bytearray(path.read_bytes())
    lines = bytes(data).split(b"\n")
    data[len(lines[0]) + 1 + len(lines[1]) // 2] ^= 1
    return bytes(data)


def not_json(path: Path) -> bytes:
    return b"\x00\xff nonsense"


@pytest.mark.parametrize(
    ("place", "damage", "error"),
    [
        ("config_data", cut_in_half, (ConfigurationError, ParseError)),
        ("config_data", not_json, (ConfigurationError, ParseError)),
        ("config_journal", flip_in_the_middle, ConfigurationError),
        ("config_journal", not_json, ConfigurationError),
        ("queue_journal", flip_in_the_middle, GenericError),
        ("queue_journal", not_json, GenericError),
    ],
)
def test_a_damaged_file_is_named_and_kept(
    cluster: SmallCluster,
    place: str,
    damage: Callable[[Path], bytes],
    error: type[Exception] | tuple[type[Exception], ...],
) -> None:
    crashed(cluster)
    path: Path = getattr(cluster.paths, place)
    damaged = damage(path)
    cluster.master_machine.disk.replace(path, damaged)
    for _ in range(2):
        with pytest.raises(error) as caught:
            live(cluster, nothing)
        assert path.name in str(caught.value)
        assert path.read_bytes() == damaged


def test_a_torn_end_of_a_journal_is_no_damage(cluster: SmallCluster) -> None:
    crashed(cluster)
    for path in (cluster.paths.config_journal, cluster.paths.queue_journal):
        cluster.master_machine.disk.replace(path, path.read_bytes() + b"0badc0de 99 half a rec")

    async def look(client: Client) -> None:
        tags = set(client.master.store.snapshot.cluster.tags)
        assert tags >= {"kept", "one", "two", "three"}
        assert client.master.queue.serial == 5

    live(cluster, look)


def test_a_job_file_that_cannot_be_read_is_kept_and_its_number_stays_taken(
    cluster: SmallCluster,
) -> None:
    path = cluster.paths.job_file(2)
    cluster.master_machine.disk.replace(path, b"{ not a job")

    async def look(client: Client) -> None:
        assert 2 not in client.master.queue.jobs
        assert await client.submit(delay()) == 3

    try:
        live(cluster, look)
    except GenericError as error:
        assert path.name in str(error)  # refusing to start is right as well
    kept = [path, cluster.paths.archive / "0" / path.name]
    assert any(one.exists() and one.read_bytes() == b"{ not a job" for one in kept)


def test_an_unreadable_configuration_is_named(cluster: SmallCluster) -> None:
    class NoReading:
        def __init__(self, inner: object) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def read(self, path: Path, start: int = 0, size: int | None = None) -> bytes:
            if path == cluster.paths.config_data:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return cluster.master_machine.disk.read(path, start, size)

    async def life() -> None:
        async with cluster.master(disk=NoReading(cluster.master_machine.disk)):
            pass

    with pytest.raises(OSError, match=r"config\.data"):
        asyncio.run(life())


# Full disks.


def test_a_full_disk_is_told_and_overcome(cluster: SmallCluster) -> None:
    """The disk fills at one write after the other, and has room again three writes later."""

    async def sweep(client: Client) -> None:
        disk = cluster.master_machine.disk
        numbers: set[int] = set()
        for nth in ROUNDS:
            disk.full_from = disk.operations + nth
            disk.full_until = disk.full_from + 2
            tag = f"try-{nth}"
            try:
                number = await client.submit(add_tags(tag))
            except (GenericError, OSError) as error:
                assert "No space left" in str(error)
            else:
                assert number not in numbers
                numbers.add(number)
                status = await client.wait(number)
                has_it = tag in client.master.store.snapshot.cluster.tags
                assert has_it == (status == "success")
                if status == "error":
                    assert "No space left" in str(await client.result(number))
            disk.full_from = None
            assert await client.run(add_tags(f"after-{nth}")) == "success"
        assert client.master.locks.describe() == []
        assert client.master.store.reservations.owners == frozenset()

    live(cluster, sweep)

    async def look(client: Client) -> None:
        tags = set(client.master.store.snapshot.cluster.tags)
        assert {f"after-{nth}" for nth in ROUNDS} <= tags
        assert all(job.status.value in ENDED for job in client.master.queue.jobs.values())

    live(cluster, look)


def test_a_full_disk_during_a_creation_leaves_no_half_made_instance(cluster: SmallCluster) -> None:
    async def sweep(client: Client) -> None:
        disk = cluster.master_machine.disk
        for nth in range(1, 24, 1 if FULL else 4):
            disk.full_from = disk.operations + 3 + nth
            disk.full_until = disk.full_from
            name = f"web{nth}.example.com"
            status = await client.run(create(name))
            disk.full_from = None
            found = client.master.store.snapshot.find_instance(name)
            assert (found is not None) == (status == "success")
            assert await client.run(delay()) == "success"
        assert client.master.store.reservations.owners == frozenset()
        assert client.master.locks.describe() == []

    live(cluster, sweep)


def test_a_full_candidate_does_not_stop_the_others(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        other = cluster.machines[node_name(2)].disk
        other.full_from, other.full_until = 0, None
        assert await client.run(add_tags("a")) == "success"
        assert not client.master.store.degraded
        other.full_from = None
        assert await client.run(add_tags("b")) == "success"

    live(cluster, act)
    journals = {m.paths.config_journal.read_bytes() for m in cluster.machines.values()}
    assert len(journals) == 1


# Nodes without power.


@pytest.mark.parametrize("name", [node_name(2), node_name(3)])
def test_a_candidate_that_loses_power_under_load_catches_up(
    cluster: SmallCluster, name: str
) -> None:
    async def act(client: Client) -> None:
        for round_ in range(8):
            work = asyncio.gather(*(client.run(add_tags(f"t{round_}-{n}")) for n in range(3)))
            await asyncio.sleep(0)
            machine = cluster.machines[name]
            machine.disk.stop()
            machine.up = False
            assert await work == ["success"] * 3
            machine.reboot()
            machine.up = True
        tags = set(client.master.store.snapshot.cluster.tags)
        assert {f"t{r}-{n}" for r in range(8) for n in range(3)} <= tags

    live(cluster, act)
    for place in ("config.journal", "config.data", "queue/journal"):
        found = {(m.paths.data / place).read_bytes() for m in cluster.machines.values()}
        assert len(found) == 1, place


def test_a_node_that_loses_power_while_an_instance_is_made_leaves_nothing(
    cluster: SmallCluster,
) -> None:
    """At every call that the creation makes to it."""

    async def act(client: Client) -> None:
        machine = cluster.machines[node_name(2)]
        calls = (
            "hypervisor_validate_params",
            "os_validate",
            "file_storage_dir_create",
            "blockdev_create",
            "instance_os_add",
        )
        for number, call in enumerate(calls):
            name = f"dark{number}.example.com"
            cluster.transport.fail[machine.name, call] = "the node daemon has ended"
            status = await client.run(create(name))
            cluster.transport.fail.clear()
            assert status == "error", call
            assert client.master.store.snapshot.find_instance(name) is None
            assert not running(machine.paths), call
            assert not disk_files(machine.paths), call
        assert client.master.store.reservations.owners == frozenset()
        assert client.master.locks.describe() == []

    live(cluster, act)


def test_an_instance_that_does_not_start_is_whole_and_marked_up(cluster: SmallCluster) -> None:
    async def act(client: Client) -> None:
        machine = cluster.machines[node_name(2)]
        cluster.transport.fail[machine.name, "instance_start"] = "no room"
        assert await client.run(create("tired.example.com")) == "error"
        cluster.transport.fail.clear()
        config = client.master.store.snapshot
        instance = config.find_instance("tired.example.com")
        assert instance is not None
        assert instance.admin_state is AdminState.UP
        for disk in config.disks_of(instance):
            assert machine.paths.below(str(disk.logical_id[1])).is_file()
        startup = on_instance("OP_INSTANCE_STARTUP", "tired.example.com")
        assert await client.run(startup) == "success"
        assert running(machine.paths) == {"tired.example.com"}

    live(cluster, act)
