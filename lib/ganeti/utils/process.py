"""Running other programs: by argument list, never through a shell.

Every program runs with `LC_ALL=C`, in `/`, in a session of its own, with nothing to read, and ends
(with all its children) when its time or its output is over. Source: facts/node-behaviour.md §13.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

from ganeti.errors import CommandError

TERM_TO_KILL_S = 5.0
KILLED_S = 5.0  # for the kernel to end a killed program; one that waits for dead storage stays
LINGER_S = 5.0  # a child may hold the pipes open after the program itself has ended
DEFAULT_TIMEOUT_S = 600.0
OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024
REPORTED_LINES = 20
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended. `code` is None when a signal ended it, `stopped` says why we did."""

    argv: tuple[str, ...]
    code: int | None
    signal: int | None
    stdout: str
    stderr: str
    stopped: str = ""  # "timeout after 3 s" | "more than 100 bytes of output" | ""
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.code == 0 and not self.stopped

    @property
    def output(self) -> str:
        """stdout followed by stderr."""
        return self.stdout + self.stderr

    @property
    def reason(self) -> str:
        """How it ended, in the words of the facts; our own stop stands before it."""
        how = (
            f"exited with exit code {self.code}"
            if self.signal is None
            else f"terminated by signal {self.signal}"
        )
        return f"{self.stopped}, {how}" if self.stopped else how

    def last_lines(self, count: int = REPORTED_LINES) -> str:
        return "\n".join(self.output.splitlines()[-count:])

    def check(self, what: str = "") -> Result:
        """Itself; CommandError with command, fate and last lines of output unless it went well."""
        if self.ok:
            return self
        place = f"{what}: " if what else ""
        text = self.last_lines().strip()
        said = f"; output: {text}" if text else "; no output"
        raise CommandError(f"{place}{shlex.join(self.argv)} {self.reason}{said}")


class Runner(Protocol):
    """What runs programs: `run` below, or a fake."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        clean_env: bool = False,
        cwd: str = "/",
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        output_limit: int = OUTPUT_LIMIT_BYTES,
        pass_fds: Sequence[int] = (),
    ) -> Result: ...


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    clean_env: bool = False,
    cwd: str = "/",
    stdin: bytes | int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    output_limit: int = OUTPUT_LIMIT_BYTES,
    pass_fds: Sequence[int] = (),
) -> Result:
    """The program has ended; a worker thread waits here.

    `env` comes on top of our own environment and LC_ALL=C, or with `clean_env` is all there is.
    `stdin` is text to give (bytes) or a descriptor; None: /dev/null. `stdout` and `stderr` are
    descriptors to write to, None: they are collected for the result. At `timeout_s` (None: no
    limit) or beyond `output_limit` bytes the whole session gets TERM, and KILL 5 s later.

    A failing program is no error here (see `Result.check`); CommandError is raised when it can't
    be started at all.
    """
    environment = dict(env or {}) if clean_env else {**os.environ, "LC_ALL": "C", **(env or {})}
    began = time.monotonic()
    try:
        child = subprocess.Popen(
            list(argv),
            env=environment,
            cwd=cwd,
            stdin=_stdin(stdin),
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE if stderr is None else stderr,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandError(f"{shlex.join(argv)} can't be started: {reason}") from error
    deadline = None if timeout_s is None else began + timeout_s
    watch = _Watch(child, stdin if isinstance(stdin, bytes) else b"", deadline, output_limit)
    try:
        stopped = watch.until_end(timeout_s)
    finally:
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    code = -signal.SIGKILL if child.returncode is None else child.returncode
    return Result(
        argv=tuple(argv),
        code=None if code < 0 else code,
        signal=-code if code < 0 else None,
        stdout=watch.text(child.stdout),
        stderr=watch.text(child.stderr),
        stopped=stopped,
        duration_s=time.monotonic() - began,
    )


def _stdin(stdin: bytes | int | None) -> int:
    if stdin is None:
        return subprocess.DEVNULL
    return subprocess.PIPE if isinstance(stdin, bytes) else stdin


@dataclass
class _Watch:
    """Reads and feeds one child until it has ended."""

    child: subprocess.Popen[bytes]
    feed: bytes
    deadline: float | None
    limit: int
    pieces: dict[int, list[bytes]] = field(default_factory=dict)
    size: int = 0

    def text(self, pipe: IO[bytes] | None) -> str:
        pieces = self.pieces.get(id(pipe), []) if pipe is not None else []
        return b"".join(pieces).decode("utf-8", "replace")

    def until_end(self, timeout_s: float | None) -> str:
        """Why the program was stopped; empty when it ended by itself."""
        stopped = ""
        exit_fd = os.pidfd_open(self.child.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(exit_fd, selectors.EVENT_READ, None)
                self._register(selector)
                while selector.get_map():
                    left = None if self.deadline is None else self.deadline - time.monotonic()
                    if self.size > self.limit:
                        stopped = f"more than {self.limit} bytes of output"
                    elif left is not None and left <= 0 and self.child.poll() is None:
                        stopped = f"timeout after {timeout_s:g} s"
                    elif left is not None and left <= 0:
                        break  # the program has ended, a child of it holds the pipes
                    if stopped:
                        self._stop(exit_fd)
                        break
                    for key, _ in selector.select(left):
                        self._serve(selector, key)
        finally:
            os.close(exit_fd)
        try:
            self.child.wait(KILLED_S)
        except subprocess.TimeoutExpired:
            return f"{stopped}, process {self.child.pid} hangs in the kernel and goes on"
        return stopped

    def _register(self, selector: selectors.BaseSelector) -> None:
        for pipe in (self.child.stdout, self.child.stderr):
            if pipe is not None:
                self.pieces[id(pipe)] = []
                selector.register(pipe, selectors.EVENT_READ, pipe)
        if self.child.stdin is not None:
            if self.feed:
                os.set_blocking(self.child.stdin.fileno(), False)
                selector.register(self.child.stdin, selectors.EVENT_WRITE, self.child.stdin)
            else:
                self.child.stdin.close()

    def _serve(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        pipe = key.data
        if pipe is None:  # the program has ended; its children may linger
            selector.unregister(key.fileobj)
            self.child.wait()
            linger = time.monotonic() + LINGER_S
            self.deadline = linger if self.deadline is None else min(self.deadline, linger)
        elif key.events & selectors.EVENT_WRITE:
            self._write(selector, pipe)
        else:
            piece = os.read(key.fd, _CHUNK)
            if piece:
                self.size += len(piece)
                self.pieces[id(pipe)].append(piece)
            else:
                selector.unregister(pipe)

    def _write(self, selector: selectors.BaseSelector, pipe: IO[bytes]) -> None:
        try:
            written = os.write(pipe.fileno(), self.feed[:_CHUNK])
        except BrokenPipeError:
            written = len(self.feed)  # it does not want to read; its exit code will tell
        self.feed = self.feed[written:]
        if not self.feed:
            selector.unregister(pipe)
            pipe.close()

    def _stop(self, exit_fd: int) -> None:
        """TERM to the whole session, KILL when the program has not ended 5 s later."""
        _kill_group(self.child.pid, signal.SIGTERM)
        with selectors.DefaultSelector() as selector:
            selector.register(exit_fd, selectors.EVENT_READ)
            selector.select(TERM_TO_KILL_S)
        _kill_group(self.child.pid, signal.SIGKILL)  # its children too, ended or not


def _kill_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
