"""The LUXI server of the master daemon, on asyncio. Source: facts/luxi.json.

One connection carries many requests, answered in order, one at a time. Whatever a client does, it
costs at most what `Limits` says: a bounded message, a bounded wait, one connection.
"""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganeti.constants import LUXI_READ_TIMEOUT_S
from ganeti.errors import GenericError, LockError, ParseError, ProtocolError
from ganeti.luxi import protocol
from ganeti.luxi.address import address_of
from ganeti.luxi.methods import read_arguments
from ganeti.luxi.protocol import MAX_MESSAGE_BYTES, Request, Splitter
from ganeti.serializer import Json

logger = logging.getLogger(__name__)

SOCKET_MODE = 0o660
BACKLOG = 128  # all commands of a busy cluster may come at once
READ_BYTES = 64 * 1024
WRITE_BYTES = 256 * 1024  # handed to the transport at once; more would only fill memory

Handler = Callable[[str, list[Json]], Awaitable[Json | AsyncIterator[bytes]]]
"""`await handle(method, arguments)`: the result, or its JSON text in pieces.

It raises GenericError for what the client should see. Arguments are checked already.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost."""

    message_bytes: int = MAX_MESSAGE_BYTES
    connections: int = 1000
    idle_s: float = 3600.0  # between two requests: a command may wait for its user
    message_s: float = LUXI_READ_TIMEOUT_S  # from the first byte of a request to its end
    write_s: float = LUXI_READ_TIMEOUT_S  # for the client to take a piece of the answer


class LuxiServer:
    """Serves a handler on one or more socket names, all alike."""

    def __init__(
        self, paths: Sequence[Path], handler: Handler, limits: Limits | None = None
    ) -> None:
        self._paths = list(paths)
        self._handler = handler
        self._limits = limits or Limits()
        self._servers: list[asyncio.Server] = []
        self._inodes: dict[Path, int] = {}
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    async def start(self) -> None:
        """All sockets accept connections. LockError when another daemon listens on one."""
        for path in self._paths:
            refuse_if_served(path)
        for path in self._paths:
            listening = listen(path)
            self._inodes[path] = path.stat().st_ino
            server = await asyncio.start_unix_server(self._accept, sock=listening)
            self._servers.append(server)

    async def stop(self) -> None:
        """No socket is left, no connection is open; requests under way are canceled."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path, inode in self._inodes.items():
            remove_own(path, inode)
        self._inodes.clear()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs this in a task
        if len(self._connections) >= self._limits.connections:
            logger.warning("LUXI: %d clients are connected, refusing one", self.connections)
            writer.close()
            return
        self._connections.add(task)
        try:
            await Connection(reader, writer, self._handler, self._limits).serve()
        except asyncio.CancelledError:
            logger.debug("LUXI: connection closed at shutdown")
        finally:
            self._connections.discard(task)
            writer.close()


class Connection:
    """One client's requests, one after the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handler: Handler,
        limits: Limits,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._limits = limits

    async def serve(self) -> None:
        """Answer until the client closes, breaks a rule or a limit, or vanishes."""
        try:
            await self._serve(Splitter(self._limits.message_bytes))
        except ProtocolError as error:
            logger.warning("LUXI: %s, closing the connection", error)
            await self._refuse(str(error), None)
        except TimeoutError:
            logger.info("LUXI: a client was silent for too long, closing the connection")
        except OSError as error:
            logger.debug("LUXI: a client vanished: %s", error)

    async def _serve(self, splitter: Splitter) -> None:
        """The deadline of a message counts from its first byte, so dripping does not help."""
        now = asyncio.get_running_loop().time
        until = now() + self._limits.idle_s
        while True:
            had_begun = splitter.pending_bytes > 0
            async with asyncio.timeout_at(until):
                received = await self._reader.read(READ_BYTES)
            if not received:
                return
            for message in splitter.feed(received):
                had_begun = False
                if not await self._answer(message):
                    return
            if not splitter.pending_bytes:
                until = now() + self._limits.idle_s
            elif not had_begun:
                until = now() + self._limits.message_s

    async def _answer(self, message: bytes) -> bool:
        """Answer one message; false when the connection is to be closed after it."""
        version = None
        try:
            request = protocol.decode_request(message)
            version = request.version
            arguments = read_arguments(request.method, request.args)
        except ParseError as error:
            await self._refuse(f"Failed to parse request: {error}", version)
            return False
        except GenericError as error:
            await self._write(protocol.encode_failure(error, version))
            return True
        return await self._call(request, arguments)

    async def _call(self, request: Request, arguments: list[Json]) -> bool:
        version = request.version
        try:
            result = await self._handler(request.method, arguments)
            if isinstance(result, AsyncIterator):
                first = await anext(result, b"null")
            else:
                first = b""
                answer = protocol.encode_result(result, version)
        except GenericError as error:
            answer = protocol.encode_failure(error, version)
            result = None
        except Exception as error:
            logger.exception("LUXI: %s failed unexpectedly", request.method)
            text = str(error) or type(error).__name__
            answer = protocol.encode_refusal(f"internal error: {text}", version)
            result = None
        if isinstance(result, AsyncIterator):
            return await self._write_pieces(first, result, version)
        await self._write(answer)
        return True

    async def _write_pieces(
        self, first: bytes, rest: AsyncIterator[bytes], version: int | None
    ) -> bool:
        """Send a result piece by piece; when its source fails half-way, only closing is left."""
        await self._write(protocol.RESULT_KEY + first)
        try:
            async for piece in rest:
                await self._write(piece)
        except GenericError as error:
            logger.warning("LUXI: an answer broke off: %s", error)
            return False
        await self._write(protocol.result_end(version))
        return True

    async def _refuse(self, text: str, version: int | None) -> None:
        try:
            await self._write(protocol.encode_refusal(text, version))
        except (OSError, TimeoutError):
            logger.debug("LUXI: the client did not wait for the refusal")

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), WRITE_BYTES):
            self._writer.write(view[start : start + WRITE_BYTES])
            async with asyncio.timeout(self._limits.write_s):
                await self._writer.drain()


# Socket files.


def refuse_if_served(path: Path) -> None:
    """LockError when a living daemon listens on the socket; a stale one is no obstacle."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            with address_of(path) as name:
                probe.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return
        except BlockingIOError:
            pass  # its queue is full, so there is one
        except OSError as error:
            raise LockError(f"socket {path}: {error.strerror}") from error
    raise LockError(f"socket {path}: another daemon listens on it; stop it first")


def listen(path: Path) -> socket.socket:
    """A listening socket of mode 0660 at `path`; replaces what is there in one step."""
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        with address_of(fresh) as name:
            listening.bind(name)
        fresh.chmod(SOCKET_MODE)
        listening.listen(BACKLOG)
        fresh.rename(path)
    except BaseException:
        listening.close()
        fresh.unlink(missing_ok=True)
        raise
    return listening


def remove_own(path: Path, inode: int) -> None:
    """The socket file is gone, unless another daemon has put its own there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(found.st_mode) and found.st_ino == inode:
        path.unlink()
