"""Undo steps of a node that is down are carried out when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.short_root import short_root
from fakes.small_cluster import STORAGE, SmallCluster, create, disk_files, node_name
from ganeti.jobs.undo import Step
from ganeti.locking.names import Level
from ganeti.master.locks import JobLocks
from ganeti.master.undoing import is_in_use, run_late
from ganeti.master.worker import OpUndo
from ganeti.serializer import encode

NAME = "web1.example.com"


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


def goes_down_while_the_os_is_installed(cluster: SmallCluster) -> None:
    machine = cluster.machines[node_name(2)]

    def down() -> None:
        machine.up = False

    cluster.steps.act = down
    cluster.steps.at = ("call instance_os_add to node2", 1)


async def until_clean(cluster: SmallCluster) -> None:
    async with asyncio.timeout(20):
        while disk_files(cluster.machines[node_name(2)].paths):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("restarted", [False, True])
def test_disks_on_a_node_that_went_down_are_removed_when_it_is_back(
    cluster: SmallCluster, restarted: bool
) -> None:
    machine = cluster.machines[node_name(2)]

    async def fail_to_create() -> None:
        async with cluster.master() as client:
            number = await client.submit(create(NAME))
            assert await client.wait(number) == "error"
            said = str(client.master.queue.jobs[number].ops[0].log)
            assert "undoing: blockdev_remove: node node2.example.com" in said
            assert client.master.store.snapshot.find_instance(NAME) is None
            assert disk_files(machine.paths)
            if not restarted:
                machine.up = True
                await until_clean(cluster)

    async def come_back() -> None:
        async with cluster.master():
            machine.up = True
            await until_clean(cluster)

    goes_down_while_the_os_is_installed(cluster)
    asyncio.run(fail_to_create())
    if restarted:
        asyncio.run(come_back())


def test_a_disk_that_is_in_use_again_is_left_alone(cluster: SmallCluster) -> None:
    async def act() -> None:
        async with cluster.master() as client:
            assert await client.run(create(NAME)) == "success"
            config = client.master.store.snapshot
            (disk,) = config.disks.values()
            directory = str(Path(str(disk.logical_id[1])).parent)
            other = replace(disk, uuid="11111111-0000-4000-8000-000000000000")
            (node,) = disk.nodes
            assert is_in_use(config, Step("blockdev_remove", (encode(disk),), node))
            assert not is_in_use(config, Step("blockdev_remove", (encode(other),), node))
            assert is_in_use(config, Step("file_storage_dir_remove", (directory,), node))
            assert not is_in_use(config, Step("file_storage_dir_remove", (directory + "x",), node))
            # What a failed move has left elsewhere has the same uuid and the same path.
            for call, argument in (
                ("blockdev_remove", encode(disk)),
                ("file_storage_dir_remove", directory),
            ):
                assert not is_in_use(config, Step(call, (argument,), "another node"))
            assert not is_in_use(config, Step("impexp_cleanup", ("import-disk0-x",), node))

    asyncio.run(act())


class Busy(JobLocks):
    """All locks are held by jobs."""

    @contextmanager
    def if_free(self, level: Level, name: str) -> Iterator[bool]:
        yield False


def test_nothing_is_taken_away_while_a_job_works_with_storage_of_the_node(
    cluster: SmallCluster,
) -> None:
    """It may be about to use the very same place, as a move does that is tried again."""

    async def act() -> None:
        async with cluster.master() as client:
            master = client.master
            (node,) = [
                one for one in master.store.snapshot.nodes.values() if one.name == node_name(2)
            ]
            directory = f"{STORAGE}/{NAME}"
            place = cluster.machines[node.name].paths.below(directory)
            place.mkdir(parents=True)
            step = Step("file_storage_dir_remove", (directory,), node.uuid)
            refused = await run_late(master.rpc, master.store, Busy(), step)
            assert refused is not None and refused.away and place.exists()
            assert await run_late(master.rpc, master.store, master.locks, step) is None
            assert not place.exists()

    asyncio.run(act())


def test_steps_that_are_named_together_are_written_in_one_go_or_not_at_all() -> None:
    writes: list[list[str]] = []
    services: Any = SimpleNamespace(
        wait_for=lambda done: None,
        run=SimpleNamespace(before=lambda *steps: writes.append([one.call for one in steps])),
    )
    undo = OpUndo(services)
    with undo.together():
        undo.before_config("one")
        undo.before_config("two")
        assert not writes
    with pytest.raises(KeyError), undo.together():
        undo.before_config("lost")
        raise KeyError
    undo.before_config("three")
    assert writes == [["config:one", "config:two"], ["config:three"]]
