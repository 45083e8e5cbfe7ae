"""The sockets of a listening address: connections are taken as they come. On the loop; no threads.

asyncio's own server tells of a connection when its TLS handshake is over, which is too late to
count those that never begin it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

logger = logging.getLogger(__name__)

BACKLOG = 128
AT_ONCE = 32  # connections that are taken before the loop does something else
PAUSE_S = 1.0  # without files for new connections; their socket is ready all the time
SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """`came` gets each new connection and the address of its peer; `lacks` is told why none can
    be taken for a while."""

    def __init__(
        self,
        came: Callable[[socket.socket, str], None],
        lacks: Callable[[OSError], None],
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._came = came
        self._lacks = lacks
        self._pause_s = pause_s
        self._listening: list[socket.socket] = []

    @property
    def port(self) -> int:
        return int(self._listening[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """It listens on all addresses of the host; OSError when one is taken or not ours."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                one = socket.create_server(address, family=family, backlog=BACKLOG)
                one.setblocking(False)
                self._listening.append(one)
        except OSError:
            self.stop()
            raise
        for one in self._listening:
            loop.add_reader(one, self._take, one)

    def stop(self) -> None:
        """Nothing listens any more."""
        loop = asyncio.get_running_loop()
        while self._listening:
            one = self._listening.pop()
            loop.remove_reader(one)
            one.close()

    def _take(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                one, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in SCARCE:  # of that connection: accept(2), "Error handling"
                    logger.debug("a connection was lost before it was taken: %s", error)
                    continue
                self._lacks(error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(self._pause_s, self._go_on, listening)
                return
            one.setblocking(False)
            self._came(one, str(address[0]))

    def _go_on(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._take, listening)
