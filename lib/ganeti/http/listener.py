"""A listening address for HTTPS: connections, their limits, TLS. On the loop; no threads.

Limits are in `Limits`: slow, half, huge and idle connections are dropped. A connection counts from
TCP accept to its end, so that the TLS handshake is within the limits, too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.web_log import AccessLogger
from aiohttp.web_protocol import RequestHandler

from ganeti.http.acceptor import Acceptor
from ganeti.utils.net import client_of

logger = logging.getLogger(__name__)
access_logger = logging.getLogger(__name__ + ".access")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may cost. Times in seconds, sizes in bytes."""

    first_request_s: float = 10.0  # from TCP accept, so the TLS handshake is part of it
    idle_s: float = 60.0
    body_s: float = 60.0
    answer_s: float = 60.0  # for the peer to take the answer
    line_bytes: int = 8192
    field_bytes: int = 8192  # one line of the head after the first
    body_bytes: int = 64 * 1024 * 1024
    connections: int = 1000
    client_connections: int | None = None  # of one client (`net.client_of`); None: all of them


UNUSUAL_METHOD = re.compile(r"b'[A-Z]+ /\S* HTTP/")  # in what the library says of a first line
SMALL_BUFFER_BYTES = 16 * 1024
REFUSALS = 16  # connections of one client that wait to be told that it has too many
RETRY_AFTER_S = 5  # what such a client should wait
SELDOM_S = 60.0  # between two lines in the log about the same limit


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed; else asyncio's loop with small TLS buffers.

    asyncio reserves 256 KiB for each TLS connection, uvloop allocates what is needed.
    """
    try:
        import uvloop
    except ImportError:
        from asyncio import sslproto

        sslproto.SSLProtocol.max_size = SMALL_BUFFER_BYTES
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class BodyError(Exception):
    """The body of a request is too long or too slow; the connection is of no use any more."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def take_all(size: int) -> None:
    """There is room for each piece of a body."""


async def read_body(
    raw: web.BaseRequest, limits: Limits, came: Callable[[int], None] = take_all
) -> bytes:
    """The whole body; BodyError beyond the limits. `came` is told the size of each piece, and may
    raise."""
    too_large = BodyError(413, f"the body is larger than {limits.body_bytes} bytes")
    if (raw.content_length or 0) > limits.body_bytes:
        raise too_large
    pieces = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for piece in raw.content.iter_any():
                size += len(piece)
                if size > limits.body_bytes:
                    raise too_large
                came(len(piece))
                pieces.append(piece)
    except TimeoutError:
        raise BodyError(408, f"the body did not come within {limits.body_s:g} s") from None
    return b"".join(pieces)


async def ask_for_body(raw: web.BaseRequest) -> None:
    """A client that waits for leave to send its body (Expect, RFC 9110 10.1.1) gets it."""
    wants = raw.headers.get("Expect", "").lower() == "100-continue"
    if wants and raw.version >= HttpVersion11:
        await raw.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.writer.output_size = 0  # the answer proper has not begun


async def send_whole(raw: web.BaseRequest, response: web.Response, limits: Limits) -> None:
    """The answer has gone out, or its connection is dropped: the peer did not take it."""
    try:
        async with asyncio.timeout(limits.answer_s):
            await response.prepare(raw)
            await response.write_eof()
    except TimeoutError:
        logger.warning("%s does not take its answer, connection dropped", raw.remote)
        if raw.transport is not None:
            raw.transport.abort()
    except ConnectionError:
        logger.info("%s did not wait for its answer", raw.remote)


