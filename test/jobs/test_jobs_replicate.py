"""Job files reach the candidates, also those that were away; secrets reach no file."""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from typing import Any, cast

import pytest
from fakes.job_executor import SteeredExecutor
from fakes.job_machine import Machine, until
from fakes.virtual_time import in_place, run
from ganeti.jobs.replicate import JobFileReplicator
from ganeti.opcodes import load
from ganeti.rpc.base import Call, Outcome, Target
from ganeti.rpc.client import RpcClient


class Candidates:
    """The candidates' queue directories, by node."""

    def __init__(self, *names: str) -> None:
        self.targets = [Target(name, name, "memory") for name in names]
        self.down: set[str] = set()
        self.files: dict[str, dict[str, str]] = {name: {} for name in names}
        self.loose: defaultdict[str, set[str]] = defaultdict(set)  # not synced
        self.calls: list[str] = []
        self.brought: list[str] = []
        self.call_s = 0.01
        self.under_way = self.most_under_way = 0

    async def ask(self, node: Target, call: Call[Any, Any], *args: Any) -> Outcome[Any]:
        if node.name in self.down:
            return Outcome(node, error="no route to host")
        files = self.files[node.name]
        self.calls.append(call.name)
        self.most_under_way = max(self.most_under_way, self.under_way + 1)
        self.under_way += 1
        await asyncio.sleep(self.call_s)
        self.under_way -= 1
        if call.name == "jobqueue_place":
            names = {name for name, _ in args[0]}
            files.update({name: content for name, (_, content) in args[0]})
            self.loose[node.name] -= names
            self.loose[node.name] |= set() if args[1] else names
            self.brought += names
            return Outcome(node)
        if call.name == "jobqueue_settle":
            other = [n for n, crc in args[0].items() if crc != checksum(files.get(n))]
            self.loose[node.name] -= args[0].keys()
            return Outcome(node, value=other)
        assert call.name == "jobqueue_rename"
        for old, new in args[0]:
            files[new] = files.pop(old)
        return Outcome(node)


def checksum(content: str | None) -> int | None:
    return None if content is None else zlib.crc32(content.encode())


async def brought(files: JobFileReplicator) -> None:
    """The candidates that answer have everything; virtual time."""
    files.serve()
    await asyncio.sleep(60)


def replicator(nodes: Candidates, here: dict[str, str]) -> JobFileReplicator:
    return JobFileReplicator(
        cast(RpcClient, nodes),
        lambda: nodes.targets,
        here.get,
        lambda: here,
        "/q",
        offload=in_place,
    )


def test_new_candidate_gets_every_file_and_others_what_changed() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        here = {"serial": "1\n", "job-1": "one"}
        files = replicator(nodes, here)
        await brought(files)
        here["job-1"] = "changed"
        nodes.targets.append(Target("b", "b", "memory"))
        nodes.files["b"] = {}
        files.changed(["job-1"])
        await brought(files)
        expected = {"/q/serial": "1\n", "/q/job-1": "changed"}
        assert nodes.files == {"a": expected, "b": expected}

    run(main())


def test_files_of_jobs_in_the_journal_go_in_one_call_and_are_synced_before_a_new_one() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        here = {f"job-{n}": f"text {n}" for n in range(1, 21)}
        files = replicator(nodes, here)
        files.is_covered = lambda name: True
        await brought(files)
        assert nodes.calls == ["jobqueue_settle", "jobqueue_place"]
        assert nodes.files["a"] == {f"/q/{name}": text for name, text in here.items()}
        files.is_covered = lambda name: name == "job-7"
        await files.bring(nodes.targets[0])
        assert nodes.calls[2:] == ["jobqueue_settle"]
        assert nodes.loose["a"] == {"/q/job-7"}
        here["job-1"] = "later"
        files.changed(["job-1"])
        await brought(files)
        assert nodes.calls[3:] == ["jobqueue_place"] and nodes.files["a"]["/q/job-1"] == "later"
        assert nodes.loose["a"] == {"/q/job-7"}

    run(main())


