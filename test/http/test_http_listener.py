"""Connections that never become one: the TLS handshake is within all limits."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from fakes.loops import LOOPS, NewLoop, on_loop
from ganeti.http.listener import REFUSALS, Limits, Listener, send_whole
from ganeti.http.tls import server_context
from ganeti.utils import x509

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANOTHER = "127.0.0.2"


class Slow(Listener):
    """Answers when it is let."""

    def __init__(self, *, tls: ssl.SSLContext | None, limits: Limits) -> None:
        super().__init__(tls=tls, limits=limits)
        self.free = asyncio.Event()
        self.free.set()

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        await self.free.wait()
        response = web.Response(text="answer")
        await send_whole(raw, response, self.limits)
        return response


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "server.pem"
    path.write_bytes(x509.make_server(1_700_000_000.0, serial=1).pem())
    return path


@asynccontextmanager
async def listening(
    pem: Path | None, limits: Limits, host: str = "127.0.0.1"
) -> AsyncIterator[Slow]:
    server = Slow(tls=server_context(pem) if pem else None, limits=limits)
    await server.start(host, 0)
    try:
        yield server
    finally:
        await server.stop(grace_s=0.1)


async def silent(server: Listener, count: int, client: str = "127.0.0.1") -> list[Streams]:
    """Connections that say nothing."""
    return [
        await asyncio.open_connection("127.0.0.1", server.port, local_addr=(client, 0))
        for _ in range(count)
    ]


async def secure(server: Listener, client: str = "127.0.0.1") -> Streams:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, local_addr=(client, 0)
    )


async def ask(streams: Streams) -> None:
    streams[1].write(ASK)
    assert (await streams[0].readuntil(b"answer")).startswith(b"HTTP/1.1 200")


async def is_over(streams: Streams) -> bool:
    """Whether the server ends the connection without a word."""
    try:
        return await streams[0].read() == b""
    except ConnectionError:
        return True
    finally:
        streams[1].close()


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


async def nothing_counts(server: Listener) -> None:
    await until(lambda: not server.connections)
    assert not server.crowds and not server.refused
    await until(lambda: not server._opening)


def open_sockets() -> int:
    """Of this process, so both ends of each connection."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of this list
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


