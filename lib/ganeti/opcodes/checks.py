"""The types of opcode parameters: each reads a JSON value, and has a name in plain notation.

A parameter's annotation says both, to the type checker and to the master:

    nodes: Sequence[Name] = param("nodes to move into the group")

`check_for` turns an annotation into a `Check`. Where the plain Python type says too little, an
alias `Annotated[python type, Check(...)]` in `ganeti.opcodes.types` narrows it. The notation is
that of facts/opcodes.json (`notation`).
"""

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any

from ganeti.serializer import Json

Read = Callable[[Json], Any]
Schema = Mapping[str, Any]

MAX_NESTING = 50
"""Levels of a value of free content; policies and parameters have five."""


class Mismatch(Exception):
    """A value is not of the type: `fact` says what it should be, `place` where inside the value."""

    def __init__(self, fact: str, place: str = "") -> None:
        super().__init__(fact, place)
        self.fact = fact
        self.place = place

    def inside(self, place: str) -> "Mismatch":
        return Mismatch(self.fact, place + self.place)


class Check:
    """A type: its notation, and the function that reads a JSON value or raises Mismatch.

    `hides` tells that values must not be shown: "private" is kept on disk, "secret" is not.
    `schema` is the type as JSON Schema 2020-12; what it refuses, `read` refuses as well.
    """

    __slots__ = ("hides", "notation", "read", "schema")

    def __init__(
        self, notation: str, read: Read, hides: str = "", schema: Schema | None = None
    ) -> None:
        self.notation = notation
        self.read = read
        self.hides = hides
        self.schema: Schema = {} if schema is None else schema

    def __repr__(self) -> str:
        return f"Check({self.notation!r})"


class Hidden(dict[str, Any]):
    """A mapping whose values never appear in logs or error texts."""

    def __repr__(self) -> str:
        return "<hidden>"

    __str__ = __repr__


