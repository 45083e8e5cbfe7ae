"""The HTTPS server of noded: the loop reads a request, a worker answers it.

Here is the crossing between loop and workers of that daemon; see `listener` for what a peer may
cost. It never holds a worker.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from aiohttp import web

from ganeti.http.listener import BodyError, Connection, Limits, Listener, read_body, send_whole

JSON_TYPE = "application/json"
TEXT: Mapping[str, str] = {"Content-Type": "text/plain; charset=utf-8"}


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


Handler = Callable[[Request], Answer]
"""Plain function, called in a worker; must not raise."""

Gate = Callable[[str, str, bytes | None], Answer | None]
"""method, path, certificate → refusal before the body is read, or None. Called on the loop."""


def open_gate(method: str, path: str, certificate: bytes | None) -> Answer | None:
    """Lets everybody in."""
    return None


EXPRESS_WORKERS = 4


class HttpServer(Listener):
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
        super().__init__(tls=tls, limits=limits)
        self._handler = handler
        self._gate = gate
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._express = frozenset(express)
        self._express_workers = ThreadPoolExecutor(
            EXPRESS_WORKERS, thread_name_prefix=f"{name}-express"
        )

    async def stop(self, grace_s: float = 1.0) -> None:
        """Nothing listens any more; running requests had `grace_s` to end."""
        await super().stop(grace_s)
        for pool in (self._workers, self._express_workers):
            pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        connection = raw.protocol
        assert isinstance(connection, Connection)
        certificate = connection.certificate
        answer = self._gate(raw.method, raw.path, certificate)
        if answer is None:
            try:
                answer = await self._ask_worker(raw, certificate)
            except BodyError as error:
                answer = Answer(f"{error}\n".encode(), error.status, TEXT, close=True)
        return await self._send(raw, answer)

    async def _ask_worker(self, raw: web.BaseRequest, certificate: bytes | None) -> Answer:
        request = Request(
            raw.method,
            raw.path,
            raw.query_string,
            raw.headers,
            await read_body(raw, self.limits),
            raw.remote or "",
            certificate,
        )
        pool = self._express_workers if raw.path in self._express else self._workers
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, self._handler, request)

    async def _send(self, raw: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        if answer.close:
            response.force_close()
        await send_whole(raw, response, self.limits)
        return response
