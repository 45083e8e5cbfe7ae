"""One request to a resource, parsed at the edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ganeti.errors import ParseError
from ganeti.luxi.methods import read_arguments
from ganeti.luxi.pool import LuxiPool
from ganeti.opcodes.base import Opcode
from ganeti.rapi.reply import HttpError, Reply, bad_request
from ganeti.rapi.table import Argument, Resource
from ganeti.serializer import Json, loads, loads_beside_loop

if TYPE_CHECKING:
    from ganeti.rapi.access import User
    from ganeti.rapi.console import Consoles
    from ganeti.rapi.events import Events

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """`body` is the parsed JSON, None without one. `headers` have lower-case names.

    `is_welcome`: whether who asks would be let in again, for answers that take long.
    """

    resource: Resource
    method: str
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: Json
    master: LuxiPool
    events: Events
    consoles: Consoles
    is_welcome: Callable[[], bool]
    user: User | None = None
    peer: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    now_ns: int = 0
    is_long: bool = False  # the body; what works through it leaves the loop

    def flag(self, name: str) -> bool:
        return bool(self.number(name))

    def number(self, name: str, default: int = 0) -> int:
        given = self.query.get(name)
        if not given:
            return default
        try:
            return int(given[0])
        except ValueError:
            raise bad_request(f"query argument {name!r}: {given[0]!r} is not a number") from None

    def text(self, argument: Argument) -> Json:
        given = self.query.get(argument.name)
        if given:
            return given[0]
        if argument.required:
            raise bad_request(f"query argument {argument.name!r} is missing")
        return argument.default

    def texts(self, name: str) -> list[str]:
        return list(self.query.get(name, ()))

    def reasons(self) -> list[list[Json]]:
        """The reason trail that a job of this request begins with."""
        trail: list[list[Json]] = []
        given = self.query.get("reason")
        if given:
            trail.append(["gnt:user", given[0], self.now_ns])
        trail.append([f"gnt:library:rlib2:{self.resource.handler}", "", self.now_ns])
        return trail

    def object_body(self) -> dict[str, Json]:
        """The body as an object; none counts as an empty one."""
        if self.body is None:
            return {}
        if not isinstance(self.body, dict):
            kind = type(self.body).__name__
            raise bad_request(f"Body contents: Type is {kind!r}, but 'dict' is expected")
        return dict(self.body)

    async def ask(self, method: str, *args: Json) -> Json:
        """What the master answers; ParseError for arguments that are not of the right form."""
        read_arguments(method, list(args))
        return await self.master.call(method, *args)

    def pass_on(self, method: str, *args: Json) -> Reply:
        """What the master answers, in the pieces in which it comes; ParseError as `ask`."""
        read_arguments(method, list(args))
        return Reply(self.master.pieces(method, *args))

    async def submit(self, *job: Opcode, with_reasons: bool = True) -> int:
        """The number of a new job; its opcodes get the reason trail of this request."""
        reasons = self.reasons() if with_reasons else []
        opcodes = [{**op.to_json(), "reason": reasons} for op in job]
        number: int = await self.master.call("SubmitJob", opcodes)
        return number


def parse_query(text: str) -> dict[str, list[str]]:
    """Arguments of the query; those without a value have an empty one."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise bad_request(f"the query of the address can't be read: {error}") from None


def parse_body(content: bytes, content_type: str | None, *, beside_loop: bool = False) -> Json:
    """None without a body. 415 when it is not said to be JSON, 400 when it is none."""
    if not content:
        return None
    if content_type != JSON_TYPE:
        raise HttpError(415)
    try:
        return (loads_beside_loop if beside_loop else loads)(content, "the body")
    except ParseError as error:
        raise bad_request(f"Unable to parse JSON data: {error}") from error
