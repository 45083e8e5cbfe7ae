"""A job and its opcodes, and their form in files. Source: facts/jobs.md §2.

Jobs belong to the loop and change only by applying records (`journal.py`), so that reading the
journal again gives the same jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from ganeti.errors import JobFileCorrupted, ParseError
from ganeti.jobs.status import FINAL, JOB_FINAL, JobStatus, OpStatus, job_status
from ganeti.jobs.undo import Step
from ganeti.opcodes import Opcode, load, summary
from ganeti.serializer import Json, dump_bytes, loads

Timestamp: TypeAlias = tuple[int, int]
"""Seconds since the epoch and microseconds."""

LogEntry: TypeAlias = tuple[int, Timestamp, str, Json]
"""Serial (counted over the whole job, from 1), time, type, content."""

MESSAGE: Final = "message"
_OP_KEYS = frozenset(
    "input status result log priority start_timestamp exec_timestamp end_timestamp".split()
)
_JOB_KEYS = frozenset("id ops start_timestamp end_timestamp received_timestamp".split())


def split_time(seconds: float) -> Timestamp:
    """`seconds` as the pair that job files have."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return int(whole), int(micro)


def join_time(stamp: Timestamp) -> float:
    return stamp[0] + stamp[1] / 1_000_000


class OpEntry:
    """One opcode of a job, with its fate."""

    __slots__ = (
        "input",
        "status",
        "result",
        "log",
        "priority",
        "start_timestamp",
        "exec_timestamp",
        "end_timestamp",
        "unknown",
        "undo",
        "_opcode",
        "_summary",
    )

    def __init__(self, input: Mapping[str, Json], *, opcode: Opcode | None = None) -> None:
        self.input = input
        self.status = OpStatus.QUEUED
        self.result: Json = None
        self.log: list[LogEntry] = []
        self.priority = int(input.get("priority") or 0)
        self.start_timestamp: Timestamp | None = None
        self.exec_timestamp: Timestamp | None = None
        self.end_timestamp: Timestamp | None = None
        self.unknown: Mapping[str, Json] = {}
        self.undo: list[Step] = []  # not in the file: steps of an opcode that runs
        self._opcode = opcode
        self._summary: str | None = None

    @classmethod
    def of(cls, opcode: Opcode) -> OpEntry:
        """A new entry. Secret parameters live in `opcode` only, in no file."""
        return cls(opcode.stored(), opcode=opcode)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def opcode(self) -> Opcode:
        """The opcode to execute. OpPrereqError or OpCodeUnknown when the stored one is invalid."""
        return self._opcode if self._opcode is not None else load(self.input)

    @property
    def summary(self) -> str:
        if self._summary is None:
            self._summary = summary(self.input)
        return self._summary

    @property
    def depends(self) -> Sequence[tuple[int, Sequence[str]]]:
        """Job numbers with the ends that are wanted of them; no ends: any.

        What has another form in a stored opcode is left out: such an opcode can't be loaded.
        """
        found = []
        for one in self.input.get("depends") or ():
            match one:
                case [int(number), [*ends]]:
                    found.append((number, ends))
        return found

    def forget_opcode(self) -> None:
        """The opcode has ended: what was only needed to run it is let go."""
        self._opcode = None

    def to_json(self) -> dict[str, Json]:
        return {
            "input": self.input,
            "status": self.status.value,
            "result": self.result,
            "log": self.log,
            "start_timestamp": self.start_timestamp,
            "exec_timestamp": self.exec_timestamp,
            "end_timestamp": self.end_timestamp,
            "priority": self.priority,
            **self.unknown,
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> OpEntry:
        """ParseError names the key that is missing or wrong."""
        match value:
            case {"input": dict(given), "status": str(status)}:
                made = cls(given)
            case _:
                raise ParseError(f"{where}: an object with input and status is expected")
        try:
            made.status = OpStatus(status)
        except ValueError:
            raise ParseError(f"{where}.status: {status!r} is no state of an opcode") from None
        made.result = value.get("result")
        made.log = [
            _log_entry(line, f"{where}.log[{n}]") for n, line in enumerate(value.get("log") or ())
        ]
        made.priority = _number(value.get("priority", 0), f"{where}.priority")
        for name in ("start_timestamp", "exec_timestamp", "end_timestamp"):
            setattr(made, name, read_time(value.get(name), f"{where}.{name}"))
        made.unknown = {key: item for key, item in value.items() if key not in _OP_KEYS}
        return made


class Job:
    """Opcodes that run one after the other under one number."""

    __slots__ = (
        "id",
        "ops",
        "received_timestamp",
        "start_timestamp",
        "end_timestamp",
        "unknown",
        "archived",
        "log_serial",
    )

    def __init__(self, id: int, ops: list[OpEntry], received: Timestamp | None) -> None:
        self.id = id
        self.ops = ops
        self.received_timestamp = received
        self.start_timestamp: Timestamp | None = None
        self.end_timestamp: Timestamp | None = None
        self.unknown: Mapping[str, Json] = {}
        self.archived = False
        self.log_serial = max((entry[0] for op in ops for entry in op.log[-1:]), default=0)

    @property
    def status(self) -> JobStatus:
        return job_status(op.status for op in self.ops)

    @property
    def is_final(self) -> bool:
        return self.status in JOB_FINAL

    @property
    def priority(self) -> int:
        """That of the most urgent opcode which has not ended; 0 when all have."""
        return min((op.priority for op in self.ops if not op.is_final), default=0)

    @property
    def next_index(self) -> int | None:
        """The first opcode that has not ended; None when all have."""
        return next((i for i, op in enumerate(self.ops) if not op.is_final), None)

    @property
    def dependencies(self) -> frozenset[int]:
        """The jobs that opcodes which have not ended wait for."""
        return frozenset(number for op in self.ops if not op.is_final for number, _ in op.depends)

    @property
    def age_timestamp(self) -> Timestamp:
        """What auto-archiving goes by: end, else start, else submission."""
        return self.end_timestamp or self.start_timestamp or self.received_timestamp or (0, 0)

    def log_after(self, serial: int) -> list[LogEntry]:
        """Log entries with a higher serial, oldest first."""
        if serial >= self.log_serial:
            return []
        return [entry for op in self.ops for entry in op.log if entry[0] > serial]

    def to_json(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "ops": [op.to_json() for op in self.ops],
            "start_timestamp": self.start_timestamp,
            "end_timestamp": self.end_timestamp,
            "received_timestamp": self.received_timestamp,
            **self.unknown,
        }

    def encode(self) -> bytes:
        """The contents of the job's file."""
        return dump_bytes(self.to_json()) + b"\n"

    @classmethod
    def from_json(cls, value: Json, where: str) -> Job:
        """ParseError when it is no job."""
        match value:
            case {"id": int() | str() as number, "ops": list(ops)}:
                pass
            case _:
                raise ParseError(f"{where}: an object with id and ops is expected")
        job = cls(
            _number(number, f"{where}.id"),
            [OpEntry.from_json(op, f"{where}.ops[{n}]") for n, op in enumerate(ops)],
            read_time(value.get("received_timestamp"), f"{where}.received_timestamp"),
        )
        job.start_timestamp = read_time(value.get("start_timestamp"), f"{where}.start_timestamp")
        job.end_timestamp = read_time(value.get("end_timestamp"), f"{where}.end_timestamp")
        job.unknown = {key: item for key, item in value.items() if key not in _JOB_KEYS}
        return job


def decode_job(content: bytes, where: str) -> Job:
    """The job in a file's contents; JobFileCorrupted when there is none."""
    try:
        return Job.from_json(loads(content, where), where)
    except ParseError as error:
        raise JobFileCorrupted(str(error)) from error


def read_time(value: Json, where: str) -> Timestamp | None:
    match value:
        case None:
            return None
        case [int(seconds), int(micro)]:
            return seconds, micro
    raise ParseError(f"{where}: [seconds, microseconds] is expected")


def _number(value: Json, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ParseError(f"{where}: a number is expected, not {value!r}") from None


def _log_entry(value: Json, where: str) -> LogEntry:
    match value:
        case [int(serial), stamp, str(kind), content]:
            return serial, read_time(stamp, where) or (0, 0), kind, content
    raise ParseError(f"{where}: [serial, time, type, content] is expected")
