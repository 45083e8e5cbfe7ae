"""Fields of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ganeti.jobs import fields as jobs
from ganeti.jobs.job import Job
from ganeti.query.fields import (
    Field,
    Need,
    flag,
    live,
    number,
    other,
    seconds,
    table,
    text,
)
from ganeti.query.sources import JobSource
from ganeti.serializer import Json


class JobRow:
    """A job, or only the number of one that does not exist."""

    __slots__ = ("id", "job")

    def __init__(self, number: int, job: Job | None) -> None:
        self.id = number
        self.job = job


def _value(name: str) -> Callable[[JobRow], Json]:
    """Getter of a value of a job; nothing is available of one that does not exist."""
    get = jobs.FIELDS[name]
    return lambda row: None if row.job is None else get(row.job)


_ROWS: Final[list[Field[JobRow]]] = [
    number("id", "ID", lambda row: row.id, "Number"),
    text("status", "Status", _value("status"),
        "queued, waiting, canceling, running, canceled, success or error"),
    number("priority", "Priority", _value("priority"),
        "Priority of the most urgent opcode that has not ended; lower is more urgent"),
    live(flag("archived", "Archived", _value("archived"), "Whether it is archived"),
        Need.ARCHIVE),
    other("summary", "Summary", _value("summary"), "The opcodes in short"),
    seconds(other("received_ts", "Received", _value("received_ts"),
        "When it was submitted: seconds, microseconds")),
    seconds(other("start_ts", "Start", _value("start_ts"),
        "When its first opcode began: seconds, microseconds")),
    seconds(other("end_ts", "End", _value("end_ts"), "When it ended: seconds, microseconds")),
    other("ops", "OpCodes", _value("ops"), "The opcodes with their parameters"),
    other("opstatus", "OpCode_status", _value("opstatus"), "Status of each opcode"),
    other("opresult", "OpCode_result", _value("opresult"), "Result of each opcode"),
    other("oplog", "OpCode_log", _value("oplog"), "Log lines of each opcode"),
    other("oppriority", "OpCode_prio", _value("oppriority"), "Priority of each opcode"),
    other("opstart", "OpCode_start", _value("opstart"),
        "When each opcode began to wait for its locks"),
    other("opexec", "OpCode_exec", _value("opexec"),
        "When each opcode had its locks and began to work"),
    other("opend", "OpCode_end", _value("opend"), "When each opcode ended"),
]  # fmt: skip

FIELDS: Final = table(_ROWS)


class JobTable:
    """Jobs as they are now; see `query.table.Table`. Made by `open`."""

    fields = FIELDS
    name_field = "id"
    noun = None

    def __init__(self, rows: Mapping[int, JobRow]) -> None:
        self.rows = rows

    @classmethod
    async def open(
        cls, source: JobSource, ids: Sequence[int] | None, *, archived: bool
    ) -> JobTable:
        """The jobs of these numbers, archived or not; for None all, archived if `archived`."""
        if ids is None:
            return cls({job.id: JobRow(job.id, job) for job in await source.all_jobs(archived)})
        found = await source.find_jobs(ids)
        return cls({number: JobRow(number, found.get(number)) for number in ids})

    def all(self) -> Iterable[JobRow]:
        return self.rows.values()

    def find(self, name: str) -> JobRow | None:
        return self.rows.get(int(name)) if name.isdecimal() else None

    def name_of(self, row: JobRow) -> str:
        return str(row.id)

    async def fetch(self, rows: Sequence[JobRow], needs: frozenset[Need]) -> Sequence[JobRow]:
        """All has been read."""
        return rows
