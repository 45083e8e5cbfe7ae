"""The answers of a recorded cluster, from its configuration file and the figures of its nodes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.live_data import FakeCluster
from ganeti.config.snapshot import Snapshot
from ganeti.errors import GenericError, ParseError, encode_error
from ganeti.jobs.job import decode_job
from ganeti.luxi.methods import read_arguments
from ganeti.model.config import ConfigDocument
from ganeti.model.report import HypervisorNodeInfo, RunningInfo, StorageInfo
from ganeti.query.answer import Answer
from ganeti.query.calls import METHODS
from ganeti.query.sources import NodeReport
from ganeti.serializer import decode, loads

UNORDERED = {"node_list", "group_list"}
"""The recorded cluster lists these by uuid; here they are sorted by name."""

ROUNDED = {"mtime"}
"""Written to the file with one digit less than kept in memory."""

CHANGED_SINCE = {"enabled_hypervisors", "mtime", "software_version", "vcs_version"}
"""Of the cluster: changed between the recording and the copy of the file, or our own."""


def snapshot(samples: Path) -> Snapshot:
    text = (samples / "state" / "4-full" / "config.data").read_bytes()
    return Snapshot.of(decode(ConfigDocument, loads(text), "config.data"))


def report(memory_free: int, memory_dom0: int) -> NodeReport:
    return NodeReport(
        boot_id="3ba5be35-1127-4286-9b0f-b506739010f4",
        hypervisor=HypervisorNodeInfo(
            memory_total=24105,
            memory_free=memory_free,
            memory_dom0=memory_dom0,
            cpu_total=2,
            cpu_nodes=1,
            cpu_sockets=1,
            cpu_dom0=2,
        ),
        storage=StorageInfo(type="file", name="/srv", storage_free=79390, storage_size=258019),
    )


@pytest.fixture
def cluster(samples: Path) -> FakeCluster:
    made = FakeCluster(snapshot(samples))
    made.nodes.instances = {
        "node1.example.com": {
            "db1.example.com": RunningInfo(memory=96, vcpus=1),
            "web1.example.com": RunningInfo(memory=64, vcpus=2),
        },
        "node2.example.com": {"app2.example.com": RunningInfo(memory=96, vcpus=1)},
        "node3.example.com": {},
    }
    made.nodes.reports = {
        "node1.example.com": report(23220, 54),
        "node2.example.com": report(23284, 54),
        "node3.example.com": report(23380, 54),
    }
    made.nodes.kept = {f"node{n}.example.com": [] for n in (1, 2, 3)}
    for number in range(1, 114):  # those that were there when the lists were recorded
        path = samples / "state" / "5-late" / "queue" / f"job-{number}"
        made.queue.jobs.append(decode_job(path.read_bytes(), path.name))
    return made


def records(samples: Path, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Method, arguments and the parsed answer of each request that could be read at all."""
    for line in (samples / "luxi" / f"{name}.jsonl").read_text().splitlines():
        record = json.loads(line)
        if not record["send"].startswith("{"):
            continue
        try:
            request = json.loads(record["send"])
            yield request["method"], request["args"], json.loads(record["recv"])
        except (ValueError, KeyError, TypeError):
            continue


def ask(cluster: FakeCluster, method: str, args: Any) -> Any:
    async def run() -> Any:
        result = await METHODS[method](cluster.engine, *read_arguments(method, args))
        if not isinstance(result, Answer):
            return result
        pieces = b"".join([piece async for piece in result.pieces()])
        assert json.loads(pieces) == json.loads(json.dumps(result.plain(), default=dict))
        return json.loads(pieces)

    return asyncio.run(run())


def cell_of(name: str, cell: list[Any]) -> list[Any]:
    status, value = cell
    if name in UNORDERED:
        return [status, sorted(value)]
    if name in ROUNDED:
        return [status, round(value, 5)]
    return [status, value]


