"""Parameters that follow from the request, against the table of the facts: what the opcode gets,
and that a body can't say otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fact_tables import facts
from fakes.rapi_bed import RapiBed, on_loop
from fakes.rapi_stand import ADMIN, JSON, Stand, refused

FLAGS = {"dry_run": "dry-run"}  # parameter → query argument, where the names differ
ELSEWHERE = {"instance": "inst1.example.com", "index": "3", "node": "node1.example.com"}
BY_CHOICE = {"reboot_type": ("type", "hard"), "mode": ("mode", "local")}
TEXTS = {"storage_type": "lvm-pv", "name": "/dev/sda"}
BODIES: dict[str, dict[str, Any]] = {
    "POST /2/instances": {
        "__version__": 1, "mode": "create", "instance_name": "i", "disk_template": "diskless",
        "disks": [], "nics": [], "os_type": "os",
    },
    "POST /2/instances-multi-alloc": {"instances": []},
    "PUT /2/instances/{instance}/rename": {"new_name": "other"},
    "PUT /2/instances/{instance}/export": {"destination": "node1", "mode": "local"},
    "POST /2/instances/{instance}/replace-disks": {"mode": "replace_auto", "iallocator": "hail"},
    "POST /2/instances/{instance}/disk/{index}/grow": {"amount": 8},
    "PUT /2/instances/{instance}/modify": {"offline": False},
    "POST /2/networks": {"network_name": "n", "network": "10.0.0.0/24"},
    "PUT /2/networks/{network}/connect": {
        "group_name": "g", "network_mode": "bridged", "network_link": "br0",
    },
    "PUT /2/networks/{network}/disconnect": {"group_name": "g"},
    "PUT /2/networks/{network}/rename": {"new_name": "other"},
    "POST /2/groups": {"group_name": "g"},
    "PUT /2/groups/{group}/rename": {"new_name": "other"},
    "PUT /2/groups/{group}/assign-nodes": {"nodes": ["node1"]},
    "POST /2/nodes/{node}/evacuate": {"mode": "all", "iallocator": "hail"},
}  # fmt: skip
"""What else such a body must hold."""


def path_of(path: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: ELSEWHERE.get(found[1], f"my-{found[1]}"), path)


def wanted(name: str, text: str) -> tuple[list[tuple[str, str]], Any]:
    """Query arguments that say it, and the value that the opcode then has."""
    place = re.fullmatch(r"from path: (\w+)", text)
    if place:
        return [], ELSEWHERE.get(place[1], f"my-{place[1]}")
    if text == "int from path":
        return [], int(ELSEWHERE["index"])
    if found := re.fullmatch(r"\[path (\w+)\]", text):
        return [], [ELSEWHERE[found[1]]]
    if text in ('"cluster"', '"node"', '"instance"', '"nodegroup"', '"network"', "null", "false"):
        return [], json.loads(text)
    if text == "all query tag values":
        return [("tag", "a:b"), ("tag", "c")], ["a:b", "c"]
    if text == "query output_fields split at commas":
        return [("output_fields", "name,size")], ["name", "size"]
    if text.startswith('{"allocatable": bool}'):
        return [("allocatable", "1")], {"allocatable": True}
    if name in BY_CHOICE:
        argument, value = BY_CHOICE[name]
        return [(argument, value)], value
    if name in TEXTS:
        return [(name, TEXTS[name])], TEXTS[name]
    found = re.fullmatch(r"from query ?([\w-]*)", text)
    assert found, (name, text)
    return [(found[1] or FLAGS.get(name, name), "1")], True


def as_sent(opcode: Any) -> dict[str, Any]:
    """The server of LUXI may read opcodes for its handler."""
    sent: dict[str, Any] = opcode if isinstance(opcode, dict) else opcode.to_json()
    return sent


def rows() -> Iterator[Any]:
    for row in facts("rapi")["resources"]:
        for method, fact in row["methods"].items():
            if "forced" in fact and not row["path"].endswith("/role"):
                line = f"{method} {row['path']}"
                yield pytest.param(method, row["path"], fact["forced"], id=line)


@pytest.mark.parametrize(("method", "path", "forced"), list(rows()))
def test_forced_parameters_are_those_of_the_table(
    tmp_path: Path, method: str, path: str, forced: dict[str, str]
) -> None:
    submitted: list[Any] = []

    async def master(name: str, args: list[Any]) -> Any:
        assert name == "SubmitJob", name
        submitted.extend(args[0])
        return 17

    async def ask(bed: RapiBed, body: Any) -> Any:
        return await bed.ask(method, place, json.dumps(body), ADMIN | JSON)

    values: dict[str, Any] = {}
    query: list[tuple[str, str]] = []
    for name, text in forced.items():
        arguments, values[name] = wanted(name, text)
        query += arguments
    place = path_of(path) + (f"?{urlencode(query)}" if query else "")
    body = BODIES.get(f"{method} {path}", {})

    async def work() -> None:
        async with Stand(tmp_path, master).rapi() as bed:
            answer = await ask(bed, body)
            assert (answer.status, answer.json) == (200, 17), answer.body
            (opcode,) = submitted
            told = as_sent(opcode)
            assert {name: told[name] for name in values} == values
            if f"{method} {path}" in TAKES_BODY:
                for name, value in values.items():
                    refused(await ask(bed, body | {name: value}), 400)

    on_loop(work)


TAKES_BODY = {
    f"{method} {row['path']}"
    for row in facts("rapi")["resources"]
    for method, fact in row["methods"].items()
    if isinstance(fact.get("body"), dict)
}


ROLES = {
    "regular": (False, False, False),
    "master-candidate": (True, None, None),
    "drained": (None, None, True),
    "offline": (None, True, None),
}


@pytest.mark.parametrize("role", list(ROLES))
def test_a_role_is_three_flags(tmp_path: Path, role: str) -> None:
    submitted: list[Any] = []

    async def master(name: str, args: list[Any]) -> Any:
        submitted.extend(args[0])
        return 17

    async def work() -> None:
        async with Stand(tmp_path, master).rapi() as bed:
            path = "/2/nodes/node1.example.com/role?force=1"
            assert (await bed.ask("PUT", path, json.dumps(role), ADMIN | JSON)).json == 17
            (opcode,) = submitted
            told = as_sent(opcode)
            names = ("master_candidate", "offline", "drained")
            assert tuple(told.get(name) for name in names) == ROLES[role]
            assert told["node_name"] == "node1.example.com" and told["force"] is True

    on_loop(work)
