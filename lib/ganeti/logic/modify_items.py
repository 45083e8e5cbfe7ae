"""Changes to a list of disks or interfaces: which one is meant, and what will be told. Pure.

Forms: facts/opcodes.json (Mods), facts/cli-behaviour.md §9; rules: facts/master.md D4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.model.disk import Disk
from ganeti.model.nic import Nic
from ganeti.serializer import Json

LAST: Final = -1

Row = tuple[str, Json]
"""A line of the result: what, and its new value."""


class Named(Protocol):
    @property
    def uuid(self) -> str: ...

    @property
    def name(self) -> str | None: ...


class Plug:
    """Words of hotplug_device."""

    ADD: Final = "hotadd"
    REMOVE: Final = "hotremove"
    MODIFY: Final = "hotmod"


@dataclass(frozen=True, slots=True)
class PlugStep:
    """One change of a running guest."""

    action: str
    device: Nic | Disk
    index: int


def find(items: Sequence[Named], which: int | str, what: str) -> int:
    """Index of the item with this index, name or uuid; -1 is the last one.

    OpExecError when there is no such index (as recorded), NOENT for an unknown name.
    """
    index = _as_index(which)
    if index is None:
        return _by_name(items, str(which), what)
    if index == LAST and items:
        return len(items) - 1
    if not 0 <= index < len(items):
        raise _no_index(index, len(items), what)
    return index


def find_gap(items: Sequence[Named], which: int | str, what: str) -> int:
    """Index that a new item gets; -1 is the end."""
    index = _as_index(which)
    if index is None:
        return _by_name(items, str(which), what)
    if index == LAST:
        return len(items)
    if not 0 <= index <= len(items):
        raise _no_index(index, len(items), what)
    return index


def _as_index(which: int | str) -> int | None:
    if isinstance(which, int):
        return which
    digits = which.removeprefix("-")
    return int(which) if digits.isascii() and digits.isdigit() else None


def _by_name(items: Sequence[Named], which: str, what: str) -> int:
    for index, item in enumerate(items):
        if which in (item.uuid, item.name):
            return index
    raise OpPrereqError(f"there is no {what} {which!r}", Code.NOENT)


def _no_index(index: int, count: int, what: str) -> OpExecError:
    return OpExecError(f"there is no {what} {index}, there are {count}")
