"""Sleep that something may end."""

from __future__ import annotations

import asyncio


async def is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether the event is set now or within that time; None: as long as it takes.

    Unlike asyncio.wait_for it never swallows the end of the task that waits.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
