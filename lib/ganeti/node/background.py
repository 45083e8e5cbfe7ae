"""Programs that are started for a call and go on after its answer.

For short ones whose result nobody asks for; long work with a result is a task (`task.py`). The
loop of the daemon notices the end of each (pidfd_open(2)), so none stays as a zombie.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ganeti.errors import CommandError

logger = logging.getLogger(__name__)

LONGEST_S: Final = 30.0
OUTPUT_BYTES: Final = 4096


@dataclass(slots=True, kw_only=True)
class _Running:
    child: subprocess.Popen[bytes]
    exit_fd: int
    about: str
    stopped: str = ""
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Background:
    """Starts such programs and takes note of their end, on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, longest_s: float = LONGEST_S) -> None:
        self._loop = loop
        self._longest_s = longest_s

    def start(self, argv: Sequence[str], about: str) -> int:
        """The program runs; its process id. Any thread may call this.

        If it fails or is stopped for its time, the log tells so: `about`, the command and its
        words. CommandError when it can't be started.
        """
        try:
            child = subprocess.Popen(
                list(argv),
                env={**os.environ, "LC_ALL": "C"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError(f"{shlex.join(argv)} can't be started: {error.strerror}") from error
        one = _Running(child=child, exit_fd=os.pidfd_open(child.pid), about=about)
        self._loop.call_soon_threadsafe(self._watch, one)
        return child.pid

    def _watch(self, one: _Running) -> None:
        self._loop.add_reader(one.exit_fd, self._ended, one)
        one.timer = self._loop.call_later(self._longest_s, self._stop, one)

    def _stop(self, one: _Running) -> None:
        one.stopped = f"timeout after {self._longest_s:g} s, "
        os.killpg(one.child.pid, signal.SIGKILL)  # it was not reaped yet, so the group is there

    def _ended(self, one: _Running) -> None:
        self._loop.remove_reader(one.exit_fd)
        os.close(one.exit_fd)
        if one.timer is not None:
            one.timer.cancel()
        code = one.child.wait()
        said = _words(one.child)
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            argv = one.child.args
            command = shlex.join(argv) if isinstance(argv, list) else str(argv)
            logger.warning("%s: %s: %s%s; %s", one.about, command, one.stopped, how, said)


def _words(child: subprocess.Popen[bytes]) -> str:
    """The first words of its stderr; a child of it may hold the pipe, so nobody waits."""
    assert child.stderr is not None
    with child.stderr as pipe:
        os.set_blocking(pipe.fileno(), False)
        try:
            text = os.read(pipe.fileno(), OUTPUT_BYTES).decode("utf-8", "replace").strip()
        except BlockingIOError:
            text = ""
    return f"output: {text}" if text else "no output"
