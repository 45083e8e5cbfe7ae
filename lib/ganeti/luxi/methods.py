"""The methods of LUXI with their arguments. Source: facts/luxi.json, `methods`.

`read_arguments` turns what a client sent into checked values, so that the master never looks at a
malformed call. Opcodes arrive as `Opcode` objects, filters in their JSON form with `==` for `=`,
job ids as numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

from ganeti import opcodes
from ganeti.errors import GenericError, ParseError
from ganeti.opcodes import filter as filters
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.checks import (
    ANY,
    BOOL,
    INT,
    STRING,
    Check,
    Mismatch,
    member,
    optional,
    read_bool,
    read_float,
    refuse,
    row,
    sequence,
    shown,
    whole,
)
from ganeti.opcodes.types import read_job_id
from ganeti.serializer import Json
from ganeti.types import QueryResource, TagKind


class Argument(NamedTuple):
    """One argument; `optional` ones at the end may be left out and are then `default`."""

    name: str
    check: Check
    optional: bool = False
    default: Json = None


class Method(NamedTuple):
    """A method and its arguments.

    `is_bare` recognises the form of 2.5 and older, in which the only argument was not wrapped in a
    list. `internal` methods are refused to every client. `private` ones are ours, for programs of
    this project only.
    """

    name: str
    arguments: tuple[Argument, ...]
    is_bare: Callable[[Json], bool] | None = None
    read_only: bool = False
    internal: bool = False
    private: bool = False
    any_arguments: bool = False


# Types.


def list_of(check: Check) -> Check:
    """As `sequence`, but read as a list, which is what the master compares and sends."""
    plain = sequence(check)
    return Check(plain.notation, lambda value: list(plain.read(value)))


def _read_filter(value: Json) -> Json:
    return filters.to_json(filters.from_json(value))


def _read_opcode(value: Json, *, needs_reason: bool) -> Opcode:
    try:
        return opcodes.load_submitted(value, needs_reason=needs_reason)
    except GenericError as error:
        raise Mismatch(str(error)) from error


def _read_pause(value: Json) -> float | int | None:
    """What is not a number counts as null, as in 3.0."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _read_predicate(value: Json) -> Json:
    match value:
        case ["jobid" | "opcode" | "reason" as kind, condition]:
            tree = filters.from_json(condition)
            if tree is None:
                raise refuse("a filter", condition)
            if kind == "jobid" and not filters.fields_of(tree) <= {"id"}:
                raise Mismatch("a jobid predicate only has the field 'id'")
            return [kind, filters.to_json(tree)]
    raise refuse("[jobid, opcode or reason, filter]", value)


def _read_action(value: Json) -> Json:
    match value:
        case "ACCEPT" | "CONTINUE" | "PAUSE" | "REJECT":
            return value
        case ["RATE_LIMIT", int(limit)] if limit > 0 and limit is not True:
            return ["RATE_LIMIT", limit]
    raise refuse("ACCEPT, CONTINUE, PAUSE, REJECT or [RATE_LIMIT, number]", value)


TEXTS = list_of(STRING)
JOB_ID = Check("job id", read_job_id)
NUMBER = Check("number", read_float)
# External storage is listed by the opcodes OP_QUERY and OP_EXT_STORAGE_DIAGNOSE only.
WHAT = member(
    QueryResource, only=[kind for kind in QueryResource if kind != QueryResource.EXTSTORAGE]
)
FILTER = Check("filter", _read_filter)
NEW_JOB = list_of(Check("opcode", lambda value: _read_opcode(value, needs_reason=True)))
OLD_JOB = list_of(Check("opcode", lambda value: _read_opcode(value, needs_reason=False)))
REASON = list_of(row(STRING, STRING, INT))
ACTION = Check("action", _read_action)
PREDICATES = list_of(Check("predicate", _read_predicate))

_FIELDS = Argument("fields", TEXTS)
_JOB = Argument("job", JOB_ID)
_NAMED_ROWS = (Argument("names", TEXTS), _FIELDS, Argument("use_locking", BOOL))


# Forms of 2.5 and older.


def _is_bare_job(args: Json) -> bool:
    return isinstance(args, list) and bool(args) and all(isinstance(op, dict) for op in args)


def _are_bare_jobs(args: Json) -> bool:
    """A list of jobs, where a wrapped one is a list of a list of jobs."""
    return isinstance(args, list) and any(_is_bare_job(job) for job in args)


def _is_bare_id(args: Json) -> bool:
    return isinstance(args, (int, str))


def _is_bare_bool(args: Json) -> bool:
    return isinstance(args, bool)


def _are_bare_texts(args: Json) -> bool:
    return isinstance(args, list) and bool(args) and all(isinstance(one, str) for one in args)


