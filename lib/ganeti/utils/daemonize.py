"""Becoming a daemon: options common to all, pid file, background, readiness told to the starter.

Order: options → background (before any loop, thread or TLS context) → pid file → log → work →
`Ready.done()`. The starter waits until then and ends with what became of it: 0, or the daemon's
exit code with its text on stderr.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import logging
import os
import resource
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import GenericError, PidFileLockError
from ganeti.paths import Paths
from ganeti.utils import log
from ganeti.version import RELEASE

logger = logging.getLogger(__name__)

UMASK = 0o077
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # mlockall(2)
_TEXT_LIMIT = 4096
# struct flock: type, whence, start, length, pid. The lock belongs to the open file and so, unlike
# that of lockf(3), does not end when the daemon reads its own pid file; lockf of others sees it.
_WHOLE_FILE = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def daemon_parser(program: str, description: str, *, network: bool) -> argparse.ArgumentParser:
    """The options that every daemon has (facts/cli.json, daemons.python_common_options)."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    add = parser.add_argument
    add("-f", "--foreground", action="store_false", dest="fork", help="stay attached")
    add("-d", "--debug", action="store_true", help="log more")
    add("--syslog", choices=("no", "yes", "only"), default="no", help="log to syslog")
    add("--version", action="version", version=f"{program} (ganeti) {RELEASE}")
    if network:
        add("-p", "--port", type=int, help="port to listen on")
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "-b", "--bind", dest="bind_address", metavar="ADDRESS", help="address to listen on"
        )
        where.add_argument(
            "-i",
            "--interface",
            dest="bind_interface",
            metavar="INTERFACE",
            help="network interface whose address to listen on",
        )
        add("--no-ssl", action="store_false", dest="ssl", help="no encryption")
        add("-K", "--ssl-key", help="file with the private key")
        add("-C", "--ssl-cert", help="file with the certificate")
    return parser


def allow_open_files(most: int) -> None:
    """The process may have so many files open, if its hard limit lets it; the usual 1024 are few
    for thousands of clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_locked(file: IO[str]) -> bool:
    """Whether another holder has locked the pid file; asks only, and takes no lock."""
    found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    kind: int = struct.unpack_from("h", found)[0]
    return kind != fcntl.F_UNLCK


class PidFile:
    """The daemon's pid file, locked while the daemon lives. A context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> PidFile:
        """PidFileLockError when another process holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self._open_locked()
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file
        return self

    def hand_to(self, start: Callable[[int], int]) -> int:
        """A child holds the file from now on, and its number stands in it.

        `start` gets the descriptor that the child has to inherit, and returns the child's number.
        """
        with self._open_locked() as file:
            pid = start(file.fileno())
            file.truncate(0)
            file.write(f"{pid}\n")
        return pid

    def _open_locked(self) -> IO[str]:
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            file = os.fdopen(fd, "r+")
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE_FILE)
            except OSError as error:
                holder = file.read().strip() or "another process"
                file.close()
                raise PidFileLockError(f"{self.path} is held by process {holder}") from error
            if self._is_in_place(fd):
                return file
            file.close()  # its last holder removed it between our opening and locking

    def _is_in_place(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


@dataclass(slots=True)
class Ready:
    """How the daemon tells its starter. `fd` is the pipe to it; None in the foreground."""

    fd: int | None = None

    def done(self) -> None:
        """The daemon works; the starter ends with 0."""
        self._send(b"0")

    def failed(self, code: int, text: str) -> None:
        """The daemon will not work; the starter ends with `code` and this text."""
        if self.fd is None:
            sys.stderr.write(text + "\n")
        self._send(f"{code}\n{text}".encode()[:_TEXT_LIMIT])

    def _send(self, message: bytes) -> None:
        if self.fd is not None:
            fd, self.fd = self.fd, None
            try:
                os.write(fd, message)
            except BrokenPipeError:
                logger.info("the starter did not wait")
            os.close(fd)


def go_background() -> Ready:
    """Return in the daemon: own session, umask 077, directory /, no terminal.

    The calling process stays, waits for the daemon's word and ends with it. Only a process
    without threads and without a loop may call this.
    """
    from daemon import DaemonContext

    listen, speak = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(speak)
        os._exit(_await_word(listen, child))
    os.close(listen)
    DaemonContext(detach_process=True, umask=UMASK, files_preserve=[speak], signal_map={}).open()
    return Ready(speak)


def _await_word(fd: int, child: int) -> int:
    with os.fdopen(fd, "rb") as pipe:
        said = pipe.read(_TEXT_LIMIT)
    os.waitpid(child, 0)
    if not said:
        sys.stderr.write("the daemon ended before it was ready; see its log\n")
        sys.stderr.flush()
        return EXIT_FAILURE
    code, _, text = said.decode("utf-8", "replace").partition("\n")
    if text:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    return int(code) if code.isdigit() else EXIT_SUCCESS


def stay_foreground() -> Ready:
    """The same set-up without leaving the terminal."""
    os.umask(UMASK)
    os.chdir("/")
    return Ready()


def run_program(
    program: str,
    kind: str,
    options: argparse.Namespace,
    paths: Paths,
    work: Callable[[Ready, log.Log], int],
) -> int:
    """Its exit code: in the background unless told otherwise, `work` done with its log open.

    `kind` names the log file, as in `Paths.daemon_log`.
    """
    ready = go_background() if options.fork else stay_foreground()

    def logged() -> int:
        lines = log.set_up(
            program,
            paths.daemon_log(kind),
            debug=options.debug,
            to_stderr=not options.fork,
            syslog=options.syslog,
        )
        return work(ready, lines)

    return work_or_tell(program, ready, logged)


def work_or_tell(program: str, ready: Ready, work: Callable[[], int]) -> int:
    """The daemon's exit code. Whatever `work` raises stands in the log, and the starter reads it
    when the daemon was not ready yet."""
    try:
        return work()
    except (GenericError, OSError) as error:
        logger.error("%s ends: %s", program, error)
        ready.failed(EXIT_FAILURE, f"{program}: {error}")
    except Exception as error:  # a mistake of ours; nobody reads what a daemon has on its stderr
        logger.critical("%s ends by an unexpected error", program, exc_info=True)
        words = " ".join(f"{type(error).__name__}: {error}".split())
        ready.failed(
            EXIT_FAILURE, f"{program}: unexpected error: {words}; its log has the traceback"
        )
    return EXIT_FAILURE


def leave(code: int) -> NoReturn:
    """End the process now: worker threads that still block are not waited for."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def lock_memory() -> None:
    """What the process touches stays in memory, so that it answers when the node swaps.

    Only pages in use are locked (MCL_ONFAULT), not whole thread stacks. Not allowed: a warning.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        logger.warning("memory is not locked: %s", os.strerror(ctypes.get_errno()))
