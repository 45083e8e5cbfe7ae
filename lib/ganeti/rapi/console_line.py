"""The line to a guest's console: a child process for the serial one, TCP for VNC.

What goes over a VNC line is the RFB protocol as the guest's server speaks it: its password and its
TLS are the client's business.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from ganeti.errors import ResolverError
from ganeti.luxi.pool import LuxiPool
from ganeti.paths import Paths
from ganeti.rapi.reply import HttpError
from ganeti.serializer import Json
from ganeti.utils import hosts
from ganeti.utils.net import is_address
from ganeti.utils.ssh_command import console_argv

logger = logging.getLogger(__name__)

SERIAL: Final = "serial"
VNC: Final = "vnc"
VNC_BASE_PORT: Final = 5900
BUFFER_BYTES: Final = 64 * 1024  # that wait in either direction, before the sender is held up
TERM_S: Final = 2.0  # for the child to end by itself
KEPT_WORDS: Final = 1000  # bytes of what the child complains about
EVERYWHERE: Final = ("0.0.0.0", "::")
FIELDS: Final = ("console", "oper_state", "pnode", "network_port", "hvparams")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a console is: `kind` serial has the console as the master describes it, vnc an
    address."""

    instance: str
    kind: str
    console: Mapping[str, Json]
    host: str = ""
    port: int = 0


async def find_target(master: LuxiPool, paths: Paths, name: str, kind: str | None) -> Target:
    """The console of a running instance; HttpError when it has none of this kind."""
    rows = await master.call("QueryInstances", [name], list(FIELDS), False)
    if not rows:
        raise HttpError(404, f"instance {name} not found")
    console, running, node, port, hvparams = rows[0]
    if not running or not console:
        raise HttpError(503, f"instance {name} is not running; start it first")
    name = str(console.get("instance") or name)
    offered = {"ssh": SERIAL, "vnc": VNC}.get(str(console["kind"]))
    kind = kind or offered
    if kind == SERIAL and offered == SERIAL:
        return Target(name, SERIAL, console)
    if kind == VNC:
        bound = str((hvparams or {}).get("vnc_bind_address") or "")
        if not bound or not port or int(port) <= VNC_BASE_PORT:
            raise HttpError(503, f"instance {name} has no VNC")
        if not is_address(bound) or hosts.is_loopback(bound) and not paths.is_virtual:
            raise HttpError(
                503, f"instance {name} has its VNC at {bound}, where other machines can't reach it"
            )
        return Target(name, VNC, console, node if bound in EVERYWHERE else bound, int(port))
    said = console.get("message") or f"its console is of kind {console['kind']}"
    raise HttpError(503, f"instance {name} has no {kind or 'serial or VNC'} console: {said}")


class Line(Protocol):
    """An open line: what the guest says is read, what is written goes to it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def close(self) -> None:
        """Nothing of it is left."""


async def open_line(target: Target, cluster_name: str, paths: Paths, limit_s: float) -> Line:
    """A line to the console; HttpError 502 when there is no way, 504 when it takes too long."""
    try:
        async with asyncio.timeout(limit_s):
            if target.kind == SERIAL:
                argv = console_argv(target.console, cluster_name, paths, terminal=False)
                return await SerialLine.open(argv)
            return await VncLine.open(paths, target.host, target.port)
    except TimeoutError:
        raise HttpError(
            504, f"the console of {target.instance} does not answer within {limit_s:g} s"
        ) from None
    except (OSError, ResolverError) as error:
        raise HttpError(502, f"the console of {target.instance}: {error}") from error


class SerialLine:
    """The console's command as a child in a session of its own, without a shell on this side."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer
        self._said = b""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, argv: list[str]) -> SerialLine:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=BUFFER_BYTES,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.transport.set_write_buffer_limits(BUFFER_BYTES)
        return cls(process, process.stdout, process.stdin)

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(KEPT_WORDS):
            self._said = (self._said + piece)[-KEPT_WORDS:]

    async def close(self) -> None:
        """The child has ended, and what it started; what it complained about is in the log."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(TERM_S):
                await self.process.wait()
        except TimeoutError:
            pass
        self._signal(signal.SIGKILL)  # of what it started, something may be left
        await self.process.wait()
        self.writer.close()
        self._listening.cancel()
        if self.process.returncode not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            words = self._said.decode(errors="replace").strip()
            logger.info("the console ended with %s: %s", self.process.returncode, words)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


class VncLine:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, paths: Paths, host: str, port: int) -> VncLine:
        loop = asyncio.get_running_loop()
        if not is_address(host):
            host = (await loop.run_in_executor(None, hosts.look_up, paths, host)).ip
        reader, writer = await asyncio.open_connection(host, port, limit=BUFFER_BYTES)
        writer.transport.set_write_buffer_limits(BUFFER_BYTES)
        return cls(reader, writer)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass
