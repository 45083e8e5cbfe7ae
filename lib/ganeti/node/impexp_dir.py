"""Directories of the transfers that run on a node, or have run: RUN/import-export/<name>.

    status   how far it is, written by import-export
    pid      process id of import-export, locked while it lives
    ca       certificate that the other end must show
    about    which instance and disks are concerned (ours)
    log      what import-export said when it could not begin (ours)

Whether one runs is told by the lock, never by the number. The master removes each when it has been
told its end; what is left by a crash goes when it is old, at the start of noded and when another
transfer begins. Source: facts/node-behaviour.md §4.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ganeti.constants import EXIT_FAILURE
from ganeti.errors import GenericError, OpExecError, ParseError
from ganeti.model.report import ImportExportStatus
from ganeti.node.context import NodeContext
from ganeti.serializer import decode, dump_bytes, loads
from ganeti.utils import daemons
from ganeti.utils.daemonize import PidFile, is_locked

logger = logging.getLogger(__name__)

NAME: Final = re.compile(r"(import|export)-[a-zA-Z0-9_.-]{1,200}")
COMPONENT: Final = re.compile(r"[a-zA-Z0-9_.-]{1,100}")
STAMP: Final = "%Y-%m-%d_%H_%M_%S"
END_S: Final = 12.0  # the program waits 5 s twice for its pipe, then it has ended
KILLED_S: Final = 5.0
POLL_S: Final = 0.02
LAST_WORDS: Final = 5
OLD_S: Final = 3600.0  # after its last word: no master asks so late, its job has long given up


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a transfer is about; `disks` are uuids."""

    instance: str
    disks: tuple[str, ...] = ()


def make(node: NodeContext, mode: str, component: str, about: About) -> Path:
    """A new directory with its `about`."""
    if COMPONENT.fullmatch(component) is None:
        raise GenericError(f"component {component!r} is no name for a part of an instance")
    stamp = time.strftime(STAMP, time.localtime(node.clock.now()))
    place = node.paths.transfers / f"{mode}-{component}-{stamp}-{secrets.token_hex(4)}"
    place.parent.mkdir(0o755, parents=True, exist_ok=True)
    remove_old(node)
    place.mkdir(0o700)
    node.files.place(place / "about", dump_bytes(about))
    return place


def find(node: NodeContext, name: str) -> Path:
    """The directory of this name, which need not be there. GenericError: it can't be one."""
    if NAME.fullmatch(name) is None:
        raise GenericError(f"{name!r} is not the name of a transfer")
    return node.paths.transfers / name


def start(
    node: NodeContext, place: Path, argv: Sequence[str], environment: Mapping[str, str]
) -> None:
    """import-export runs with these arguments, in a session of its own. OpExecError."""
    program = str(daemons.helper("import-export"))

    def run(locked: int) -> int:
        with (place / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, program, str(place / "status"), *argv],
                env={**daemons.environment(node.paths, node.hostname), **environment},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[locked],
                start_new_session=True,
            ).pid

    try:
        PidFile(place / "pid").hand_to(run)
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise OpExecError(f"{program} can't be started: {error.strerror}") from error


def running(place: Path) -> int | None:
    """Process id of the program while it lives; also the number of its session."""
    try:
        with (place / "pid").open() as file:
            if not is_locked(file):
                return None
            text = file.read().strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdigit() else None


def status(place: Path) -> ImportExportStatus | None:
    """What it tells of itself; None when there is no such transfer.

    One whose program has vanished has failed, whatever it wrote last.
    """
    if not place.is_dir():
        return None
    alive = running(place) is not None
    try:
        found = decode(ImportExportStatus, loads((place / "status").read_bytes()), place.name)
    except FileNotFoundError:
        found = ImportExportStatus()
    except ParseError as error:
        raise OpExecError(f"transfer {place.name}: status: {error}") from error
    if alive or found.exit_status is not None:
        return found
    said = _last_words(place / "log") or "it said nothing"
    return replace(
        found, exit_status=EXIT_FAILURE, error_message=f"import-export has vanished: {said}"
    )


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "; ".join(line.strip() for line in lines[-LAST_WORDS:])


def ask_to_end(place: Path) -> None:
    """TERM, if it runs."""
    _signal(place, signal.SIGTERM)


def end(node: NodeContext, place: Path) -> None:
    """Neither the program nor a part of its pipe runs. OpExecError when one can't be ended."""
    session = running(place)
    if session is None:
        return
    ask_to_end(place)
    _wait(node, lambda: running(place) is None, END_S)
    _signal(place, signal.SIGKILL)
    for pid in session_members(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if not _wait(node, lambda: not session_members(session), KILLED_S):
        raise OpExecError(f"transfer {place.name}: process {session} can't be ended")


def remove(node: NodeContext, place: Path) -> None:
    """Nothing of it runs and nothing is left; one that is not there is no error."""
    end(node, place)
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():
        raise OpExecError(f"transfer {place.name}: {place} can't be removed")


def remove_old(node: NodeContext) -> None:
    """None is left that has ended and that nobody will ask for. What can't be removed is logged."""
    for place in sorted(node.paths.transfers.glob("*-*")):
        try:
            if NAME.fullmatch(place.name) and _age_s(node, place) > OLD_S and not running(place):
                logger.warning("transfer %s: nobody has asked for its end; removed", place.name)
                remove(node, place)
        except (OSError, OpExecError) as error:
            logger.error("transfer %s: %s", place.name, error)


def _age_s(node: NodeContext, place: Path) -> float:
    """Seconds since it last wrote."""
    files = [place, *place.iterdir()]
    return node.clock.now() - max(file.stat().st_mtime for file in files)


def end_on_disks(node: NodeContext, uuids: Sequence[str]) -> None:
    """No transfer reads or writes one of these disks any more."""
    for place in sorted(node.paths.transfers.glob("*-*")):
        if set(_about(place).disks) & set(uuids):
            end(node, place)


def _about(place: Path) -> About:
    try:
        return decode(About, loads((place / "about").read_bytes()), place.name)
    except (FileNotFoundError, ParseError):
        return About(instance="")


def _signal(place: Path, number: signal.Signals) -> None:
    """To the program that holds the lock, and to no other that may get its number."""
    pid = running(place)
    if pid is None:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if running(place) == pid:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _wait(node: NodeContext, condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = node.clock.monotonic() + timeout_s
    while not condition():
        if node.clock.monotonic() >= deadline:
            return False
        node.clock.sleep(POLL_S)
    return True


def session_members(session: int) -> list[int]:
    """Processes of this session (field 6 of proc(5), stat) that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(name))
    return found
