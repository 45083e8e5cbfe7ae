"""How far one end of a transfer is, and the file that tells it (facts/node-behaviour.md §4)."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Final

from ganeti.model.report import ImportExportStatus
from ganeti.node.context import Clock
from ganeti.serializer import dump_bytes, encode
from ganeti.utils.files import Disk

MIB: Final = 1024 * 1024
WINDOW_S: Final = 60.0
WRITE_S: Final = 5.0
RECENT_LINES: Final = 20
LONGEST_LINE: Final = 500


class Progress:
    """Bytes over time; the rate is that of the last 60 s. Pure: time comes as an argument."""

    def __init__(self, expected_mib: float | None = None) -> None:
        self.expected_mib = expected_mib
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """`done` bytes in all have passed by now."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()

    @property
    def mib(self) -> float | None:
        return self._seen[-1][1] / MIB if self._seen else None

    @property
    def rate(self) -> float | None:
        """MiB/s; None before two looks."""
        if len(self._seen) < 2:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / MIB / (ended - began) if ended > began else None

    @property
    def percent(self) -> float | None:
        if self.mib is None or not self.expected_mib:
            return None
        return min(100.0, 100.0 * self.mib / self.expected_mib)

    @property
    def eta_s(self) -> float | None:
        if self.mib is None or not self.expected_mib or not self.rate:
            return None
        return max(0.0, (self.expected_mib - self.mib) / self.rate)


class StatusFile:
    """The status as others read it. Written at once for what matters, else each 5 s at most."""

    def __init__(self, path: Path, files: Disk, clock: Clock) -> None:
        self._path, self._files, self._clock = path, files, clock
        self._written_at: float | None = None
        self._recent: deque[str] = deque(maxlen=RECENT_LINES)
        self.now = ImportExportStatus(ctime=clock.now())

    def say(self, line: str) -> None:
        """A line for people. It stands in the file at the next writing."""
        if line.strip():
            self._recent.append(line.strip()[:LONGEST_LINE])
            self.now = replace(self.now, recent_output=tuple(self._recent))

    def show(self, progress: Progress) -> None:
        self.now = replace(
            self.now,
            progress_mbytes=progress.mib,
            progress_throughput=progress.rate,
            progress_percent=progress.percent,
            progress_eta=progress.eta_s,
        )
        self.write(force=False)

    def set_port(self, port: int) -> None:
        if port != self.now.listen_port:
            self.now = replace(self.now, listen_port=port)
            self.write()

    def set_connected(self) -> None:
        self.now = replace(self.now, connected=True)
        self.write()

    def end(self, code: int, message: str | None) -> None:
        self.now = replace(self.now, exit_status=code, error_message=message)
        self.write()

    def write(self, *, force: bool = True) -> None:
        now = self._clock.monotonic()
        if not force and self._written_at is not None and now < self._written_at + WRITE_S:
            return
        self._written_at = now
        self.now = replace(self.now, mtime=self._clock.now())
        self._files.place(self._path, dump_bytes(encode(self.now)))
