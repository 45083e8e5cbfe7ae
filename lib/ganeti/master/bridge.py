"""The only crossing between the loop and the workers.

The loop owns sockets, timers, the queue, locks, the configuration writer and the RPC client. A
logical unit is blocking code in a worker thread; what it wants of the loop it asks for here.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Bridge:
    """Worker threads on one side, the loop on the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: int) -> None:
        self.loop = loop
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="job")

    def wait(self, task: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Called by a worker: run on the loop and block for the result.

        After `timeout_s` the task is cancelled there and TimeoutError raised here. Without it the
        task must have an end of its own.
        """
        future = asyncio.run_coroutine_threadsafe(task, self.loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise

    def tell(self, function: Callable[..., object], *arguments: object) -> None:
        """Called by a worker: have the loop call `function` soon; no answer."""
        self.loop.call_soon_threadsafe(function, *arguments)

    async def work(self, function: Callable[[], T]) -> T:
        """Called by the loop: run blocking code in a worker, with the caller's context."""
        context = contextvars.copy_context()
        return await self.loop.run_in_executor(self.pool, context.run, function)

    def close(self) -> None:
        """Take no more work; running workers end by themselves."""
        self.pool.shutdown(wait=False, cancel_futures=True)