_ROWS = (
    Method("SubmitJob", (Argument("job", NEW_JOB),), _is_bare_job),
    Method("SubmitJobToDrainedQueue", (Argument("job", NEW_JOB),)),
    Method("SubmitManyJobs", (Argument("jobs", list_of(NEW_JOB)),), _are_bare_jobs),
    Method("PickupJob", (_JOB,), internal=True),
    Method(
        "WaitForJobChange",
        (
            _JOB,
            _FIELDS,
            Argument("prev_job_info", optional(list_of(ANY))),
            Argument("prev_log_serial", optional(INT)),
            Argument("timeout", NUMBER),
        ),
        read_only=True,
    ),
    Method("CancelJob", (_JOB, Argument("kill", BOOL, optional=True, default=False)), _is_bare_id),
    Method("ArchiveJob", (_JOB,), _is_bare_id),
    Method("ChangeJobPriority", (_JOB, Argument("priority", INT))),
    Method("AutoArchiveJobs", (Argument("age", NUMBER), Argument("timeout", NUMBER))),
    Method(
        "Query",
        (Argument("what", WHAT), _FIELDS, Argument("qfilter", optional(FILTER))),
        read_only=True,
    ),
    Method(
        "QueryFields",
        (Argument("what", WHAT), Argument("fields", optional(TEXTS))),
        read_only=True,
    ),
    Method(
        "QueryJobs",
        (Argument("ids", optional(list_of(JOB_ID))), _FIELDS),
        read_only=True,
    ),
    Method("QueryFilters", (Argument("uuids", optional(TEXTS)), _FIELDS), read_only=True),
    Method(
        "ReplaceFilter",
        (
            Argument("uuid", optional(STRING)),
            Argument("priority", whole(0)),
            Argument("predicates", PREDICATES),
            Argument("action", ACTION),
            Argument("reason", REASON),
        ),
    ),
    Method("DeleteFilter", (Argument("uuid", STRING),)),
    Method("QueryInstances", _NAMED_ROWS, read_only=True),
    Method("QueryNodes", _NAMED_ROWS, read_only=True),
    Method("QueryGroups", _NAMED_ROWS, read_only=True),
    Method("QueryNetworks", _NAMED_ROWS, read_only=True),
    Method(
        "QueryExports",
        (Argument("nodes", TEXTS), Argument("use_locking", BOOL)),
        read_only=True,
    ),
    Method("QueryConfigValues", (_FIELDS,), _are_bare_texts, read_only=True),
    Method("QueryClusterInfo", (), read_only=True, any_arguments=True),
    Method(
        "QueryTags",
        (Argument("kind", member(TagKind)), Argument("name", STRING)),
        read_only=True,
    ),
    Method(
        "QueryObjects",
        (
            Argument("what", WHAT),
            _FIELDS,
            Argument("qfilter", optional(FILTER)),
            Argument("start", whole(0)),
            Argument("count", optional(whole(0))),
        ),
        read_only=True,
        private=True,
    ),
    Method("QueryConfigSerial", (), read_only=True, private=True),
    Method("QueryMetrics", (), read_only=True, private=True),
    Method(
        "WaitForEvents",
        (
            Argument("after", optional(STRING)),
            Argument("kinds", optional(TEXTS)),
            Argument("timeout", NUMBER),
        ),
        read_only=True,
        private=True,
    ),
    Method("SetDrainFlag", (Argument("flag", Check("bool", read_bool)),), _is_bare_bool),
    Method("SetWatcherPause", (Argument("until", Check("pause", _read_pause)),)),
)

METHODS = {row.name: row for row in _ROWS}


def read_arguments(method: str, args: Json) -> list[Json]:
    """The checked arguments of a call, one per argument of the method.

    ParseError when there is no such method, or number or type of the arguments are wrong; LUXI
    answers it with a plain text and closes. GenericError for a method that only the master itself
    may call.
    """
    known = METHODS.get(method)
    if known is None:
        raise ParseError(f"method {shown(method)} is unknown")
    if known.internal:
        raise GenericError(f"LUXI call {method!r} is for internal use only")
    if known.any_arguments:
        return []
    wanted = known.arguments
    if known.is_bare is not None and known.is_bare(args):
        args = [args]
        wanted = _without_reasons(wanted)
    if not isinstance(args, list):
        raise ParseError(f"{method}: the arguments are a list, not {shown(args)}")
    least = sum(not one.optional for one in wanted)
    if not least <= len(args) <= len(wanted):
        names = ", ".join(one.name for one in wanted)
        raise ParseError(f"{method}: takes {len(wanted)} arguments ({names}), {len(args)} given")
    return [*map(_read, [method] * len(args), wanted, args), *_defaults(wanted[len(args) :])]


def _read(method: str, argument: Argument, value: Json) -> Json:
    try:
        return argument.check.read(value)
    except Mismatch as problem:
        raise ParseError(f"{method}: {argument.name}{problem.place}: {problem.fact}") from problem


def _defaults(left_out: tuple[Argument, ...]) -> list[Json]:
    return [argument.default for argument in left_out]


def _without_reasons(wanted: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """For clients that are older than the reason trail of opcodes."""
    if wanted[0].check is NEW_JOB:
        return (Argument("job", OLD_JOB),)
    if wanted[0].name == "jobs":
        return (Argument("jobs", list_of(OLD_JOB)),)
    return wanted
