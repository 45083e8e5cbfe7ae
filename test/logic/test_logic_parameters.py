"""Every parameter of every opcode is read by what carries it out.

A logical unit is followed through the functions that it uses, in its own module and in the others
of the room; what they read of the opcode (`op.NAME`) is compared with what it declares. Uuids are
read for all units in one place, logic/identity.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from ganeti import logic, opcodes
from ganeti.logic import registry

ROOM = Path(logic.__file__).parent
PACKAGE = "ganeti.logic"

# Parameters that nothing reads, and why. Compared exactly: what is read must not stand here.
EXPORTS = "exports and imports are not built yet"
UNTRUSTED = "an untrusted OS, installed in a helper VM, is not built yet"
DRBD = "DRBD is not built yet: all is refused"
UNREAD: dict[str, dict[str, str]] = {
    "OP_INSTANCE_CREATE": {
        "source_handshake": EXPORTS,
        "source_instance_name": EXPORTS,
        "source_shutdown_timeout": EXPORTS,
        "source_x509_ca": EXPORTS,
        "src_node": EXPORTS,
        "src_path": EXPORTS,
        "helper_startup_timeout": UNTRUSTED,
        "helper_shutdown_timeout": UNTRUSTED,
    },
    "OP_INSTANCE_REPLACE_DISKS": {"early_release": DRBD, "ignore_ipolicy": DRBD},
    "OP_NETWORK_REMOVE": {"force": "the facts: a connected network is refused, with it too"},
}

Place = tuple[str, str]
"""A module of the room, and a function or class on its top level."""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOM / f"{module}.py").read_text())


@cache
def places(module: str) -> dict[str, ast.AST]:
    """What stands on the top level, by name."""
    found: dict[str, ast.AST] = {}
    for node in tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id: node for one in targets if isinstance(one, ast.Name)}
    return found


@cache
def imported(module: str) -> tuple[dict[str, str], dict[str, Place]]:
    """Modules of the room, and what is in them, by the names that they have here."""
    modules: dict[str, str] = {}
    things: dict[str, Place] = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            inside = (node.module or "").removeprefix(PACKAGE).removeprefix(".")
            for alias in node.names:
                name = alias.asname or alias.name
                if inside:
                    things[name] = (inside, alias.name)
                else:
                    modules[name] = alias.name
    return modules, things


def used_by(place: Place) -> Iterator[Place]:
    """What a function or class of the room mentions of the room."""
    module, name = place
    modules, things = imported(module)
    for node in ast.walk(places(module)[name]):
        if isinstance(node, ast.Name):
            if node.id in things:
                yield things[node.id]
            else:
                yield module, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in modules:
                yield modules[node.value.id], node.attr


def is_opcode(node: ast.AST) -> bool:
    """`op`, `self.op` or `unit.op`."""
    return getattr(node, "id", None) == "op" or getattr(node, "attr", None) == "op"


def read_in(place: Place) -> Iterator[str]:
    """Parameters of an opcode that are read there; with getattr(op, name) any text may be one."""
    node = places(place[0])[place[1]]
    texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    by_name = False
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and is_opcode(one.value):
            yield one.attr
        elif isinstance(one, ast.Call) and getattr(one.func, "id", "") == "getattr":
            by_name |= is_opcode(one.args[0])
    if by_name:
        for used in (place, *used_by(place)):
            if used[1] in places(used[0]):
                inside = ast.walk(places(used[0])[used[1]])
                texts += [n.value for n in inside if isinstance(n, ast.Constant)]
        yield from (text for text in texts if isinstance(text, str))


def reached_from(place: Place) -> set[Place]:
    found: set[Place] = set()
    left = [place]
    while left:
        one = left.pop()
        module, name = one
        if one not in found and (ROOM / f"{module}.py").exists() and name in places(module):
            found.add(one)
            left += used_by(one)
    return found


def unread(op_id: str) -> set[str]:
    unit = registry.unit_for(op_id)
    module = registry.module_name(op_id).removeprefix(f"{PACKAGE}.")
    classes = [one.__name__ for one in unit.__mro__ if one.__module__.startswith(PACKAGE)]
    found: set[str] = set()
    for name in classes:
        for place in reached_from((module, name)):
            found |= set(read_in(place))
    declared = opcodes.find(op_id).own_params().values()
    return {one.name for one in declared if not one.uuid_of} - found


def implemented() -> list[str]:
    return sorted(op_id for op_id in opcodes.MODULES if registry.is_implemented(op_id))


@pytest.mark.parametrize("op_id", implemented())
def test_every_parameter_is_read(op_id: str) -> None:
    assert unread(op_id) == set(UNREAD.get(op_id, {}))


def test_every_uuid_is_that_of_a_named_object() -> None:
    for op_id in opcodes.MODULES:
        for one in opcodes.find(op_id).PARAMS.values():
            assert bool(one.uuid_of) == one.name.endswith(("_uuid", "_uuids")), (op_id, one.name)


def test_the_scan_sees_what_is_not_read() -> None:
    """Else an empty list would prove nothing."""
    place = ("instance_startup", "InstanceStartup")
    read = set().union(*(read_in(one) for one in reached_from(place)))
    assert {"startup_paused", "shutdown_timeout"} <= set(opcodes.find("OP_INSTANCE_STARTUP").PARAMS)
    assert "startup_paused" in read
    assert "zeroing_timeout_fixed" not in read
