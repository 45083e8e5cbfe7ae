"""Records of the queue's journal: one line per change of state, and what each one does.

The running queue and a restart apply the same records, so both come to the same jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from ganeti.errors import ParseError
from ganeti.jobs.job import Job, LogEntry, Timestamp
from ganeti.jobs.status import FINAL, OpStatus, move
from ganeti.jobs.undo import Step
from ganeti.serializer import Json, decode, dump_bytes, encode, loads


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job and everything about it; from here on its number is taken.

    `undo`: steps per opcode, when a journal begins anew while the job runs.
    """

    job: Json
    undo: tuple[tuple[int, Step], ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """An opcode has another state. `result` counts for final states only."""

    id: int
    index: int
    status: OpStatus
    at: Timestamp
    result: Json = None


@dataclass(frozen=True, slots=True)
class Logged:
    """Log entries were added."""

    id: int
    index: int
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class Prioritized:
    """Opcodes that neither run nor have ended got a priority; with `index` only that one."""

    id: int
    priority: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class UndoAdded:
    """What to do if the opcode does not come to its end."""

    id: int
    index: int
    step: Step


@dataclass(frozen=True, slots=True)
class Archived:
    """These jobs are in the archive, or on their way into it."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """These jobs were never accepted: their submission was answered with an error."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Numbered:
    """Numbers up to this one are taken."""

    serial: int


@dataclass(frozen=True, slots=True)
class Owed:
    """An undo step of a job that has ended: its node did not answer. `since`: Unix seconds."""

    number: int
    job: int
    step: Step
    since: float


@dataclass(frozen=True, slots=True)
class Paid:
    """This step is owed no more."""

    number: int


Record: TypeAlias = (
    Submitted
    | Moved
    | Logged
    | Prioritized
    | UndoAdded
    | Archived
    | Withdrawn
    | Numbered
    | Owed
    | Paid
)

_KINDS: Final[dict[str, type[Record]]] = {
    "submitted": Submitted,
    "moved": Moved,
    "logged": Logged,
    "prioritized": Prioritized,
    "undo": UndoAdded,
    "archived": Archived,
    "withdrawn": Withdrawn,
    "numbered": Numbered,
    "owed": Owed,
    "paid": Paid,
}
_NAMES: Final = {cls: name for name, cls in _KINDS.items()}


def encode_record(record: Record) -> bytes:
    """One line, ASCII, without its end."""
    return dump_bytes([_NAMES[type(record)], encode(record)])


def decode_record(line: bytes, where: str) -> Record:
    """ParseError when the line is no record that this version knows."""
    match loads(line, where):
        case [str(name), dict(content)] if name in _KINDS:
            return decode(_KINDS[name], content, where)
    raise ParseError(f"{where}: not a record of the job queue")


class Jobs:
    """The jobs that are not archived, by number, and the highest number that was taken."""

    def __init__(self) -> None:
        self.by_id: dict[int, Job] = {}
        self.serial = 0
        self.archived: set[int] = set()  # since the journal began
        self.owed: dict[int, Owed] = {}  # undo steps to be tried again, in their order

    def add(self, job: Job) -> None:
        self.by_id[job.id] = job
        self.serial = max(self.serial, job.id)

    def apply(self, record: Record) -> None:
        """The change happens. Records about jobs that are gone do nothing."""
        match record:
            case Submitted(value, undo):
                job = Job.from_json(value, "journal")
                for index, step in undo:
                    job.ops[index].undo.append(step)
                self.add(job)
            case Archived(ids) | Withdrawn(ids):
                self._forget(ids, archived=isinstance(record, Archived))
            case Numbered(serial):
                self.serial = max(self.serial, serial)
            case Owed(number):
                self.owed[number] = record
            case Paid(number):
                self.owed.pop(number, None)
            case _:
                found = self.by_id.get(record.id)
                if found is not None:
                    apply_to_job(found, record)

    def _forget(self, ids: tuple[int, ...], *, archived: bool) -> None:
        for number in ids:
            job = self.by_id.pop(number, None)
            if archived:
                self.archived.add(number)
                if job is not None:
                    job.archived = True
            self.serial = max(self.serial, number)


JobRecord: TypeAlias = Moved | Logged | Prioritized | UndoAdded


def apply_to_job(job: Job, record: JobRecord) -> None:
    """The change happens to the job. ProgrammerError when the state can't follow."""
    match record:
        case Moved():
            _move(job, record)
        case Logged(_, index, entries):
            job.ops[index].log.extend(entries)
            job.log_serial = max(job.log_serial, entries[-1][0])
        case Prioritized(_, priority, only):
            for op in job.ops if only is None else [job.ops[only]]:
                if not op.is_final and op.status is not OpStatus.RUNNING:
                    op.priority = priority
        case UndoAdded(_, index, step):
            job.ops[index].undo.append(step)


def _move(job: Job, record: Moved) -> None:
    op = job.ops[record.index]
    op.status = move(op.status, record.status)
    if op.status is OpStatus.QUEUED:
        op.start_timestamp = None
    elif op.status is OpStatus.WAITING:
        op.start_timestamp = op.start_timestamp or record.at
        job.start_timestamp = job.start_timestamp or record.at
    elif op.status is OpStatus.RUNNING:
        op.exec_timestamp = record.at
    elif op.status in FINAL:
        op.end_timestamp = record.at
        op.result = record.result
        op.undo.clear()
        op.forget_opcode()
        if all(other.is_final for other in job.ops):
            job.end_timestamp = record.at
