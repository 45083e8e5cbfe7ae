"""Filter rules: which queued jobs may start. Pure. Source: facts/jobs.md §13.

A rule whose pattern takes too long is not for nobody: see `effective_rule`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from ganeti.errors import ParameterError, ParseError
from ganeti.jobs.job import Job
from ganeti.opcodes.checks import Mismatch
from ganeti.opcodes.filter import Cell, from_json, matches
from ganeti.opcodes.pattern import TooSlow
from ganeti.serializer import Json

logger = logging.getLogger(__name__)

WATERMARK = "watermark"


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
        """TooSlow when that hangs on a pattern that takes too long."""
        slow: TooSlow | None = None
        for predicate in self.predicates:
            try:
                if not predicate(job):
                    return False
            except TooSlow as error:
                slow = error
        if slow is not None:
            raise slow
        return True


def read_rules(filters: Iterable[JobFilter]) -> list[Rule]:
    """Rules in the order in which they are asked. ParseError names the rule that is wrong."""
    return sorted((_read_rule(one) for one in filters), key=lambda rule: rule.order)


def effective_rule(rules: Iterable[Rule], job: Job) -> Rule | None:
    """The first rule that is for the job and decides something.

    When it can't be found out whether a rule is for the job, nothing is done that can't be undone:
    a rule that pauses or rejects pauses it, one that limits rates does so. One that accepts leaves
    it to the following ones, which may pause the job then, but not reject it.
    """
    may_be_accepted = False
    for rule in rules:
        if rule.action is Action.CONTINUE:
            continue
        try:
            if not rule.matches(job):
                continue
        except TooSlow:
            if rule.action is Action.ACCEPT:
                may_be_accepted = True
                continue
            return rule if rule.action is Action.RATE_LIMIT else replace(rule, action=Action.PAUSE)
        if rule.action is Action.REJECT and may_be_accepted:
            return replace(rule, action=Action.PAUSE)
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
    test = _compile(condition, watermark if kind == "jobid" else None, where)
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


class _Absent(Exception):
    """The object has no such field."""


def _compile(condition: Json, watermark: int | None, where: str) -> Test:
    """A filter as a test of an object; fields may be dotted.

    An object that lacks a field, or has another type there, does not pass. For job numbers the
    word "watermark" stands for a number. A pattern that has once taken too long is not tried again:
    the scheduler can't wait for each job.
    """
    try:
        tree = from_json(_with_number(condition, watermark) if watermark is not None else condition)
    except Mismatch as error:
        raise ParseError(f"{where}: {condition!r} is no filter: {error.fact}") from error

    given_up: TooSlow | None = None

    def test(item: Mapping[str, Json]) -> bool:
        nonlocal given_up
        if given_up is not None:
            raise given_up
        try:
            return matches(tree, lambda field: Cell(_field(item, field)))
        except TooSlow as error:
            logger.error("%s: jobs that it may be for wait until it is replaced: %s", where, error)
            given_up = error
            raise
        except (_Absent, ParameterError):
            return False

    return test


def _with_number(condition: Json, watermark: int) -> Json:
    if isinstance(condition, (list, tuple)):
        return [_with_number(part, watermark) for part in condition]
    return watermark if condition == WATERMARK else condition


def _field(item: Mapping[str, Json], field: str) -> Json:
    value: Json = item
    for part in field.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise _Absent
        value = value[part]
    return value