def test_new_journal_waits_only_for_files_that_it_does_not_cover() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        here = {f"job-{n}": f"text {n}" for n in range(1, 901)}
        files = replicator(nodes, here)
        files.is_covered = lambda name: name != "job-900"
        files.serve()
        await asyncio.sleep(5 * nodes.call_s)  # amid the others
        began = asyncio.get_running_loop().time()
        await files.bring(nodes.targets[0])
        assert asyncio.get_running_loop().time() - began < 5 * nodes.call_s
        assert "/q/job-900" not in nodes.loose["a"]
        assert nodes.files["a"]["/q/job-900"] == "text 900" and len(nodes.files["a"]) < 900
        await asyncio.sleep(60)
        assert nodes.files["a"] == {f"/q/{name}": text for name, text in here.items()}
        assert nodes.most_under_way == 1 and len(nodes.calls) < 40

    run(main())


def test_candidate_does_not_get_what_it_has_already() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        here = {f"job-{n}": f"text {n}" for n in range(1, 501)}
        nodes.files["a"] = {f"/q/{name}": text for name, text in here.items()}
        nodes.files["a"]["/q/job-7"] = "old"
        nodes.loose["a"] = set(nodes.files["a"])
        files = replicator(nodes, here)
        await files.bring(nodes.targets[0])
        assert nodes.calls == ["jobqueue_settle", "jobqueue_place"]
        assert nodes.brought == ["/q/job-7"] and not nodes.loose["a"]

    run(main())


def test_what_could_not_be_read_or_sent_is_tried_again() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        here = {"job-1": "one", "job-2": "two"}
        broken = {"job-2"}

        def content(name: str) -> str | None:
            if name in broken:
                raise OSError("input/output error")
            return here[name]

        files = JobFileReplicator(
            cast(RpcClient, nodes), lambda: nodes.targets, content, lambda: here, offload=in_place
        )
        files.serve()
        await asyncio.sleep(7)
        assert not nodes.files["a"] and files.missing() == {"job-1", "job-2"}
        broken.clear()
        await asyncio.sleep(7)
        assert len(nodes.files["a"]) == 2 and not files.missing()
        await files.stop()

    run(main())


def test_file_that_a_candidate_has_damaged_is_sent_again() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        here = {"job-1": "one", "job-2": "two"}
        files = replicator(nodes, here)
        files.is_covered = lambda name: True
        await brought(files)
        nodes.files["a"]["/q/job-2"] = "t\0\0"
        files.is_covered = lambda name: False
        await files.bring(nodes.targets[0])
        assert nodes.files["a"] == {"/q/job-1": "one", "/q/job-2": "two"}
        assert not nodes.loose["a"]

    run(main())


def test_file_is_synced_before_it_goes_to_the_archive() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        files = replicator(nodes, {"job-1": "one"})
        files.is_covered = lambda name: True
        await brought(files)
        files.archived([1])
        await brought(files)
        assert nodes.calls[1:] == ["jobqueue_place", "jobqueue_settle", "jobqueue_rename"]
        assert nodes.files["a"] == {"/q/archive/0/job-1": "one"} and not nodes.loose["a"]

    run(main())


def test_candidate_that_was_away_gets_what_it_missed() -> None:
    async def main() -> None:
        nodes = Candidates("a")
        here = {"job-1": "one"}
        files = replicator(nodes, here)
        await brought(files)
        nodes.down.add("a")
        here["job-2"] = "two"
        files.changed(["job-2"])
        files.archived([1])
        await brought(files)
        assert files.missing() == {"job-2"}
        with pytest.raises(OSError, match="node a"):
            await files.bring(nodes.targets[0])
        nodes.down.clear()
        await files.bring(nodes.targets[0])
        assert nodes.files["a"] == {"/q/job-2": "two", "/q/archive/0/job-1": "one"}
        assert not files.missing()

    run(main())


def test_secret_parameters_are_known_to_the_executor_and_stand_in_no_file() -> None:
    async def main() -> None:
        executor = SteeredExecutor()
        machine = Machine(executor)
        queue = machine.queue()
        await queue.start()
        opcode = load(
            {
                "OP_ID": "OP_TEST_OS_PARAMS",
                "reason": [],
                "osparams_secret": {"password": "hunter2"},
            }
        )
        number = await queue.submit([opcode])
        executor.grant(number)
        job = await until(queue, number, "running")
        assert job.ops[0].opcode.to_json()["osparams_secret"] == {"password": "hunter2"}
        rows = await queue.query([number], ["ops"])
        assert "hunter2" not in repr(rows)
        await queue.stop()
        for name in machine.disk.listdir(machine.paths.queue):
            if name not in ("lock", "archive"):
                assert b"hunter2" not in machine.file(name)

    run(main())
