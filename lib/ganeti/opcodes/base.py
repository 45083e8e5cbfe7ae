"""What an opcode is: a declared order to the master, with typed parameters.

    @opcode(summary="instance_name")
    class OpInstanceStartup(Opcode):
        \"\"\"Start an instance on its primary node.\"\"\"

        instance_name: str = param("instance to start")
        force: bool = param("start even if some disks are degraded", default=False)

`@opcode` and `param` only collect; no code is generated, as a command line that needs one opcode
imports all of its module. Annotations become checks (`checks.check_for`) when a class is first
used, so a module that declares opcodes does not make them strings (`from __future__ …`).

Private and secret values are plain in `to_json()`, which is what a client sends; what people see
and what is kept on disk comes from `redacted()` and `stored()`.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar, TypeVar, dataclass_transform

from ganeti.constants import SUBMIT_PRIORITIES
from ganeti.errors import Code, OpPrereqError, OpResultError, ProgrammerError
from ganeti.opcodes.checks import Check, Mismatch, check_for, shown
from ganeti.opcodes.types import Depends, NotNegative, Priority, Reasons
from ganeti.serializer import Json, encode

OP_ID = "OP_ID"

_REQUIRED: Any = object()
PRIVATE = "private"
SECRET = "secret"
_TINY = {"CLUSTER_": "C_", "GROUP_": "G_", "NODE_": "N_", "INSTANCE_": "I_"}


class Param:
    """One declared parameter.

    `kind` is the annotation, `default` a JSON value (see `required`), `rapi` the name that the
    remote API uses where it differs, `uuid_of` the parameter that names the same object.
    """

    __slots__ = ("_check", "default", "help", "kind", "name", "rapi", "uuid_of")

    def __init__(
        self, help: str, default: Any, check: Check | None, rapi: str, uuid_of: str
    ) -> None:
        self.name = ""
        self.kind: Any = None
        self.help = help
        self.default = default
        self.rapi = rapi
        self.uuid_of = uuid_of
        self._check = check

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED

    @property
    def check(self) -> Check:
        if self._check is None:
            self._check = check_for(self.kind)
        return self._check

    @property
    def notation(self) -> str:
        """The type in the notation of facts/opcodes.json."""
        return self.check.notation

    @property
    def hides(self) -> str:
        """ "private" or "secret" when values are not to be shown, else empty."""
        return self.check.hides

    def fresh_default(self) -> Any:
        """The default as a value of its own."""
        if isinstance(self.default, dict):
            return self.check.read(self.default)
        return self.default


def param(
    help: str,
    *,
    default: Any = _REQUIRED,
    check: Check | None = None,
    rapi: str = "",
    uuid_of: str = "",
) -> Any:
    """Declare a parameter; without `default` it is required.

    `help` is one short phrase: it becomes the help of options and a line of a manual page. `check`
    replaces the check that follows from the annotation. `uuid_of`: this is the uuid that the object
    named by that parameter must have, or the uuids of a list (logic/identity.py).
    """
    return Param(help, default, check, rapi, uuid_of)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(param,))
class Declared:
    """Keyword constructor, checks and comparison for classes that declare parameters."""

    PARAMS: ClassVar[Mapping[str, Param]] = {}

    def __init_subclass__(cls) -> None:
        declared = dict(cls.PARAMS)
        for name, kind in cls.__annotations__.items():
            found = cls.__dict__.get(name)
            if isinstance(found, Param):
                found.name, found.kind = name, kind
                declared[name] = found
        cls.PARAMS = declared

    def __init__(self, **values: Any) -> None:
        fields = self.__dict__
        for name, declared in self.PARAMS.items():
            if name in values:
                fields[name] = self._read(declared, values.pop(name))
            elif declared.required:
                raise OpPrereqError(
                    f"{self._title()}: parameter {name!r} is missing",
                    Code.INVAL,
                    hint=f"{declared.name}: {declared.help}",
                )
            else:
                fields[name] = declared.fresh_default()
        if values:
            raise OpPrereqError(
                f"{self._title()}: unknown parameter {min(values)!r}",
                Code.INVAL,
                hint="known are " + ", ".join(self.PARAMS),
            )

    @classmethod
    def _read(cls, declared: Param, value: Any) -> Any:
        try:
            return declared.check.read(value)
        except Mismatch as problem:
            fact = f"{declared.notation} is expected" if declared.hides else problem.fact
            raise OpPrereqError(
                f"{cls._title()}: parameter {declared.name!r}{problem.place}: {fact}",
                Code.INVAL,
                hint=f"{declared.name}: {declared.help}",
            ) from None

    @classmethod
    def _title(cls) -> str:
        return cls.__name__

    def __setattr__(self, name: str, value: object) -> None:
        raise ProgrammerError(f"{self._title()}: opcodes are not changed, set {name!r} on a copy")

    def __delattr__(self, name: str) -> None:
        raise ProgrammerError(f"{self._title()}: opcodes are not changed")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # mappings inside

    def __repr__(self) -> str:
        inside = ", ".join(
            f"{name}={'<hidden>' if self.PARAMS[name].hides and value is not None else repr(value)}"
            for name, value in self.__dict__.items()
            if self.PARAMS[name].required or value != self.PARAMS[name].default
        )
        return f"{type(self).__name__}({inside})"


O = TypeVar("O", bound="Opcode")  # noqa: E741  # O for opcode


class Opcode(Declared):
    """Base of all opcodes, with the parameters that every one has."""

    declared: ClassVar[dict[str, type["Opcode"]]] = {}
    OP_ID: ClassVar[str] = ""
    SUMMARY: ClassVar[str | None] = None
    RESULT: ClassVar[Any] = None

    dry_run: bool | None = param("check everything, change nothing", default=None)
    debug_level: NotNegative | None = param("how much to log for debugging", default=None)
    priority: Priority = param("-10 (high), 0 (normal) or 10 (low)", default=0)
    depends: Depends | None = param("jobs that must have ended, and how", default=None)
    comment: str | None = param("free text kept with the job", default=None)
    reason: Reasons | None = param("who asked for this, and why", default=())

    @classmethod
    def _title(cls) -> str:
        return cls.OP_ID or cls.__name__

    @classmethod
    def own_params(cls) -> dict[str, Param]:
        """The parameters without the common ones."""
        return {name: one for name, one in cls.PARAMS.items() if name not in Opcode.PARAMS}

    # JSON.

    def to_json(self) -> dict[str, Json]:
        """All parameters and OP_ID; private and secret values in clear."""
        made = {name: _json(value) for name, value in self.__dict__.items()}
        made[OP_ID] = self.OP_ID
        return made

    def redacted(self) -> dict[str, Json]:
        """As `to_json`, for people: the values of private and secret parameters are null."""
        made: dict[str, Json] = redact(self.to_json(), (PRIVATE, SECRET))
        return made

    def stored(self) -> dict[str, Json]:
        """As `to_json`, for files: the values of secret parameters are null."""
        made: dict[str, Json] = redact(self.to_json(), (SECRET,))
        return made

    @classmethod
    def from_json(cls: type[O], value: Mapping[str, Json]) -> O:
        """The opcode of a JSON object; its OP_ID must be that of this class.

        OpPrereqError INVAL names the parameter that is unknown, missing or has a wrong type.
        """
        values = dict(value)
        given = values.pop(OP_ID, None)
        if given != cls.OP_ID:
            raise OpPrereqError(
                f"{shown(given)} is not the opcode {cls.OP_ID}", Code.INVAL, hint="check OP_ID"
            )
        return cls(**values)

    # Copies.

    def replace(self: O, **values: Any) -> O:
        """A copy with other values for these parameters, checked."""
        for name in values:
            if name not in self.PARAMS:
                raise OpPrereqError(f"{self.OP_ID}: unknown parameter {name!r}", Code.INVAL)
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        for name, value in values.items():
            made.__dict__[name] = self._read(self.PARAMS[name], value)
        return made

    def with_reason(self: O, source: str, text: str, when_ns: int) -> O:
        """A copy whose reason trail ends with one more entry (facts/jobs.md §5)."""
        return self.replace(reason=(*(self.reason or ()), (source, text, when_ns)))

    # What people read.

    def summary(self) -> str:
        """`INSTANCE_CREATE(web1)`: the OP_ID, and the parameter that tells what it is about."""
        return summary_of(type(self), self.__dict__)

    @classmethod
    def tiny_summary(cls) -> str:
        """`I_CREATE`: the OP_ID with its first word shortened."""
        name = cls.OP_ID.removeprefix("OP_")
        for long, short in _TINY.items():
            if name.startswith(long):
                return short + name.removeprefix(long)
        return name

    @classmethod
    def check_result(cls, value: Json) -> None:
        """OpResultError when `value` is not of the shape that this opcode declares.

        Not to be asked after a dry run.
        """
        try:
            check_for(cls.RESULT).read(value)
        except Mismatch as problem:
            raise OpResultError(f"{cls.OP_ID}: result{problem.place}: {problem.fact}") from None

    def check_submission(self) -> None:
        """OpPrereqError when the opcode may not be submitted: only three priorities are allowed.

        Later on a job's priority may be changed to any in -20..19.
        """
        if self.priority not in SUBMIT_PRIORITIES:
            allowed = ", ".join(map(str, sorted(SUBMIT_PRIORITIES)))
            raise OpPrereqError(
                f"{self.OP_ID}: priority {self.priority} can't be submitted",
                Code.INVAL,
                hint=f"one of {allowed} is allowed",
            )


def summary_of(cls: type[Opcode], values: Mapping[str, Json]) -> str:
    """The summary of an opcode with these values; facts/opcodes.json, summary_rules."""
    name = cls.OP_ID.removeprefix("OP_")
    if cls.SUMMARY is None:
        return name
    value = values.get(cls.SUMMARY)
    if isinstance(value, (list, tuple)):
        return f"{name}({','.join(map(str, value))})"
    return f"{name}({value})"


def redact(value: Json, kinds: tuple[str, ...]) -> Json:
    """The JSON form of an opcode with null in place of each value that is hidden.

    Its class must have been declared already, else the names of the parameters decide.
    """
    cls = Opcode.declared.get(str(value.get(OP_ID)), Opcode)
    made = dict(value)
    for name, item in value.items():
        known = cls.PARAMS.get(name)
        if known is None:
            hidden = any(kind in name for kind in kinds)
        else:
            hidden = known.hides in kinds
        if hidden:
            made[name] = _nulls(item)
        elif isinstance(item, list):
            made[name] = [
                redact(one, kinds) if isinstance(one, dict) and OP_ID in one else one
                for one in item
            ]
    return made


def _nulls(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _nulls(item) for name, item in value.items()}
    return None


_ATOMS = frozenset({str, int, float, bool, type(None)})


def _json(value: Any) -> Json:
    if value.__class__ in _ATOMS:
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {_json(name): _json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, Opcode):
        return value.to_json()
    return encode(value)


def opcode(*, summary: str | None = None, result: Any = None) -> Callable[[type[O]], type[O]]:
    """Declare the class below as an opcode; its OP_ID follows from its name.

    `summary` names the parameter that job lists show, `result` is the type of the result (an
    annotation or a Check; None: null).
    """

    def declare(cls: type[O]) -> type[O]:
        cls.OP_ID = op_id_of(cls.__name__)
        if summary is not None and summary not in cls.PARAMS:
            raise ProgrammerError(f"{cls.OP_ID}: no parameter {summary!r} for the summary")
        cls.SUMMARY = summary
        cls.RESULT = result
        Opcode.declared[cls.OP_ID] = cls
        return cls

    return declare


def op_id_of(class_name: str) -> str:
    """`OpInstanceStartup` → `OP_INSTANCE_STARTUP`."""
    return "".join("_" + c if c.isupper() else c for c in class_name).upper().lstrip("_")
