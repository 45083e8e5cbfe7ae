"""The remote API before a master daemon that a test plays, and clients that ask too much of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fakes.rapi_bed import USERS, Answer, RapiBed, a_server
from ganeti.luxi.pool import LuxiPool
from ganeti.luxi.server import LuxiServer
from ganeti.rapi.service import ServiceSettings

ADMIN = {"Authorization": "Basic YWRtaW46RXhhbXBsZTE="}
JSON = {"Content-Type": "application/json"}
PIECE = b"x" * 65536

Handler = Callable[[str, list[Any]], Awaitable[Any]]


async def idle_master(method: str, args: list[Any]) -> Any:
    """Takes every job."""
    return 17 if method == "SubmitJob" else []


class Stand:
    """A real LUXI server with a handler of the test, and the remote API before it."""

    def __init__(self, directory: Path, handler: Handler = idle_master) -> None:
        self.socket = directory / "luxi"
        self.users = directory / "users"
        self.users.write_text(USERS)
        self.handler = handler

    async def start_master(self) -> LuxiServer:
        master = LuxiServer([self.socket], lambda method, args: self.handler(method, args))
        await master.start()
        return master

    @asynccontextmanager
    async def rapi(
        self, settings: ServiceSettings | None = None, *, read_timeout_s: float = 10.0
    ) -> AsyncIterator[RapiBed]:
        master = await self.start_master()
        pool = LuxiPool(self.socket, read_timeout_s=read_timeout_s)
        try:
            async with a_server(pool, self.users, settings=settings) as bed:
                yield bed
        finally:
            await master.stop()


def refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"code", "message", "explain"}
    assert answer.json["code"] == status
    assert answer.json["message"] and answer.json["explain"]


class Endless:
    """An answer of the master that has no end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def handle(self, method: str, args: list[Any]) -> Any:
        return self.pieces()

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b'["'
        while True:
            yield PIECE
            self.begun.set()
            await asyncio.sleep(0)


async def none_left(bed: RapiBed) -> None:
    """The server has closed all connections."""
    while bed.server.connections:
        await asyncio.sleep(0.001)


ASK_ALL = b"GET /2/instances?bulk=1 HTTP/1.1\r\nHost: x\r\n\r\n"
