"""Directories for tests with a path short enough for Unix sockets below it.

Nothing of one is left when its test has ended, however that ended. A test that was killed can't see
to it: the next run ends what it has left, known by the number of its process in the name.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PROC = Path("/proc")
PREFIX = "gnt"
END_S = 5.0  # the kernel ends a killed process at once, unless it waits for a disk


@contextmanager
def short_root() -> Iterator[Path]:
    """A new directory; afterwards no process that was started with a path below it runs."""
    above = Path(tempfile.gettempdir())
    _sweep_once(above)
    root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=above))
    try:
        yield root
    finally:
        clear(root)


def clear(root: Path) -> None:
    """No process works below it, and it is gone."""
    end_processes(root)
    shutil.rmtree(root, ignore_errors=True)


def sweep(above: Path, is_alive: Callable[[int], bool]) -> list[Path]:
    """What was left by tests that were killed is gone; the directories."""
    left = []
    for place in above.glob(f"{PREFIX}[0-9]*-*"):
        pid = place.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            clear(place)
            left.append(place)
    return left


def end_processes(root: Path) -> None:
    """Those with a path below `root` in their command line or environment, but for our own."""
    end = time.monotonic() + END_S
    while found := processes_below(root):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise RuntimeError(f"processes {found} of {root} do not end")
        time.sleep(0.01)


def processes_below(root: Path) -> list[int]:
    """Numbers of the processes; one that is ended and not yet waited for does not count."""
    mark = f"{root}/".encode()
    return [
        int(entry.name)
        for entry in PROC.glob("[0-9]*")
        if int(entry.name) != os.getpid() and mark in _words(entry)
    ]


def _words(entry: Path) -> bytes:
    words = b""
    for name in ("cmdline", "environ"):
        with suppress(OSError):
            words += (entry / name).read_bytes()
    return words


@cache
def _sweep_once(above: Path) -> None:
    sweep(above, lambda pid: (PROC / str(pid)).exists())
