"""Types that several opcodes share: the annotation, what it accepts and its name.

Named like in facts/opcodes.json (`composites`, `enums`) where they have a name there.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from ganeti.constants import PRIORITY_HIGHEST, PRIORITY_LOWEST
from ganeti.opcodes.checks import (
    ANY,
    BOOL,
    INT,
    NAME,
    STRING,
    Check,
    either,
    mapping,
    member,
    named,
    optional,
    refuse,
    row,
    sequence,
    shape,
    whole,
    words,
)
from ganeti.serializer import Json
from ganeti.types import (
    AllocatorDirection,
    AllocatorMode,
    ChangeAction,
    EvacuateMode,
    HypervisorKind,
    InstanceCreateMode,
    NicMode,
    QueryResource,
)

MAX_DISKS = 16

# Plain values.

Name: TypeAlias = Annotated[str, NAME]
NotNegative: TypeAlias = Annotated[int, whole(0)]
Positive: TypeAlias = Annotated[int, whole(1)]
JsonObject: TypeAlias = Mapping[str, Any]
DiskIndex: TypeAlias = Annotated[int, whole(0, MAX_DISKS - 1)]

# Enumerations whose name in the notation is not that of the class.

Allocation: TypeAlias = Annotated[AllocatorMode, member(AllocatorMode, "IAllocatorMode")]
AllocationSide: TypeAlias = Annotated[
    AllocatorDirection, member(AllocatorDirection, "IAllocatorTestDir")
]
CreateMode: TypeAlias = Annotated[InstanceCreateMode, member(InstanceCreateMode, "InstCreateMode")]
Evacuation: TypeAlias = Annotated[EvacuateMode, member(EvacuateMode, "EvacMode")]
Hypervisor: TypeAlias = Annotated[HypervisorKind, member(HypervisorKind, "Hypervisor")]
NetworkMode: TypeAlias = Annotated[
    NicMode,
    member(
        NicMode, "NICMode", [NicMode.BRIDGED, NicMode.OPENVSWITCH, NicMode.POOL, NicMode.ROUTED]
    ),
]
Resource: TypeAlias = Annotated[QueryResource, member(QueryResource, "QueryTypeOp")]

# Parameters of all opcodes.

JOB_ID_DIGITS = 18  # of an id given as text; more is no id but a mistake


def read_job_id(value: Json) -> int:
    """A job id: a number that is not negative, or the same as digits."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and _is_number(value):
        return int(value)
    raise refuse("a job id", value)


def read_dependency_id(value: Json) -> int:
    """A job id; a negative number counts back from the job itself (facts/jobs.md §6)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _is_number(value.removeprefix("-")):
        return int(value)
    raise refuse("a job id, or a negative number relative to this job", value)


JOB_ID = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^-?[0-9]{1,18}$"}]}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= JOB_ID_DIGITS


Priority: TypeAlias = Annotated[
    int,
    whole(PRIORITY_HIGHEST, PRIORITY_LOWEST, "int, one of -10 (high), 0 (normal), 10 (low)"),
]
FINAL_STATUS = words("JobStatusFinal", ("canceled", "error", "success"))
Depends: TypeAlias = Annotated[
    Sequence[tuple[int, Sequence[str]]],
    named(
        "list of [job id (or negative relative id), list of final job status (empty = any final)]",
        sequence(
            row(Check("job id", read_dependency_id, schema=JOB_ID), sequence(FINAL_STATUS)),
        ),
    ),
]
Reasons: TypeAlias = Annotated[
    Sequence[tuple[str, str, int]],
    sequence(
        row(STRING, STRING, INT, notation="[string source, string reason, int timestamp in ns]")
    ),
]

# Hidden values.

PrivateParams: TypeAlias = Annotated[
    Mapping[str, Any], mapping(ANY, Check("private any", ANY.read, "private"))
]
SecretParams: TypeAlias = Annotated[
    Mapping[str, Any], mapping(ANY, Check("secret any", ANY.read, "secret"))
]

# Disks and network interfaces.

NIC_PARAM = words("NicParamKey", ("bridge", "ip", "link", "mac", "mode", "name", "network", "vlan"))
NIC_PARAMS = mapping(NIC_PARAM, optional(STRING), "NicParams")
DISK_PARAMS = mapping(NAME, either(NAME, INT), "DiskParams")
NicParams: TypeAlias = Annotated[Mapping[str, str | None], NIC_PARAMS]
DiskParams: TypeAlias = Annotated[Mapping[str, str | int], DISK_PARAMS]


CHANGE = {"type": "array", "minItems": 2, "maxItems": 3}


def _changes_of(params: Check) -> Check:
    """Changes to a list of disks or interfaces, as [action, which, parameters].

    The old form [index or "add" or "remove", parameters] is read as the new one.
    """
    full = row(member(ChangeAction), either(INT, STRING), params)

    def read(value: Json) -> tuple[ChangeAction, int | str, Mapping[str, Any]]:
        if isinstance(value, (list, tuple)) and len(value) == 2:
            first, given = value
            if first in (ChangeAction.ADD, ChangeAction.REMOVE):
                value = (first, -1, given)
            elif isinstance(first, int) and not isinstance(first, bool):
                value = (ChangeAction.MODIFY, first, given)
        change: tuple[ChangeAction, int | str, Mapping[str, Any]] = full.read(value)
        return change

    return named(f"Mods of {params.notation}", sequence(Check("change", read, schema=CHANGE)))


NicChanges: TypeAlias = Annotated[
    Sequence[tuple[ChangeAction, int | str, Mapping[str, str | None]]], _changes_of(NIC_PARAMS)
]
DiskChanges: TypeAlias = Annotated[
    Sequence[tuple[ChangeAction, int | str, Mapping[str, str | int]]], _changes_of(DISK_PARAMS)
]
ListChange: TypeAlias = tuple[
    Annotated[
        ChangeAction,
        member(
            ChangeAction,
            "DdmSimple",
            [ChangeAction.ADD, ChangeAction.ATTACH, ChangeAction.DETACH, ChangeAction.REMOVE],
        ),
    ],
    Name,
]

# Results.

JOB_OR_ERROR = row(BOOL, either(INT, STRING), notation="[bool success, job id or error string]")
JOBS = shape(jobs=sequence(JOB_OR_ERROR))
JOBS_OR_NULL = named(f"null or {JOBS.notation}", optional(JOBS))
CHANGES = sequence(row(NAME, ANY))
ROWS = sequence(sequence(ANY))
