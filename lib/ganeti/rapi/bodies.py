"""Long bodies: how many bytes of them there may be at one time, and how they are parsed.

Short ones are neither counted nor waited for, so that they come through whatever the long ones do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class Bodies:
    """What the bodies of all requests that are under way take. On the loop."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self._parsing = asyncio.Lock()  # one at a time: two in turn take twice as long each

    @contextmanager
    def one(self) -> Iterator[Callable[[int], None]]:
        """To be told of each piece of a body that comes; HttpError 503 when there is no room.

        The room is free again at the end.
        """
        size = counted = 0

        def came(more: int) -> None:
            nonlocal size, counted
            size += more
            add = max(0, size - SHORT_BYTES) - counted
            if self.used_bytes + add > self.most_bytes:
                raise HttpError(
                    503,
                    f"long bodies of other requests take {self.most_bytes} bytes; come again later",
                    headers={"Retry-After": str(RETRY_AFTER_S)},
                    closes=True,
                )
            self.used_bytes += add
            counted += add

        try:
            yield came
        finally:
            self.used_bytes -= counted

    async def parse(self, content: bytes, content_type: str | None) -> Json:
        """As `parse_body`; the loop goes on meanwhile."""
        if not is_long(content):
            return parse_body(content, content_type)
        async with self._parsing:
            return await in_thread(partial(parse_body, content, content_type, beside_loop=True))
