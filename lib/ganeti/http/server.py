"""The HTTPS server of noded and rapi: the loop reads a request, a worker answers it.

Here is the crossing between loop and workers of these daemons. Limits are in `Limits`: slow, half,
huge and idle connections are dropped, and never hold a worker.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.web_log import AccessLogger
from aiohttp.web_protocol import RequestHandler

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
    body_bytes: int = 64 * 1024 * 1024
    connections: int = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was read. `certificate` is the peer's (DER)."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})
    close: bool = False


SMALL_BUFFER_BYTES = 16 * 1024


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


JSON_TYPE = "application/json"

Handler = Callable[[Request], Answer]
"""Plain function, called in a worker; must not raise."""

Gate = Callable[[str, str, bytes | None], Answer | None]
"""method, path, certificate → refusal before the body is read, or None. Called on the loop."""


def open_gate(method: str, path: str, certificate: bytes | None) -> Answer | None:
    """Lets everybody in."""
    return None


EXPRESS_WORKERS = 4


class HttpServer:
    """One listening address. Built, started and stopped on the loop.

    Requests for the `express` paths, which are short, have workers of their own: they don't wait
    while all others are busy for long.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        tls: ssl.SSLContext | None,
        gate: Gate = open_gate,
        limits: Limits | None = None,
        workers: int = 20,
        express: Collection[str] = (),
        name: str = "http",
    ) -> None:
        self.limits = limits or Limits()
        self.connections: set[_Connection] = set()
        self._handler = handler
        self._gate = gate
        self._tls = tls
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._express = frozenset(express)
        self._express_workers = ThreadPoolExecutor(
            EXPRESS_WORKERS, thread_name_prefix=f"{name}-express"
        )
        self._server: asyncio.Server | None = None
        self._web: web.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on; needed when 0 was asked for."""
        assert self._server is not None
        listening = self._server.sockets[0]
        return int(listening.getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """It listens. OSError when the address is taken or not ours."""
        loop = asyncio.get_running_loop()
        self._web = web.Server(self._serve)
        extra: dict[str, float] = {}
        if self._tls is not None:
            extra = {"ssl_handshake_timeout": self.limits.first_request_s}
        self._server = await loop.create_server(
            self._connect, host, port, ssl=self._tls, backlog=128, reuse_address=True, **extra
        )  # type: ignore[call-overload]

    async def stop(self, grace_s: float = 1.0) -> None:
        """Nothing listens any more; running requests had `grace_s` to end."""
        if self._server is not None:
            self._server.close()
        if self._web is not None:
            await self._web.shutdown(grace_s)
        for pool in (self._workers, self._express_workers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _connect(self) -> RequestHandler:
        assert self._web is not None
        return _Connection(self, self._web)

    async def _serve(self, raw: web.BaseRequest) -> web.StreamResponse:
        connection = raw.protocol
        assert isinstance(connection, _Connection)
        connection.busy()
        try:
            return await self._answer(raw, connection)
        finally:
            connection.idle()

    async def _answer(self, raw: web.BaseRequest, connection: _Connection) -> web.StreamResponse:
        certificate = connection.certificate
        answer = self._gate(raw.method, raw.path, certificate)
        if answer is None:
            body = await self._read(raw)
            if isinstance(body, Answer):
                answer = body
            else:
                request = Request(
                    raw.method,
                    raw.path,
                    raw.query_string,
                    raw.headers,
                    body,
                    raw.remote or "",
                    certificate,
                )
                loop = asyncio.get_running_loop()
                pool = self._express_workers if raw.path in self._express else self._workers
                answer = await loop.run_in_executor(pool, self._handler, request)
        return await self._send(raw, answer)

    async def _read(self, raw: web.BaseRequest) -> bytes | Answer:
        if (raw.content_length or 0) > self.limits.body_bytes:
            return self._too_large()
        pieces = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.body_s):
                async for piece in raw.content.iter_any():
                    size += len(piece)
                    if size > self.limits.body_bytes:
                        return self._too_large()
                    pieces.append(piece)
        except TimeoutError:
            text = f"the body did not come within {self.limits.body_s:g} s\n"
            return Answer(text.encode(), 408, TEXT, close=True)
        return b"".join(pieces)

    def _too_large(self) -> Answer:
        text = f"the body is larger than {self.limits.body_bytes} bytes\n"
        return Answer(text.encode(), 413, TEXT, close=True)

    async def _send(self, raw: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        if answer.close:
            response.force_close()
        try:
            async with asyncio.timeout(self.limits.answer_s):
                await response.prepare(raw)
                await response.write_eof()
        except TimeoutError:
            logger.warning("%s does not take its answer, connection dropped", raw.remote)
            if raw.transport is not None:
                raw.transport.abort()
        except ConnectionError:
            logger.info("%s did not wait for its answer", raw.remote)
        return response


TEXT: Mapping[str, str] = {"Content-Type": "text/plain; charset=utf-8"}


class DebugAccessLogger(AccessLogger):
    """A line per request, only when debugging: there is one per call of the master."""

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.DEBUG)


class _Connection(RequestHandler):
    """aiohttp's connection with a clock: from accept to first request, and between requests.

    Bytes do not reset the clock, so a request that trickles in is dropped as well.
    """

    __slots__ = ("owner", "_clock", "_certificate", "__dict__")

    def __init__(self, owner: HttpServer, manager: web.Server) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=owner.limits.idle_s + 5.0,  # ours comes first
            access_log=access_logger,
            access_log_class=DebugAccessLogger,
            max_line_size=owner.limits.line_bytes,
            max_field_size=owner.limits.line_bytes,
            lingering_time=1.0,
        )
        self.owner = owner
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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.owner.connections.add(self)
        if len(self.owner.connections) > self.owner.limits.connections:
            logger.warning("more than %s connections, dropped one", self.owner.limits.connections)
            self._drop()
            return
        self._wait(self.owner.limits.first_request_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.busy()
        self.owner.connections.discard(self)
        super().connection_lost(exc)

    def busy(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def idle(self) -> None:
        if self.transport is not None:
            self.busy()
            self._wait(self.owner.limits.idle_s)

    def _wait(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().call_later(seconds, self._drop)

    def _drop(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        elif self.transport is not None:
            self.transport.close()
