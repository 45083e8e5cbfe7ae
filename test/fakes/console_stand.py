"""The console proxy before a master that a test plays, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, encode_basic_auth
from aiohttp.client_exceptions import WSServerHandshakeError
from fakes.consoles import NODE, ConsoleMaster, Guest
from fakes.rapi_bed import RapiBed, a_server, on_loop
from ganeti.paths import Paths
from ganeti.rapi.console import ConsoleSettings
from ganeti.rapi.gate import GateSettings
from ganeti.rapi.service import ServiceSettings

USERS = "ops pw operator\nviewer pw read\nother pw instance.console\n"
OPS, VIEWER, OTHER = (
    {"Authorization": encode_basic_auth(name, "pw")} for name in ("ops", "viewer", "other")
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stand:
    """A server, a client of it, and the time of the consoles."""

    bed: RapiBed
    master: ConsoleMaster
    http: ClientSession
    users: Path
    clock: Clock = field(default_factory=Clock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.bed.server.port}"

    async def post(
        self, name: str = "web", login: dict[str, str] | None = OPS, body: Any = None
    ) -> tuple[int, Any]:
        path = f"{self.url}/2/instances/{name}/console-ticket"
        async with self.http.post(path, headers=login, json=body) as answer:
            return answer.status, await answer.json()

    async def ticket(self, name: str = "web", body: Any = None) -> str:
        status, answer = await self.post(name, body=body)
        assert status == 200, answer
        return str(answer["path"])

    async def open(self, path: str, **more: Any) -> ClientWebSocketResponse:
        return await self.http.ws_connect(self.url + path, **more)

    async def refusal(self, path: str, **more: Any) -> int:
        """The status in place of a websocket."""
        with pytest.raises(WSServerHandshakeError) as caught:
            await self.open(path, **more)
        return caught.value.status

    async def console(self, name: str = "web") -> ClientWebSocketResponse:
        return await self.open(await self.ticket(name))


def with_stand(
    tmp_path: Path, work: Callable[[Stand], Awaitable[None]], *, off: bool = False, **more: Any
) -> None:
    @asynccontextmanager
    async def stand() -> AsyncIterator[Stand]:
        users = tmp_path / "users"
        users.write_text(USERS)
        master = ConsoleMaster(tmp_path)
        master.guests["web"] = Guest(["cat"])
        clock = Clock()
        paths = None if off else Paths(tmp_path / NODE)
        settings = ServiceSettings(
            gate=GateSettings(require_authentication=True),
            consoles=ConsoleSettings(paths=paths, now=clock, **more),
        )
        async with a_server(master, users, settings=settings) as bed, ClientSession() as http:
            yield Stand(bed, master, http, users, clock)

    async def main() -> None:
        async with stand() as made:
            await work(made)

    on_loop(main)


async def read_until(console: ClientWebSocketResponse, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        message = await console.receive()
        assert message.type == WSMsgType.BINARY, (message, seen)
        seen += message.data
    return seen


async def end_of(console: ClientWebSocketResponse) -> tuple[int | None, Any]:
    """Code and reason with which the session ended."""
    while (message := await console.receive()).type == WSMsgType.BINARY:
        pass
    assert message.type == WSMsgType.CLOSE, message
    return message.data, message.extra
