"""Objects that an opcode names, and whose uuids it may expect.

A parameter that is declared with `uuid_of` holds the uuid of the object that another parameter
names. The uuid alone stands for the name; with a name, the object of this name must have it: it
may have been made anew since the opcode was submitted. Source: facts/master.md §C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.base import Opcode

O = TypeVar("O", bound=Opcode)  # noqa: E741  # O for opcode

INSTANCE_NAME = "instance_name"  # all other names are those of nodes


def with_names(config: Snapshot, op: O) -> O:
    """The opcode with names where only uuids were given; NOENT when nothing has such a uuid."""
    names: dict[str, Any] = {}
    for parameter, expected in _expected(op):
        if getattr(op, parameter):
            continue
        if isinstance(expected, str):
            names[parameter] = _by_uuid(config, parameter, expected).name
        else:
            names[parameter] = [_by_uuid(config, parameter, one).name for one in expected]
    return op.replace(**names) if names else op


def confirm(config: Snapshot, op: Opcode) -> None:
    """NOTUNIQUE when an object has another uuid than the opcode expects.

    A name that nothing has is not judged here: the unit itself looks for it.
    """
    for parameter, expected in _expected(op):
        named = getattr(op, parameter)
        if isinstance(named, str) and isinstance(expected, str):
            _confirm_one(config, parameter, named, expected)
        elif isinstance(named, Sequence) and not isinstance(expected, str):
            if len(named) != len(expected):
                raise OpPrereqError(
                    f"{op.OP_ID}: {parameter} has {len(named)} names, but {len(expected)} uuids"
                    " were given for them",
                    Code.NOTUNIQUE,
                    hint="give one uuid for each name in the same order, or only one of both",
                )
            for name, uuid in zip(named, expected):
                _confirm_one(config, parameter, name, uuid)


def _expected(op: Opcode) -> Iterator[tuple[str, str | Sequence[str]]]:
    """Parameters that name objects, with the uuids that were given for them."""
    for declared in op.PARAMS.values():
        expected = getattr(op, declared.name) if declared.uuid_of else None
        if expected:
            yield declared.uuid_of, expected


def _by_uuid(config: Snapshot, parameter: str, uuid: str) -> Instance | Node:
    is_instance = parameter == INSTANCE_NAME
    found = config.instances.get(uuid) if is_instance else config.nodes.get(uuid)
    if found is None:
        what = "instance" if is_instance else "node"
        raise OpPrereqError(
            f"no {what} has the uuid {uuid!r}",
            Code.NOENT,
            hint=f"gnt-{what} list -o +uuid shows them",
        )
    return found


def _confirm_one(config: Snapshot, parameter: str, name: str, expected: str) -> None:
    is_instance = parameter == INSTANCE_NAME
    found = config.find_instance(name) if is_instance else config.find_node(name)
    if found is not None and found.uuid != expected:
        raise OpPrereqError(
            f"{'instance' if is_instance else 'node'} {found.name} has the uuid {found.uuid}, but"
            f" {expected} was expected",
            Code.NOTUNIQUE,
            hint="it may have been made anew since; look whether it is the one that you mean",
        )
