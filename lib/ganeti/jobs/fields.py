"""The values that job lists and `WaitForJobChange` show. Source: facts/jobs.md §10."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ganeti.jobs.job import Job
from ganeti.opcodes import redacted
from ganeti.serializer import Json
from ganeti.utils.text import told_plainly

SHOWN_UNSET = frozenset({"comment", "depends"})
"""Parameters that are shown when they are null; all others are left out then."""


def _input(value: Mapping[str, Json]) -> Json:
    """An opcode as it is shown: hidden values are null."""
    return {
        name: told_plainly(item)
        for name, item in redacted(value).items()
        if item is not None or name in SHOWN_UNSET
    }


FIELDS: dict[str, Callable[[Job], Json]] = {
    "id": lambda job: job.id,
    "status": lambda job: job.status.value,
    "priority": lambda job: job.priority,
    "archived": lambda job: job.archived,
    "ops": lambda job: [_input(op.input) for op in job.ops],
    "opresult": lambda job: [told_plainly(op.result) for op in job.ops],
    "opstatus": lambda job: [op.status.value for op in job.ops],
    "oplog": lambda job: [[_plain(entry) for entry in op.log] for op in job.ops],
    "opstart": lambda job: [_plain(op.start_timestamp) for op in job.ops],
    "opexec": lambda job: [_plain(op.exec_timestamp) for op in job.ops],
    "opend": lambda job: [_plain(op.end_timestamp) for op in job.ops],
    "oppriority": lambda job: [op.priority for op in job.ops],
    "summary": lambda job: [op.summary for op in job.ops],
    "received_ts": lambda job: _plain(job.received_timestamp),
    "start_ts": lambda job: _plain(job.start_timestamp),
    "end_ts": lambda job: _plain(job.end_timestamp),
}


def field_values(job: Job, names: Sequence[str]) -> list[Json]:
    """One value per name, of JSON kinds that compare equal to what a client sends back.

    KeyError for an unknown name.
    """
    return [FIELDS[name](job) for name in names]


def _plain(value: Json) -> Json:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def log_lines(job: Job, after: int) -> list[Json]:
    """Log entries newer than `after` in their JSON form."""
    return [_plain(entry) for entry in job.log_after(after)]
