"""Who did what over the remote API: one line of JSON per request that changes something, and per
refused login; with `reads` per request.

Bodies are never in it, and of the query only arguments that the method declares. Lines are written
by another thread, some milliseconds later, so that a slow disk holds up no request; beyond
MOST_WAITING of them the newest are lost, and the next line says how many.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ganeti.rapi.table import Method
from ganeti.serializer import Json, dump_bytes

logger = logging.getLogger(__name__)

MODE: Final = 0o640
MOST_WAITING: Final = 10_000  # lines; some 3 MiB
MAX_TEXT: Final = 1024  # of what a client chooses freely
HIDDEN: Final = "<hidden>"
SECRET_ARGUMENTS: Final = frozenset({"ticket"})
REFUSED: Final = (401, 403)


@dataclass(slots=True)
class Record:
    """One request, filled in while it is answered. `login`: the user's name as it was given."""

    method: str
    path: str
    address: str
    began: float
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    resource: Method | None = None
    login: str = ""
    token: str = ""
    job: Json = None

    def matters(self, status: int) -> bool:
        """Whether it stands in the log even without reads."""
        if status in REFUSED or self.method not in ("GET", "HEAD", "OPTIONS"):
            return True
        resource = self.resource
        return resource is not None and (resource.submits or resource.by_ticket)

    def to_json(self, status: int, now: float) -> dict[str, Json]:
        return {
            "time": _moment(now),
            "user": self.login[:MAX_TEXT] or None,
            "token": self.token or None,
            "address": self.address,
            "method": self.method[:MAX_TEXT],
            "path": self.path[:MAX_TEXT],
            "query": shown_query(self.query, self.resource),
            "status": status,
            "job": self.job,
            "duration_s": round(max(0.0, now - self.began), 6),
        }


def _moment(now: float) -> str:
    """RFC 3339, UTC, with microseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{whole}.{int(now % 1 * 1_000_000):06d}Z"


def shown_query(
    query: Mapping[str, Sequence[str]], resource: Method | None
) -> dict[str, list[str]]:
    """Values of declared arguments; of others only the name, for nobody knows what they are."""
    declared = {one.name for one in resource.arguments} if resource else set()
    shown = {}
    for name, values in list(query.items())[:100]:
        known = name in declared and name not in SECRET_ARGUMENTS
        shown[name[:MAX_TEXT]] = [one[:MAX_TEXT] if known else HIDDEN for one in values[:100]]
    return shown


class AuditLog:
    """The file; lives on the loop. Without a path nothing is kept."""

    def __init__(
        self,
        path: Path | None,
        *,
        reads: bool = False,
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.reads = reads
        self.clock = clock
        self._most = most_waiting
        self._waiting: list[bytes] = []
        self._lost = 0
        self._fd = -1
        self._writer: asyncio.Task[None] | None = None

    def begin(self, method: str, path: str, address: str) -> Record:
        return Record(method, path, address, self.clock())

    def end(self, record: Record, status: int) -> None:
        """The request has got this answer; returns at once."""
        if self.path is None or not (self.reads or record.matters(status)):
            return
        if len(self._waiting) >= self._most:
            self._lost += 1
            return
        line = record.to_json(status, self.clock())
        if self._lost:
            line["lost_before"], self._lost = self._lost, 0
        self._waiting.append(dump_bytes(line) + b"\n")
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())

    def reopen(self) -> None:
        """Further lines go to a new file of the same name; for SIGHUP."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._writer is None:
            os.close(fd)
        elif fd >= 0:
            self._writer.add_done_callback(lambda _: os.close(fd))  # type: ignore[union-attr]

    async def flush(self) -> None:
        """All lines are written, or lost."""
        while self._writer is not None:
            await self._writer

    async def close(self) -> None:
        await self.flush()
        self.reopen()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        assert self.path is not None
        try:
            while self._waiting:
                lines, self._waiting = self._waiting, []
                try:
                    if self._fd < 0:
                        self._fd = await loop.run_in_executor(None, _open, self.path)
                    await loop.run_in_executor(None, _write, self._fd, b"".join(lines))
                except OSError as error:
                    self._lost += len(lines)
                    text = "audit log %s: %s; %d lines are lost"
                    logger.error(text, self.path, error.strerror, len(lines))
        finally:
            self._writer = None


def _open(path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
    os.fchmod(fd, MODE)  # whatever the umask
    return fd


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
