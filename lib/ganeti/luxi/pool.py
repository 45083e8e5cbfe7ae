"""LUXI for daemons on a loop: a bounded number of kept connections to the master daemon.

A call that only reads is made again on a new connection when a kept one turns out to be closed
(the master was restarted); others are not, since nobody knows whether they were done. Raises what
`luxi.client.Client` raises.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from ganeti.constants import LUXI_CONNECT_TIMEOUT_S, LUXI_END, LUXI_READ_TIMEOUT_S
from ganeti.errors import (
    ConnectionClosedError,
    LuxiPermissionError,
    LuxiTimeoutError,
    NoMasterError,
    ProtocolError,
)
from ganeti.luxi import protocol
from ganeti.luxi.address import address_of
from ganeti.luxi.client import READ_ONLY
from ganeti.luxi.protocol import LUXI_VERSION, MAX_MESSAGE_BYTES, RESULT_KEY
from ganeti.serializer import Json

READ_BYTES = 256 * 1024
CONNECTIONS = 64  # of one daemon; more requests wait for a free one
LONG_CALLS = frozenset({"WaitForJobChange"})  # wait for events: they don't keep others waiting
LONG_CONNECTIONS = 400  # the master lets 1,000 clients in
PIECES_CONNECTIONS = 32  # for `pieces`, whose readers may be slow: they keep no calls waiting
SLOT_WAIT_S = 30.0  # for one of these connections to be free
KEPT = 16

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LuxiPool:
    """Connections to the socket at `path`, made when they are needed."""

    def __init__(
        self,
        path: Path,
        *,
        connections: int = CONNECTIONS,
        long_connections: int = LONG_CONNECTIONS,
        pieces_connections: int = PIECES_CONNECTIONS,
        slot_wait_s: float = SLOT_WAIT_S,
        connect_timeout_s: float = LUXI_CONNECT_TIMEOUT_S,
        read_timeout_s: float = LUXI_READ_TIMEOUT_S,
    ) -> None:
        self.path = path
        self._free: list[Connection] = []
        self._slots = asyncio.Semaphore(connections)
        self._long_slots = asyncio.Semaphore(long_connections)
        self._pieces_slots = asyncio.Semaphore(pieces_connections)
        self._slot_wait_s = slot_wait_s
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s

    async def call(self, method: str, *args: Json) -> Json:
        """The result of a method."""
        slots = self._long_slots if method in LONG_CALLS else self._slots
        async with aclosing(self._message(method, args, slots)) as source:
            message = b"".join([piece async for piece in source])
        return protocol.decode_answer(message, version=LUXI_VERSION)

    async def pieces(self, method: str, *args: Json) -> AsyncGenerator[bytes, None]:
        """The JSON text of a result as it comes, without reading it.

        Only the first piece may raise what the master answers; a break later is a ProtocolError.
        """
        tail = protocol.result_end(LUXI_VERSION)[: -len(LUXI_END)]
        held = b""  # the tail can't be told from the result before the end
        began = False
        async with aclosing(self._message(method, args, self._pieces_slots)) as source:
            async for piece in source:
                held += piece
                if not began:
                    if len(held) < len(RESULT_KEY) and RESULT_KEY.startswith(held):
                        continue
                    if not held.startswith(RESULT_KEY):
                        rest = b"".join([held, *[more async for more in source]])
                        yield _result_text(rest)
                        return
                    began, held = True, held[len(RESULT_KEY) :]
                if len(held) > len(tail):
                    yield held[: -len(tail)]
                    held = held[-len(tail) :]
        if held != tail:
            raise ProtocolError("the end of the master's answer is not as expected")

    async def close(self) -> None:
        """Free connections are closed; those in use close when their call ends."""
        while self._free:
            _, writer = self._free.pop()
            writer.close()

    async def _message(
        self, method: str, args: tuple[Json, ...], slots: asyncio.Semaphore
    ) -> AsyncGenerator[bytes, None]:
        """The answer's message in pieces, without its end byte."""
        request = protocol.encode_request(method, list(args), LUXI_VERSION)
        await self._take(slots)
        try:
            async with aclosing(self._exchange(request, again=method in READ_ONLY)) as source:
                async for piece in source:
                    yield piece
        finally:
            slots.release()

    async def _take(self, slots: asyncio.Semaphore) -> None:
        """One of the connections that may be open; LuxiTimeoutError when none gets free."""
        try:
            async with asyncio.timeout(self._slot_wait_s if slots.locked() else None):
                await slots.acquire()
        except TimeoutError as error:
            text = "too many requests wait for the master daemon; none of them ended within"
            raise LuxiTimeoutError(f"{text} {self._slot_wait_s:g} s") from error

    async def _exchange(self, request: bytes, *, again: bool) -> AsyncGenerator[bytes, None]:
        while True:
            connection = self._take_free()
            kept = connection is not None
            reader, writer = connection or await self._connect()
            whole = False
            try:
                try:
                    first = await self._ask(reader, writer, request)
                except ConnectionClosedError:
                    if kept and again:
                        continue
                    raise
                size = 0
                piece = first
                while not piece.endswith(LUXI_END):
                    size += len(piece)
                    if size > MAX_MESSAGE_BYTES * 4:
                        raise ProtocolError("the master's answer is too long")
                    yield piece
                    piece = await self._read(reader)
                whole = True
                if len(piece) > len(LUXI_END):
                    yield piece[: -len(LUXI_END)]
                return
            finally:
                if whole and len(self._free) < KEPT:
                    self._free.append((reader, writer))
                else:
                    writer.close()

    def _take_free(self) -> Connection | None:
        """A kept connection that the master has not closed meanwhile."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof() and reader.exception() is None and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> bytes:
        try:
            writer.write(request)
            async with asyncio.timeout(self._read_timeout_s):
                await writer.drain()
        except TimeoutError as error:
            raise LuxiTimeoutError("sending to the master timed out") from error
        except OSError as error:
            raise ConnectionClosedError(f"sending to the master: {error}") from error
        return await self._read(reader)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                received = await reader.read(READ_BYTES)
        except TimeoutError as error:
            raise LuxiTimeoutError("the master did not answer in time") from error
        except OSError as error:
            raise ConnectionClosedError(f"reading from the master: {error}") from error
        if not received:
            raise ConnectionClosedError("the master closed the connection")
        return received

    async def _connect(self) -> Connection:
        place = os.fspath(self.path)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                with address_of(place) as name:
                    return await asyncio.open_unix_connection(name, limit=READ_BYTES)
        except TimeoutError as error:
            raise LuxiTimeoutError(f"connecting to {place} timed out") from error
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise LuxiPermissionError(place) from error
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
                raise NoMasterError(place) from error
            raise ProtocolError(f"can't connect to {place}: {error.strerror}") from error


def _result_text(message: bytes) -> bytes:
    """The result of an answer that is not in the usual form; raises the error in it."""
    from ganeti.serializer import dump_bytes

    return dump_bytes(protocol.decode_answer(message, version=LUXI_VERSION))
