"""A disk in memory that fails when it is told to, and forgets what was not synced."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ganeti.utils.files import LOCK_S, PRIVATE, AppendFile, Owner


@dataclass
class Inode:
    """A file: what programs see, and what would be there after a crash."""

    data: bytearray = field(default_factory=bytearray)
    stored: bytes = b""
    mode: int = PRIVATE


class FaultyDisk:
    """Implements `utils.files.Disk`.

    Each write, sync, rename, unlink, creation of a file or directory is an operation, counted from
    1. `fail_at=n`: the nth fails (a write leaves a torn part); with `lasting` all after it, too,
    as when the machine stops. While it is `full` nothing can be written. `crash()` is the disk
    after a power cut: synced things are there, of others a part, chosen by `seed`. `repaired()` is
    the disk as programs see it, without faults.
    """

    def __init__(self, *, fail_at: int | None = None, lasting: bool = False, seed: int = 0) -> None:
        self.fail_at = fail_at
        self.lasting = lasting
        self.failed = False
        self.full = False
        self.operations = 0
        self.log: list[str] = []
        self._random = random.Random(seed)
        self._seed = seed
        self._names: dict[Path, Inode] = {}
        self._stored_names: dict[Path, Inode] = {}
        self._directories: set[Path] = set()
        self._handles: list[FaultyAppendFile] = []

    # What tests do.

    def crash(self) -> FaultyDisk:
        """What a reboot finds. Handles of this disk belong to nobody any more."""
        after = FaultyDisk(seed=self._seed + 1)
        after._directories = set(self._directories)
        chance = self._random
        names = dict(self._stored_names)
        for path in self._names.keys() | self._stored_names.keys():
            if self._names.get(path) is not self._stored_names.get(path) and chance.random() < 0.5:
                if path in self._names:
                    names[path] = self._names[path]
                else:
                    names.pop(path, None)
        for path, inode in names.items():
            after._put(path, self._survivor(inode), inode.mode)
        return after

    def repaired(self) -> FaultyDisk:
        after = FaultyDisk(seed=self._seed + 1)
        after._directories = set(self._directories)
        for path, inode in self._names.items():
            after._put(path, bytes(inode.data), inode.mode)
        return after

    def put(self, path: Path, data: bytes) -> None:
        """A file that was there before the test."""
        self._put(path, data, PRIVATE)

    def _put(self, path: Path, data: bytes, mode: int) -> None:
        inode = Inode(bytearray(data), data, mode)
        self._names[path] = self._stored_names[path] = inode
        self._directories.update(path.parents)

    def _survivor(self, inode: Inode) -> bytes:
        """Synced bytes, and of the rest a part: cut anywhere, blocks of it perhaps zero."""
        data, stored = bytes(inode.data), inode.stored
        if data == stored or not data.startswith(stored):
            return stored
        end = self._random.randint(len(stored), len(data))
        tail = bytearray(data[len(stored) : end])
        if tail and self._random.random() < 0.3:
            hole = self._random.randrange(len(tail))
            tail[hole : hole + 64] = bytes(len(tail[hole : hole + 64]))
        return stored + bytes(tail)

    def _step(self, what: str, path: Path) -> None:
        self.operations += 1
        self.log.append(f"{what} {path.name}")
        dead = self.lasting and self.failed
        if dead or self.operations == self.fail_at:
            self.failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def _inode(self, path: Path) -> Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._names[path]

    def _write(self, path: Path, inode: Inode, data: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        try:
            self._step("write", path)
        except OSError:
            if not (self.lasting and self.operations != self.fail_at):
                inode.data += data[: self._random.randint(0, len(data))]
            raise
        inode.data += data

    def _sync_names(self, directory: Path) -> None:
        self._step("sync names", directory)
        for path in [one for one in self._stored_names if one.parent == directory]:
            if path not in self._names:
                del self._stored_names[path]
        for path, inode in self._names.items():
            if path.parent == directory:
                self._stored_names[path] = inode

    # Disk.

    def read(self, path: Path, start: int = 0, size: int | None = None) -> bytes:
        data = bytes(self._inode(path).data)
        return data[start:] if size is None else data[start : start + size]

    def exists(self, path: Path) -> bool:
        return path in self._names or path in self._directories

    def size(self, path: Path) -> int:
        return len(self._inode(path).data)

    def mode(self, path: Path) -> int:
        return self._inode(path).mode

    def listdir(self, path: Path) -> list[str]:
        names = {one.name for one in self._names if one.parent == path}
        return sorted(names | {one.name for one in self._directories if one.parent == path})

    def replace(
        self,
        path: Path,
        data: bytes | Iterable[bytes],
        *,
        mode: int = PRIVATE,
        owner: Owner | None = None,
    ) -> None:
        self._need_directory(path.parent)
        inode = Inode(mode=mode)
        for piece in [data] if isinstance(data, bytes) else data:
            self._write(path, inode, piece)
        self._step("sync", path)
        inode.stored = bytes(inode.data)
        self._step("rename", path)
        self._names[path] = inode
        self._sync_names(path.parent)

    def place(
        self, path: Path, data: bytes, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> None:
        self._need_directory(path.parent)
        inode = Inode(mode=mode)
        self._write(path, inode, data)
        self._step("rename", path)
        self._names[path] = inode

    def settle(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self.sync(path)
        for directory in dict.fromkeys(path.parent for path in paths):
            self._sync_names(directory)

    def append_file(
        self, path: Path, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> AppendFile:
        self._need_directory(path.parent)
        if path not in self._names:
            self._step("create", path)
            self._names[path] = Inode(mode=mode)
            self._sync_names(path.parent)
        file = FaultyAppendFile(self, path, self._names[path])
        self._handles.append(file)
        return file

    def rename(self, old: Path, new: Path) -> None:
        inode = self._inode(old)
        self._step("rename", new)
        del self._names[old]
        self._names[new] = inode
        for directory in {old.parent, new.parent}:
            self._sync_names(directory)

    def sync(self, path: Path) -> None:
        self._step("sync", path)
        inode = self._inode(path)
        inode.stored = bytes(inode.data)

    def unlink(self, path: Path, *, missing_ok: bool = False) -> None:
        if path not in self._names and missing_ok:
            return
        self._inode(path)
        self._step("unlink", path)
        del self._names[path]
        self._sync_names(path.parent)

    def mkdir(self, path: Path, *, mode: int = 0o750, owner: Owner | None = None) -> None:
        if path not in self._directories:
            self._step("mkdir", path)
            self._directories |= {path, *path.parents}

    @contextmanager
    def lock(self, path: Path, *, timeout_s: float = LOCK_S) -> Iterator[None]:
        yield

    def _need_directory(self, path: Path) -> None:
        if path not in self._directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


class FaultyAppendFile:
    """Implements `utils.files.AppendFile`; keeps its file even when the name is replaced."""

    def __init__(self, disk: FaultyDisk, path: Path, inode: Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode

    @property
    def size(self) -> int:
        return len(self._inode.data)

    def append(self, data: bytes) -> None:
        self._disk._write(self._path, self._inode, data)

    def sync(self) -> None:
        self._disk._step("sync", self._path)
        self._inode.stored = bytes(self._inode.data)

    def truncate(self, size: int) -> None:
        self._disk._step("truncate", self._path)
        del self._inode.data[size:]
        self._inode.stored = bytes(self._inode.data)

    def close(self) -> None:
        return None
