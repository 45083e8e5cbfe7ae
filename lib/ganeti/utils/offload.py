"""How blocking file access leaves the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offloader(Protocol):
    """Runs blocking code beside the loop; tests run it in place."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


async def in_thread(function: Callable[[], T]) -> T:
    """Run it in the loop's own pool, which job workers don't use."""
    return await asyncio.get_running_loop().run_in_executor(None, function)
