"""A request from its head to its answer: route, rights, body, resource, errors.

Runs on the loop; what a resource does is waiting for the master daemon.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from aiohttp import web

from ganeti.errors import GenericError
from ganeti.http.listener import BodyError, Limits, Listener, read_body
from ganeti.luxi.pool import LuxiPool
from ganeti.rapi.access import CHALLENGE, User, Users, may, parse_basic
from ganeti.rapi.call import Call, parse_body, parse_query
from ganeti.rapi.reply import HttpError, Reply, error_for
from ganeti.rapi.router import Router
from ganeti.rapi.table import Access, Method, Resource
from ganeti.serializer import Json, dump_bytes
from ganeti.version import RELEASE

logger = logging.getLogger(__name__)

SERVER = f"Ganeti {RELEASE}"
JSON_TYPE = "application/json"
LONG_BYTES = 256 * 1024  # what is longer is passed on in pieces, without a Content-Length


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """`require_authentication`: reads need a login, too."""

    require_authentication: bool = False
    limits: Limits = Limits(body_bytes=16 * 1024 * 1024)
    now_ns: Callable[[], int] = time.time_ns


class RapiServer(Listener):
    """Answers requests for the resources."""

    def __init__(
        self,
        resources: Iterable[Resource],
        master: LuxiPool,
        users: Users,
        settings: ServiceSettings,
        *,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(tls=tls, limits=settings.limits)
        self.router = Router(resources)
        self.master = master
        self.users = users
        self.settings = settings

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request; never raises but when the client has gone."""
        try:
            return await self._respond(raw)
        except BodyError as error:
            return self._refusal(HttpError(error.status, str(error)))
        except HttpError as error:
            return self._refusal(error)
        except GenericError as error:
            return self._refusal(error_for(error))
        except (OSError, web.HTTPException):
            raise
        except Exception:
            logger.exception("%s %s failed unexpectedly", raw.method, raw.path)
            return self._refusal(HttpError(500, "internal error; the daemon's log has more"))

    async def _respond(self, raw: web.BaseRequest) -> web.StreamResponse:
        found = self.router.find(raw.rel_url.raw_path)
        if found is None:
            self._user(raw.headers)  # wrong credentials come before all else
            raise HttpError(404)
        resource, path = found
        method = resource.methods.get(raw.method)
        if method is None:
            raise HttpError(501, f"Method {raw.method} is unsupported for path {raw.path}")
        user = self._user(raw.headers)
        self._check(user, method)
        content = await read_body(raw, self.limits)
        call = Call(
            resource=resource,
            method=raw.method,
            path=path,
            query=parse_query(raw.rel_url.raw_query_string),
            body=parse_body(content, raw.headers.get("Content-Type")),
            master=self.master,
            user=user,
            peer=raw.remote or "",
            headers=raw.headers,
            now_ns=self.settings.now_ns(),
        )
        answer = await self._ask(method, call)
        return await self._send(raw, answer)

    async def _ask(self, method: Method, call: Call) -> Reply | Json:
        try:
            return await method.serve(call)
        except GenericError as error:
            raise error_for(error, single=bool(call.path) and not method.submits) from error

    def _user(self, headers: Mapping[str, str]) -> User | None:
        """Who asks. Credentials that are sent have to be right, even where none are needed."""
        given = headers.get("Authorization")
        if given is None:
            return None
        login = parse_basic(given)
        user = self.users.find(*login) if login else None
        if user is None:
            raise HttpError(401, headers=CHALLENGE)
        return user

    def _check(self, user: User | None, method: Method) -> None:
        if user is None:
            if method.access != Access.NONE or self.settings.require_authentication:
                raise HttpError(401, headers=CHALLENGE)
        elif not may(user, method):
            raise HttpError(403, f"user {user.name!r} lacks the permission {method.permission!r}")

    async def _send(self, raw: web.BaseRequest, answer: Reply | Json) -> web.StreamResponse:
        if not isinstance(answer, Reply):
            return self._response(200, dump_bytes(answer) + b"\n")
        if isinstance(answer.body, bytes):
            return self._response(answer.status, answer.body, answer.headers, answer.content_type)
        async with aclosing(answer.body) as pieces:
            begin = await _beginning(pieces)  # an error of the master comes before the head
            if len(begin) < LONG_BYTES:
                body = begin + b"\n" if answer.content_type == JSON_TYPE else begin
                return self._response(answer.status, body, answer.headers, answer.content_type)
            response = web.StreamResponse(status=answer.status)
            self._head(response, answer.headers, answer.content_type)
            await response.prepare(raw)
            await self._write(response, begin)
            async for piece in pieces:
                await self._write(response, piece)
        await response.write_eof(b"\n" if answer.content_type == JSON_TYPE else b"")
        return response

    async def _write(self, response: web.StreamResponse, piece: bytes) -> None:
        """TimeoutError when the client does not take it."""
        async with asyncio.timeout(self.limits.answer_s):
            await response.write(piece)

    def _refusal(self, error: HttpError) -> web.Response:
        body = dump_bytes(error.body()) + b"\n"
        response = self._response(int(error.status), body, error.headers)
        if error.status in (408, 413):
            response.force_close()
        return response

    def _response(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        content_type: str = JSON_TYPE,
    ) -> web.Response:
        response = web.Response(status=status, body=body)
        self._head(response, headers or {}, content_type)
        return response

    def _head(
        self, response: web.StreamResponse, headers: Mapping[str, str], content_type: str
    ) -> None:
        response.headers.update(headers)
        response.headers["Content-Type"] = content_type
        response.headers["Server"] = SERVER


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Up to LONG_BYTES and a bit, or all there is."""
    gathered: list[bytes] = []
    size = 0
    while size < LONG_BYTES and (piece := await anext(pieces, b"")):
        gathered.append(piece)
        size += len(piece)
    return b"".join(gathered)
