"""What a field of a list is. Each is declared once, as a row, in the module of its resource.

A getter is a pure function from a row (one object with what is known about it) to the value of
the cell. It returns a `FieldStatus` in place of a value that it does not have, and None for one
that does not apply; both become a cell without value (facts/query_fields.json, `result_status`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from ganeti.errors import ProgrammerError
from ganeti.model import params
from ganeti.query.order import nice_key
from ganeti.serializer import Json
from ganeti.types import FieldStatus

R = TypeVar("R")
T = TypeVar("T")

Cell: TypeAlias = list[Json]
"""`[status, value]`."""

Live: TypeAlias = T | FieldStatus
"""What a node told, or why it did not: OFFLINE (marked so, not asked) or NO_DATA (no answer)."""


class Kind(StrEnum):
    """Type of a field's values (facts/query_fields.json, `kinds`)."""

    TEXT = "text"
    BOOL = "bool"
    NUMBER = "number"
    FLOAT = "float"
    UNIT = "unit"  # MiB
    TIMESTAMP = "timestamp"  # Unix seconds
    OTHER = "other"
    UNKNOWN = "unknown"


class Need(Enum):
    """Live data that a field is made from; only what is needed is asked."""

    RUNNING = "which instances run, their memory and CPUs"
    CONSOLE = "how to reach an instance's console"
    HYPERVISOR = "memory and CPUs of a node"
    BOOT = "boot id of a node"
    STORAGE = "size and free space of a node's default storage"
    SPINDLES = "free and total spindles of a node"
    ARCHIVE = "archived jobs"
    EXPORTS = "exports that nodes keep"
    GUEST_OS = "OS definitions on nodes"
    EXT_STORAGE = "external storage providers on nodes"


class Compare(Enum):
    """How a filter compares a field's values (facts/query_fields.json, `compare_as`)."""

    PLAIN = "as they are"
    HOST_NAME = "host names: first labels match, case does not matter"
    SECONDS = "[seconds, microseconds] by whole seconds"


NOTHING_LIVE: Final[frozenset[Need]] = frozenset()


@dataclass(frozen=True, slots=True)
class Field(Generic[R]):
    """One column. `needs` names the live data that the getter reads."""

    name: str
    title: str
    kind: Kind
    doc: str
    get: Callable[[R], Json | FieldStatus]
    needs: frozenset[Need] = NOTHING_LIVE
    compare: Compare = field(default=Compare.PLAIN)

    def definition(self) -> dict[str, str]:
        """The form on the wire."""
        return {"name": self.name, "title": self.title, "kind": self.kind.value, "doc": self.doc}

    def alias(self, name: str, title: str | None = None, doc: str | None = None) -> Field[R]:
        """The same values under another name."""
        return replace(self, name=name, title=title or self.title, doc=doc or self.doc)


def text(name: str, title: str, get: Callable[[R], Json | FieldStatus], doc: str) -> Field[R]:
    return Field(name, title, Kind.TEXT, doc, get)


def host(name: str, title: str, get: Callable[[R], Json | FieldStatus], doc: str) -> Field[R]:
    """A text that filters compare as a host name."""
    return Field(name, title, Kind.TEXT, doc, get, compare=Compare.HOST_NAME)


def flag(name: str, title: str, get: Callable[[R], Json | FieldStatus], doc: str) -> Field[R]:
    return Field(name, title, Kind.BOOL, doc, get)


def number(name: str, title: str, get: Callable[[R], Json | FieldStatus], doc: str) -> Field[R]:
    return Field(name, title, Kind.NUMBER, doc, get)


def size(name: str, title: str, get: Callable[[R], Json | FieldStatus], doc: str) -> Field[R]:
    """A size in MiB."""
    return Field(name, title, Kind.UNIT, doc, get)


def moment(name: str, title: str, get: Callable[[R], Json | FieldStatus], doc: str) -> Field[R]:
    return Field(name, title, Kind.TIMESTAMP, doc, get)


def other(name: str, title: str, get: Callable[[R], Json | FieldStatus], doc: str) -> Field[R]:
    return Field(name, title, Kind.OTHER, doc, get)


