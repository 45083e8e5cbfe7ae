"""Filters of lists, made into functions of a row.

The language and what a condition means are in `opcodes/filter.py`. Here: before nodes are asked,
conditions on live fields are open; and, or, not then follow a logic with three values, and a row
that may still pass is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

from ganeti.errors import ParameterError
from ganeti.opcodes import filter as language
from ganeti.opcodes.filter import And, Cell, Match, Not, Or
from ganeti.opcodes.pattern import Finder
from ganeti.query.fields import Compare, Field, needs_of
from ganeti.serializer import Json
from ganeti.types import FieldStatus

R = TypeVar("R")

Test: TypeAlias = Callable[[R], bool | None]
"""True, False, or None: not known yet."""


class RowFilter(Generic[R]):
    """One filter over the fields of one kind of object.

    ParameterError: an unknown field; from a test also: a value that can't be compared so.
    """

    def __init__(self, tree: language.Filter, fields: Mapping[str, Field[R]]) -> None:
        for name in sorted(language.fields_of(tree)):
            if name not in fields:
                raise ParameterError(f"Can't find field named {name!r}")
        self.needs = needs_of(fields[name] for name in language.fields_of(tree))
        self._test: Test[R] = _compile(tree, fields, live_is_open=False)
        self._first_test: Test[R] = _compile(tree, fields, live_is_open=True)

    def may_pass(self, row: R) -> bool:
        """Before nodes were asked: false only if no answer could make the row pass."""
        return self._first_test(row) is not False

    def passes(self, row: R) -> bool:
        return self._test(row) is True


def _compile(
    tree: language.Filter, fields: Mapping[str, Field[R]], *, live_is_open: bool
) -> Test[R]:
    match tree:
        case And(parts):
            return _all([_compile(part, fields, live_is_open=live_is_open) for part in parts])
        case Or(parts):
            return _any([_compile(part, fields, live_is_open=live_is_open) for part in parts])
        case Not(part):
            return _not(_compile(part, fields, live_is_open=live_is_open))
    field = fields[tree.field]
    if live_is_open and field.needs:
        return lambda row: None
    return _condition(tree, field)


def _condition(condition: language.Filter, field: Field[R]) -> Test[R]:
    get = field.get
    holds = _holds(condition, field)

    def test(row: R) -> bool:
        value = get(row)
        if value is None or value.__class__ is FieldStatus:
            return True  # what is not known passes
        return holds(value)

    return test


def _holds(condition: language.Filter, field: Field[R]) -> Callable[[Json], bool]:
    """The condition as a function of a value that is known."""
    if isinstance(condition, Match):
        name, finder = condition.field, Finder(condition.pattern)
        return lambda value: language.found_in(name, value, finder)
    is_host = field.compare is Compare.HOST_NAME
    matches = language.matches
    return lambda value: matches(condition, lambda name: Cell(value, True, is_host))


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
            result = one(row)
            if result:
                return True
            known = known and result is not None
        return False if known else None

    return test


def _not(inner: Test[R]) -> Test[R]:
    def test(row: R) -> bool | None:
        result = inner(row)
        return None if result is None else not result

    return test
