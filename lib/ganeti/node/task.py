"""Long work on a node: in a process group of its own, with a record on disk.

A task outlives noded. Its record (`run/tasks/<name>.json`) holds process id, start time of that
process and command; output and exit code are files beside it. So a restarted noded finds tasks
again, and undo can cancel one and wait until it is gone. The name is chosen by the caller: starting
a task of that name again gives the running one back.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ganeti.errors import GenericError, OpExecError, ParseError
from ganeti.node.context import NodeContext
from ganeti.serializer import decode, dump_bytes, loads

NAME: Final = re.compile(r"[a-zA-Z0-9_.+:-]{1,200}")
POLL_S = 0.05
TERM_TO_KILL_S = 5.0
KILLED_S = 5.0  # for the kernel to end a killed group
LAST_BYTES = 16384
# A shell is the only parent that is small, outlives us and writes down how its child ended; the
# command comes as arguments and is never parsed. It waits for a line, which it gets when the record
# is on disk: were noded to die before that, it reads the end of the pipe and goes.
KEEPER: Final = """
read -r go || exit 1
"$@" </dev/null >"$TASK.log" 2>&1
echo $? >"$TASK.rc.new"
mv "$TASK.rc.new" "$TASK.rc"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A task as it is written down. `started` is the process's start in clock ticks after boot."""

    name: str
    argv: tuple[str, ...]
    pid: int
    started: int
    boot_id: str
    began_at: float
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """What a task is doing. `code` is None while it runs, or when it was killed."""

    record: Record
    running: bool
    code: int | None
    output: str  # the last 16 KiB

    @property
    def ok(self) -> bool:
        return not self.running and self.code == 0

    @property
    def reason(self) -> str:
        if self.running:
            return "still running"
        return "was killed" if self.code is None else f"exited with exit code {self.code}"


class Tasks:
    """The tasks of one node."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node
        self._directory = node.paths.tasks

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> TaskState:
        """The task runs, or has run: a name stands for one piece of work until it is removed.

        OpExecError when it can't be started; nothing is left then.
        """
        found = self.find(name)
        if found is not None:
            return found
        self._directory.mkdir(0o700, parents=True, exist_ok=True)
        self._clean(name)
        base = str(self._directory / name)
        environment = {**os.environ, "LC_ALL": "C", **(env or {}), "TASK": base}
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "task", *argv],
                env=environment,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise OpExecError(f"task {name}: can't be started: {error.strerror}") from error
        record = Record(
            name=name,
            argv=tuple(argv),
            pid=child.pid,
            started=start_ticks(child.pid) or 0,
            boot_id=_boot_id(),
            began_at=self._node.clock.now(),
            about=dict(about or {}),
        )
        self._write(record, child)
        return self.state(record)

    def find(self, name: str) -> TaskState | None:
        """The task of this name, of this noded or of an earlier one; None when there is none."""
        try:
            text = self._file(name, "json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            record = decode(Record, loads(text, f"task {name}"), f"task {name}")
        except ParseError as error:
            raise OpExecError(f"task {name}: its record is damaged: {error}") from error
        return self.state(record)

    def all(self) -> list[TaskState]:
        """Every task that has a record, by name."""
        names = sorted(place.stem for place in self._directory.glob("*.json"))
        return [state for name in names if (state := self.find(name)) is not None]

    def wait(self, name: str, timeout_s: float) -> TaskState:
        """The state when the task has ended, or after `timeout_s`. OpExecError: no such task."""
        deadline = self._node.clock.monotonic() + timeout_s
        while True:
            state = self._known(name)
            if not state.running or self._node.clock.monotonic() >= deadline:
                return state
            self._node.clock.sleep(POLL_S)

    def cancel(self, name: str) -> TaskState | None:
        """No process of the task runs any more. None: there was no such task.

        OpExecError when a process can't be ended (it hangs in the kernel).
        """
        state = self.find(name)
        if state is None or not state.running:
            return state
        for number, patience_s in ((signal.SIGTERM, TERM_TO_KILL_S), (signal.SIGKILL, KILLED_S)):
            _signal_group(state.record.pid, number)
            state = self.wait(name, patience_s)
            if not state.running:
                return state
        raise OpExecError(f"task {name}: process {state.record.pid} can't be ended")

    def remove(self, name: str) -> None:
        """Nothing is left of an ended task. OpExecError while it runs."""
        state = self.find(name)
        if state is not None and state.running:
            raise OpExecError(f"task {name}: is running and can't be removed")
        self._clean(name)

    def state(self, record: Record) -> TaskState:
        code = self._code(record.name)
        running = code is None and is_alive(record)
        if not running and code is None:
            code = self._code(record.name)  # it may have ended between the two looks
        return TaskState(
            record=record, running=running, code=code, output=self._output(record.name)
        )

    def _known(self, name: str) -> TaskState:
        state = self.find(name)
        if state is None:
            raise OpExecError(f"task {name}: there is none of this name")
        return state

    def _write(self, record: Record, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        try:
            self._node.files.replace(self._file(record.name, "json"), dump_bytes(record))
            child.stdin.write(b"go\n")
            child.stdin.flush()
        except OSError as error:
            _signal_group(child.pid, signal.SIGKILL)
            child.wait()
            self._clean(record.name)
            raise OpExecError(f"task {record.name}: no record: {error}") from error
        finally:
            child.stdin.close()

    def _clean(self, name: str) -> None:
        for kind in ("json", "rc", "rc.new", "log"):
            self._file(name, kind).unlink(missing_ok=True)

    def _code(self, name: str) -> int | None:
        try:
            text = self._file(name, "rc").read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None

    def _output(self, name: str) -> str:
        try:
            with open(self._file(name, "log"), "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LAST_BYTES))
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _file(self, name: str, kind: str) -> Path:
        if NAME.fullmatch(name) is None or name.startswith("."):
            raise GenericError(f"{name!r} is not a name for a task")
        return self._directory / f"{name}.{kind}"


def is_alive(record: Record) -> bool:
    """Whether a process of the record's group runs; a number used again is told by its start."""
    if record.boot_id != _boot_id():
        return False
    _reap(record.pid)
    ticks = start_ticks(record.pid)
    return ticks == record.started if ticks is not None else has_members(record.pid)


def _stat_fields(pid: str) -> list[str] | None:
    """proc(5), stat, from field 3 (state) on; None for no process or one that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields


def start_ticks(pid: int) -> int | None:
    """When the process began, in clock ticks after boot: field 22."""
    fields = _stat_fields(str(pid))
    return None if fields is None else int(fields[19])


def has_members(group: int) -> bool:
    """Whether a process of this group (field 5) runs."""
    pids = (name for name in os.listdir("/proc") if name.isdigit())
    rows = (_stat_fields(pid) for pid in pids)
    return any(row is not None and int(row[2]) == group for row in rows)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # started by an earlier noded


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
