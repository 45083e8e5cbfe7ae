"""Who waits for a change of a job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Waiters:
    """Futures by job, woken by a change."""

    def __init__(self) -> None:
        self._futures: dict[int, set[asyncio.Future[None]]] = {}

    def wake(self, numbers: Iterable[int]) -> None:
        """Whoever waits for one of these jobs goes on."""
        for number in numbers:
            for future in self._futures.pop(number, ()):
                if not future.done():
                    future.set_result(None)

    def wake_all(self) -> None:
        self.wake(list(self._futures))

    async def wait(self, number: int, timeout_s: float) -> bool:
        """Whether the job was touched within the time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(number, set()).add(future)
        try:
            done, _ = await asyncio.wait([future], timeout=timeout_s)
            return bool(done)
        finally:
            waiting = self._futures.get(number)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._futures[number]