@LOOPS
def test_silent_connections_count_before_their_handshake(
    new_loop: NewLoop, pem: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with listening(pem, Limits(client_connections=5, connections=10)) as server:
            before = open_sockets()
            held = await silent(server, 60)
            for streams in held[:-5]:
                assert await is_over(streams)
            assert server.crowds == {"127.0.0.1": 5}
            await until(lambda: open_sockets() <= before + 10)
            for _, writer in held:
                writer.close()
            await nothing_counts(server)

    with caplog.at_level(logging.WARNING):
        on_loop(new_loop, work)
    assert len([one for one in caplog.messages if "connections of 127.0.0.1" in one]) == 1


@LOOPS
def test_silent_connections_keep_nobody_else_out(new_loop: NewLoop, pem: Path) -> None:
    async def work() -> None:
        async with listening(pem, Limits(client_connections=5, connections=10)) as server:
            kept = await secure(server, ANOTHER)
            await ask(kept)
            held = await silent(server, 60)
            await ask(kept)
            more = await secure(server, ANOTHER)
            await ask(more)
            own = await secure(server)  # even the client itself, if it speaks
            await ask(own)
            for _, writer in [*held, kept, more, own]:
                writer.close()

    on_loop(new_loop, work)


@LOOPS
@pytest.mark.parametrize("with_tls", [True, False])
def test_idle_connections_give_way_to_silent_ones_and_busy_ones_do_not(
    new_loop: NewLoop, pem: Path, with_tls: bool
) -> None:
    async def work() -> None:
        limits = Limits(client_connections=3, connections=100)
        async with listening(pem if with_tls else None, limits) as server:
            one_more = secure if with_tls else lambda s: first(silent(s, 1))
            idle = await one_more(server)
            await ask(idle)
            server.free.clear()
            busy = [await one_more(server) for _ in range(2)]
            for _, writer in busy:
                writer.write(ASK)
            await until(lambda: sum(one.is_busy for one in server.connections) == 2)
            (new,) = await silent(server, 1)
            assert await is_over(idle)
            server.free.set()
            for reader, writer in busy:
                await reader.readuntil(b"answer")
                writer.close()
            new[1].close()
            await nothing_counts(server)

    on_loop(new_loop, work)


async def first(several: Awaitable[list[Streams]]) -> Streams:
    return (await several)[0]


@LOOPS
def test_where_all_are_busy_some_wait_to_be_refused_and_the_others_are_closed(
    new_loop: NewLoop, pem: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with listening(pem, Limits(client_connections=1, connections=100)) as server:
            busy = await secure(server)
            server.free.clear()
            busy[1].write(ASK)
            await until(lambda: any(one.is_busy for one in server.connections))
            told = await secure(server)
            told[1].write(ASK)
            assert (await told[0].read()).startswith(b"HTTP/1.1 503")
            await until(lambda: len(server.connections) == 1)
            held = await silent(server, REFUSALS)
            await until(lambda: server.refused["127.0.0.1"] == REFUSALS)
            for streams in await silent(server, 20):
                assert await is_over(streams)
            assert len(server.connections) == REFUSALS + 1
            for _, writer in [*held, busy, told]:
                writer.transport.abort()
            server.free.set()
            await nothing_counts(server)

    with caplog.at_level(logging.WARNING):
        on_loop(new_loop, work)
    assert len([one for one in caplog.messages if "connections of 127.0.0.1" in one]) == 1


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


FAILURES: dict[str, Callable[[asyncio.StreamWriter], None]] = {
    "garbage": lambda writer: writer.write(b"GET / HTTP/1.1\r\n\r\n"),
    "half a hello": lambda writer: writer.write(b"\x16\x03\x01\x02\x00\x01"),
    "end": lambda writer: writer.write_eof(),
    "reset": reset,
    "silence": lambda writer: None,
}


@LOOPS
@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES.keys())
def test_a_handshake_that_fails_frees_its_place_once(
    new_loop: NewLoop,
    pem: Path,
    fail: Callable[[asyncio.StreamWriter], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        limits = Limits(client_connections=3, connections=4, first_request_s=0.3)
        async with listening(pem, limits) as server:
            before = open_sockets()
            for _ in range(2):
                held = await silent(server, 3)
                for _, writer in held:
                    fail(writer)
                await nothing_counts(server)
                for _, writer in held:
                    writer.close()
            await until(lambda: open_sockets() <= before)
            one = await secure(server)
            await ask(one)
            assert server.crowds == {"127.0.0.1": 1}
            one[1].close()
            await nothing_counts(server)

    on_loop(new_loop, work)
    assert "Traceback" not in caplog.text and "exception" not in caplog.text


@LOOPS
def test_stopping_ends_handshakes_that_hang(new_loop: NewLoop, pem: Path) -> None:
    async def work() -> None:
        before = open_sockets()
        async with listening(pem, Limits()) as server:
            port = server.port
            held = await silent(server, 20)
            held[0][1].write(b"\x16\x03\x01\x02\x00\x01")
            kept = await secure(server)
            await ask(kept)
            await until(lambda: len(server.connections) == 21)
        assert not server._opening
        for streams in [*held, kept]:
            assert await is_over(streams)
        await nothing_counts(server)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: open_sockets() <= before)

    on_loop(new_loop, work)


@LOOPS
def test_the_clock_of_the_first_request_runs_from_the_beginning(
    new_loop: NewLoop, pem: Path
) -> None:
    async def work() -> None:
        async with listening(pem, Limits(first_request_s=0.3)) as server:
            began = asyncio.get_running_loop().time()
            assert await is_over(await secure(server))
            assert asyncio.get_running_loop().time() - began < 5
            await nothing_counts(server)

    on_loop(new_loop, work)


@LOOPS
def test_hosts_of_an_ipv6_network_are_one_client(new_loop: NewLoop, pem: Path) -> None:
    async def work() -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("needs IPv6 on the loopback interface")
        async with listening(pem, Limits(client_connections=2), "::1") as server:
            held = [await asyncio.open_connection("::1", server.port) for _ in range(3)]
            assert await is_over(held[0])
            assert server.crowds == {"::/64": 2}
            for _, writer in held:
                writer.close()

    on_loop(new_loop, work)
