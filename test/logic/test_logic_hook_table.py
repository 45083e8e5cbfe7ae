"""Which opcodes have hooks, under which path and of which object: the table of the facts."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from ganeti.logic import registry
from ganeti.logic.base import LogicalUnit
from ganeti.opcodes.registry import MODULES

TABLE: list[dict[str, Any]] = facts("hooks")["hooks"]
ROWS = {row["opcode"]: row for row in TABLE if row["opcode"] in MODULES}

# Hooks of opcodes whose work this release does not do, and why. What is done must not stand here.
LATER = {
    "OP_BACKUP_EXPORT": "exports",
    "OP_INSTANCE_REPLACE_DISKS": "DRBD",
}
# Rows that are no opcodes of the master.
ON_NODES = {"OP_CLUSTER_IP_TURNUP", "OP_CLUSTER_IP_TURNDOWN"}
FORMER = {"OP_NODE_EVACUATE (2.1-2.4)"}
# After these the configuration is told to have changed: facts/hooks.json `special_paths`.
WITH_CONFIG_UPDATE = {
    "OP_GROUP_ADD", "OP_GROUP_REMOVE", "OP_GROUP_ASSIGN_NODES", "OP_NETWORK_ADD",
    "OP_NETWORK_REMOVE", "OP_NODE_ADD", "OP_NODE_REMOVE", "OP_INSTANCE_MOVE",
    "OP_INSTANCE_RENAME", "OP_INSTANCE_RECREATE_DISKS",
}  # fmt: skip
NONE = LogicalUnit.hooks
WHEN_ROLES_CHANGE = {"OP_NODE_SET_PARAMS", "OP_CLUSTER_SET_PARAMS"}


def declared_hooks(op_id: str) -> set[tuple[str, str]]:
    """(path, type of object) of every HookEnv that the unit's module makes."""
    spec = find_spec(registry.module_name(op_id))
    assert spec is not None and spec.origin is not None, f"{op_id} has no logical unit"
    found = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HookEnv":
            path, kind = (ast.literal_eval(argument) for argument in node.args[:2])
            found.add((path, kind))
    return found


def test_every_row_is_an_opcode_or_known_to_be_none() -> None:
    assert {row["opcode"] for row in TABLE} == set(ROWS) | ON_NODES | FORMER
    text = facts("hooks")["special_paths"]["config-update"]
    assert all(
        op_id.removeprefix("OP_") in text for op_id in WITH_CONFIG_UPDATE | WHEN_ROLES_CHANGE
    )


def units() -> list[str]:
    return sorted(op_id for op_id in MODULES if registry.is_implemented(op_id))


def test_only_these_hooks_are_missing() -> None:
    with_hooks = {op_id for op_id in units() if registry.unit_for(op_id).hooks is not NONE}
    assert set(ROWS) - with_hooks == set(LATER)


@pytest.mark.parametrize("op_id", sorted(set(ROWS) - set(LATER)))
def test_path_and_object_are_those_of_the_table(op_id: str) -> None:
    row = ROWS[op_id]
    assert declared_hooks(op_id) == {(row["path"], row["object_type"])}
    assert registry.unit_for(op_id).hooks is not NONE


@pytest.mark.parametrize("op_id", sorted(set(units()) - set(ROWS)))
def test_the_others_have_no_hooks(op_id: str) -> None:
    assert registry.unit_for(op_id).hooks is NONE


def test_a_changed_configuration_is_always_told_after_these_opcodes_only() -> None:
    assert {op_id for op_id in units() if registry.unit_for(op_id).config_hook} == (
        WITH_CONFIG_UPDATE
    )
