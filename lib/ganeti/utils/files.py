"""Files that must survive a crash.

Everything durable (configuration, journals, job files) goes through a `Disk`, so that tests can
put one in its place that fails at the nth operation and forgets what was not synced
(test/fakes/faulty_disk.py). All methods block; the loop calls them in a thread.

A name is durable when its directory is synced, contents when the file is. `replace`, `rename`,
`unlink`, `mkdir` and the creation of an append file sync the directory before they return.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ganeti.errors import LockError

PRIVATE = 0o600
LOCK_S = 10.0
LOCK_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Owner:
    """Numeric owner of a file; -1 leaves that part as it is."""

    uid: int = -1
    gid: int = -1


class AppendFile(Protocol):
    """A file that only grows, held open. One writer at a time."""

    @property
    def size(self) -> int:
        """Bytes written so far, synced or not."""

    def append(self, data: bytes) -> None:
        """`data` is at the end of the file, not yet durable. OSError: a part of it may be."""

    def sync(self) -> None:
        """All that was appended is durable (fdatasync)."""

    def truncate(self, size: int) -> None:
        """The file has `size` bytes again, durably."""

    def close(self) -> None:
        """The handle is gone; what was not synced may be lost in a crash."""


class Disk(Protocol):
    """Access to durable files. Every method may raise OSError, with the file's name in it."""

    def read(self, path: Path, start: int = 0, size: int | None = None) -> bytes:
        """Bytes `start` up to `start + size`, or the end of the file."""

    def exists(self, path: Path) -> bool: ...

    def size(self, path: Path) -> int: ...

    def listdir(self, path: Path) -> list[str]:
        """Sorted names in a directory."""

    def replace(
        self,
        path: Path,
        data: bytes | Iterable[bytes],
        *,
        mode: int = PRIVATE,
        owner: Owner | None = None,
    ) -> None:
        """The file durably holds `data`; on any failure it is what it was before.

        `data` may come in pieces. Mode and owner are set before the new file is visible.
        """

    def place(
        self, path: Path, data: bytes, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> None:
        """The file holds `data`; after a crash it may be what it was, or damaged, until `settle`.

        For what can be made again from elsewhere; costs no sync.
        """

    def settle(self, paths: Sequence[Path]) -> None:
        """Contents and names of these files are durable."""

    def append_file(
        self, path: Path, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> AppendFile:
        """A handle at the end of the file, which is made (empty, durably) if it is not there."""

    def rename(self, old: Path, new: Path) -> None:
        """`new` durably is what `old` was."""

    def sync(self, path: Path) -> None:
        """The contents of the file are durable."""

    def unlink(self, path: Path, *, missing_ok: bool = False) -> None:
        """The file is durably gone."""

    def mkdir(self, path: Path, *, mode: int = 0o750, owner: Owner | None = None) -> None:
        """The directory durably exists, its parents too; one that exists stays as it is."""

    def lock(self, path: Path, *, timeout_s: float = LOCK_S) -> AbstractContextManager[None]:
        """Inside, no other process or thread is; LockError when that takes longer."""


class LocalDisk:
    """The files of this machine."""

    __slots__ = ()

    def read(self, path: Path, start: int = 0, size: int | None = None) -> bytes:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read() if size is None else file.read(size)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def listdir(self, path: Path) -> list[str]:
        return sorted(os.listdir(path))

    def replace(
        self,
        path: Path,
        data: bytes | Iterable[bytes],
        *,
        mode: int = PRIVATE,
        owner: Owner | None = None,
    ) -> None:
        pieces = [data] if isinstance(data, bytes) else data
        _put(path, pieces, mode, owner, sync=True)
        sync_directory(path.parent)

    def place(
        self, path: Path, data: bytes, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> None:
        _put(path, [data], mode, owner, sync=False)

    def settle(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self.sync(path)
        for directory in dict.fromkeys(path.parent for path in paths):
            sync_directory(directory)

    def append_file(
        self, path: Path, *, mode: int = PRIVATE, owner: Owner | None = None
    ) -> AppendFile:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            self.replace(path, b"", mode=mode, owner=owner)
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return LocalAppendFile(path, fd)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)
        sync_directory(new.parent)
        if old.parent != new.parent:
            sync_directory(old.parent)

    def sync(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def unlink(self, path: Path, *, missing_ok: bool = False) -> None:
        path.unlink(missing_ok=missing_ok)
        sync_directory(path.parent)

    def mkdir(self, path: Path, *, mode: int = 0o750, owner: Owner | None = None) -> None:
        if path.is_dir():
            return
        self.mkdir(path.parent, mode=mode, owner=owner)
        path.mkdir(exist_ok=True)
        if owner is not None:
            os.chown(path, owner.uid, owner.gid)
        path.chmod(mode)  # not by mkdir: the umask would cut it
        sync_directory(path.parent)

    @contextmanager
    def lock(self, path: Path, *, timeout_s: float = LOCK_S) -> Iterator[None]:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            _wait_for_lock(fd, path, time.monotonic() + timeout_s)
            yield
        finally:
            os.close(fd)  # gives the lock back


class LocalAppendFile:
    """An append handle on a file of this machine."""

    __slots__ = ("_fd", "_path", "_size")

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._size = os.fstat(fd).st_size

    @property
    def size(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        try:
            _write_all(self._fd, data)
        except OSError as error:
            raise _named(error, self._path) from error
        finally:
            self._size = os.fstat(self._fd).st_size

    def sync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise _named(error, self._path) from error

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
        except OSError as error:
            raise _named(error, self._path) from error
        self._size = size

    def close(self) -> None:
        os.close(self._fd)


def sync_directory(path: Path) -> None:
    """The names in the directory are durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _put(
    path: Path, pieces: Iterable[bytes], mode: int, owner: Owner | None, *, sync: bool
) -> None:
    """The name stands for a new file with these contents; on failure it is what it was."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        try:
            for piece in pieces:
                _write_all(fd, piece)
            if owner is not None:
                os.fchown(fd, owner.uid, owner.gid)
            os.fchmod(fd, mode)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _wait_for_lock(fd: int, path: Path, until: float) -> None:
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise LockError(f"{path}: another process holds the lock") from None
        time.sleep(LOCK_POLL_S)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _named(error: OSError, path: Path) -> OSError:
    """The same error with the file's name; calls on descriptors don't give one."""
    return OSError(error.errno, error.strerror, str(path))
