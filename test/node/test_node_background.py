"""Programs that go on after the answer of a call."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest
from ganeti.errors import CommandError
from ganeti.http.listener import loop_factory
from ganeti.node.background import Background

LIMIT_S = 20.0


async def gone(pid: int) -> None:
    """The process is no more, not even as a zombie."""
    async with asyncio.timeout(LIMIT_S):
        while is_there(pid):
            await asyncio.sleep(0.01)


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def started(*argv: str, longest_s: float = LIMIT_S) -> None:
    """The program was started by a worker, and has ended."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        background = Background(loop, longest_s)
        await gone(await loop.run_in_executor(None, background.start, argv, "web1"))

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def test_a_program_that_ends_well_leaves_no_zombie_and_no_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started("true")
    assert caplog.records == []


def test_the_end_of_a_failing_program_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    started("sh", "-c", "echo no such device >&2; exit 3")
    assert [record.message for record in caplog.records] == [
        "web1: sh -c 'echo no such device >&2; exit 3': exit code 3; output: no such device"
    ]


def test_a_program_that_hangs_is_ended_with_its_children(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    started("sh", "-c", "sleep 1000 & wait", longest_s=0.05)
    assert "timeout after 0.05 s, signal 9; no output" in caplog.text


def test_a_program_that_is_missing_is_told_to_the_caller() -> None:
    with pytest.raises(CommandError, match="/nonexistent can't be started: No such file"):
        started("/nonexistent")