class Kept(Protocol):
    """What every object of the configuration has."""

    @property
    def uuid(self) -> str: ...
    @property
    def serial_no(self) -> int: ...
    @property
    def ctime(self) -> float: ...
    @property
    def mtime(self) -> float: ...
    @property
    def tags(self) -> Sequence[str]: ...


def kept(
    noun: str, get: Callable[[R], Kept], created: str = "When it was created"
) -> list[Field[R]]:
    """The fields of what every object of the configuration has."""
    changes = f"How often the configuration of the {noun} has changed, from 1"
    return [
        text("uuid", "UUID", lambda row: get(row).uuid, "UUID"),
        number("serial_no", "SerialNo", lambda row: get(row).serial_no, changes),
        moment("ctime", "CTime", lambda row: get(row).ctime, created),
        moment("mtime", "MTime", lambda row: get(row).mtime, "When it was last changed"),
        other("tags", "Tags", lambda row: list(get(row).tags), "Tags"),
    ]


_PARAM_KINDS: Final = {
    params.Kind.STRING: Kind.OTHER,
    params.Kind.MAYBE_STRING: Kind.OTHER,
    params.Kind.BOOL: Kind.BOOL,
    params.Kind.SIZE: Kind.UNIT,
    params.Kind.INT: Kind.NUMBER,
    params.Kind.FLOAT: Kind.FLOAT,
}


def parameter(
    prefix: str, param: params.Param, title: str | None, get: Callable[[R], Mapping[str, Json]]
) -> Field[R]:
    """The field of one parameter, `prefix/name`; `get` gives the table of filled parameters."""
    name = f"{prefix}/{param.name}"
    key = param.name
    doc = f"Parameter {key}: {param.help}"
    return Field(name, title or name, _PARAM_KINDS[param.kind], doc, lambda row: get(row).get(key))


def live(field: Field[R], *needs: Need) -> Field[R]:
    """The field, made from what nodes tell."""
    return replace(field, needs=frozenset(needs))


def seconds(field: Field[R]) -> Field[R]:
    """The field, compared by whole seconds."""
    return replace(field, compare=Compare.SECONDS)


def indexed(count: int, make: Callable[[int], Field[R]]) -> list[Field[R]]:
    """The fields of a pattern x/N, N from 0 to count - 1."""
    return [make(index) for index in range(count)]


def table(rows: Iterable[Field[R]]) -> Mapping[str, Field[R]]:
    """Fields by name, in the order of lists of fields: names, numbers in them as numbers."""
    found: dict[str, Field[R]] = {}
    for row in sorted(rows, key=lambda row: nice_key(row.name)):
        if row.name in found:
            raise ProgrammerError(f"field {row.name} is declared twice")
        found[row.name] = row
    return found


def unknown(name: str) -> Field[R]:
    """Stands for a field that does not exist."""
    return Field(
        name, name, Kind.UNKNOWN, f"Unknown field {name!r}", lambda row: FieldStatus.UNKNOWN
    )


def select(fields: Mapping[str, Field[R]], names: Sequence[str] | None) -> list[Field[R]]:
    """The named fields in that order, unknown ones included; all for None or no names."""
    if not names:
        return list(fields.values())
    return [fields.get(name) or unknown(name) for name in names]


def needs_of(fields: Iterable[Field[R]]) -> frozenset[Need]:
    return frozenset(need for one in fields for need in one.needs)


_WITHOUT_VALUE: Final[dict[FieldStatus, tuple[int, None]]] = {
    status: (status.value, None) for status in FieldStatus
}
_UNAVAILABLE: Final = _WITHOUT_VALUE[FieldStatus.UNAVAILABLE]


def cells_of(fields: Sequence[Field[R]], rows: Iterable[R]) -> Iterator[list[Sequence[Json]]]:
    """Each row as cells `(status, value)`."""
    getters = [one.get for one in fields]
    for row in rows:
        yield [
            (0, value)
            if (value := get(row)) is not None and value.__class__ is not FieldStatus
            else _UNAVAILABLE
            if value is None
            else _WITHOUT_VALUE[value]
            for get in getters
        ]


def values_of(fields: Sequence[Field[R]], rows: Iterable[R]) -> Iterator[list[Json]]:
    """Each row as plain values; None where there is none (the older calls)."""
    getters = [one.get for one in fields]
    for row in rows:
        yield [None if (value := get(row)).__class__ is FieldStatus else value for get in getters]
