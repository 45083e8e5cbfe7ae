"""A request from its head to its answer: route, rights, body, resource, errors.

Runs on the loop; what a resource does is waiting for the master daemon.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from ganeti.errors import GenericError
from ganeti.http.listener import (
    BodyError,
    Limits,
    Listener,
    ask_for_body,
    read_body,
    send_whole,
)
from ganeti.luxi.pool import LuxiPool
from ganeti.rapi.access import Users
from ganeti.rapi.audit import AuditLog, Record
from ganeti.rapi.bodies import MOST_BYTES, Bodies, Share, is_long
from ganeti.rapi.call import Call, parse_query
from ganeti.rapi.console import Consoles, ConsoleSettings
from ganeti.rapi.events import Events, EventSettings
from ganeti.rapi.gate import Gate, GateSettings
from ganeti.rapi.reply import HttpError, Reply, Upgrade, error_for
from ganeti.rapi.router import Router
from ganeti.rapi.table import Method, Resource
from ganeti.serializer import Json, dump_bytes
from ganeti.version import RELEASE

logger = logging.getLogger(__name__)

SERVER = f"Ganeti {RELEASE}"
JSON_TYPE = "application/json"
LONGEST_ANSWER_S = 600.0  # for a client to take a long answer, however steadily it reads
LONG_BYTES = 256 * 1024  # what is longer is passed on in pieces, without a Content-Length

STEP_ITEMS = 1000  # of a list are encoded in one call: some 50 KiB, less than a millisecond
UNEXPECTED_BODY_BYTES = 16 * 1024  # of somebody who has not logged in, or where none is looked at
LIMITS = Limits(
    body_bytes=16 * 1024 * 1024,
    field_bytes=4096,
    connections=4000,  # events are followed by many; each costs some 20 KiB
    client_connections=1000,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """`gate`: who is let in. `now_ns`: Unix time, for reason trails."""

    gate: GateSettings = GateSettings()
    limits: Limits = LIMITS
    bodies_bytes: int = MOST_BYTES
    events: EventSettings = EventSettings()
    consoles: ConsoleSettings = ConsoleSettings()
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
        audit: AuditLog | None = None,
    ) -> None:
        super().__init__(tls=tls, limits=settings.limits)
        self.audit = audit or AuditLog(None)
        self.router = Router(resources)
        self.master = master
        self.events = Events(master, settings.events)
        self.gate = Gate(users, settings.gate)
        self.consoles = Consoles(master, users, settings.consoles)
        self.bodies = Bodies(settings.bodies_bytes)
        self.settings = settings

    async def stop(self, grace_s: float = 1.0) -> None:
        """Streams of events and consoles have ended, other requests had `grace_s` to do so."""
        self.events.close()
        self.consoles.close()
        await super().stop(grace_s)
        await self.audit.close()

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request; never raises but when the client has gone."""
        record = self.audit.begin(raw.method, raw.rel_url.raw_path, raw.remote or "")
        status = 0  # the client did not wait for one
        try:
            response = await self._respond(raw, record)
            status = response.status
            return response
        finally:
            self.audit.end(record, status)

    async def _respond(self, raw: web.BaseRequest, record: Record) -> web.StreamResponse:
        try:
            answer = await self._answer(raw, record)
            if isinstance(answer, Upgrade):
                return await answer.serve(raw)
            if isinstance(answer, list) and len(answer) > STEP_ITEMS:
                answer = Reply(_in_steps(answer))
            if isinstance(answer, Reply) and not isinstance(answer.body, bytes):
                return await self._stream(raw, answer, answer.body)
            response = self._whole(answer)
        except HttpError as error:
            response = self._refusal(error)
        except GenericError as error:
            response = self._refusal(error_for(error))
        except (OSError, web.HTTPException):
            raise
        except Exception:
            logger.exception("%s %s failed unexpectedly", raw.method, raw.path)
            response = self._refusal(HttpError(500, "internal error; the daemon's log has more"))
        await send_whole(raw, response, self.limits)
        return response

    def malformed(self, status: int, text: str) -> web.Response:
        return self._refusal(HttpError(status, text))

    async def _answer(self, raw: web.BaseRequest, record: Record) -> Reply | Upgrade | Json:
        _check_form(raw)
        peer = raw.remote or ""
        record.login, record.token = self.gate.claimed(raw.headers)
        found = self.router.find(raw.rel_url.raw_path)
        user = await self.gate.user(raw.headers, peer)  # wrong credentials come before all else
        if found is None:
            raise HttpError(404)
        resource, path = found
        method = resource.methods.get(raw.method)
        if method is None:
            raise HttpError(501, f"Method {raw.method} is unsupported for path {raw.path}")
        if user is not None:
            record.login, record.token = user.name, user.token
        record.resource = method
        self.gate.check(user, method)
        record.query = query = parse_query(raw.rel_url.raw_query_string)
        limits = self._body_limits(method if user is not None else None)
        with Share(self.bodies) as share:
            content = await self._content(raw, limits, share)
            call = Call(
                resource=resource,
                method=raw.method,
                path=path,
                query=query,
                body=await self.bodies.parse(content, raw.headers.get("Content-Type")),
                master=self.master,
                events=self.events,
                consoles=self.consoles,
                is_welcome=partial(self.gate.is_welcome, user),
                user=user,
                peer=peer,
                headers=raw.headers,
                now_ns=self.settings.now_ns(),
                is_long=is_long(content),
            )
            answer = await self._ask(method, call)
        if isinstance(answer, Upgrade):
            record.login, record.token = answer.user.name, answer.user.token
        elif method.submits and not isinstance(answer, Reply):
            record.job = answer
        return answer

    def _body_limits(self, method: Method | None) -> Limits:
        """Bodies are kept in memory, so only users may send large ones, and where they count."""
        if method is not None and method.takes_body:
            return self.limits
        return replace(self.limits, body_bytes=min(UNEXPECTED_BODY_BYTES, self.limits.body_bytes))

    async def _content(self, raw: web.BaseRequest, limits: Limits, share: Share) -> bytes:
        if not raw.body_exists:
            return b""
        try:
            await ask_for_body(raw)
            return await read_body(raw, limits, share.came)
        except BodyError as error:
            raise HttpError(error.status, str(error), closes=True) from error
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise HttpError(400, f"the body can't be read: {error}") from error

    async def _ask(self, method: Method, call: Call) -> Reply | Upgrade | Json:
        single = bool(call.path) and not method.submits
        try:
            answer = await method.serve(call)
        except GenericError as error:
            raise error_for(error, single=single) from error
        if isinstance(answer, Reply):
            answer.single = single
        return answer

    def _whole(self, answer: Reply | Json) -> web.Response:
        if not isinstance(answer, Reply):
            return self._response(200, dump_bytes(answer) + b"\n")
        assert isinstance(answer.body, bytes)
        return self._response(answer.status, answer.body, answer.headers, answer.content_type)

    async def _stream(
        self, raw: web.BaseRequest, answer: Reply, body: AsyncGenerator[bytes, None]
    ) -> web.StreamResponse:
        """In pieces when it is long; else as a whole, with its length."""
        end = b"\n" if answer.content_type == JSON_TYPE else b""
        async with aclosing(body) as pieces:
            # An error of the master comes before the head.
            try:
                begin = await (anext(pieces, b"") if answer.live else _beginning(pieces))
            except GenericError as error:
                raise error_for(error, single=answer.single) from error
            if len(begin) < LONG_BYTES and not answer.live:
                whole = self._whole(replace(answer, body=begin + end))
                await send_whole(raw, whole, self.limits)
                return whole
            response = web.StreamResponse(status=answer.status)
            self._head(response, answer.headers, answer.content_type)
            try:
                async with asyncio.timeout(None if answer.live else LONGEST_ANSWER_S):
                    await response.prepare(raw)
                    await self._write(response, begin)
                    async for piece in pieces:
                        await self._write(response, piece)
                    await response.write_eof(end)
            except (GenericError, TimeoutError) as error:
                # Half an answer must not look like a whole one: no end is written.
                logger.warning("%s: the answer to %s broke off: %s", raw.path, raw.remote, error)
                if raw.transport is not None:
                    raw.transport.abort()
                raise ConnectionResetError("the answer broke off") from error
        return response

    async def _write(self, response: web.StreamResponse, piece: bytes) -> None:
        """TimeoutError when the client does not take it."""
        async with asyncio.timeout(self.limits.answer_s):
            await response.write(piece)

    def _refusal(self, error: HttpError) -> web.Response:
        body = dump_bytes(error.body()) + b"\n"
        response = self._response(error.status, body, error.headers)
        if error.closes or error.status in (400, 505):  # a rest of the body may be on its way
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


def _check_form(raw: web.BaseRequest) -> None:
    if raw.version not in (HttpVersion10, HttpVersion11):
        version = f"{raw.version.major}.{raw.version.minor}"
        raise HttpError(505, f"HTTP {version} is not spoken here; 1.0 and 1.1 are")
    if raw.version == HttpVersion11 and "Host" not in raw.headers:
        raise HttpError(400, "Missing Host header")


async def _in_steps(items: Sequence[Json]) -> AsyncGenerator[bytes, None]:
    """The JSON text of a long list; others have their turn between two steps."""
    begin = b"["
    for first in range(0, len(items), STEP_ITEMS):
        yield begin + dump_bytes(items[first : first + STEP_ITEMS])[1:-1]
        begin = b","
        await asyncio.sleep(0)
    yield b"]"


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Up to LONG_BYTES and a bit, or all there is."""
    gathered: list[bytes] = []
    size = 0
    while size < LONG_BYTES and (piece := await anext(pieces, b"")):
        gathered.append(piece)
        size += len(piece)
    return b"".join(gathered)
