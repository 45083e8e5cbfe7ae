"""The filter language of queries. Source: facts/query_fields.json, `filter`.

A filter travels as JSON, `["&", ["?", "offline"], ["==", "name", "node1"]]`; `from_json` makes a
tree of it once, `matches` asks the tree about one row. The form that people write is in
`filter_text`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from ganeti.errors import Code, OpPrereqError, ParameterError
from ganeti.opcodes.checks import Mismatch, shown
from ganeti.opcodes.pattern import Finder, pattern_problem
from ganeti.serializer import Json

MAX_DEPTH = 10  # levels of and, or, not: facts/query_fields.json, filter.json_form

Value: TypeAlias = str | int


class And(NamedTuple):
    """All of them hold; none: true."""

    parts: "tuple[Filter, ...]"


class Or(NamedTuple):
    """One of them holds; none: false."""

    parts: "tuple[Filter, ...]"


class Not(NamedTuple):
    """It does not hold."""

    part: "Filter"


class Truth(NamedTuple):
    """The field is true, not zero, not empty."""

    field: str


class Compare(NamedTuple):
    """`operator` is one of ==, !=, <, <=, >, >=."""

    operator: str
    field: str
    value: Value


class Match(NamedTuple):
    """The regular expression is found in the field."""

    field: str
    pattern: str


class Contains(NamedTuple):
    """The list in the field contains the value."""

    field: str
    value: Value


Filter: TypeAlias = And | Or | Not | Truth | Compare | Match | Contains

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


# JSON.


def from_json(value: Json) -> Filter | None:
    """The filter of its JSON form; None (everything) for null. Mismatch when it is none."""
    return None if value is None else _read(value, 1)


def to_json(tree: Filter | None) -> Json:
    """The JSON form of a filter."""
    match tree:
        case None:
            return None
        case And(parts):
            return ["&", *map(to_json, parts)]
        case Or(parts):
            return ["|", *map(to_json, parts)]
        case Not(part):
            return ["!", to_json(part)]
        case Truth(field):
            return ["?", field]
        case Compare(operator, field, wanted):
            return [operator, field, wanted]
        case Match(field, pattern):
            return ["=~", field, pattern]
        case Contains(field, wanted):
            return ["=[]", field, wanted]


def _read(value: Json, depth: int) -> Filter:
    if not isinstance(value, (list, tuple)) or not value or not isinstance(value[0], str):
        raise Mismatch(f"a filter is [operator, ...], not {shown(value)}")
    if depth > MAX_DEPTH:
        raise Mismatch(f"a filter is nested more than {MAX_DEPTH} levels deep")
    operator, operands = value[0], list(value[1:])
    if operator in ("&", "|"):
        parts = tuple(_read(one, depth + 1) for one in operands)
        return And(parts) if operator == "&" else Or(parts)
    if operator == "!":
        _want(value, len(operands) == 1, "one filter")
        return Not(_read(operands[0], depth + 1))
    if operator == "?":
        _want(value, len(operands) == 1, "one field")
        return Truth(_field(operands[0]))
    if operator in ("=", "=~", "=[]", *COMPARISONS):
        _want(value, len(operands) == 2, "a field and a value")
        return _condition(operator, _field(operands[0]), operands[1])
    raise Mismatch(f"filter operator {operator!r} is unknown")


def _condition(operator: str, field: str, value: Json) -> Filter:
    if operator == "=~":
        if not isinstance(value, str):
            raise Mismatch(f"filter on {field!r}: a regular expression is expected")
        problem = pattern_problem(value)
        if problem:
            raise Mismatch(f"filter on {field!r}: regular expression {shown(value)}: {problem}")
        return Match(field, value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Mismatch(f"filter on {field!r}: a text or a number is expected, not {shown(value)}")
    if operator == "=[]":
        return Contains(field, value)
    return Compare("==" if operator == "=" else operator, field, value)


def _want(value: Json, right: bool, operands: str) -> None:
    if not right:
        raise Mismatch(f"filter operator {value[0]!r} takes {operands}, not {shown(value[1:])}")


def _field(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise Mismatch(f"the name of a field is a text, not {shown(value)}")


# Asking about a row.


class Cell(NamedTuple):
    """One field of a row, as a filter sees it.

    `known` is false where the field has no normal status: such a row passes the condition.
    `is_host` makes a name match by its first labels, ignoring case.
    """

    value: Json
    known: bool = True
    is_host: bool = False


def matches(tree: Filter | None, cell: Callable[[str], Cell]) -> bool:
    """Whether the filter lets a row pass; `cell` gives the row's fields by name.

    ParameterError when a value can't be compared. `cell` raises it for an unknown field.
    """
    match tree:
        case None:
            return True
        case And(parts):
            return all([matches(part, cell) for part in parts])
        case Or(parts):
            return any([matches(part, cell) for part in parts])
        case Not(part):
            return not matches(part, cell)
        case Truth(field) | Compare(_, field, _) | Match(field, _) | Contains(field, _):
            found = cell(field)
            return _holds(tree, found) if found.known else True


def _holds(condition: Truth | Compare | Match | Contains, cell: Cell) -> bool:
    value = cell.value
    match condition:
        case Truth(field):
            return _truth(field, value)
        case Compare("==", field, wanted):
            return _equal(field, cell, wanted)
        case Compare("!=", field, wanted):
            return not _equal(field, cell, wanted)
        case Compare(operator, field, wanted):
            return _ordered(operator, field, value, wanted)
        case Match(field, pattern):
            return found_in(field, value, Finder(pattern))
        case Contains(field, wanted):
            if not isinstance(value, (list, tuple, set, frozenset)):
                raise ParameterError(f"field {field!r}: {shown(value)} is not a list")
            return wanted in value


def found_in(field: str, value: Json, finder: Finder) -> bool:
    """Match over the rows of one question, which share the time that the finder has."""
    if not isinstance(value, str):
        raise ParameterError(f"field {field!r}: {shown(value)} is not a text to search")
    return finder.is_in(value)


def _truth(field: str, value: Json) -> bool:
    if value is None or isinstance(value, (bool, int, float, str, list, tuple)):
        return bool(value)
    raise ParameterError(f"field {field!r}: {shown(value)} is neither true nor false")


def _equal(field: str, cell: Cell, wanted: Value) -> bool:
    value = cell.value
    if isinstance(value, str) and isinstance(wanted, str):
        return is_name(value, wanted) if cell.is_host else value == wanted
    _comparable(field, value, wanted)
    return bool(_number(value) == wanted)


def _ordered(operator: str, field: str, value: Json, wanted: Value) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        left: Json = value
    else:
        _comparable(field, value, wanted)
        left = _number(value)
    match operator:
        case "<":
            return bool(left < wanted)
        case "<=":
            return bool(left <= wanted)
        case ">":
            return bool(left > wanted)
        case _:
            return bool(left >= wanted)


def _comparable(field: str, value: Json, wanted: Value) -> None:
    """Numbers go with numbers; a time stamp [seconds, microseconds] counts as its seconds."""
    if isinstance(wanted, str) or not isinstance(_number(value), (int, float)):
        raise ParameterError(f"field {field!r}: {shown(value)} can't be compared with {wanted!r}")


def _number(value: Json) -> Json:
    if isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], int):
        return value[0]
    return value


def is_name(full: str, given: str) -> bool:
    """Whether `given` is the name, or its first labels, ignoring case."""
    full, given = full.lower(), given.lower()
    return full == given or full.startswith(given + ".")


# What a filter is about.


def fields_of(tree: Filter | None) -> frozenset[str]:
    """All fields that the filter asks for."""
    match tree:
        case None:
            return frozenset()
        case And(parts) | Or(parts):
            return frozenset().union(*map(fields_of, parts))
        case Not(part):
            return fields_of(part)
        case Truth(field) | Compare(_, field, _) | Match(field, _) | Contains(field, _):
            return frozenset({field})


def requested_names(tree: Filter | None, name_field: str) -> list[Value] | None:
    """The names when the filter is only `name == a or name == b ...`; None when it is another.

    So a query need not look at anything but these objects. Each name stands once, in order.
    """
    match tree:
        case Compare("==", field, value) if field == name_field:
            return [value]
        case Or(parts):
            names: dict[Value, None] = {}
            for part in parts:
                found = requested_names(part, name_field)
                if found is None:
                    return None
                names.update(dict.fromkeys(found))
            return list(names)
    return None


def names_to_filter(
    names: Iterable[str | int], name_field: str = "name", *, numeric: bool = False
) -> Filter | None:
    """The filter for these names; none: everything.

    A name with * or ? is a pattern. `numeric` wants numbers: OpPrereqError INVAL for others.
    """
    parts: list[Filter] = []
    for name in names:
        if numeric:
            parts.append(Compare("==", name_field, _numeric(name, name_field)))
        elif isinstance(name, str) and is_glob(name):
            parts.append(Match(name_field, glob_pattern(name)))
        else:
            parts.append(Compare("==", name_field, name))
    return Or(tuple(parts)) if parts else None


def _numeric(name: str | int, field: str) -> int:
    try:
        return int(name)
    except ValueError:
        raise OpPrereqError(
            f"{field} {name!r} is not a number", Code.INVAL, hint="give whole numbers"
        ) from None


def is_glob(text: str) -> bool:
    return "*" in text or "?" in text


def glob_pattern(glob: str) -> str:
    r"""The regular expression of a name with * and ?: `web*` → `^web[^.]*(\..*)?$`."""
    wild = {"*": "[^.]*", "?": "[^.]"}
    return "^" + "".join(wild.get(c) or re.escape(c) for c in glob) + r"(\..*)?$"


def all_of(parts: Sequence[Filter | None]) -> Filter | None:
    """A filter that passes what all of them pass."""
    real = tuple(part for part in parts if part is not None)
    if len(real) < 2:
        return real[0] if real else None
    return And(real)