def shown(value: Json) -> str:
    """A value as it appears in an error text: short, a member of an enumeration as its text."""
    text = repr(value.value if isinstance(value, Enum) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def refuse(wish: str, value: Json) -> Mismatch:
    """The mismatch "`wish` is expected, not `value`"."""
    return Mismatch(f"{wish} is expected, not {shown(value)}")


# Plain values.


def read_any(value: Json) -> Json:
    """Anything, but not deeper than our own writers can follow."""
    _check_depth(value, MAX_NESTING)
    return value


def _check_depth(value: Json, levels: int) -> None:
    if isinstance(value, (list, tuple, Mapping)):
        if not levels:
            raise Mismatch(f"at most {MAX_NESTING} levels inside each other are allowed")
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_depth(item, levels - 1)


def read_null(value: Json) -> None:
    if value is not None:
        raise refuse("null", value)


def read_bool(value: Json) -> bool:
    if value is True or value is False:
        return bool(value)
    raise refuse("true or false", value)


def read_string(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise refuse("a text", value)


def read_name(value: Json) -> str:
    if isinstance(value, str) and value:
        return value
    raise refuse("a text that is not empty", value)


def read_int(value: Json) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise refuse("a whole number", value)


def read_float(value: Json) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise refuse("a number", value)


def read_object(value: Json) -> dict[str, Json]:
    if isinstance(value, Mapping):
        _check_depth(value, MAX_NESTING)
        return dict(value)
    raise refuse("an object", value)


ANY = Check("any", read_any)
NULL = Check("null", read_null, schema={"type": "null"})
BOOL = Check("bool", read_bool, schema={"type": "boolean"})
STRING = Check("string", read_string, schema={"type": "string"})
NAME = Check("nonempty string", read_name, schema={"type": "string", "minLength": 1})
INT = Check("int", read_int, schema={"type": "integer"})
FLOAT = Check("float", read_float, schema={"type": "number"})
OBJECT = Check("object", read_object, schema={"type": "object"})


def whole(low: int, high: int | None = None, notation: str = "") -> Check:
    """A whole number from `low` to `high`."""
    limit = f"from {low} to {high}" if high is not None else f"of at least {low}"

    def read(value: Json) -> int:
        number = read_int(value)
        if number < low or high is not None and number > high:
            raise refuse(f"a whole number {limit}", value)
        return number

    if not notation:
        notation = f"int {low}..{high}" if high is not None else "int>0" if low == 1 else "int>=0"
    schema = {"type": "integer", "minimum": low}
    return Check(notation, read, schema=schema if high is None else {**schema, "maximum": high})


def words(name: str, allowed: Sequence[str]) -> Check:
    """One of the texts `allowed`; `name` is the enumeration's name in the notation."""

    def read(value: Json) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise refuse("one of " + ", ".join(sorted(allowed)), value)

    return Check(f"enum:{name}", read, schema={"enum": sorted(allowed)})


def member(kind: type[Enum], name: str = "", only: Sequence[Enum] | None = None) -> Check:
    """A member of an enumeration, read from its value; `only` leaves members out."""
    members = {item.value: item for item in (only or kind)}

    def read(value: Json) -> Enum:
        try:
            return members[value]
        except (KeyError, TypeError):
            wish = "one of " + ", ".join(sorted(map(str, members)))
            raise refuse(wish, value) from None

    schema = {"enum": sorted(members, key=str)}
    return Check(f"enum:{name or kind.__name__}", read, schema=schema)


# Composed values.


def optional(check: Check) -> Check:
    """Null, or what `check` reads."""
    inner = check.read
    return Check(
        f"optional {check.notation}",
        lambda value: None if value is None else inner(value),
        check.hides,
        _any_of(check.schema, NULL.schema),
    )


def sequence(check: Check, label: str = "list of") -> Check:
    """A list; read as a tuple."""
    inner = check.read

    def read(value: Json) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise refuse("a list", value)
        made = []
        for index, item in enumerate(value):
            try:
                made.append(inner(item))
            except Mismatch as problem:
                raise problem.inside(f"[{index}]") from None
        return tuple(made)

    schema = {"type": "array", "items": check.schema}
    return Check(f"{label} {check.notation}", read, check.hides, schema)


def distinct(check: Check) -> Check:
    """A list without repetitions; given back in the order of the first occurrences."""
    plain = sequence(check)
    return Check(
        f"list (set) of {check.notation}",
        lambda value: tuple(dict.fromkeys(plain.read(value))),
        schema=plain.schema,
    )


def row(*checks: Check, notation: str = "") -> Check:
    """A list of exactly these items; read as a tuple."""

    def read(value: Json) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or len(value) != len(checks):
            raise refuse(f"a list of {len(checks)} items", value)
        made = []
        for index, (check, item) in enumerate(zip(checks, value)):
            try:
                made.append(check.read(item))
            except Mismatch as problem:
                raise problem.inside(f"[{index}]") from None
        return tuple(made)

    notation = notation or f"[{', '.join(check.notation for check in checks)}]"
    schema = {
        "type": "array",
        "prefixItems": [check.schema for check in checks],
        "minItems": len(checks),
        "maxItems": len(checks),
    }
    return Check(notation, read, schema=schema)


def mapping(key: Check, check: Check, notation: str = "") -> Check:
    """An object with keys and values of these types; hidden when its values are."""

    def read(value: Json) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise refuse("an object", value)
        made: dict[str, Any] = Hidden() if check.hides else {}
        for name, item in value.items():
            try:
                made[key.read(name)] = check.read(item)
            except Mismatch as problem:
                raise problem.inside(f"[{name!r}]") from None
        return made

    notation = notation or f"dict {key.notation}→{check.notation}"
    schema = {
        "type": "object",
        "propertyNames": key.schema,
        "additionalProperties": check.schema,
    }
    return Check(notation, read, check.hides, schema)


def shape(**checks: Check) -> Check:
    """An object with at least these keys."""

    def read(value: Json) -> dict[str, Any]:
        made = read_object(value)
        for name, check in checks.items():
            if name not in made:
                raise Mismatch(f"key {name!r} is missing")
            try:
                made[name] = check.read(made[name])
            except Mismatch as problem:
                raise problem.inside(f"[{name!r}]") from None
        return made

    inside = ", ".join(f'"{name}": {check.notation}' for name, check in checks.items())
    schema = {
        "type": "object",
        "properties": {name: check.schema for name, check in checks.items()},
        "required": list(checks),
    }
    return Check("{" + inside + "}", read, schema=schema)


def either(*checks: Check, notation: str = "") -> Check:
    """What the first fitting check reads."""

    def read(value: Json) -> Any:
        for check in checks:
            try:
                return check.read(value)
            except Mismatch:
                continue
        raise refuse(" or ".join(check.notation for check in checks), value)

    schema = _any_of(*(check.schema for check in checks))
    return Check(notation or " or ".join(check.notation for check in checks), read, schema=schema)


def _any_of(*schemas: Schema) -> Schema:
    """What one of them lets through; all, when one says nothing."""
    return {"anyOf": list(schemas)} if all(schemas) else {}


def named(notation: str, check: Check) -> Check:
    """The same check under another name."""
    return Check(notation, check.read, check.hides, check.schema)


# From annotations.

_PLAIN: dict[Any, Check] = {
    Any: ANY,
    None: NULL,
    type(None): NULL,
    bool: BOOL,
    str: STRING,
    int: INT,
    float: FLOAT,
}


def check_for(annotation: Any) -> Check:
    """The check of an annotation; TypeError when the annotation says nothing about JSON.

    A sequence is a list of any length, a tuple a list of exactly these items, a mapping an object
    (Mapping[str, Json]: of free content), `X | None` null or X.
    """
    if isinstance(annotation, Check):
        return annotation
    plain = _PLAIN.get(annotation)
    if plain is not None:
        return plain
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return check_for(arguments[1])
    if origin in (typing.Union, types.UnionType):
        rest = [kind for kind in arguments if kind is not type(None)]
        if len(rest) == 1:
            return optional(check_for(rest[0]))
        raise TypeError(f"{annotation}: alternatives need a Check of their own")
    if origin is tuple:
        return row(*map(check_for, arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if arguments == (str, Any):
            return OBJECT
        return mapping(check_for(arguments[0]), check_for(arguments[1]))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return sequence(check_for(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return member(annotation)
    raise TypeError(f"no check for the annotation {annotation!r}")
