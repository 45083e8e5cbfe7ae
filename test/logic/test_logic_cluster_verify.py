"""OP_CLUSTER_VERIFY on a cluster in memory: quiet when all is well, and what it notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes.short_root import short_root
from fakes.small_cluster import (
    QUICK,
    STORAGE,
    Client,
    SmallCluster,
    add_tags,
    create,
    node_name,
    running,
)
from ganeti.config.checkpoint import CheckpointSettings

NAME = "web1.example.com"


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


async def verify(client: Client) -> tuple[list[bool], str]:
    """Results of the jobs that verification makes, and all their messages."""
    number = await client.submit({"OP_ID": "OP_CLUSTER_VERIFY", "reason": [], "error_codes": True})
    assert await client.wait(number) == "success"
    results, text = [], ""
    for _, one in (await client.result(number))[0]["jobs"]:
        assert await client.wait(one) == "success", await client.result(one)
        ((result,), logs) = (await client("QueryJobs", [one], ["opresult", "oplog"]))[0]
        results.append(result)
        text += "".join(f"{entry[3]}\n" for log in logs for entry in log)
    return results, text


def complaints(cluster: SmallCluster, harm: Callable[[], Any]) -> tuple[list[bool], str]:
    async def life() -> tuple[list[bool], str]:
        async with cluster.master() as client:
            assert await client.run(create(NAME)) == "success"
            await client.master.store.flush()  # else ssconf files that come later mend the harm
            harm()
            return await verify(client)

    return asyncio.run(life())


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if "ERROR:" in line]


ABOUT_THIS_BED = ("ENODESSH", "ENODENET", "ENODERPC", "ECLUSTERCERT", "ECLUSTERCLIENTCERT")
"""Nodes in memory have neither addresses nor certificates."""


def about(text: str, code: str) -> list[str]:
    return [line for line in errors(text) if code in line]


def test_a_whole_instance_is_not_complained_about(cluster: SmallCluster) -> None:
    _, text = complaints(cluster, lambda: None)
    left = [line for line in errors(text) if not any(code in line for code in ABOUT_THIS_BED)]
    assert [line for line in left if "instance" in line] == []


def test_an_instance_that_has_stopped_is_noticed(cluster: SmallCluster) -> None:
    machine = cluster.machines[node_name(2)]
    guest = machine.paths.run / "fake-hypervisor" / NAME
    results, text = complaints(cluster, guest.unlink)
    assert False in results
    assert any(NAME in line for line in about(text, "EINSTANCEDOWN"))


def test_a_disk_that_is_gone_is_noticed(cluster: SmallCluster) -> None:
    storage = cluster.machines[node_name(2)].paths.below(STORAGE)

    def harm() -> None:
        for path in storage.rglob("*"):
            if path.is_file():
                path.unlink()

    results, text = complaints(cluster, harm)
    assert False in results
    assert any(NAME in line for line in errors(text))


def test_a_guest_that_nobody_knows_is_noticed(cluster: SmallCluster) -> None:
    machine = cluster.machines[node_name(3)]

    def harm() -> None:
        directory = machine.paths.run / "fake-hypervisor"
        directory.mkdir(exist_ok=True)
        (directory / "stranger.example.com").write_text("0\n16\n1\n")

    results, text = complaints(cluster, harm)
    assert False in results
    assert any("stranger.example.com" in line for line in errors(text))
    assert running(machine.paths) == {"stranger.example.com"}


def test_a_silent_node_is_noticed(cluster: SmallCluster) -> None:
    def harm() -> None:
        cluster.machines[node_name(3)].up = False

    results, text = complaints(cluster, harm)
    assert False in results
    assert any(node_name(3) in line for line in about(text, "ENODERPC"))


def test_nodes_are_asked_when_all_have_the_newest_files(cluster: SmallCluster) -> None:
    """Whatever is still on its way would be taken for a difference."""
    seen: list[bytes] = []

    def look() -> None:
        seen.extend(one.paths.config_data.read_bytes() for one in cluster.machines.values())

    cluster.steps.restart(at=("call node_verify to node2", 1))
    cluster.steps.act = look
    rarely = replace(QUICK, checkpoint=CheckpointSettings(gap_s=3600.0))

    async def life() -> None:
        async with cluster.master(limits=rarely) as client:
            assert await client.run(add_tags("newest")) == "success"
            await verify(client)

    asyncio.run(life())
    assert len(seen) == 3 and len(set(seen)) == 1
    assert b"newest" in seen[0]


def test_ssconf_files_that_are_gone_or_other_are_noticed(cluster: SmallCluster) -> None:
    second, third = (cluster.machines[node_name(number)].paths for number in (2, 3))

    def harm() -> None:
        second.ssconf("master_node").unlink()
        place = third.ssconf("node_list")
        place.unlink()
        place.write_text("junk\n")

    results, text = complaints(cluster, harm)
    assert False in results
    gone, other = sorted(line for line in about(text, "ECLUSTERFILECHECK") if "ssconf" in line)
    assert "ssconf_master_node is missing" in gone and node_name(2) in gone
    assert "ssconf_node_list" in other and node_name(3) in other
    assert all("gnt-cluster redist-conf" in line for line in (gone, other))


def test_whole_ssconf_files_are_not_complained_about(cluster: SmallCluster) -> None:
    _, text = complaints(cluster, lambda: None)
    assert [line for line in errors(text) if "ssconf" in line] == []
