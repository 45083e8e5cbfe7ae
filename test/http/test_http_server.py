"""Half, slow, huge and garbage requests; limits of connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fakes.nodes import a_root, start_node
from ganeti.http.client import HttpClient
from ganeti.http.listener import Limits, loop_factory
from ganeti.http.server import Answer, HttpServer, Request
from ganeti.http.tls import client_context

FAST = Limits(first_request_s=0.3, idle_s=0.3, body_s=0.3, answer_s=0.5, body_bytes=1000)


def on_loop(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await work()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def echo(request: Request) -> Answer:
    return Answer(request.body or request.path.encode())


async def a_server(limits: Limits = FAST) -> HttpServer:
    server = HttpServer(echo, tls=None, limits=limits, workers=2)
    await server.start("127.0.0.1", 0)
    return server


async def said(server: HttpServer, *pieces: bytes, end: bool = False) -> bytes:
    """Everything the server says until it closes, after the pieces were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    if end:
        writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection without a word."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


HEAD = b"POST /version HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((), b""),  # silent
        ((b"POST /ver",), b""),  # half a line
        ((HEAD,), b""),  # half a head
        ((HEAD + b"Content-Length: 50\r\n\r\nhalf",), b"408"),
        ((HEAD + b"Content-Length: 5000\r\n\r\n",), b"413"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n800\r\n" + b"x" * 2048,), b"413"),
        ((b"\x16\x03\x01 garbage \r\n\r\n",), b"400"),
        ((b"POST /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",), b"400"),
        ((HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n",), b"400"),
        ((HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",), b"400"),
    ],
)
def test_a_bad_request_is_refused_and_its_connection_dropped(
    pieces: tuple[bytes, ...], status: bytes
) -> None:
    async def work() -> None:
        server = await a_server()
        answer = await said(server, *pieces)
        first = answer.split(b"\r\n")[0]
        assert first == b"" if not status else status in first
        await asyncio.sleep(0)
        await server.stop()

    on_loop(work)


def test_a_request_that_trickles_in_is_dropped() -> None:
    async def work() -> None:
        server = await a_server()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        began = asyncio.get_running_loop().time()
        try:
            while not reader.at_eof():
                writer.write(b"P")
                await writer.drain()
                try:
                    async with asyncio.timeout(0.02):
                        await reader.read()
                except TimeoutError:
                    pass
        except ConnectionError:
            pass
        assert asyncio.get_running_loop().time() - began < 3
        writer.close()
        await server.stop()

    on_loop(work)


def test_an_idle_connection_is_dropped_after_its_answer() -> None:
    async def work() -> None:
        server = await a_server()
        answer = await said(server, HEAD + b"Content-Length: 2\r\n\r\nhi")
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hi")
        await server.stop()

    on_loop(work)


def test_beyond_the_limit_the_oldest_silent_connection_is_dropped() -> None:
    async def work() -> None:
        server = await a_server(Limits(connections=2))
        open_ones = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        async with asyncio.timeout(5):
            while len(server.connections) < 2:
                await asyncio.sleep(0)
        answer = await said(server, b"GET /a HTTP/1.0\r\n\r\n")
        assert answer.endswith(b"/a")
        assert await ended(open_ones[0][0])
        for _, writer in open_ones:
            writer.close()
        await server.stop()

    on_loop(work)


def test_a_served_request_does_not_end_with_its_idle_time() -> None:
    async def work() -> None:
        server = await a_server()
        client = HttpClient(None)
        first = await client.post("127.0.0.1", server.port, "a", b"1", 5)
        second = await client.post("127.0.0.1", server.port, "a", b"2", 5)
        assert (first.body, second.body) == (b"1", b"2")
        assert len(server.connections) == 1
        await client.close()
        await server.stop()

    on_loop(work)


def test_express_requests_do_not_wait_behind_long_ones() -> None:
    began, ended = threading.Event(), threading.Event()

    def handler(request: Request) -> Answer:
        if request.path == "/long":
            began.set()
            ended.wait(10)
        return Answer(b"done")

    async def work() -> None:
        server = HttpServer(handler, tls=None, workers=1, express=["/short"])
        await server.start("127.0.0.1", 0)
        client = HttpClient(None)
        long = asyncio.create_task(client.post("127.0.0.1", server.port, "long", b"", 20))
        await asyncio.to_thread(began.wait, 5)
        answer = await client.post("127.0.0.1", server.port, "short", b"", 5)
        assert answer.body == b"done" and not long.done()
        ended.set()
        await long
        await client.close()
        await server.stop()

    on_loop(work)


def tls_without_certificate(paths_server_pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(paths_server_pem)
    return context


def test_a_peer_without_certificate_gets_a_tls_alert(tmp_path: Path) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        context = tls_without_certificate(node.paths.server_pem)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", node.target.port, ssl=context
            )
            writer.write(HEAD + b"Content-Length: 2\r\n\r\n[]")
            assert await reader.read() == b""
            raise ConnectionError("closed")
        await node.stop()

    on_loop(work)


def test_plain_http_and_old_tls_are_not_spoken(tmp_path: Path) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        assert node.daemon._server is not None
        assert await said(node.daemon._server, HEAD + b"\r\n") == b""
        assert client_context(node.paths).minimum_version >= ssl.TLSVersion.TLSv1_2
        await node.stop()

    on_loop(work)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "version", 400), ("PUT", "version", 400), ("POST", "nosuch", 404), ("POST", "", 404)],
)
def test_other_methods_and_unknown_calls_are_refused(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", node.target.port, ssl=client_context(a_root(tmp_path / "master"))
        )
        writer.write(f"{method} /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        answer = await reader.read()
        assert answer.split(b" ")[1] == str(status).encode()
        writer.close()
        await node.stop()

    on_loop(work)


def test_an_address_in_use_is_an_error() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = HttpServer(echo, tls=None)
            with pytest.raises(OSError, match="in use"):
                await server.start("127.0.0.1", taken.getsockname()[1])
            await server.stop()

    on_loop(work)


def test_a_peer_that_leaves_before_its_answer_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    began, gone = threading.Event(), threading.Event()

    def slow(request: Request) -> Answer:
        began.set()
        gone.wait(5)
        return Answer(b"too late")

    async def work() -> None:
        server = HttpServer(slow, tls=None, limits=Limits(), workers=1)
        await server.start("127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.to_thread(began.wait, 5)
        writer.transport.abort()
        while server.connections:
            await asyncio.sleep(0.01)
        gone.set()
        await server.stop()

    on_loop(work)
    assert "Traceback" not in caplog.text