class Listener:
    """One listening address; subclasses answer its requests. Built, started, stopped on a loop."""

    def __init__(self, *, tls: ssl.SSLContext | None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.connections: dict[Connection, None] = {}  # by coming, or last answer
        self.crowds: Counter[str] = Counter()  # connections that were let in, by client
        self.refused: Counter[str] = Counter()  # those that were not, and have not ended
        self._told: dict[str, tuple[float, int]] = {}  # limit → last line, times left out since
        self._tls = tls
        self._acceptor = Acceptor(self._came, self._cannot_take)
        self._opening: set[asyncio.Task[None]] = set()  # of connections in their TLS handshake
        self._web: web.Server | None = None

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request."""
        raise NotImplementedError

    def malformed(self, status: int, text: str) -> web.Response:
        """The answer to what is no request that could be read; the connection is closed."""
        return web.Response(status=status, text=f"{text}\n")

    @property
    def port(self) -> int:
        """The port it listens on; needed when 0 was asked for."""
        return self._acceptor.port

    async def start(self, host: str, port: int) -> None:
        """It listens. OSError when the address is taken or not ours."""
        self._web = web.Server(self._serve)
        await self._acceptor.start(host, port)

    def renew_tls(self, tls: ssl.SSLContext | None) -> None:
        """New connections are made with `tls`; those that are open go on as they are."""
        self._tls = tls

    async def stop(self, grace_s: float = 1.0) -> None:
        """Nothing listens any more, no handshake goes on; requests had `grace_s` to end."""
        self._acceptor.stop()
        for one in [one for one in self.connections if one.is_opening]:
            one.drop()
        if self._opening:
            await asyncio.wait(self._opening, timeout=grace_s)
        if self._web is not None:
            await self._web.shutdown(grace_s)

    def _came(self, sock: socket.socket, address: str) -> None:
        assert self._web is not None
        one = Connection(self, self._web, sock, client_of(address))
        if not self.enter(one):
            sock.close()
            return
        task = asyncio.create_task(one.open(sock, self._tls))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _cannot_take(self, error: OSError) -> None:
        open_now = len(self.connections)
        text = f"no new connections for a moment, {open_now} are open: {error.strerror}"
        self._tell_seldom("files", text)

    def enter(self, one: Connection) -> bool:
        """Whether a new connection may stay.

        Of a client that has too many, one that is idle gives way; where all are busy, the new one
        stays for as long as it takes to refuse its request.
        """
        limits = self.limits
        most, client = limits.client_connections, one.client
        if most is not None and self.crowds[client] >= most:
            self._tell_seldom("client", f"more than {most} connections of {client}, dropped one")
            one.is_refused = not self._make_room(client)
            if one.is_refused and self.refused[client] >= REFUSALS:
                return False
        if len(self.connections) >= limits.connections:
            self._tell_seldom("all", f"more than {limits.connections} connections, dropped one")
            if not self._make_room():
                return False
        self.connections[one] = None
        (self.refused if one.is_refused else self.crowds)[client] += 1
        return True

    def leave(self, one: Connection) -> None:
        """A connection that has ended, or will at once, counts no more."""
        if self.connections.pop(one, self) is self:
            return
        crowd = self.refused if one.is_refused else self.crowds
        crowd[one.client] -= 1
        if not crowd[one.client]:
            del crowd[one.client]

    def _make_room(self, client: str | None = None) -> bool:
        """Whether there is room for one more connection than allowed (of this client): the oldest
        of those that have not sent a request is dropped for it, else the one that is idle for
        longest."""
        silent = idle = None
        for one in self.connections:
            if client is not None and (one.client != client or one.is_refused):
                continue
            if not one.has_asked:
                silent = one
                break
            if idle is None and not one.is_busy:
                idle = one
        gone = silent or idle
        if gone is not None:
            self.leave(gone)
            gone.drop()
        return gone is not None

    def _tell_seldom(self, limit: str, text: str) -> None:
        now = asyncio.get_running_loop().time()
        last, left_out = self._told.get(limit, (-SELDOM_S, 0))
        if now - last < SELDOM_S:
            self._told[limit] = (last, left_out + 1)
            return
        self._told[limit] = (now, 0)
        logger.warning("%s%s", text, f" ({left_out} more since the last line)" if left_out else "")

    async def _serve(self, raw: web.BaseRequest) -> web.StreamResponse:
        connection = raw.protocol
        assert isinstance(connection, Connection)
        connection.busy()
        try:
            if connection.is_refused:
                return await self._refuse(raw, connection.client)
            return await self.answer(raw)
        finally:
            connection.idle()

    async def _refuse(self, raw: web.BaseRequest, client: str) -> web.StreamResponse:
        most = self.limits.client_connections
        text = f"{client} has {most} connections that are busy; no more are taken"
        response = self.malformed(503, text)
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
        response.force_close()
        await send_whole(raw, response, self.limits)
        return response


class DebugAccessLogger(AccessLogger):
    """A line per request, only when debugging: there is one per call of the master."""

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.DEBUG)


class Connection(RequestHandler):
    """aiohttp's connection with a clock: from accept to first request, and between requests.

    Bytes do not reset the clock, so a request that trickles in is dropped as well.
    """

    __slots__ = (
        *("owner", "client", "has_asked", "is_busy", "is_refused"),
        *("_socket", "_clock", "_certificate", "__dict__"),
    )

    def __init__(
        self, owner: Listener, manager: web.Server, sock: socket.socket, client: str
    ) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=owner.limits.idle_s + 5.0,  # ours comes first
            access_log=access_logger,
            access_log_class=DebugAccessLogger,
            max_line_size=owner.limits.line_bytes,
            max_field_size=owner.limits.field_bytes,
            lingering_time=1.0,
            auto_decompress=False,  # bodies are limited as they come
        )
        self.owner = owner
        self.has_asked = self.is_busy = False
        self.is_refused = False  # its request is answered with 503
        self.client = client
        self._socket: socket.socket | None = sock  # until there is a transport
        self._clock: asyncio.TimerHandle | None = None
        self._certificate: bytes | None = None

    @property
    def certificate(self) -> bytes | None:
        """Of the peer (DER); the handshake has verified it."""
        if self._certificate is None and self.transport is not None:
            tls = self.transport.get_extra_info("ssl_object")
            if tls is not None:
                self._certificate = tls.getpeercert(binary_form=True)
        return self._certificate

    @property
    def is_opening(self) -> bool:
        """Whether its TLS handshake is not over."""
        return self._socket is not None

    async def open(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        """It is there, its TLS handshake done; or that failed, and it counts no more."""
        self._wait(self.owner.limits.first_request_s)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self, sock, ssl=tls)
        except OSError as error:
            logger.debug("no connection with %s: %s", self.client, error)
            sock.close()
        finally:
            self._socket = None
            if self.transport is None:
                self._stop_clock()
                self.owner.leave(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = None
        if self not in self.owner.connections:  # it had to give way meanwhile
            self.drop()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_clock()
        self.owner.leave(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the HTTP library refuses, and clients that go away, are no errors of ours."""
        gone = isinstance(exc, OSError)
        if exc is not None and status >= 500 and not gone:
            logger.error("request from %s: %r", request.remote, exc, exc_info=exc)
        if gone or request.writer.output_size > 0:
            self.drop()
            raise ConnectionError("the answer has begun, or nobody waits for it")
        if isinstance(exc, BadHttpMethod) and UNUSUAL_METHOD.search(message or ""):
            status = int(HTTPStatus.NOT_IMPLEMENTED)
        text = (message or HTTPStatus(status).phrase).strip().partition("\n")[0]
        if isinstance(exc, LineTooLong):
            limits = self.owner.limits
            text = f"the first line is longer than {limits.line_bytes} bytes, or another one"
            text += f" of the head is longer than {limits.field_bytes}"
        logger.debug("request from %s refused: %s", request.remote, text)
        response = self.owner.malformed(status, text.rstrip(":"))
        response.force_close()
        return response

    def busy(self) -> None:
        self.has_asked = self.is_busy = True
        self._stop_clock()

    def idle(self) -> None:
        self.is_busy = False
        if self.transport is not None:
            if self in self.owner.connections:
                self.owner.connections[self] = self.owner.connections.pop(self)
            self._stop_clock()
            self._wait(self.owner.limits.idle_s)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _wait(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().call_later(seconds, self.drop)

    def drop(self) -> None:
        if self._socket is not None:  # the handshake ends for want of bytes, and frees the socket
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        elif isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        elif self.transport is not None:
            self.transport.close()
