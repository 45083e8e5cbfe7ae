"""The remote API on a loopback port, over a real master with the configuration of a recording.

Nodes are machines in memory (`small_cluster`), so jobs really run.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.small_cluster import Client, SmallCluster, put_os
from ganeti.http.listener import loop_factory
from ganeti.luxi.pool import LuxiPool
from ganeti.luxi.server import LuxiServer
from ganeti.model.config import ConfigDocument
from ganeti.rapi.access import Users
from ganeti.rapi.gate import GateSettings
from ganeti.rapi.resources import RESOURCES
from ganeti.rapi.service import RapiServer, ServiceSettings
from ganeti.serializer import decode, loads

USERS = """\
admin Example1 write
viewer Example2 read
nobody Example3
hashed {HA1}359d906b32a60a0109d8c3f3a6d9f761 write
"""
RUNNING = {
    "node1.example.com": {"db1.example.com": 96, "web1.example.com": 64},
    "node2.example.com": {"app2.example.com": 96},
}
LAST_JOB = 183
LIMIT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def on_loop(work: Callable[[], Awaitable[None]], limit_s: float = LIMIT_S) -> None:
    async def main() -> None:
        async with asyncio.timeout(limit_s):
            await work()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def parse_answer(text: bytes) -> Answer:
    """One whole answer as it was read until the connection closed."""
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    return Answer(int(first.split()[1]), headers, body)


def _unchunked(body: bytes) -> bytes:
    made = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return made
        made, body = made + rest[:length], rest[length + 2 :]
    raise EOFError("the answer has no end")


@dataclass
class RapiBed:
    """A running server and a way to speak with it."""

    server: RapiServer
    master: LuxiPool
    tls: ssl.SSLContext | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port, ssl=self.tls)

    async def raw(self, *pieces: bytes) -> bytes:
        """All that is said until the server closes, after the pieces were sent."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        given = {"Host": "rapi", "Connection": "close", **(headers or {})}
        content = body.encode() if isinstance(body, str) else body
        if content is not None:
            given["Content-Length"] = str(len(content))
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items()), "", ""]
        return parse_answer(await self.raw("\r\n".join(lines).encode() + (content or b"")))


@asynccontextmanager
async def a_server(
    master: LuxiPool,
    users: Path,
    *,
    settings: ServiceSettings | None = None,
    tls: ssl.SSLContext | None = None,
    resources: Sequence[Any] = RESOURCES,
) -> AsyncIterator[RapiBed]:
    """The real server, on a port of its own."""
    server = RapiServer(resources, master, Users(users), settings or ServiceSettings(), tls=tls)
    await server.start("127.0.0.1", 0)
    try:
        yield RapiBed(server, master)
    finally:
        await server.stop(grace_s=0.1)
        await master.close()


AUTHENTICATED = ServiceSettings(gate=GateSettings(require_authentication=True))


class RecordedCluster(SmallCluster):
    """The cluster of the recordings, with the guests that ran then."""

    def __init__(self, root: Path, samples: Path) -> None:
        text = (samples / "state" / "4-full" / "config.data").read_bytes()
        super().__init__(root, document=decode(ConfigDocument, loads(text), "config.data"))
        for name, guests in RUNNING.items():
            directory = self.machines[name].paths.run / "fake-hypervisor"
            directory.mkdir(parents=True)
            for guest, memory in guests.items():
                (directory / guest).write_text(f"0\n{memory}\n1\n")
        for machine in self.machines.values():
            systems = machine.paths.below("/srv/ganeti/os")
            put_os(systems / "recos", "large", "small")
            (systems / "noop" / "variants.list").unlink()
            with machine.paths.etc_hosts.open("a") as file:
                file.write("127.9.9.31 test1.example.com\n127.9.9.32 test2.example.com\n")
        self._put_jobs(samples / "state" / "5-late" / "queue")
        self.transport.fail["node2.example.com", "node_powercycle"] = "not in a test"

    def _put_jobs(self, recorded: Path) -> None:
        """Those that were there when the recordings began."""
        for number in range(1, LAST_JOB + 1):
            shutil.copy(recorded / f"job-{number}", self.paths.queue)
        (self.paths.queue / "serial").write_text(f"{LAST_JOB}\n")
        shutil.copy(recorded / "version", self.paths.queue)

    @asynccontextmanager
    async def rapi(
        self, users: Path, settings: ServiceSettings = AUTHENTICATED
    ) -> AsyncIterator[tuple[RapiBed, Client]]:
        async with self.master(no_voting=True) as client:
            socket = self.paths.query_socket
            luxi = LuxiServer([socket], client.master.service.handle)
            await luxi.start()
            try:
                async with a_server(LuxiPool(socket), users, settings=settings) as bed:
                    yield bed, client
            finally:
                await luxi.stop()
