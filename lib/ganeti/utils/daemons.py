"""Starting, stopping and finding the daemons of a node by their pid files.

A daemon writes and locks its pid file (`run/<name>.pid`) while it lives, so a file left by a crash
is told from a living daemon by its lock, never by the number in it. Its program returns to the
starter once the daemon is ready.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import ganeti
from ganeti.build import LIBDIR, SBINDIR
from ganeti.constants import EXIT_NOT_MASTER
from ganeti.errors import OpExecError
from ganeti.paths import HOSTNAME_VARIABLE, ROOT_VARIABLE, Paths
from ganeti.utils.daemonize import is_locked

NODED = "ganeti-noded"
MASTERD = "ganeti-masterd"
RAPI = "ganeti-rapi"

START_TIMEOUT_S = 60.0  # a master reads a large configuration before it is ready
STOP_TIMEOUT_S = 30.0
KILLED_S = 5.0  # for the kernel to end a killed process
POLL_S = 0.02


TOP = Path(ganeti.__file__).resolve().parents[2]
"""What this package belongs to: a source checkout, or one of the versions below LIBDIR."""


def program(name: str) -> Path:
    """The program of the same version as this package, wherever it was installed."""
    return _first(TOP / "daemons" / name, TOP / "sbin" / name, Path(SBINDIR) / name)


def helper(name: str) -> Path:
    """A program that other programs start, of the same version as this package."""
    return _first(TOP / "tools" / name, TOP / name, Path(LIBDIR) / name)


def _first(*places: Path) -> Path:
    """The first that exists, else the last."""
    return next((place for place in places if place.exists()), places[-1])


def environment(paths: Paths, hostname: str) -> dict[str, str]:
    """The environment of a program that is to run on this node."""
    made = dict(os.environ)
    if paths.is_virtual:
        made |= {ROOT_VARIABLE: str(paths.root), HOSTNAME_VARIABLE: hostname}
    return made


def running_pid(paths: Paths, name: str) -> int | None:
    """Process id of the living daemon, or None.

    The lock is only asked for: were it taken for a moment, a daemon that starts just then would
    find its pid file held.
    """
    try:
        with open(paths.pid_file(name)) as file:
            if not is_locked(file):
                return None
            text = file.read().strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdigit() else None


class Starting:
    """A daemon that was told to start; `wait` returns when it is ready."""

    def __init__(self, name: str, log: Path, process: subprocess.Popen[str] | None) -> None:
        self.name = name
        self._log = log
        self._process = process  # None: the daemon ran already

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """OpExecError tells the program's last words when it does not start.

        A daemon that is for the master only and says that this node is not the master counts as
        started (exit code 11).
        """
        if self._process is None:
            return
        try:
            said, _ = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.communicate()
            raise OpExecError(
                f"{self.name} is not ready after {timeout_s:.0f} s; {self._log} tells why"
            ) from error
        code = self._process.returncode
        if code not in (0, EXIT_NOT_MASTER):
            words = " | ".join(said.strip().splitlines()[-5:]) or "no output"
            raise OpExecError(f"{self.name} does not start: exit code {code}: {words}")


def begin(paths: Paths, hostname: str, name: str, arguments: Sequence[str] = ()) -> Starting:
    """Start the daemon without waiting for it; nothing is done when it runs already."""
    log = paths.daemon_log(name.removeprefix("ganeti-").removesuffix("d"))
    if running_pid(paths, name) is not None:
        return Starting(name, log, None)
    process = subprocess.Popen(
        [sys.executable, str(program(name)), *arguments],
        env=environment(paths, hostname),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Starting(name, log, process)


def start(paths: Paths, hostname: str, name: str, arguments: Sequence[str] = ()) -> None:
    """Start the daemon and return when it is ready; see `Starting.wait`."""
    begin(paths, hostname, name, arguments).wait()


def hang_up(paths: Paths, name: str) -> bool:
    """The daemon, if it runs, is told to read its files again. Returns whether there was one."""
    pid = running_pid(paths, name)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGHUP)
    return True


def stop(paths: Paths, name: str, *, patience_s: float = STOP_TIMEOUT_S) -> bool:
    """End the daemon: TERM, after `patience_s` KILL. Returns whether there was one.

    OpExecError when not even that ends it (it hangs in the kernel).
    """
    pid = running_pid(paths, name)
    if pid is None:
        return False
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, KILLED_S)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        if _has_ended(paths, name, pid, wait_s):
            return True
    raise OpExecError(f"{name}: process {pid} can't be ended, not even killed")


def _has_ended(paths: Paths, name: str, pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while running_pid(paths, name) == pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
