"""Who waits until a record of a journal is durable (see rpc/replicate.py)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(slots=True)
class Waiter:
    """Somebody waits until the journal up to `end` is durable; None: not written yet."""

    future: asyncio.Future[bool]
    end: int | None = None
    written_at: float = 0.0

    def resolve(self, value: bool) -> None:
        """True: a majority has it; False: only the local disk, in the degraded state."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # who does not wait for it is not told twice
