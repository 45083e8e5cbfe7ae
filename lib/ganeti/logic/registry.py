"""Opcode → logical unit.

A unit's module is found by the opcode's name: `OP_INSTANCE_STARTUP` is `instance_startup.py`, but
for the few that share one (`SHARED`). It is imported at first use.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar

from ganeti.errors import Code, OpPrereqError, ProgrammerError
from ganeti.logic.base import LogicalUnit
from ganeti.opcodes.base import Opcode

U = TypeVar("U", bound=type[LogicalUnit[Any, Any]])

SHARED = {
    "OP_TAGS_GET": "tags",
    "OP_TAGS_SEARCH": "tags",
    "OP_TAGS_SET": "tags",
    "OP_TAGS_DEL": "tags",
    "OP_TEST_DELAY": "test",
    "OP_TEST_JQUEUE": "test",
    "OP_TEST_OS_PARAMS": "test",
    "OP_QUERY": "query",
    "OP_QUERY_FIELDS": "query",
}

_UNITS: dict[str, type[LogicalUnit[Any, Any]]] = {}


def implements(opcode: type[Opcode]) -> Callable[[U], U]:
    """Class decorator: this unit is what `opcode` means."""

    def register(unit: U) -> U:
        if opcode.OP_ID in _UNITS:
            raise ProgrammerError(f"{opcode.OP_ID} has two logical units")
        unit.opcode = opcode
        _UNITS[opcode.OP_ID] = unit
        return unit

    return register


UNSERVED = frozenset({"OP_TEST_DUMMY"})
"""Clients may submit these and get an error: there is no unit (facts/opcodes.json, no_handler)."""


def module_name(op_id: str) -> str:
    return "ganeti.logic." + SHARED.get(op_id, op_id.removeprefix("OP_").lower())


def is_implemented(op_id: str) -> bool:
    return importlib.util.find_spec(module_name(op_id)) is not None


def unit_for(op_id: str) -> type[LogicalUnit[Any, Any]]:
    """The unit of an opcode; OpPrereqError when it is declared but has no unit yet."""
    if op_id not in _UNITS:
        if op_id in UNSERVED:
            raise OpPrereqError(f"{op_id} is for tests of clients, no master does it", Code.ENVIRON)
        if not is_implemented(op_id):
            raise OpPrereqError(
                f"{op_id} is known, but this release can't do it yet",
                Code.ENVIRON,
                hint="see NEWS for what comes with which release",
            )
        importlib.import_module(module_name(op_id))
    return _UNITS[op_id]
