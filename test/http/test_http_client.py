"""Answers that no decent server gives."""

from __future__ import annotations

import asyncio
import socket

import pytest
from ganeti.http.client import SILENT_S, HttpAnswer, HttpClient, Unreachable, make_socket

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer_of(*pieces: bytes, limit_bytes: int = 100, is_open: bool = False) -> HttpAnswer:
    """What the client makes of a server that says this, and then closes (or does not)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        if is_open:
            await reader.read()
        writer.close()

    async def ask() -> HttpAnswer:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = HttpClient(None, limit_bytes=limit_bytes)
        try:
            port = server.sockets[0].getsockname()[1]
            return await client.post("127.0.0.1", port, "version", b"[]", 5.0)
        finally:
            await client.close()
            server.close()

    return asyncio.run(ask())


def test_an_answer_in_pieces_is_put_together() -> None:
    found = answer_of(CHUNKED, b"2\r\n[t\r\n", b"7\r\nrue, 1]\r\n", b"0\r\n\r\n")
    assert found == HttpAnswer(200, b"[true, 1]")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"],
        [CHUNKED, *[b"20\r\n" + b"x" * 32 + b"\r\n"] * 4],
        [b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 101],
    ],
    ids=["announced", "in pieces", "until closed"],
)
def test_an_answer_beyond_the_limit_is_not_read_to_its_end(pieces: list[bytes]) -> None:
    with pytest.raises(Unreachable, match="more than 100 bytes") as caught:
        answer_of(*pieces, is_open=True)
    assert caught.value.sent


@pytest.mark.parametrize(
    "pieces", [[b"\x15\x03\x03"], [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"], []]
)
def test_half_an_answer_is_none(pieces: list[bytes]) -> None:
    with pytest.raises(Unreachable) as caught:
        answer_of(*pieces)
    assert str(caught.value) and caught.value.sent


def test_a_server_that_hangs_up_is_told_from_one_that_is_silent() -> None:
    with pytest.raises(Unreachable, match="closed the connection") as caught:
        answer_of()
    assert caught.value.closed


@pytest.mark.parametrize("host", ["node..x", "x" * 300, "", "a b"])
def test_a_name_that_is_none_is_unreachable(host: str) -> None:
    async def ask() -> None:
        client = HttpClient(None)
        try:
            await client.post(host, 1811, "version", b"", 5.0)
        finally:
            await client.close()

    with pytest.raises(Unreachable, match="."):
        asyncio.run(ask())


def test_connections_end_when_the_other_machine_is_silent() -> None:
    with make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENT_S * 1000
