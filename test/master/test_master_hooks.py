"""Hooks of real opcodes on nodes in memory: variables, refusals, failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.short_root import short_root
from fakes.small_cluster import Client, Machine, SmallCluster, create, node_name
from ganeti.config.transaction import Draft

REMOVE = {"OP_ID": "OP_NODE_REMOVE", "node_name": node_name(3), "reason": []}
UPDATE = ("config-update", "post", "OP_NODE_REMOVE")
POST_INIT = {"OP_ID": "OP_CLUSTER_POST_INIT", "reason": []}


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


def live(cluster: SmallCluster, act: Callable[[Client], Awaitable[None]]) -> None:
    async def life() -> None:
        async with cluster.master() as client:
            await act(client)

    asyncio.run(life())


def put_hook(machine: Machine, path: str, phase: str, *, exit_code: int = 0) -> Path:
    """A script that writes its variables down; the directory where it does."""
    directory = machine.paths.hooks / f"{path}-{phase}.d"
    directory.mkdir(parents=True)
    written = machine.paths.root / f"env-{path}-{phase}"
    script = directory / "10-record"
    script.write_text(f"#!/bin/sh\nenv -0 > {written}\necho said so\nexit {exit_code}\n")
    script.chmod(0o755)
    return written


def variables(written: Path) -> dict[str, str]:
    lines = written.read_text().split("\0")
    made = dict(line.split("=", 1) for line in lines if line)
    return {k: v for k, v in made.items() if k.startswith("GANETI_") or k == "PATH"}


def recorded(samples: Path, path: str, phase: str, op_id: str = "") -> dict[str, str]:
    for line in (samples / "hooks" / f"{path}.jsonl").read_text().splitlines():
        record = json.loads(line)
        env = record["env"]
        if env["GANETI_HOOKS_PHASE"] == phase and op_id in ("", env["GANETI_OP_CODE"]):
            return dict(record["env"])
    raise AssertionError(f"no record of {path}, {phase}")


async def log_of(client: Client, number: int) -> str:
    ((logs,),) = await client("QueryJobs", [number], ["oplog"])
    return "\n".join(str(entry[3]) for log in logs for entry in log)


@pytest.mark.parametrize(
    ("path", "phase", "op"),
    [
        ("cluster-init", "post", POST_INIT),
        ("node-remove", "pre", REMOVE),
        ("node-remove", "post", REMOVE),
        ("instance-add", "pre", create("web1.example.com", node=1, template="diskless")),
        ("instance-add", "post", create("web1.example.com", node=1, template="diskless")),
    ],
)
def test_variables_are_those_of_a_recorded_hook(
    cluster: SmallCluster, samples: Path, path: str, phase: str, op: dict[str, Any]
) -> None:
    written = put_hook(cluster.master_machine, path, phase)

    async def act(client: Client) -> None:
        assert await client.run(op) == "success"

    live(cluster, act)
    ours, theirs = variables(written), recorded(samples, path, phase)
    general = {k: v for k, v in theirs.items() if k in GENERAL}
    assert {k: ours.get(k) for k in general} == general

    def names(env: dict[str, str]) -> set[str]:
        """Without what belongs to the interfaces and disks of that very instance."""
        return {k for k in env if not any(part in k for part in ("NIC", "DISK", "_HV_", "_BE_"))}

    assert names(ours) == names(theirs)


GENERAL = {
    "PATH", "GANETI_CLUSTER", "GANETI_DATA_DIR", "GANETI_HOOKS_PATH", "GANETI_HOOKS_PHASE",
    "GANETI_HOOKS_VERSION", "GANETI_MASTER", "GANETI_OBJECT_TYPE", "GANETI_OP_CODE",
}  # fmt: skip


def test_a_pre_hook_that_refuses_stops_the_operation(cluster: SmallCluster) -> None:
    put_hook(cluster.machines[node_name(2)], "node-remove", "pre", exit_code=3)

    async def act(client: Client) -> None:
        before = client.master.store.snapshot
        error = await client.error(REMOVE)
        assert error[0] == "HooksAbort"
        assert error[1] == [[[node_name(2), "node-remove-pre.d/10-record", "said so"]]]
        assert client.master.store.snapshot is before
        assert client.master.locks.describe() == []

    live(cluster, act)


def test_a_post_hook_that_fails_is_only_a_warning(cluster: SmallCluster) -> None:
    put_hook(cluster.machines[node_name(2)], "node-remove", "post", exit_code=3)

    async def act(client: Client) -> None:
        number = await client.submit(REMOVE)
        assert await client.wait(number) == "success"
        log = await log_of(client, number)
        assert "10-record" in log and node_name(2) in log

    live(cluster, act)


def test_a_node_that_cannot_run_hooks_is_a_warning(cluster: SmallCluster) -> None:
    cluster.transport.fail[node_name(2), "hooks_runner"] = "no shell"

    async def act(client: Client) -> None:
        number = await client.submit(REMOVE)
        assert await client.wait(number) == "success"
        assert "no shell" in await log_of(client, number)

    live(cluster, act)


def test_without_any_node_to_run_pre_hooks_nothing_happens(cluster: SmallCluster) -> None:
    for number in (1, 2):
        cluster.transport.fail[node_name(number), "hooks_runner"] = "no shell"

    async def act(client: Client) -> None:
        assert (await client.error(REMOVE))[0] == "HooksFailure"
        assert client.master.store.snapshot.find_node(node_name(3)) is not None

    live(cluster, act)


def test_a_change_of_the_configuration_runs_its_hook_on_the_master(
    cluster: SmallCluster, samples: Path
) -> None:
    here = put_hook(cluster.master_machine, "config-update", "post")
    there = put_hook(cluster.machines[node_name(2)], "config-update", "post")

    async def act(client: Client) -> None:
        assert await client.run(REMOVE) == "success"

    live(cluster, act)
    assert not there.exists()
    assert variables(here).keys() == recorded(samples, *UPDATE).keys()


SAME_POOL = {"OP_ID": "OP_CLUSTER_SET_PARAMS", "candidate_pool_size": 10, "reason": []}


def put_slow_hook(machine: Machine, path: str) -> tuple[Path, Path]:
    """A pre script that makes the first file and goes on when it finds the second."""
    directory = machine.paths.hooks / f"{path}-pre.d"
    directory.mkdir(parents=True)
    here, go_on = machine.paths.root / "hook-is-here", machine.paths.root / "hook-may-go-on"
    script = directory / "10-wait"
    wait = f"while [ ! -e {go_on} ] && [ $((n += 1)) -lt 3000 ]; do sleep 0.01; done"
    script.write_text(f"#!/bin/sh\n>{here}\nn=0\n{wait}\n")
    script.chmod(0o755)
    return here, go_on


def change_a_group(draft: Draft) -> None:
    """As another job would do it."""
    (group,) = draft.snapshot.groups.values()
    draft.update(replace(group, tags=frozenset({"other"})))


async def until_there(path: Path) -> None:
    is_there = path.exists
    async with asyncio.timeout(10):
        while not is_there():
            await asyncio.sleep(0.005)


def test_a_change_by_another_job_runs_no_hook_of_this_one(cluster: SmallCluster) -> None:
    """Its opcode may change the configuration, but did not: the pool has its size already."""
    written = put_hook(cluster.master_machine, "config-update", "post")
    here, go_on = put_slow_hook(cluster.master_machine, "cluster-modify")

    async def act(client: Client) -> None:
        number = await client.submit(SAME_POOL)
        await until_there(here)
        await client.master.store.commit(change_a_group)
        go_on.touch()
        assert await client.wait(number) == "success", await client.result(number)

    live(cluster, act)
    assert not written.exists()


def test_hooks_after_a_rename_have_the_old_name_of_the_cluster(
    cluster: SmallCluster, samples: Path
) -> None:
    with cluster.paths.etc_hosts.open("a") as hosts:
        hosts.write("127.9.9.251 cluster2.example.com\n")
    written = put_hook(cluster.machines[node_name(2)], "cluster-rename", "post")
    rename = {"OP_ID": "OP_CLUSTER_RENAME", "name": "cluster2.example.com", "reason": []}

    async def act(client: Client) -> None:
        number = await client.submit(rename)
        assert await client.wait(number) == "success", await client.result(number)

    live(cluster, act)
    assert variables(written) == recorded(samples, "cluster-rename", "post")
