"""An event loop whose time passes only when nobody has anything to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

TICK_S = 1e-6  # every turn of the loop takes a little, so that tiny waits end


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for `timeout` seconds it lets the loop's clock jump."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen: every task waits for another one")
        self.now += timeout + TICK_S
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`asyncio.sleep(3600)` returns at once, and `time()` is an hour later."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def in_place(function: Callable[[], T]) -> T:
    """An offloader without threads; others get a turn before the work and after it."""
    await asyncio.sleep(0)
    try:
        return function()
    finally:
        await asyncio.sleep(0)
