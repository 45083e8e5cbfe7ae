"""What a resource of the remote API is: a path, and what its methods take and give.

Everything is declared once (`resources_*.py`) and read by the service, the OpenAPI description, the
documentation and the tests:

    Resource(
        "/2/instances/{instance}/startup",
        put=submit(
            OpInstanceStartup,
            fixed={"instance_name": from_path("instance"), "force": flag("force")},
            permission="instance.start",
        ),
    )

Source: facts/rapi.json.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from ganeti.opcodes.base import Opcode, Param
from ganeti.serializer import Json

if TYPE_CHECKING:
    from ganeti.rapi.call import Call
    from ganeti.rapi.reply import Reply, Upgrade


class Access(StrEnum):
    """What a user needs; the option in the users file."""

    NONE = "none"  # nobody needs to log in, unless the daemon was told so
    READ = "write or read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A query argument. `flag`: 0 or 1; `texts`: repeatable; `names`: separated by commas."""

    name: str
    kind: Literal["flag", "number", "text", "texts", "names"]
    help: str
    required: bool = False
    default: Json = None
    since: str = "2.0"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of a forced parameter comes from. `read` gets the call."""

    read: Callable[[Call], Json]
    argument: Argument | None = None
    place: str = ""  # name of the placeholder in the path, if it is that


def from_path(name: str, kind: Callable[[str], Json] = str) -> Source:
    return Source(lambda call: kind(call.path[name]), place=name)


def flag(name: str, help: str = "", *, since: str = "2.0") -> Source:
    argument = Argument(name=name, kind="flag", help=help, default=False, since=since)
    return Source(lambda call: call.flag(name), argument)


def text(name: str, help: str, *, required: bool = False, default: Json = None) -> Source:
    argument = Argument(name=name, kind="text", help=help, required=required, default=default)
    return Source(lambda call: call.text(argument), argument)


def constant(value: Json) -> Source:
    return Source(lambda call: value)


DRY_RUN = flag("dry-run", "check everything, change nothing")
REASON = Argument(name="reason", kind="text", help="why; stands in the job's reason trail")

Serve = Callable[["Call"], Awaitable["Reply | Upgrade | Json"]]
Prepare = Callable[["Call", dict[str, Json]], dict[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A JSON object with these keys; `Param` gives type, default and meaning of each.

    `renamed`: other name → the parameter's; both forms are taken, but not together.
    """

    params: Mapping[str, Param]
    renamed: Mapping[str, str] = field(default_factory=dict)
    forbidden: frozenset[str] = frozenset()
    required: bool = False
    example: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of a resource. `permission` is its name among the named rights: object.action."""

    serve: Serve
    help: str
    permission: str
    access: Access = Access.NONE
    arguments: Sequence[Argument] = ()
    body: Body | None = None
    takes_body: bool = False  # else a body is not looked at
    answer: str = ""  # what comes back, in a few words
    opcodes: Sequence[type[Opcode]] = ()
    typed: Mapping[str, Param] = field(default_factory=dict)  # parameters that arguments become
    by_ticket: bool = False  # an argument is the credential, so no login is asked for
    since: str = "2.0"

    @property
    def submits(self) -> bool:
        return bool(self.opcodes)


@dataclass(frozen=True, slots=True)
class Resource:
    """A path with its methods. Placeholders stand in braces.

    `handler` is the name that reason trails show (facts/rapi.json, generic_rules).
    """

    path: str
    methods: Mapping[str, Method]
    handler: str
    since: str = "2.0"


def resource(
    path: str,
    *,
    handler: str = "",
    get: Method | None = None,
    put: Method | None = None,
    post: Method | None = None,
    delete: Method | None = None,
    since: str = "2.0",
) -> Resource:
    given = {"GET": get, "PUT": put, "POST": post, "DELETE": delete}
    methods = {name: method for name, method in given.items() if method is not None}
    return Resource(path, methods, handler or handler_of(path), since)


def handler_of(path: str) -> str:
    """`/2/instances/{instance}/activate-disks` → `instances_name_activate_disks`."""
    parts = path.strip("/").split("/")[1:] or ["root"]
    return "_".join("name" if one.startswith("{") else one.replace("-", "_") for one in parts)


def submit(
    kind: type[Opcode],
    *,
    permission: str,
    fixed: Mapping[str, Source] | None = None,
    body: bool = True,
    body_required: bool = False,
    forbidden: frozenset[str] = frozenset(),
    prepare: Prepare | None = None,
    arguments: Sequence[Argument] = (),
    access: Access = Access.WRITE,
    since: str = "2.0",
    help: str = "",
    example: Json = None,
) -> Method:
    """A method that submits one opcode and answers with the job's number.

    `fixed` parameters come from path, query or the declaration and may not stand in the body;
    `prepare` gets the body before that, and gives the one to use.
    """
    from ganeti.rapi.submit import submit_opcode

    fixed = fixed or {}
    asked = {name: one.argument for name, one in fixed.items() if one.argument is not None}

    async def serve(call: Call) -> Json:
        return await submit_opcode(call, kind, fixed, method.body, prepare)

    own = {name: one for name, one in kind.own_params().items() if name not in fixed}
    method = Method(
        serve=serve,
        help=help or first_line(kind.__doc__ or ""),
        permission=permission,
        access=access,
        arguments=(*asked.values(), *arguments, REASON),
        body=Body(
            params=own,
            renamed={one.rapi: name for name, one in own.items() if one.rapi},
            forbidden=forbidden,
            required=body_required,
            example=example,
        )
        if body
        else None,
        takes_body=body,
        answer="number of the job",
        opcodes=(kind,),
        typed={one.name: kind.PARAMS[name] for name, one in asked.items()},
        since=since,
    )
    return method


def own_params(**declared: Param) -> dict[str, Param]:
    """Parameters of a body that are none of an opcode: `param(…, check=…)` by name."""
    for name, one in declared.items():
        one.name = name
    return declared


def first_line(docstring: str) -> str:
    return docstring.strip().partition("\n")[0]