@pytest.mark.parametrize("what", ["instance", "node", "group", "network", "export", "filter"])
def test_every_cell_of_a_full_list_is_as_recorded(
    samples: Path, cluster: FakeCluster, what: str
) -> None:
    seen = 0
    for method, args, answer in records(samples, "query"):
        if args[0] != what:
            continue
        seen += 1
        made, told = ask(cluster, method, args), answer["result"]
        assert len(made["data"]) == len(told["data"])
        for made_row, told_row in zip(made["data"], told["data"]):
            for name, ours, theirs in zip(args[1], made_row, told_row):
                assert cell_of(name, ours) == cell_of(name, theirs), name
    assert seen


def test_jobs_are_listed_as_recorded(samples: Path, cluster: FakeCluster) -> None:
    for method, args, answer in records(samples, "query"):
        if args[0] == "job":
            made = ask(cluster, method, args)
            for ours, theirs in zip(made["data"], answer["result"]["data"]):
                for name, our_cell, their_cell in zip(args[1], ours, theirs):
                    assert job_cell(name, our_cell) == job_cell(name, their_cell), name


def job_cell(name: str, cell: Any) -> Any:
    """Whether an unset parameter of an opcode is null or left out makes no difference."""
    if name != "ops":
        return cell
    return [{k: v for k, v in op.items() if v is not None} for op in cell[1]]


def is_about_jobs(method: str, args: Any) -> bool:
    return method == "QueryJobs" or (method == "Query" and args[0] == "job")


@pytest.mark.parametrize("file", ["query-filters", "calls"])
def test_calls_are_answered_or_refused_as_recorded(
    samples: Path, cluster: FakeCluster, file: str
) -> None:
    compared = 0
    for method, args, answer in records(samples, file):
        if method not in METHODS or is_about_jobs(method, args):
            continue
        if method == "QueryExports" and args[:1] == [["node1.example.com"]]:
            continue  # 3.0.2 answers the rows of a node asked for by name twice
        if method == "QueryConfigValues" and args in ([["drain_flag"]], [["watcher_pause"]]):
            continue  # after it had been changed
        if method == "QueryConfigValues" and args == ["cluster_name"]:
            continue  # the form of 2.5 and older, which 3.0 refuses, is understood
        compared += 1
        check_one(cluster, method, args, answer)
    assert compared > 10


def check_one(cluster: FakeCluster, method: str, args: Any, answer: Any) -> None:
    told = answer["result"]
    if not answer["success"] and isinstance(told, str):
        with pytest.raises(ParseError):
            ask(cluster, method, args)
    elif not answer["success"]:
        with pytest.raises(GenericError) as refused:
            ask(cluster, method, args)
        name, arguments = encode_error(refused.value)
        assert name == told[0]
        if name == "OpPrereqError":
            assert arguments == told[1]
    elif method == "QueryClusterInfo":
        made = ask(cluster, method, args)
        assert list(made) == list(told)
        assert {k: v for k, v in made.items() if k not in CHANGED_SINCE} == {
            k: v for k, v in told.items() if k not in CHANGED_SINCE
        }
    else:
        made = ask(cluster, method, args)
        assert plain_rows(made, method, args) == plain_rows(told, method, args), (method, args)


def plain_rows(result: Any, method: str, args: Any) -> Any:
    if isinstance(result, dict):
        return result["data"]
    if method == "QueryGroups" and "node_list" in args[1]:
        at = args[1].index("node_list")
        return [row[:at] + [sorted(row[at])] + row[at + 1 :] for row in result]
    if method == "QueryNodes" and "mfree" in args[1]:  # it changes all the time
        at = args[1].index("mfree")
        return [row[:at] + row[at + 1 :] for row in result]
    if method == "QueryJobs":
        return [
            dict(zip(args[1], (job_cell(n, [0, v]) for n, v in zip(args[1], row))))
            for row in result
        ]
    return result


@pytest.mark.parametrize("file", ["query-filters", "calls"])
def test_calls_about_jobs_are_answered_or_refused_as_recorded(
    samples: Path, cluster: FakeCluster, file: str
) -> None:
    for method, args, answer in records(samples, file):
        if is_about_jobs(method, args):
            check_one(cluster, method, args, answer)
