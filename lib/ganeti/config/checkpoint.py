"""Writing `config.data`: in pieces, in a thread, when the rules say so.

The journal makes a change durable; the file only has to follow. While it is small it follows at
once (changes within a second share one write, and writing never takes more than a twentieth of the
time), a large one when the journal has grown to a quarter of it, or after 5 s of rest.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganeti.config.snapshot import ConfigThing, Snapshot
from ganeti.serializer import dump_bytes, encode
from ganeti.utils.files import Disk, Owner

CHUNK_BYTES: Final = 128 * 1024  # what is written at once
FILE_MODE: Final = 0o640
SECTIONS: Final = {
    "nodes": "nodes",
    "nodegroups": "groups",
    "instances": "instances",
    "networks": "networks",
    "disks": "disks",
    "filters": "filters",
}
"""Key of the file → field of the snapshot, in the order of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSettings:
    """When the file is written. Times in seconds."""

    small_bytes: int = 1 << 20  # of a file, and of its journal
    gap_s: float = 1.0  # between two writes of a small file
    share: float = 0.05  # of the time may be spent writing it
    rest_s: float = 5.0  # without changes, for a large file
    journal_share: float = 0.25  # a journal of that part of the file begins anew
    retry_s: float = 10.0  # after a write that failed


@dataclass(frozen=True, slots=True)
class Saved:
    """The file as it was written last."""

    serial_no: int
    size: int
    crc: int


@dataclass(slots=True)
class Schedule:
    """When the next write is due; pure. Times are of one monotonic clock."""

    settings: CheckpointSettings
    last_change: float = 0.0
    last_write: float = 0.0  # when it ended
    cost: float = 0.0  # how long it took
    failed: bool = False

    def wrote(self, began: float, ended: float, *, failed: bool = False) -> None:
        self.last_write, self.cost, self.failed = ended, ended - began, failed

    def journal_limit(self, file_size: int) -> int:
        """A journal above that many bytes begins anew after the next write."""
        return max(int(file_size * self.settings.journal_share), self.settings.small_bytes)

    def due_at(self, file_size: int, journal_size: int) -> float:
        """When a file that is behind should be written."""
        earliest = self.last_write + (self.settings.retry_s if self.failed else 0.0)
        if file_size < self.settings.small_bytes:
            gap = max(self.settings.gap_s, self.cost / self.settings.share)
            return max(earliest, self.last_write + gap)
        if journal_size > self.journal_limit(file_size):
            return earliest
        return max(earliest, self.last_change + self.settings.rest_s)


class DocumentWriter:
    """Writes snapshots; remembers the text of each object, so that only changed ones are encoded.

    Used by one thread at a time.
    """

    def __init__(self, disk: Disk, path: Path, owner: Owner | None = None) -> None:
        self._disk = disk
        self._path = path
        self._owner = owner
        self._texts: dict[str, tuple[ConfigThing, bytes]] = {}

    def write(self, snapshot: Snapshot) -> Saved:
        """The file durably is that snapshot; OSError: it is what it was."""
        size = crc = 0

        def counted() -> Iterator[bytes]:
            nonlocal size, crc
            for chunk in chunks(self._pieces(snapshot)):
                size += len(chunk)
                crc = zlib.crc32(chunk, crc)
                yield chunk

        self._disk.replace(self._path, counted(), mode=FILE_MODE, owner=self._owner)
        return Saved(snapshot.serial_no, size, crc)

    def _pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Compact JSON, ASCII, objects in the order of their uuids."""
        texts: dict[str, tuple[ConfigThing, bytes]] = {}

        def text(uuid: str, thing: ConfigThing) -> bytes:
            known = self._texts.get(uuid)
            if known is None or known[0] is not thing:
                known = (thing, dump_bytes(encode(thing)))
            texts[uuid] = known
            return known[1]

        yield b'{"version":%d,"cluster":' % snapshot.version
        yield text("cluster", snapshot.cluster)
        for key, field in SECTIONS.items():
            yield b",%s:{" % dump_bytes(key)
            comma = b""
            for uuid, thing in sorted(getattr(snapshot, field).items()):
                yield b"%s%s:%s" % (comma, dump_bytes(uuid), text(uuid, thing))
                comma = b","
            yield b"}"
        for key, value in snapshot.unknown.items():
            yield b",%s:%s" % (dump_bytes(key), dump_bytes(value))
        yield b',"ctime":%s,"mtime":%s,"serial_no":%d}' % (
            dump_bytes(snapshot.ctime),
            dump_bytes(snapshot.mtime),
            snapshot.serial_no,
        )
        self._texts = texts


def chunks(pieces: Iterator[bytes], size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The same bytes in larger parts."""
    waiting: list[bytes] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)
