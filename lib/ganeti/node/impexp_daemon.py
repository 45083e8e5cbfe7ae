"""The program import-export: one end of a transfer, from its start until its end is written down.

It starts the pipe of `impexp_command` in a process group of its own, listens to its parts and keeps
the status file. It ends by itself: with the data, with an error, when nobody connects in time, or
on TERM; no process of the pipe outlives it. Source: facts/node-behaviour.md §4.
"""

from __future__ import annotations

import argparse
import logging
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import GenericError
from ganeti.node import impexp_command as command
from ganeti.node.context import Clock, SystemClock
from ganeti.node.impexp_progress import MIB, Progress, StatusFile
from ganeti.utils import x509
from ganeti.utils.files import LocalDisk

logger = logging.getLogger(__name__)

PROGRAM: Final = "import-export"
ASK_S: Final = 5.0  # between two questions how far dd is
LINGER_S: Final = 5.0  # for what was told to end
CONNECT_S: Final = 60
SIZE_VARIABLE: Final = "EXP_SIZE_FD"
_CHUNK: Final = 65536


@dataclass(slots=True)
class Lines:
    """A pipe that is read line by line."""

    take: Callable[[str], None]
    rest: str = ""

    def feed(self, piece: bytes) -> None:
        *lines, self.rest = (self.rest + piece.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self.take(line)

    def end(self) -> None:
        if self.rest:
            self.take(self.rest)
            self.rest = ""


@dataclass(slots=True)
class Mover:
    """One end at work."""

    end: command.End
    status: StatusFile
    clock: Clock
    connect_timeout_s: float
    expected_size: str | None = None
    progress: Progress = field(default_factory=Progress)
    _dd: int | None = None  # its process id
    _stopped: str = ""  # why the pipe was ended before its time
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _open: list[int] = field(default_factory=list)

    def run(self, stop: int) -> int:
        """The exit code. When the descriptor `stop` can be read, the transfer is to end."""
        self.status.write()
        if self.expected_size and self.expected_size != command.SIZE_FROM_SCRIPT:
            self.progress.expected_mib = float(self.expected_size)
        try:
            child = self._start()
        except OSError as error:
            self.status.end(EXIT_FAILURE, f"bash can't be started: {error.strerror}")
            return EXIT_FAILURE
        self._selector.register(stop, selectors.EVENT_READ, None)
        try:
            code = self._watch(child)
        finally:
            end_group(child, self.clock)
        self._drain()
        if self._stopped:
            self.status.end(code or EXIT_FAILURE, self._stopped)
        elif code:
            self.status.end(code, describe(code))
        else:
            self.status.end(EXIT_SUCCESS, None)
        return EXIT_SUCCESS if code == 0 and not self._stopped else EXIT_FAILURE

    def _start(self) -> subprocess.Popen[bytes]:
        socat, dd, pid = self._pipe(self._socat), self._pipe(self._copied), self._pipe(self._is_dd)
        words, fds = self._pipe(self.status.say), [socat, dd, pid]
        environment = {**os.environ, "LC_ALL": "C"}
        if self.expected_size == command.SIZE_FROM_SCRIPT:
            fds.append(self._pipe(self._size))
            environment[SIZE_VARIABLE] = str(fds[-1])
        argv = command.shell_argv(self.end, command.Descriptors(socat, dd, pid))
        logger.debug("starting %s", argv)
        try:
            return subprocess.Popen(
                argv,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                pass_fds=fds,
                process_group=0,
            )
        finally:
            for fd in (*fds, words):
                os.close(fd)

    def _pipe(self, take: Callable[[str], None]) -> int:
        """The writing end of a pipe whose lines go to `take`."""
        listen, speak = os.pipe()
        self._open.append(listen)
        self._selector.register(listen, selectors.EVENT_READ, Lines(take))
        return speak

    # What the parts say.

    def _socat(self, line: str) -> None:
        said = command.parse_socat(line)
        if said.port is not None and self.end.mode == command.IMPORT:
            self.status.set_port(said.port)
        if said.connected and not self.status.now.connected:
            self.progress.add(self.clock.monotonic(), 0)
            self.status.set_connected()
        self.status.say(said.text)

    def _copied(self, line: str) -> None:
        done = command.parse_dd(line)
        if done is not None:
            self.progress.add(self.clock.monotonic(), done)
            self.status.show(self.progress)
        elif not command.is_dd_count(line):
            self.status.say(line)

    def _is_dd(self, line: str) -> None:
        self._dd = int(line) if line.isdigit() else None

    def _size(self, line: str) -> None:
        if line.strip().isdigit():
            self.progress.expected_mib = int(line) / MIB

    # Waiting.

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        """Its exit code, or the negative number of the signal that ended it."""
        began = asked = self.clock.monotonic()
        exited = os.pidfd_open(child.pid)
        self._selector.register(exited, selectors.EVENT_READ, None)
        try:
            while child.poll() is None and not self._stopped:
                now = self.clock.monotonic()
                if now >= asked + ASK_S:
                    self._ask_dd()
                    asked = now
                waits = asked + ASK_S - now
                if not self.status.now.connected:
                    left = began + self.connect_timeout_s - now
                    if left <= 0:
                        self._stopped = f"no connection within {self.connect_timeout_s:g} s"
                        break
                    waits = min(waits, left)
                for key, _ in self._selector.select(waits):
                    if isinstance(key.data, Lines):
                        self._read(key.fd, key.data)
                    elif key.fd != exited:
                        self._stopped = "was ended by request"
        finally:
            self._selector.unregister(exited)
            os.close(exited)
        if self._stopped:
            end_group(child, self.clock)
        return child.returncode or 0

    def _ask_dd(self) -> None:
        """It tells how far it is. One that does not listen yet would be killed by the question."""
        if self._dd is not None and catches(self._dd, signal.SIGUSR1):
            try:
                os.kill(self._dd, signal.SIGUSR1)
            except ProcessLookupError:
                self._dd = None

    def _read(self, fd: int, lines: Lines) -> None:
        piece = os.read(fd, _CHUNK)
        if piece:
            lines.feed(piece)
        else:
            lines.end()
            self._selector.unregister(fd)
            self._open.remove(fd)
            os.close(fd)

    def _drain(self) -> None:
        """The last words; whoever still holds a pipe after 5 s is not waited for."""
        end = self.clock.monotonic() + LINGER_S
        while self._open and (left := end - self.clock.monotonic()) > 0:
            keys = self._selector.select(left)
            for key, _ in keys:
                if isinstance(key.data, Lines):
                    self._read(key.fd, key.data)
                else:
                    self._selector.unregister(key.fd)  # told twice to end
        for fd in self._open:
            self._selector.get_map()[fd].data.end()
            os.close(fd)


def describe(code: int) -> str:
    """How the pipe ended, for the status file."""
    if code < 0:
        return f"terminated by signal {-code}"
    return f"exited with exit code {code}"


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal; proc(5), SigCgt."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    mask = next((line.split()[1] for line in text.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(mask, 16) >> (number - 1) & 1)


def end_group(child: subprocess.Popen[bytes], clock: Clock) -> None:
    """No process of the child's group runs: TERM, and KILL for what is there 5 s later."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        end = clock.monotonic() + LINGER_S
        while clock.monotonic() < end and _has_members(child.pid):
            child.poll()
            clock.sleep(0.02)
    child.poll()


def _has_members(group: int) -> bool:
    from ganeti.node.task import has_members

    return has_members(group)


# The program.


def make_parser() -> argparse.ArgumentParser:
    """The program's options (facts/cli.json, tools)."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="One end of a transfer of data")
    add = parser.add_argument
    add("status_file", metavar="STATUS-FILE", help="file that tells how far it is")
    add("mode", choices=(command.IMPORT, command.EXPORT), help="receive or send")
    add("--key", help="file with the private key")
    add("--cert", help="file with the certificate")
    add("--ca", help="file with the certificate that the other end must show")
    add("--bind", help="address to listen on")
    add("--ipv4", action="store_true", help="use IPv4, which is the default")
    add("--ipv6", action="store_true", help="use IPv6")
    add("--host", help="where the receiver listens")
    add("--port", type=int, help="port of the receiver; on its side the port to listen on")
    add("--connect-retries", type=int, default=0, help="further attempts to connect")
    add("--connect-timeout", type=int, default=CONNECT_S, help="seconds until both are connected")
    add("--compress", default="gzip", help="tool that packs data on the way, or none")
    add("--expected-size", dest="exp_size", help="MiB that will pass; fd: the source tells it")
    add("--magic", help="text by which the two ends know that they belong together")
    add("--cmd-prefix", default="", help="shell text before dd, such as 'COMMAND |'")
    add("--cmd-suffix", default="", help="shell text after dd, such as '| COMMAND'")
    add("-d", "--debug", action="count", default=0, help="log more")
    add("-v", "--verbose", action="store_true", help="log what is done")
    return parser


def end_of(options: argparse.Namespace) -> command.End:
    """What the command line asks for; GenericError when something is missing or wrong."""
    missing = [name for name in ("key", "cert", "ca") if not getattr(options, name)]
    if missing:
        raise GenericError(f"--{missing[0]} is missing: both ends prove who they are")
    if options.ipv4 and options.ipv6:
        raise GenericError("--ipv4 and --ipv6 exclude each other")
    if (
        options.exp_size
        and options.exp_size != command.SIZE_FROM_SCRIPT
        and not options.exp_size.isdigit()
    ):
        raise GenericError(f"--expected-size {options.exp_size!r} is neither MiB nor fd")
    authority = x509.load_certificate(Path(options.ca))
    end = command.End(
        mode=options.mode,
        key=os.path.abspath(options.key),
        cert=os.path.abspath(options.cert),
        ca=os.path.abspath(options.ca),
        host=options.host or "",
        port=options.port or 0,
        bind=options.bind or "",
        ipv6=options.ipv6,
        compress=options.compress,
        magic=options.magic or "",
        prefix=options.cmd_prefix,
        suffix=options.cmd_suffix,
        connect_retries=options.connect_retries,
        peer_name=x509.common_name(authority),
    )
    command.check(end)
    return end


def main(argv: Sequence[str] | None = None) -> int:
    """The program import-export; its exit code."""
    options = make_parser().parse_args(argv)
    level = logging.DEBUG if options.debug else logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    clock = SystemClock()
    status = StatusFile(Path(options.status_file), LocalDisk(), clock)
    listen, speak = os.pipe()
    os.set_blocking(speak, False)
    signal.set_wakeup_fd(speak)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        end = end_of(options)
        return Mover(end, status, clock, options.connect_timeout, options.exp_size).run(listen)
    except (GenericError, OSError) as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        try:
            status.end(EXIT_FAILURE, str(error))
        except OSError as problem:
            sys.stderr.write(f"{PROGRAM}: {problem}\n")
        return EXIT_FAILURE
