"""The master's journals, kept on a master candidate (client: rpc/replicate.py).

A candidate judges nothing but order: an append must continue the file of that generation, and
neither it nor a whole file may come from a master of a term that is over (rpc/promise.py). What it
answers is durable.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganeti.constants import JOBS_PER_ARCHIVE_DIRECTORY
from ganeti.errors import GenericError, ParseError
from ganeti.node.context import NodeContext
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.rpc.calls import JournalState
from ganeti.rpc.promise import Promise, header_of, lock_of
from ganeti.utils.files import Disk
from ganeti.utils.journal import Generation

MODE: Final = 0o640
PIECE_LIMIT_BYTES: Final = 1024 * 1024
FILE_LIMIT_BYTES: Final = 512 * 1024 * 1024

# Bytes travel as text with one character per byte; ours are ASCII, an old file may be UTF-8.
TEXT: Final = "latin-1"

JOB_FILE: Final = re.compile(r"job-(\d+)")
CONFIG, QUEUE, CONFIG_DATA = "config", "queue", "config.data"


@dataclass(frozen=True, slots=True)
class JournalStore:
    """The journals of one candidate. Each method holds the lock of the journal's lock file."""

    paths: Paths
    disk: Disk

    def append(self, name: str, generation: str, offset: int, data: bytes) -> JournalState:
        path = self._path(name)
        _check_size(len(data), PIECE_LIMIT_BYTES, name)
        return self._locked(name, lambda: self._append(name, path, generation, offset, data))

    def state(self, name: str, checksum: bool) -> JournalState:
        path = self._path_to_read(name)
        if JOB_FILE.fullmatch(name):  # only ever replaced as a whole
            return self._state(path, checksum=checksum)
        return self._locked(name, lambda: self._state(path, checksum=checksum))

    def promise(self, name: str, generation: str) -> JournalState:
        path = self._path(name)
        wanted = Generation.parse(generation)

        def give() -> JournalState:
            refused = self._promise(name).give(wanted)
            return self._state(path, refused=refused, deposed=bool(refused))

        return self._locked(name, give)

    def read(self, name: str, offset: int, size: int) -> bytes:
        path = self._path_to_read(name)
        _check_size(size, PIECE_LIMIT_BYTES, name)
        return self.disk.read(path, offset, size) if self.disk.exists(path) else b""

    def replace(
        self, name: str, generation: str, offset: int, data: bytes, total: int, crc: int
    ) -> JournalState:
        path = self._path(name)
        _check_size(len(data), PIECE_LIMIT_BYTES, name)
        _check_size(total, FILE_LIMIT_BYTES, name)
        judge = CONFIG if name == CONFIG_DATA else name

        def write() -> JournalState:
            ours, theirs = Generation.parse(generation), header_of(self.disk, self._path(judge))
            refused = self._promise(judge).refusal(ours)
            if not refused and not ours.may_replace(theirs):
                refused = f"a journal of generation {theirs} is here, {ours} is not later"
            if refused:
                return self._state(path, refused=refused, deposed=True)
            return self._replace(path, offset, data, total, crc)

        return self._locked(name, write)

    def job_files(self) -> dict[str, tuple[int, int]]:
        """Size and CRC-32 of each job file that is not archived."""
        found = {}
        if self.disk.exists(self.paths.queue):
            for name in self.disk.listdir(self.paths.queue):
                if JOB_FILE.fullmatch(name):
                    data = self.disk.read(self.paths.queue / name)
                    found[name] = (len(data), zlib.crc32(data))
        return found

    def _path_to_read(self, name: str) -> Path:
        """Of a journal, or of a job's file, which may be archived."""
        found = JOB_FILE.fullmatch(name)
        if not found:
            return self._path(name)
        live = self.paths.queue / name
        if self.disk.exists(live):
            return live
        return self.paths.archive / str(int(found[1]) // JOBS_PER_ARCHIVE_DIRECTORY) / name

    def _path(self, name: str) -> Path:
        if name == QUEUE:
            return self.paths.queue_journal
        if name == CONFIG:
            return self.paths.config_journal
        if name == CONFIG_DATA:
            return self.paths.config_data
        raise ParseError(f"{name!r} is not a journal; known: {CONFIG}, {QUEUE}, {CONFIG_DATA}")

    def _promise(self, name: str) -> Promise:
        return Promise(self._path(name), lock_of(self.paths, name), self.disk)

    def _locked(self, name: str, work: Callable[[], JournalState]) -> JournalState:
        lock = lock_of(self.paths, CONFIG if name == CONFIG_DATA else name)
        self.disk.mkdir(lock.parent)
        with self.disk.lock(lock):
            return work()

    def _promised(self, path: Path) -> Generation | None:
        names = [name for name in (CONFIG, QUEUE) if self._path(name) == path]
        return self._promise(names[0]).promised() if names else None

    def _state(
        self, path: Path, *, checksum: bool = False, refused: str = "", deposed: bool = False
    ) -> JournalState:
        given = self._promised(path)
        promised = str(given) if given is not None else ""
        if not self.disk.exists(path):
            return JournalState(refused=refused, deposed=deposed, promised=promised)
        generation = header_of(self.disk, path)
        return JournalState(
            generation=str(generation) if generation is not None else "",
            size=self.disk.size(path),
            crc=zlib.crc32(self.disk.read(path)) if checksum else 0,
            refused=refused,
            deposed=deposed,
            promised=promised,
        )

    def _append(
        self, name: str, path: Path, generation: str, offset: int, data: bytes
    ) -> JournalState:
        here = header_of(self.disk, path)
        if here is None or str(here) != generation:
            return self._state(path, refused="the journal here is of another generation")
        refused = self._promise(name).refusal_here(here)
        if refused:
            return self._state(path, refused=refused, deposed=True)
        file = self.disk.append_file(path, mode=MODE)
        try:
            if file.size != offset:
                return self._state(path, refused=f"the journal here has {file.size} bytes")
            file.append(data)
            file.sync()
            return JournalState(generation, file.size)
        finally:
            file.close()

    def _replace(self, path: Path, offset: int, data: bytes, total: int, crc: int) -> JournalState:
        part = path.with_name(path.name + ".part")
        if offset == 0:
            self.disk.mkdir(path.parent)
            self.disk.unlink(part, missing_ok=True)
        file = self.disk.append_file(part, mode=MODE)
        try:
            if file.size != offset:
                return self._state(path, refused=f"byte {file.size} of the file is expected")
            file.append(data)
            if file.size < total:
                return self._state(path)
            file.sync()
        finally:
            file.close()
        if zlib.crc32(self.disk.read(part)) != crc:
            return self._state(path, refused="the file did not arrive as it was sent")
        self.disk.rename(part, path)
        return self._state(path)


def _check_size(size: int, limit: int, name: str) -> None:
    if not 0 <= size <= limit:
        raise GenericError(f"journal {name}: {size} bytes, at most {limit} are allowed")


def _store(node: NodeContext) -> JournalStore:
    return JournalStore(node.paths, node.files)


@serves(calls.journal_append)
def journal_append(
    node: NodeContext, name: str, generation: str, offset: int, data: str
) -> JournalState:
    return _store(node).append(name, generation, offset, data.encode(TEXT))


@serves(calls.journal_state)
def journal_state(node: NodeContext, name: str, checksum: bool) -> JournalState:
    return _store(node).state(name, checksum)


@serves(calls.journal_promise)
def journal_promise(node: NodeContext, name: str, generation: str) -> JournalState:
    return _store(node).promise(name, generation)


@serves(calls.journal_read)
def journal_read(node: NodeContext, name: str, offset: int, size: int) -> str:
    return _store(node).read(name, offset, size).decode(TEXT)


@serves(calls.journal_job_files)
def journal_job_files(node: NodeContext) -> dict[str, tuple[int, int]]:
    return _store(node).job_files()


@serves(calls.journal_replace)
def journal_replace(
    node: NodeContext, name: str, generation: str, offset: int, data: str, total: int, crc: int
) -> JournalState:
    return _store(node).replace(name, generation, offset, data.encode(TEXT), total, crc)
