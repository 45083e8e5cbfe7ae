"""How blocking file access leaves the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Offloader(Protocol):
    """Runs blocking code beside the loop; tests run it in place."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


async def in_thread(function: Callable[[], T]) -> T:
    """Run it in the loop's own pool, which job workers don't use.

    Who waits and is cancelled is so only when the function has ended: else it might still write a
    file that the next one writes anew, and win.
    """
    work = asyncio.get_running_loop().run_in_executor(None, function)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled() and (error := work.exception()) is not None:
            logger.error("what was cancelled has also failed: %s", error)
        raise
