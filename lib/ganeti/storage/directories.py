"""Directories for the files of instances, and how much space there is in them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ganeti.errors import FileStoragePathError, StorageError
from ganeti.storage import whitelist
from ganeti.storage.base import MIB

if TYPE_CHECKING:
    from ganeti.paths import Paths

DIRECTORY_MODE = 0o750


def allowed(paths: Paths, directory: str) -> Path:
    """Where the directory lies; FileStoragePathError when the administrator does not allow it."""
    whitelist.check(directory, whitelist.read(paths.file_storage_paths), directory=True)
    return paths.below(directory)


def create(paths: Paths, directory: str) -> None:
    """The directory exists; mode 0750 when it is new."""
    place = allowed(paths, directory)
    try:
        place.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FileStoragePathError(f"file storage path {directory}: is no directory") from error
    except OSError as error:
        raise FileStoragePathError(
            f"file storage directory {directory}: can't create: {error.strerror}"
        ) from error


def remove(paths: Paths, directory: str) -> None:
    """The directory does not exist; one that holds anything stays, with an error."""
    place = allowed(paths, directory)
    try:
        place.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise FileStoragePathError(
            f"file storage directory {directory}: can't remove: {error.strerror}"
        ) from error


def rename(paths: Paths, old: str, new: str) -> None:
    """What was `old` is `new`; no-op when only `new` is there (a second try)."""
    source, target = allowed(paths, old), allowed(paths, new)
    if target.is_dir() and not source.exists():
        return
    if target.exists():
        raise FileStoragePathError(f"file storage directory {new}: exists, {old} can't become it")
    if not source.is_dir():
        raise FileStoragePathError(f"file storage directory {old}: is no directory")
    try:
        target.parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        os.rename(source, target)
    except OSError as error:
        raise FileStoragePathError(
            f"file storage directory {old}: can't become {new}: {error.strerror}"
        ) from error


def space(place: Path, name: str) -> tuple[int, int]:
    """(size, free) in MiB of the file system that holds `place`; StorageError names `name`."""
    try:
        found = os.statvfs(place)
    except OSError as error:
        raise StorageError(f"file storage {name}: {error.strerror}") from error
    return (
        found.f_blocks * found.f_frsize // MIB,
        found.f_bavail * found.f_frsize // MIB,
    )


def used_mib(place: Path) -> int:
    """MiB that the files below `place` really take up (rounded up); files that vanish count 0."""
    total = 0
    for folder, _, names in os.walk(place, onerror=_tolerate_vanished):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return -(-total // MIB)


def _tolerate_vanished(error: OSError) -> None:
    if error.errno != errno.ENOENT:
        raise error
