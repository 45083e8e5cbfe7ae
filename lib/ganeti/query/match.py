"""Filters of lists, made into functions of a row (facts/query_fields.json, `filter`).

A row whose field has no value passes a condition on it, as with the 3.x daemon. Before nodes are
asked, conditions on live fields are open: and, or, not then follow the rules of a logic with
three values, and a row that may still pass is kept.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Generic, NoReturn, TypeAlias, TypeVar

from ganeti.errors import ParameterError
from ganeti.query.fields import Compare, Field, Need
from ganeti.serializer import Json
from ganeti.types import FieldStatus

R = TypeVar("R")

Test: TypeAlias = Callable[[R], bool | None]
"""True, False, or None: not known yet."""

MAX_DEPTH: Final = 10

EQUALS: Final = ("==", "=")
_ORDER: Final[Mapping[str, Callable[[Json, Json], bool]]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Filter(Generic[R]):
    """One filter over the fields of one kind of object.

    ParameterError: unknown operator or field, wrong number of operands, too deep, a value that is
    no text or number. Running a test raises it when a field's values can't be compared so.
    """

    def __init__(self, tree: Json, fields: Mapping[str, Field[R]]) -> None:
        self.needs: frozenset[Need] = frozenset().union(
            *(fields[name].needs for name in _names(tree, 1) if name in fields)
        )
        self.test: Test[R] = _compile(tree, fields, open_live=False)
        self.first_test: Test[R] = _compile(tree, fields, open_live=True)

    def may_pass(self, row: R) -> bool:
        """Before nodes were asked: false only if no answer could make the row pass."""
        return self.first_test(row) is not False

    def passes(self, row: R) -> bool:
        return self.test(row) is not False


def names_asked(tree: Json, name_field: str) -> list[str | int] | None:
    """The names of a filter that is only a list of names; None for any other filter.

    `["|", ["==", "name", "a"], ["==", "name", "b"]]`, or one equation alone.
    """
    match tree:
        case [str(sign), str(field), str() | int() as value] if _names_one(sign, field, name_field):
            return [value]
        case ["|", *parts]:
            found = [names_asked(part, name_field) for part in parts]
            if all(one is not None and part[0] != "|" for one, part in zip(found, parts)):
                return [name for one in found for name in one or ()]
    return None


def _names_one(sign: str, field: str, name_field: str) -> bool:
    return sign in EQUALS and field == name_field


def _refuse(text: str) -> NoReturn:
    raise ParameterError(text)


def _names(tree: Json, depth: int) -> Iterator[str]:
    """The fields of a filter, by name; refuses what has not the form of a filter."""
    if depth > MAX_DEPTH:
        _refuse(f"filter: nested deeper than {MAX_DEPTH} levels")
    match tree:
        case ["&" | "|", *parts]:
            for part in parts:
                yield from _names(part, depth + 1)
        case ["!", part]:
            yield from _names(part, depth + 1)
        case ["?", str(name)]:
            yield name
        case [str(sign), str(name), str() | int() | float()] if sign in (*_ORDER, "=~", "=[]"):
            yield name
        case [str(sign), *_] if sign in (*_ORDER, "&", "|", "!", "?", "=~", "=[]"):
            _refuse(f"filter: operator {sign!r} has wrong operands: {tree!r}")
        case [str(sign), *_]:
            _refuse(f"filter: unknown operator {sign!r}")
        case _:
            _refuse(f"filter: [operator, operands] is expected, not {tree!r}")


def _compile(tree: Json, fields: Mapping[str, Field[R]], *, open_live: bool) -> Test[R]:
    match tree:
        case ["&", *parts]:
            return _all([_compile(part, fields, open_live=open_live) for part in parts])
        case ["|", *parts]:
            return _any([_compile(part, fields, open_live=open_live) for part in parts])
        case ["!", part]:
            return _not(_compile(part, fields, open_live=open_live))
    name = tree[1]
    field = fields.get(name)
    if field is None:
        _refuse(f"Can't find field named {name!r}")
    if open_live and field.needs:
        return lambda row: None
    return _condition(field, _leaf(tree, field))


def _all(tests: Sequence[Test[R]]) -> Test[R]:
    def test(row: R) -> bool | None:
        known = True
        for one in tests:
            result = one(row)
            if result is False:
                return False
            known = known and result is not None
        return True if known else None

    return test


def _any(tests: Sequence[Test[R]]) -> Test[R]:
    def test(row: R) -> bool | None:
        known = True
        for one in tests:
            if result := one(row):
                return True
            known = known and result is not None
        return False if known else None

    return test


def _not(inner: Test[R]) -> Test[R]:
    def test(row: R) -> bool | None:
        result = inner(row)
        return None if result is None else not result

    return test


def _condition(field: Field[R], holds: Callable[[Json], bool]) -> Test[R]:
    get = field.get

    def test(row: R) -> bool:
        value = get(row)
        return value is None or value.__class__ is FieldStatus or holds(value)

    return test


def _leaf(tree: Json, field: Field[R]) -> Callable[[Json], bool]:
    """A function of the field's value."""
    match tree:
        case ["?", _]:
            return lambda value: _truth(value, field.name)
        case ["=~", _, str(pattern)]:
            return _matches(pattern, field.name)
        case ["=[]", _, wanted]:
            return lambda value: _contains(value, wanted, field.name)
        case ["==" | "=" | "!=" as sign, _, str(wanted)] if field.compare is Compare.HOST_NAME:
            return _is_host(wanted.lower(), equal=sign != "!=")
        case [sign, _, wanted]:
            return _compares(sign, wanted, field)
    _refuse(f"filter: {tree!r} is not a condition")


def _truth(value: Json, name: str) -> bool:
    if isinstance(value, Mapping):
        _refuse(f"field {name}: {value!r} is neither true nor false")
    return bool(value)


def _matches(pattern: str, name: str) -> Callable[[Json], bool]:
    try:
        search = re.compile(pattern).search
    except re.error as error:
        _refuse(f"field {name}: {pattern!r} is not a regular expression: {error}")

    def holds(value: Json) -> bool:
        if not isinstance(value, str):
            _refuse(f"field {name}: {value!r} is not a text, which {pattern!r} needs")
        return search(value) is not None

    return holds


def _contains(value: Json, wanted: Json, name: str) -> bool:
    if not isinstance(value, (list, tuple)):
        _refuse(f"field {name}: {value!r} is not a list")
    return wanted in value


def _is_host(wanted: str, *, equal: bool) -> Callable[[Json], bool]:
    """Full name, or its first labels; case does not matter."""
    prefix = wanted + "."

    def holds(value: Json) -> bool:
        name = value.lower()
        return (name == wanted or name.startswith(prefix)) is equal

    return holds


def _compares(sign: str, wanted: Json, field: Field[R]) -> Callable[[Json], bool]:
    compare = _ORDER[sign]
    kinds: tuple[type, ...] = (str,) if isinstance(wanted, str) else (int, float)
    seconds = field.compare is Compare.SECONDS

    def holds(value: Json) -> bool:
        if seconds and isinstance(value, (list, tuple)):
            value = value[0]
        if not isinstance(value, kinds) or isinstance(value, bool):
            _refuse(f"field {field.name}: {value!r} can't be compared with {wanted!r}")
        return compare(value, wanted)

    return holds
