"""What a resource answers, and the errors that it raises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING

from ganeti import errors
from ganeti.errors import Code, GenericError
from ganeti.serializer import Json

if TYPE_CHECKING:
    from aiohttp import web

    from ganeti.rapi.access import User

RETRY_AFTER_S = 5  # what a client should wait when the master daemon or the queue is away

QUEUE_DRAINED = "Queue drained"  # in an error of no class of its own: facts/jobs.md §5


class HttpError(Exception):
    """A refusal with a status; `text` is for people. `closes`: a rest of the request may be on its
    way, so the connection is of no use any more."""

    def __init__(
        self,
        status: int,
        text: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(text)
        self.status = HTTPStatus(status)
        self.text = text or self.status.phrase
        self.headers = dict(headers or {})
        self.closes = closes

    def body(self) -> dict[str, Json]:
        """`{"code", "message", "explain"}` (facts/rapi.json, errors)."""
        return {
            "code": int(self.status),
            "message": escape(self.text),
            "explain": self.status.description,
        }


def bad_request(text: str) -> HttpError:
    return HttpError(400, text)


def not_found(text: str = "") -> HttpError:
    return HttpError(404, text)


def error_for(error: GenericError, *, single: bool = False) -> HttpError:
    """The status of an error of the master (facts/rapi.json, errors.statuses).

    `single`: one object was asked for by name, so an unknown one is 404.
    """
    again = {"Retry-After": str(RETRY_AFTER_S)}
    match error:
        case errors.JobQueueFull() | errors.JobQueueDrainError():
            return HttpError(503, str(error), headers=again)
        case GenericError() if str(error) == QUEUE_DRAINED:
            return HttpError(503, str(error), headers=again)
        case errors.LuxiTimeoutError():
            return HttpError(504, str(error))
        case errors.LuxiPermissionError():
            return HttpError(500, f"no permission on the master's socket {error}")
        case errors.NoMasterError():
            text = f"the master daemon does not answer on {error}; is it running?"
            return HttpError(502, text, headers=again)
        case errors.ProtocolError():
            return HttpError(502, f"talking to the master daemon: {error}", headers=again)
        case errors.JobLost() if single:
            return HttpError(404, str(error))
        case errors.OpPrereqError() if single and error.code == Code.NOENT:
            return HttpError(404, str(error))
        case errors.ParseError() | errors.ParameterError():
            return bad_request(str(error))
        case errors.OpPrereqError() if error.code in (Code.INVAL, Code.NOENT):
            return bad_request(str(error))
    return HttpError(500, str(error))


@dataclass(slots=True)
class Reply:
    """An answer that is more than a JSON value: `body` in pieces, or headers of its own.

    `live`: each piece goes out as soon as it is there. `single`: as for `error_for`, for an error
    in the place of the first piece.
    """

    body: AsyncGenerator[bytes, None] | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    live: bool = False
    single: bool = False


@dataclass(slots=True)
class Upgrade:
    """The connection leaves HTTP: `serve` has it until it ends. `user`: who was let in for that."""

    serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    user: User
