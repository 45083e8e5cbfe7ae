"""Long bodies: how many bytes of them there may be at one time, and how they are parsed.

Short ones are neither counted nor waited for, so that they come through whatever the long ones do.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from ganeti.rapi.call import parse_body
from ganeti.rapi.reply import RETRY_AFTER_S, HttpError
from ganeti.serializer import Json
from ganeti.utils.offload import in_thread

SHORT_BYTES: Final = 16 * 1024
LONG_BYTES: Final = 64 * 1024  # parsed in a thread; less takes some 3 ms at most
MOST_BYTES: Final = 32 * 1024 * 1024  # of all connections; parsed they take ten times as much


def is_long(content: bytes) -> bool:
    return len(content) > LONG_BYTES


class Share:
    """What one body takes: `came` is to be told of each piece, and the room is free again at the
    end of the context."""

    __slots__ = ("_bodies", "_size", "_counted")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = self._counted = 0

    def came(self, more: int) -> None:
        """HttpError 503 when there is no room for this piece."""
        self._size += more
        add = max(0, self._size - SHORT_BYTES) - self._counted
        most = self._bodies.most_bytes
        if self._bodies.used_bytes + add > most:
            raise HttpError(
                503,
                f"long bodies of other requests take {most} bytes; come again later",
                headers={"Retry-After": str(RETRY_AFTER_S)},
                closes=True,
            )
        self._bodies.used_bytes += add
        self._counted += add

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *error: object) -> None:
        self._bodies.used_bytes -= self._counted


class Bodies:
    """What the bodies of all requests that are under way take. On the loop."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self._parsing = asyncio.Lock()  # one at a time: two in turn take twice as long each

    async def parse(self, content: bytes, content_type: str | None) -> Json:
        """As `parse_body`; the loop goes on meanwhile."""
        if not is_long(content):
            return parse_body(content, content_type)
        async with self._parsing:
            return await in_thread(partial(parse_body, content, content_type, beside_loop=True))
