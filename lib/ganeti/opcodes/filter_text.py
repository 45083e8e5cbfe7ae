"""The form of a filter that people write: `name =* "web*" and not offline`.

Grammar: facts/query_fields.json, `filter_text`. A recursive descent, one method per rule.
"""

import re
from collections.abc import Sequence
from typing import Any

from ganeti.errors import Code, OpPrereqError, QueryFilterParseError
from ganeti.opcodes.checks import shown
from ganeti.opcodes.filter import (
    And,
    Compare,
    Contains,
    Filter,
    Match,
    Not,
    Or,
    Truth,
    Value,
    glob_pattern,
    is_glob,
    names_to_filter,
)
from ganeti.opcodes.pattern import pattern_problem

MARKS = frozenset("\t\n\v\f\r !\"'()/<=>\\~")
"""A single argument that has one of these is a filter, not a name."""

_BLANKS = re.compile(r"\s*")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_/.]*")
_NUMBER = re.compile(r"[+-]?[0-9]+")
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1""", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_REGEX = re.compile(r"m?([/#^|])((?:\\.|(?!\1)[^\\])*)\1([a-zA-Z]*)", re.DOTALL)
_COMPARISON = re.compile(r"==|!=|<=|>=|=~|!~|=\*|!\*|=|<|>")
_KEYWORDS = frozenset({"and", "or", "not", "in"})
MAX_NESTING = 50  # parentheses and nots; only to keep the stack small


def parse(text: str) -> Filter:
    """The filter of its text form.

    QueryFilterParseError has the message, and as details the text, a caret line below the place
    and what was expected there (facts/cli-behaviour.md §5).
    """
    return _Parser(text).whole()


def looks_like_filter(text: str) -> bool:
    """Whether a command's only argument is meant as a filter."""
    return not MARKS.isdisjoint(text)


def from_arguments(
    arguments: Sequence[str],
    *,
    force_filter: bool = False,
    name_field: str = "name",
    numeric: bool = False,
) -> Filter | None:
    """The filter that the arguments of a list command mean: names, patterns or one filter.

    `force_filter`: the user says that it is a filter. OpPrereqError INVAL for wrong arguments.
    """
    if force_filter and len(arguments) != 1:
        raise OpPrereqError(
            f"exactly one argument is wanted as filter, {len(arguments)} given",
            Code.INVAL,
            hint="quote the filter",
        )
    if force_filter or len(arguments) == 1 and looks_like_filter(arguments[0]):
        return parse(arguments[0])
    return names_to_filter(arguments, name_field, numeric=numeric)


class _Parser:
    """One text; `at` is the place of the next token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.skip()

    def skip(self) -> None:
        found = _BLANKS.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def take(self, token: "re.Pattern[str]") -> "re.Match[str] | None":
        found = token.match(self.text, self.at)
        if found:
            self.at = found.end()
            self.skip()
        return found

    def take_mark(self, mark: str) -> bool:
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        self.skip()
        return True

    def take_word(self, *words: str) -> bool:
        """Take these keywords when they stand here, all of them."""
        start = self.at
        for word in words:
            found = _FIELD.match(self.text, self.at)
            if not found or found.group() != word:
                self.at = start
                return False
            self.at = found.end()
            self.skip()
        return True

    def fail(self, expected: str, at: int | None = None) -> QueryFilterParseError:
        at = self.at if at is None else at
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        line = self.text[start : end if end >= 0 else len(self.text)].replace("\t", " ")
        wish = f"{expected} is expected at column {at - start + 1}"
        details = [line, " " * (at - start) + "^", wish]
        return QueryFilterParseError(f"filter {shown(self.text)}: {wish}", details)

    # Rules.

    def whole(self) -> Filter:
        found = self.or_expression()
        if self.at < len(self.text):
            raise self.fail("'and', 'or' or the end")
        return found

    def or_expression(self) -> Filter:
        parts = [self.and_expression()]
        while self.take_word("or"):
            parts.append(self.and_expression())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def and_expression(self) -> Filter:
        parts = [self.not_expression()]
        while self.take_word("and"):
            parts.append(self.not_expression())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def not_expression(self) -> Filter:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self.fail(f"a filter of at most {MAX_NESTING} levels")
        try:
            if self.take_word("not"):
                return Not(self.not_expression())
            if self.take_mark("("):
                found = self.or_expression()
                if not self.take_mark(")"):
                    raise self.fail("')'")
                return found
            return self.condition()
        finally:
            self.depth -= 1

    def condition(self) -> Filter:
        value = self.value()
        if value is not None:
            return self.membership(value)
        field = self.field()
        operator = self.take(_COMPARISON)
        if operator is None:
            return Truth(field)
        match operator.group():
            case "=~":
                return Match(field, self.regex())
            case "!~":
                return Not(Match(field, self.regex()))
            case "=*":
                return Match(field, self.glob())
            case "!*":
                return Not(Match(field, self.glob()))
            case "=":
                return Compare("==", field, self.needed_value())
            case other:
                return Compare(other, field, self.needed_value())

    def membership(self, value: Value) -> Filter:
        if self.take_word("not", "in"):
            return Not(Contains(self.field(), value))
        if self.take_word("in"):
            return Contains(self.field(), value)
        raise self.fail("'in' or 'not in'")

    # Tokens.

    def field(self) -> str:
        found = _FIELD.match(self.text, self.at)
        if found is None or found.group() in _KEYWORDS:
            raise self.fail("the name of a field, or a value")
        self.take(_FIELD)
        return found.group()

    def value(self) -> Value | None:
        number = self.take(_NUMBER)
        if number:
            return int(number.group())
        return self.quoted()

    def needed_value(self) -> Value:
        found = self.value()
        if found is None:
            raise self.fail("a number or a quoted text")
        return found

    def quoted(self) -> str | None:
        found: Any = self.take(_QUOTED)
        return _ESCAPE.sub(r"\1", found.group(2)) if found else None

    def glob(self) -> str:
        found = self.quoted()
        if found is None:
            raise self.fail("a quoted pattern")
        return glob_pattern(found)

    def regex(self) -> str:
        start = self.at
        found = self.take(_REGEX)
        if found is None:
            raise self.fail("a regular expression like /web[0-9]/ or m#web#i")
        delimiter, pattern, flags = found.groups()
        if not set(flags) <= {"s", "i"}:
            raise self.fail("no flag but s and i", start)
        pattern = pattern.replace("\\" + delimiter, delimiter)
        if flags:
            pattern = f"(?{''.join(sorted(set(flags)))}){pattern}"
        problem = pattern_problem(pattern)
        if problem:
            raise self.fail(f"a valid regular expression ({problem})", start)
        return pattern


__all__ = ["from_arguments", "is_glob", "looks_like_filter", "parse"]
