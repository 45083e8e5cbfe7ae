"""From a request to an opcode: renamed, forced and forbidden parameters, then the opcode's checks.

Source: facts/rapi.json, generic_rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from ganeti.errors import OpPrereqError
from ganeti.opcodes.base import Opcode, Param
from ganeti.opcodes.checks import Mismatch
from ganeti.rapi.call import Call
from ganeti.rapi.reply import HttpError, bad_request
from ganeti.rapi.table import Body, Prepare, Source
from ganeti.serializer import Json
from ganeti.utils.offload import in_thread

FREE = frozenset({"depends", "comment", "priority", "debug_level", "dry_run"})
"""Common parameters that any body may hold."""


async def submit_opcode(
    call: Call,
    kind: type[Opcode],
    fixed: Mapping[str, Source],
    body: Body | None,
    prepare: Prepare | None,
) -> int:
    """The number of the job."""

    def make() -> Opcode:
        values = read_body(call, body, prepare)
        return make_opcode(kind, values, fixed_values(call, fixed))

    return await call.submit(await in_thread(make) if call.is_long else make())


def read_body(call: Call, body: Body | None, prepare: Prepare | None) -> dict[str, Json]:
    """What the body says, under the names of the opcode's parameters."""
    values: dict[str, Json] = {}
    if body is not None:
        if body.required and call.body is None:
            raise bad_request("Body contents: Type is 'NoneType', but 'dict' is expected")
        values = call.object_body()
    elif isinstance(call.body, dict) and "depends" in call.body:
        values = {"depends": call.body["depends"]}
    if prepare is not None:
        values = prepare(call, values)
    if body is not None:
        for name in sorted(body.forbidden & values.keys()):
            raise HttpError(403, f"parameter {name!r} can't be set over the remote API")
        values = rename(values, body.renamed)
    return values


def checked_body(call: Call, params: Mapping[str, Param]) -> dict[str, Json]:
    """The values of a body that is not an opcode's, with defaults; 400 for what does not fit."""
    given = call.object_body()
    unknown = given.keys() - params.keys()
    if unknown:
        names = ", ".join(sorted(params))
        raise bad_request(f"unknown parameter {min(unknown)!r}; known are {names}")
    return {name: _checked(one, given) for name, one in params.items()}


def _checked(one: Param, given: Mapping[str, Json]) -> Json:
    if one.name not in given:
        if one.required:
            raise bad_request(f"parameter {one.name!r} is missing: {one.help}")
        return one.default
    try:
        one.check.read(given[one.name])
    except Mismatch as problem:
        raise bad_request(f"parameter {one.name!r}{problem.place}: {problem.fact}") from None
    return given[one.name]


def rename(values: Mapping[str, Json], renamed: Mapping[str, str]) -> dict[str, Json]:
    """The values under the opcode's names; 400 when both names are given."""
    made = dict(values)
    for other, name in renamed.items():
        if other in made:
            if name in made:
                raise bad_request(f"parameter {name!r} was also given as {other!r}; give one")
            made[name] = made.pop(other)
    return made


def fixed_values(call: Call, fixed: Mapping[str, Source]) -> dict[str, Json]:
    return {name: source.read(call) for name, source in fixed.items()}


def make_opcode(
    kind: type[Opcode], values: Mapping[str, Json], fixed: Mapping[str, Json]
) -> Opcode:
    """The checked opcode; 400 names the parameter that is wrong."""
    for name in fixed:
        if name in values:
            raise bad_request(f"parameter {name!r} follows from the request, not from its body")
    allowed = {name: value for name, value in values.items() if name in FREE or _is_own(kind, name)}
    unknown = values.keys() - allowed.keys()
    if unknown:
        raise bad_request(f"Invalid body parameters: unknown parameter {min(unknown)!r}")
    try:
        opcode = kind(**allowed, **fixed)
        opcode.check_submission()
    except OpPrereqError as error:
        raise bad_request(f"Invalid body parameters: {error}") from error
    return opcode


def _is_own(kind: type[Opcode], name: str) -> bool:
    return name in kind.PARAMS and name not in Opcode.PARAMS
