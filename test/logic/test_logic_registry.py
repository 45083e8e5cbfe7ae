"""Which opcodes have a logical unit."""

from __future__ import annotations

import pytest
from fact_tables import facts
from ganeti.errors import Code, OpPrereqError
from ganeti.logic import registry
from ganeti.opcodes.registry import MODULES

# Declared, but this release can't do them yet. The list may only shrink.
MISSING: list[str] = [
    "OP_BACKUP_EXPORT",
    "OP_BACKUP_PREPARE",
    "OP_BACKUP_REMOVE",
    "OP_REPAIR_NODE_STORAGE",
]


def declared() -> list[str]:
    return sorted(MODULES)


def test_the_list_of_missing_units_only_shrinks() -> None:
    missing = {op_id for op_id in declared() if not registry.is_implemented(op_id)}
    assert sorted(missing - registry.UNSERVED) == MISSING


def test_nobody_serves_what_has_no_handler_in_the_facts() -> None:
    rows = facts("opcodes")["opcodes"].items()
    assert {op_id for op_id, row in rows if row.get("no_handler")} == registry.UNSERVED
    for op_id in registry.UNSERVED:
        assert not registry.is_implemented(op_id)
        with pytest.raises(OpPrereqError, match=f"{op_id} is for tests of clients"):
            registry.unit_for(op_id)


def test_every_unit_is_of_its_opcode() -> None:
    for op_id in declared():
        if registry.is_implemented(op_id):
            assert registry.unit_for(op_id).opcode.OP_ID == op_id


def test_a_missing_unit_is_a_clear_refusal() -> None:
    for op_id in MISSING:
        with pytest.raises(OpPrereqError, match=f"{op_id} is known, but") as caught:
            registry.unit_for(op_id)
        assert caught.value.code == Code.ENVIRON


def test_every_declared_opcode_is_of_the_facts() -> None:
    assert set(declared()) <= set(facts("opcodes")["opcodes"])
