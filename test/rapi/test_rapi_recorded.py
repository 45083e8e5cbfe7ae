"""The recordings of a real cluster, replayed against our server over a master with the same
configuration: status, headers, keys and types of the answers, and the jobs that come of them.

Where we differ, DEVIATIONS and its like say why. In general: connections are kept, the recorded
server closed them; words of messages are our own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.rapi_bed import AUTHENTICATED, USERS, RapiBed, RecordedCluster, on_loop, parse_answer
from fakes.small_cluster import Client

UNKNOWN = "a name that nobody knows is no fault of the server"
DEVIATIONS: dict[str, tuple[int, str]] = {
    "GET /2/nodes/nonode/role": (404, UNKNOWN),
    "GET /2/instances/nosuch/tags": (404, UNKNOWN),
    "GET /2/instances/nosuch/console": (404, UNKNOWN),
    "GET /2/query/nosuch?fields=name": (404, UNKNOWN),
    "GET /2/query/nosuch/fields": (404, UNKNOWN),
    "GET /2/jobs/99999/wait": (404, UNKNOWN),
    "GET /2/nodes/node1.example.com?lock=1": (400, "what is not supported is no fault of ours"),
    "GET /2/instances?bulk=1&lock=1": (400, "what is not supported is no fault of ours"),
    'PUT /2/query/instance {"fields": ["name"], "qfilter": ["bad"]}': (400, "a bad filter"),
    'POST /2/filters {"priority": -5}': (400, "a bad number"),
    'POST /2/networks {"network_name": "bad", "network": "10.7.0.0/99"}': (200, "the job fails"),
}
"""Our status where it is another; the recorded one is 500 or 502."""

ADDED = re.compile(
    r"/custom_osparams$"  # since 3.1
    r"|/hvparams/kvm/(chipset|firmware|secure_boot|tpm)$"  # parameters of our own
)
FILLED_IN = frozenset({
    "admin_state_source", "node_uuids", "debug_level", "file_driver", "helper_shutdown_timeout",
    "helper_startup_timeout", "hypervisor", "instance_uuid", "node_uuid", "osparams",
    "osparams_private", "osparams_secret", "pnode", "pnode_uuid", "target_node_uuid",
})  # fmt: skip
"""The recorded master writes into opcodes while they run; ours leaves them as they came."""
REWRITTEN: Mapping[str, frozenset[str]] = {
    "OP_INSTANCE_CREATE": frozenset({"beparams", "disks"}),
    "OP_INSTANCE_QUERY_DATA": frozenset({"use_locking"}),
    "OP_NODE_SET_PARAMS": frozenset({"master_candidate", "offline"}),
}
"""Likewise, where it puts something else in the place of what came."""

RAW = {
    "0.9": "",  # also when it is not said that the connection is of no use
    "long line": "400",
    "long header": "400",
}
"""Our status where the recorded server closes the connection without a word."""


def records(samples: Path, name: str) -> Iterator[dict[str, Any]]:
    for line in (samples / "rapi" / f"{name}.jsonl").read_text().splitlines():
        yield json.loads(line)


def differences(theirs: Any, ours: Any, place: str = "") -> Iterator[str]:
    """Keys and types that are not alike."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            inner = f"{place}/{key}"
            unset = "/ops[" in inner and theirs.get(key) is None and ours.get(key) is None
            if unset or ADDED.search(inner):
                continue
            if key not in theirs or key not in ours:
                yield f"{inner}: only {'theirs' if key in theirs else 'ours'}"
            else:
                yield from differences(theirs[key], ours[key], inner)
    elif isinstance(theirs, list) and isinstance(ours, list):
        if bool(theirs) != bool(ours):
            yield f"{place}: {theirs!r:.60}, ours {ours!r:.60}"
        for number, (left, right) in enumerate(zip(theirs, ours, strict=False)):
            yield from differences(left, right, f"{place}[{number}]")
    elif kind(theirs) != kind(ours):
        yield f"{place}: {theirs!r:.60}, ours {ours!r:.60}"


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def reasons(trail: list[list[Any]]) -> list[list[Any]]:
    """Without times and job numbers."""
    return [[who, re.sub(r"job=\d+", "job=N", why)] for who, why, _ in trail]


