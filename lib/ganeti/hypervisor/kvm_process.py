"""Finding, watching and ending the QEMU process of an instance.

A pid file alone proves nothing: after a crash of the node its number may be anybody's. A process
is ours when its command line says `-name INSTANCE`; from then on it is held by a pidfd, so that a
signal never reaches a successor with the same number.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ganeti.hypervisor.kvm_argv import is_instance

TERM_WAIT_S: Final = 3.0  # QEMU ends at SIGTERM within milliseconds, unless its storage hangs
KILL_WAIT_S: Final = 5.0


def read_pid(pid_file: Path) -> int | None:
    """The number in a pid file; None when there is no file or no number."""
    try:
        text = pid_file.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() and int(text) > 1 else None


def command_line(proc: Path, pid: int) -> list[str]:
    """The process's arguments; empty when there is no such process, or it has ended."""
    try:
        text = (proc / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [word.decode("utf-8", "replace") for word in text.split(b"\0")[:-1]]


def find(proc: Path, pid_file: Path, name: str) -> tuple[int, list[str]] | None:
    """(pid, arguments) of the instance's living QEMU."""
    pid = read_pid(pid_file)
    if pid is None:
        return None
    argv = command_line(proc, pid)
    return (pid, argv) if is_instance(argv, name) else None


def cpu_time_s(proc: Path, pid: int) -> float:
    """User and system time of a process; 0 when it has gone. See proc(5), stat."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _held(proc: Path, pid_file: Path, name: str) -> Iterator[int | None]:
    """A pidfd of the instance's QEMU, None when it does not live."""
    found = find(proc, pid_file, name)
    if found is None:
        yield None
        return
    try:
        handle = os.pidfd_open(found[0])
    except ProcessLookupError:
        yield None
        return
    try:
        # Looked at again, now that the number can't change hands.
        yield handle if is_instance(command_line(proc, found[0]), name) else None
    finally:
        os.close(handle)


def _ended(handle: int, timeout_s: float) -> bool:
    readable, _, _ = select.select([handle], [], [], max(0.0, timeout_s))
    return bool(readable)


def wait_end(proc: Path, pid_file: Path, name: str, timeout_s: float) -> bool:
    """Whether the QEMU has ended before `timeout_s` had passed; it notices at once."""
    with _held(proc, pid_file, name) as handle:
        return handle is None or _ended(handle, timeout_s)


def end(proc: Path, pid_file: Path, name: str) -> bool:
    """SIGTERM, with which QEMU still writes what it has; SIGKILL when that is not enough."""
    with _held(proc, pid_file, name) as handle:
        if handle is None:
            return True
        for number, wait_s in ((signal.SIGTERM, TERM_WAIT_S), (signal.SIGKILL, KILL_WAIT_S)):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return True
            if _ended(handle, wait_s):
                return True
        return False
