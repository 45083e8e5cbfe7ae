"""Where a program's log lines go: its file, syslog, stderr. The job comes from a context variable.

2026-11-22 13:50:30,123: ganeti-noded pid=812/noded_0 INFO job 17: text
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

from ganeti.utils.text import escape_for_log

JOB: ContextVar[str] = ContextVar("job", default="")
"""What the current thread or task works for, such as `job 17`; stands before each line."""

LOG_MODE = 0o600
DIRECTORY_MODE = 0o770
Syslog = Literal["no", "yes", "only"]


class JobFilter(logging.Filter):
    """Puts the job before the text."""

    def filter(self, record: logging.LogRecord) -> bool:
        job = JOB.get()
        record.job = f"{job}: " if job else ""
        return True


class LineFormatter(logging.Formatter):
    """One printable line per record; only a traceback has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escape_for_log(record.message)
        return super().formatMessage(record)


class LogFile(logging.FileHandler):
    """A log file, mode 0600, that can be opened anew after it was moved away."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="replace")

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, LOG_MODE)
        return open(fd, "a", encoding="utf-8", errors="replace")

    def reopen(self) -> None:
        """Further lines go to a new file of the same name."""
        with self.lock:  # type: ignore[union-attr]  # every handler has one
            self.close()
            self.stream = self._open()


@dataclass(slots=True)
class Log:
    """The handlers that `set_up` installed."""

    handlers: list[logging.Handler]

    def reopen(self) -> None:
        """For SIGHUP."""
        for handler in self.handlers:
            if isinstance(handler, LogFile):
                handler.reopen()

    def close(self) -> None:
        for handler in self.handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()


def set_up(
    program: str,
    path: Path | None,
    *,
    debug: bool = False,
    to_stderr: bool = False,
    syslog: Syslog = "no",
) -> Log:
    """All loggers of the process write to `path` (None: no file), and further places if asked.

    The directory is made. OSError when the file can't be opened. Libraries speak from WARNING on
    unless `debug`.
    """
    stamp = "%(asctime)s: "
    line = f"{program} pid=%(process)d/%(threadName)s %(levelname)s %(job)s%(message)s"
    handlers: list[logging.Handler] = []
    if path is not None and syslog != "only":
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
            path.parent.chmod(DIRECTORY_MODE)  # whatever the umask
        handlers.append(LogFile(path))
    if to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(LineFormatter(stamp + line))
    if syslog != "no":
        handler = logging.handlers.SysLogHandler("/dev/log", "daemon")
        handler.setFormatter(
            LineFormatter(f"{program}[%(process)d]: %(levelname)s %(job)s%(message)s")
        )
        handlers.append(handler)
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in ("aiohttp", "asyncio", "paramiko", "qemu"):
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.WARNING)
    for handler in handlers:
        handler.addFilter(JobFilter())
        root.addHandler(handler)
    return Log(handlers)