def opcode_differences(theirs: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
    rewritten = REWRITTEN.get(theirs["OP_ID"], frozenset())
    for name in sorted(theirs.keys() | ours.keys()):
        left, right = theirs.get(name), ours.get(name)
        if name == "reason":
            left, right = reasons(left or []), reasons(right or [])
        if left == right or name in rewritten or (name in FILLED_IN and right is None):
            continue
        yield f"{theirs['OP_ID']} {name}: {left!r}, ours {right!r}"


class Replay:
    """Records one after the other; numbers of jobs and rules are ours."""

    def __init__(self, bed: RapiBed, client: Client) -> None:
        self.bed = bed
        self.client = client
        self.jobs: dict[int, int] = {}
        self.rules: dict[str, str] = {}
        self.problems: list[str] = []
        self.asked = 0

    async def replay(self, record: dict[str, Any]) -> None:
        request, answer = record["request"], record["response"]
        path = await self._own_path(request["path"])
        body = request["body"]
        ours = await self.bed.ask(
            request["method"], path.replace(" ", "%20"), body, request["headers"]
        )
        self.asked += 1
        what = f"{request['method']} {request['path']}"
        wanted = DEVIATIONS.get(what) or DEVIATIONS.get(f"{what} {body}")
        status = wanted[0] if wanted else answer["status"]
        if ours.status != status:
            self._tell(what, f"status {answer['status']}, ours {ours.status}: {ours.body!r:.200}")
        headers = {name.lower(): value for name, value in answer["headers"]}
        for name in ("content-type", "www-authenticate"):
            if ours.headers.get(name) != headers.get(name):
                self._tell(what, f"{name}: {headers.get(name)}, ours {ours.headers.get(name)}")
        if not re.fullmatch(r"Ganeti \d+\.\d+\.\d+", ours.headers["server"]):
            self._tell(what, ours.headers["server"])
        if ours.status == answer["status"] and answer["body"]:
            assert ours.body.endswith(b"\n")
            self._compare(what, json.loads(answer["body"]), ours.json)

    async def _own_path(self, path: str) -> str:
        for theirs, ours in self.rules.items():
            path = path.replace(theirs, ours)
        match = re.match(r"/2/jobs/(\d+)", path)
        number = self.jobs.get(int(match[1])) if match else None
        if match is None or number is None:
            return path
        await self.client.wait(number)
        return f"/2/jobs/{number}{path[match.end() :]}"

    def _compare(self, what: str, theirs: Any, ours: Any) -> None:
        if type(theirs) is int and type(ours) is int:
            self.jobs[theirs] = ours
        if isinstance(theirs, str) and re.fullmatch(r"[0-9a-f-]{36}", theirs):
            self.rules[theirs] = ours
        if re.match(r"GET /2/jobs/\d+$", what) and theirs.get("ops"):
            for left, right in zip(theirs.pop("ops"), ours.pop("ops"), strict=True):
                for text in opcode_differences(left, right):
                    self._tell(what, text)
            for name in ("opresult", "oplog"):  # another machine, other nodes
                assert len(theirs.pop(name)) == len(ours.pop(name))
        for text in differences(theirs, ours):
            self._tell(what, text)

    def _tell(self, what: str, text: str) -> None:
        self.problems.append(f"{what}: {text}")


@pytest.mark.parametrize("name", ["get", "jobs", "auth", "errors", "changes"])
def test_answers_and_jobs_are_the_recorded_ones(samples: Path, tmp_path: Path, name: str) -> None:
    users = tmp_path / "users"
    users.write_text(USERS)
    cluster = RecordedCluster(tmp_path / "cluster", samples)

    async def work() -> None:
        async with cluster.rapi(users) as (bed, client):
            replay = Replay(bed, client)
            for record in records(samples, name):
                await replay.replay(record)
            assert replay.asked
            assert replay.problems == []

    on_loop(work)


def test_requests_byte_by_byte(samples: Path, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(USERS)
    cluster = RecordedCluster(tmp_path / "cluster", samples)
    limits = replace(AUTHENTICATED.limits, first_request_s=0.3, idle_s=0.05)
    settings = replace(AUTHENTICATED, limits=limits)

    async def work() -> None:
        async with cluster.rapi(users, settings) as (bed, _):
            for record in records(samples, "raw"):
                said = await bed.raw(record["send"].encode())
                wanted = record["recv"].split(" ")[1] if record["recv"] else ""
                ours = said.split(b" ")[1].decode() if said else ""
                assert ours == RAW.get(record["what"], wanted), record["what"]
                if ours and ours != "200":
                    answer = parse_answer(said)
                    assert answer.json.keys() == {"code", "message", "explain"}
                    assert answer.json["code"] == int(ours)

    on_loop(work)
