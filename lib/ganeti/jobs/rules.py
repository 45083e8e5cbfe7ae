"""Filter rules: which queued jobs may start. Pure. Source: facts/jobs.md §13."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ganeti.errors import ParseError
from ganeti.jobs.job import Job
from ganeti.serializer import Json

WATERMARK = "watermark"
_ABSENT = object()


class Action(StrEnum):
    """What happens to a job that a rule is for."""

    ACCEPT = "ACCEPT"
    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    REJECT = "REJECT"
    RATE_LIMIT = "RATE_LIMIT"


class JobFilter(Protocol):
    """A rule as the configuration has it (model/filter.py)."""

    @property
    def uuid(self) -> str: ...
    @property
    def watermark(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def predicates(self) -> Iterable[Json]: ...
    @property
    def action(self) -> Json: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was read. `limit` counts for RATE_LIMIT."""

    order: tuple[int, int, str]
    action: Action
    limit: int
    predicates: tuple[Callable[[Job], bool], ...]

    @property
    def uuid(self) -> str:
        return self.order[2]

    def matches(self, job: Job) -> bool:
        return all(predicate(job) for predicate in self.predicates)


def read_rules(filters: Iterable[JobFilter]) -> list[Rule]:
    """Rules in the order in which they are asked. ParseError names the rule that is wrong."""
    return sorted((_read_rule(one) for one in filters), key=lambda rule: rule.order)


def effective_rule(rules: Iterable[Rule], job: Job) -> Rule | None:
    """The first rule that is for the job and decides something."""
    for rule in rules:
        if rule.action is not Action.CONTINUE and rule.matches(job):
            return rule
    return None


def _read_rule(one: JobFilter) -> Rule:
    where = f"filter rule {one.uuid}"
    limit = 0
    match one.action:
        case ["RATE_LIMIT", int(limit)] | ("RATE_LIMIT", int(limit)) if limit > 0:
            action = Action.RATE_LIMIT
        case "ACCEPT" | "CONTINUE" | "PAUSE" | "REJECT":
            action = Action(one.action)
        case _:
            raise ParseError(f"{where}: action {one.action!r} is unknown")
    predicates = tuple(_read_predicate(p, one.watermark, where) for p in one.predicates)
    return Rule((one.priority, one.watermark, one.uuid), action, limit, predicates)


def _read_predicate(value: Json, watermark: int, where: str) -> Callable[[Job], bool]:
    match value:
        case [str(kind), condition]:
            pass
        case _:
            raise ParseError(f"{where}: a predicate is [kind, filter], not {value!r}")
    test = compile_filter(condition, {WATERMARK: watermark} if kind == "jobid" else {}, where)
    match kind:
        case "jobid":
            return lambda job: test({"id": job.id})
        case "opcode":
            return lambda job: any(test(op.input) for op in job.ops)
        case "reason":
            return lambda job: any(test(entry) for entry in _reasons(job))
    raise ParseError(f"{where}: predicate {kind!r} is unknown")


def _reasons(job: Job) -> Iterable[Mapping[str, Json]]:
    for op in job.ops:
        for source, text, stamp in op.input.get("reason") or ():
            yield {"source": source, "reason": text, "timestamp": stamp}


Test = Callable[[Mapping[str, Json]], bool]

_COMPARE: dict[str, Callable[[Json, Json], bool]] = {
    "==": lambda a, b: bool(a == b),
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "=[]": lambda a, b: isinstance(a, (list, tuple)) and b in a,
    "=~": lambda a, b: isinstance(a, str) and re.search(b, a) is not None,
}


def compile_filter(value: Json, words: Mapping[str, Json], where: str) -> Test:
    """A filter of the query language as a test of an object; `words` are values with a name.

    Fields may be dotted. A field that the object lacks, or of another type, meets no condition.
    """
    match value:
        case None:
            return lambda item: True
        case ["&", *inner]:
            tests = [compile_filter(one, words, where) for one in inner]
            return lambda item: all(test(item) for test in tests)
        case ["|", *inner]:
            tests = [compile_filter(one, words, where) for one in inner]
            return lambda item: any(test(item) for test in tests)
        case ["!", one]:
            negated = compile_filter(one, words, where)
            return lambda item: not negated(item)
        case ["?", str(field)]:
            return lambda item: _field(item, field) not in (_ABSENT, None, False, "", 0)
        case [str(operator), str(field), operand] if operator in _COMPARE:
            return _comparison(operator, field, operand, words, where)
    raise ParseError(f"{where}: {value!r} is no filter")


def _comparison(
    operator: str, field: str, operand: Json, words: Mapping[str, Json], where: str
) -> Test:
    compare = _COMPARE[operator]
    wanted = words.get(operand, operand) if isinstance(operand, str) else operand
    if operator == "=~":
        try:
            re.compile(wanted)
        except (re.error, TypeError) as error:
            raise ParseError(f"{where}: {wanted!r} is no regular expression: {error}") from error

    def test(item: Mapping[str, Json]) -> bool:
        found = _field(item, field)
        if found is _ABSENT:
            return False
        try:
            return compare(found, wanted)
        except TypeError:
            return False

    return test


def _field(item: Mapping[str, Json], field: str) -> Json:
    value: Json = item
    for part in field.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value
