"""What a filter rule does to a job when its pattern takes too long."""

from __future__ import annotations

import pytest
from fakes.job_machine import delay
from ganeti.jobs.job import Job, OpEntry
from ganeti.jobs.rules import Action, effective_rule, read_rules
from ganeti.model.filter import JobFilter
from ganeti.serializer import Json

SLOW = ["opcode", ["=~", "comment", "(a|aa)+$"]]
"""Takes years on the comment of `a_job`."""


def a_job() -> Job:
    return Job(7, [OpEntry.of(delay(comment="a" * 200 + "b"))], (1_700_000_000, 0))


def rule(priority: int, action: Json, *predicates: Json) -> JobFilter:
    return JobFilter(
        uuid=f"rule-{priority}",
        watermark=2,
        priority=priority,
        predicates=predicates,
        action=action,
        reason_trail=(),
    )


@pytest.mark.parametrize(
    ("action", "then"),
    [
        ("REJECT", Action.PAUSE),
        ("PAUSE", Action.PAUSE),
        (["RATE_LIMIT", 2], Action.RATE_LIMIT),
        ("ACCEPT", None),
        ("CONTINUE", None),
    ],
)
def test_a_pattern_that_takes_too_long_lets_nothing_pass(action: Json, then: Action | None) -> None:
    found = effective_rule(read_rules([rule(1, action, SLOW)]), a_job())
    assert (found.action if found else None) == then


def test_a_job_that_may_be_accepted_is_not_rejected(caplog: pytest.LogCaptureFixture) -> None:
    rules = read_rules([rule(1, "ACCEPT", SLOW), rule(2, "REJECT")])
    for _ in range(3):
        found = effective_rule(rules, a_job())
        assert found is not None and found.action is Action.PAUSE
    (told,) = caplog.records  # and it is tried once only
    assert "filter rule rule-1: jobs that it may be for wait" in told.getMessage()


def test_another_predicate_decides_without_the_pattern() -> None:
    other = ["jobid", [">", "id", 100]]
    rules = read_rules([rule(1, "REJECT", SLOW, other)])
    assert effective_rule(rules, a_job()) is None
