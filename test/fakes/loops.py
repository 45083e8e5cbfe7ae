"""Work on each kind of loop that a daemon may have: asyncio's, and uvloop where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from ganeti.http.listener import loop_factory

NewLoop = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, loop_factory()])


def on_loop(new_loop: NewLoop, work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await work()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
