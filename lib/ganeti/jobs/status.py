"""States of opcodes and jobs. Source: facts/jobs.md §3."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from ganeti.errors import ProgrammerError


class OpStatus(StrEnum):
    """State of one opcode of a job."""

    QUEUED = "queued"
    WAITING = "waiting"
    CANCELING = "canceling"
    RUNNING = "running"
    CANCELED = "canceled"
    SUCCESS = "success"
    ERROR = "error"


class JobStatus(StrEnum):
    """State of a whole job; the words are those of opcodes."""

    QUEUED = "queued"
    WAITING = "waiting"
    CANCELING = "canceling"
    RUNNING = "running"
    CANCELED = "canceled"
    SUCCESS = "success"
    ERROR = "error"


# Back from WAITING: masterd was restarted; back from RUNNING: internal retry.
FOLLOWS: dict[OpStatus, frozenset[OpStatus]] = {
    OpStatus.QUEUED: frozenset({OpStatus.WAITING, OpStatus.CANCELED, OpStatus.ERROR}),
    OpStatus.WAITING: frozenset(
        {OpStatus.QUEUED, OpStatus.RUNNING, OpStatus.CANCELING, OpStatus.ERROR}
    ),
    OpStatus.CANCELING: frozenset({OpStatus.CANCELED, OpStatus.ERROR}),
    OpStatus.RUNNING: frozenset({OpStatus.WAITING, OpStatus.SUCCESS, OpStatus.ERROR}),
    OpStatus.SUCCESS: frozenset(),
    OpStatus.CANCELED: frozenset(),
    OpStatus.ERROR: frozenset(),
}
FINAL = frozenset(status for status, after in FOLLOWS.items() if not after)
JOB_FINAL = frozenset(JobStatus(status.value) for status in FINAL)

_DECIDES = FINAL - {OpStatus.SUCCESS} | {OpStatus.CANCELING}


def move(now: OpStatus, to: OpStatus) -> OpStatus:
    """The state `to`; ProgrammerError when it can't follow on `now`."""
    if to not in FOLLOWS[now]:
        raise ProgrammerError(f"an opcode cannot go from {now} to {to}")
    return to


def job_status(states: Iterable[OpStatus]) -> JobStatus:
    """State of a job with opcodes in these states, in their order; no opcodes: success."""
    found = OpStatus.QUEUED
    all_done = True
    for status in states:
        if status is OpStatus.SUCCESS:
            continue
        all_done = False
        if status in _DECIDES:
            return JobStatus(status.value)
        if status is not OpStatus.QUEUED:
            found = status
    return JobStatus.SUCCESS if all_done else JobStatus(found.value)
