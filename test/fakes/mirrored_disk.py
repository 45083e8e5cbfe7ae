"""A faulty disk whose visible files also lie on the file system, for programs that look there."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fakes.faulty_disk import FaultyAppendFile, FaultyDisk, Inode
from ganeti.errors import LockError
from ganeti.utils.files import LOCK_S, PRIVATE, AppendFile, Owner


class MirroredDisk(FaultyDisk):
    """One machine's disk.

    `on_event(text)` is called before every single step ("sync journal") and after every operation
    ("append journal done"); it may call `stop`, which is the power cut: from then on nothing
    works, and `power_on` is what the next boot finds. What was never written through this disk is
    taken as it lies there. Threads may use it.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.on_event: Callable[[str], None] = lambda text: None
        self.full_from: int | None = None  # writes fail with ENOSPC from that operation on …
        self.full_until: int | None = None  # … up to this one
        self._turn = threading.RLock()
        self._locks: dict[Path, threading.Lock] = {}
        self._survivors: FaultyDisk | None = None

    # Power.

    @property
    def stopped(self) -> bool:
        return self._survivors is not None

    def stop(self) -> None:
        """The power is cut at this very moment."""
        with self._turn:
            if self._survivors is None:
                self._survivors = self.crash()

    def power_on(self) -> MirroredDisk:
        """The disk after the boot; the files lie there as they survived."""
        assert self._survivors is not None
        after = MirroredDisk(seed=self._seed + 1)
        survivors = self._survivors._names
        for path in self._names.keys() - survivors.keys():
            path.unlink(missing_ok=True)
        for path, inode in survivors.items():
            after._put(path, bytes(inode.data), inode.mode)
            after._show(path)
        return after

    # Mirroring.

    def _show(self, path: Path) -> None:
        inode = self._names[path]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(inode.data)
        path.chmod(inode.mode)

    def _inode(self, path: Path) -> Inode:
        if path not in self._names and path.is_file():
            self._put(path, path.read_bytes(), path.stat().st_mode & 0o777)
        return super()._inode(path)

    def _step(self, what: str, path: Path) -> None:
        self._event(f"{what} {path.name}")
        number = self.operations + 1
        if (
            self.full_from is not None
            and self.full_from <= number
            and (self.full_until is None or number <= self.full_until)
            and what in ("write", "create", "mkdir", "sync")
        ):
            self.operations = number
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        super()._step(what, path)

    def _event(self, text: str) -> None:
        self._refuse_stopped()
        self.on_event(text)
        self._refuse_stopped()

    def _refuse_stopped(self) -> None:
        if self._survivors is not None:
            raise OSError(errno.EIO, "the machine has no power")

    @contextmanager
    def _operation(self, what: str, path: Path) -> Iterator[None]:
        with self._turn:
            self._refuse_stopped()
            yield
            self._event(f"{what} {path.name} done")

    # Disk.

    def read(self, path: Path, start: int = 0, size: int | None = None) -> bytes:
        with self._turn:
            self._refuse_stopped()
            return super().read(path, start, size)

    def exists(self, path: Path) -> bool:
        with self._turn:
            self._refuse_stopped()
            return super().exists(path) or path.exists()

    def listdir(self, path: Path) -> list[str]:
        with self._turn:
            self._refuse_stopped()
            return sorted(os.listdir(path))

    def replace(
        self,
        path: Path,
        data: bytes | Iterable[bytes],
        *,
        mode: int = PRIVATE,
        owner: Owner | None = None,
    ) -> None:
        with self._operation("replace", path):
            if path.is_file():
                self._inode(path)
            super().replace(path, data, mode=mode, owner=owner)
            self._show(path)

    def place(
        self, path: Path, data: bytes, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> None:
        with self._operation("place", path):
            if path.is_file():
                self._inode(path)
            super().place(path, data, mode=mode, owner=owner)
            self._show(path)

    def append_file(
        self, path: Path, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> AppendFile:
        with self._turn:
            self._refuse_stopped()
            if path.is_file():
                self._inode(path)
            super().append_file(path, mode=mode, owner=owner)
            if not path.exists():
                self._show(path)
            return MirroredAppendFile(self, path, self._names[path])

    def rename(self, old: Path, new: Path) -> None:
        with self._operation("rename", new):
            self._inode(old)
            if new.is_file():
                self._inode(new)
            super().rename(old, new)
            self._show(new)
            old.unlink(missing_ok=True)

    def sync(self, path: Path) -> None:
        with self._operation("sync", path):
            super().sync(path)

    def unlink(self, path: Path, *, missing_ok: bool = False) -> None:
        with self._operation("unlink", path):
            if path.is_file():
                self._inode(path)
            super().unlink(path, missing_ok=missing_ok)
            path.unlink(missing_ok=True)

    def mkdir(self, path: Path, *, mode: int = 0o750, owner: Owner | None = None) -> None:
        if path.is_dir():
            self._directories |= {path, *path.parents}
            return
        with self._operation("mkdir", path):
            super().mkdir(path, mode=mode, owner=owner)
            path.mkdir(parents=True, exist_ok=True)

    def _need_directory(self, path: Path) -> None:
        if not path.is_dir():
            super()._need_directory(path)
        self._directories |= {path, *path.parents}

    @contextmanager
    def lock(self, path: Path, *, timeout_s: float = LOCK_S) -> Iterator[None]:
        """Among those who use this disk; the locks of a machine end with its power."""
        self._refuse_stopped()
        with self._turn:
            turn = self._locks.setdefault(path, threading.Lock())
        if not turn.acquire(timeout=timeout_s):
            raise LockError(f"{path}: another process holds the lock")
        try:
            yield
        finally:
            turn.release()


class MirroredAppendFile(FaultyAppendFile):
    """A handle whose appends are also written to the file, as long as the name is its own."""

    def __init__(self, disk: MirroredDisk, path: Path, inode: Inode) -> None:
        super().__init__(disk, path, inode)
        self._mirror = disk

    def append(self, data: bytes) -> None:
        size = len(self._inode.data)
        with self._mirror._operation("append", self._path):
            try:
                super().append(data)
            finally:
                if self._is_there() and not self._mirror.stopped:
                    with open(self._path, "r+b") as file:
                        file.seek(size)
                        file.write(self._inode.data[size:])

    def sync(self) -> None:
        with self._mirror._operation("sync", self._path):
            super().sync()

    def truncate(self, size: int) -> None:
        with self._mirror._operation("truncate", self._path):
            super().truncate(size)
            if self._is_there():
                os.truncate(self._path, size)

    def _is_there(self) -> bool:
        return self._mirror._names.get(self._path) is self._inode
