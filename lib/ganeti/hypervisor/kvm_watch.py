"""Noticing that a guest was shut down by its user, from inside: what ganeti-kvmd does.

Each QEMU with hvparam user_shutdown has a second QMP socket, NAME.kvmd, that belongs to the watch.
When the guest powers itself off without having been asked to, the file NAME.shutdown is made, and
the instance is told as shut down instead of failed. Source: facts/hypervisors.md, User shutdown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ganeti.errors import ParseError
from ganeti.serializer import Json, loads

if TYPE_CHECKING:
    from ganeti.hypervisor.kvm_files import KvmDirectories, KvmFiles

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5  # for new sockets; a guest takes longer from its start to its end
IDLE_S: Final = 60.0  # without any guest to watch
LINE_BYTES: Final = 1 << 20  # of one message
NEGOTIATE: Final = b'{"execute": "qmp_capabilities"}\r\n'


@dataclass(slots=True)
class Story:
    """What happened to one guest since it is watched. Pure."""

    asked: bool = False  # the cluster pressed the power button
    stopped: bool = False  # paused, or on its way to another node

    def is_user_shutdown(self, event: Json) -> bool:
        """Told each event in turn; whether this one is the user's shutdown."""
        match event:
            case {"event": "POWERDOWN"}:
                self.asked = True
            case {"event": "STOP"}:
                self.stopped = True
            case {"event": "RESUME"}:
                self.stopped = False
            case {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}:
                return not (self.asked or self.stopped)
        return False


class ShutdownWatch:
    """Follows every guest of a node that has a socket for it."""

    def __init__(self, directories: KvmDirectories, *, idle_s: float = IDLE_S) -> None:
        self.directories = directories
        self.idle_s = idle_s
        self._connected: set[str] = set()
        self._followed: dict[str, asyncio.Task[None]] = {}

    async def run(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Until `ended`, or nothing was there to watch for `idle_s`."""
        clock = asyncio.get_running_loop().time
        busy_at = clock()
        while not ended() and clock() - busy_at < self.idle_s:
            self._look()
            if self._connected:
                busy_at = clock()
            await asyncio.sleep(LOOK_S)
        for task in self._followed.values():
            task.cancel()

    def _look(self) -> None:
        self._followed = {name: task for name, task in self._followed.items() if not task.done()}
        for socket in self.directories.control.glob("*.kvmd"):
            if socket.stem not in self._followed:
                work = self._follow(self.directories.files(socket.stem))
                self._followed[socket.stem] = asyncio.create_task(work)

    async def _follow(self, files: KvmFiles) -> None:
        """Until QEMU has gone. A socket that nobody serves was left by a QEMU that was killed."""
        try:
            reader, writer = await asyncio.open_unix_connection(files.kvmd, limit=LINE_BYTES)
        except OSError:
            return
        story = Story()
        self._connected.add(files.name)
        try:
            writer.write(NEGOTIATE)
            async for line in reader:
                if story.is_user_shutdown(loads(line, files.kvmd.name)):
                    files.shutdown_flag.touch()
                    logger.info("instance %s: was shut down by its user", files.name)
        except (OSError, ValueError, ParseError) as error:
            logger.warning("instance %s: is not watched any more: %s", files.name, error)
        finally:
            self._connected.remove(files.name)
            writer.close()
