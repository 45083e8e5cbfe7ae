"""Disks that are raw files in a directory the administrator allows. Logical id: (driver, path).

The path is the one of the node; in a virtual cluster the file lies below the node's root.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ganeti.errors import BlockDeviceError
from ganeti.model.report import BlockDeviceStatus, Dimensions
from ganeti.serializer import Json
from ganeti.storage import guest_state, whitelist
from ganeti.storage.base import MIB, Attached, BlockDevice, Capabilities
from ganeti.types import DiskTemplate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ganeti.model.disk import Disk

FILE_MODE = 0o600
WIPE_CHUNK = MIB


class FileDevice(BlockDevice):
    """A file on a disk of this node."""

    kind: ClassVar[DiskTemplate] = DiskTemplate.FILE
    capabilities: ClassVar[Capabilities] = Capabilities(grow=True, rename=True, file_based=True)

    def create(self, disk: Disk, size_mib: int) -> None:
        """A sparse file. Its directory must exist; what is half made is removed again."""
        path = self.allowed_path(disk)
        with self._told(disk, "can't create"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
            try:
                os.ftruncate(descriptor, size_mib * MIB)
            except OSError:
                os.unlink(path)
                raise
            finally:
                os.close(descriptor)

    def remove(self, disk: Disk) -> None:
        path = self.allowed_path(disk)
        with self._told(disk, "can't remove"):
            path.unlink(missing_ok=True)
            guest_state.remove(guest_state.beside(path))

    def find(self, disk: Disk) -> BlockDeviceStatus | None:
        path = self.allowed_path(disk)
        if not self._is_file(disk, path):
            return None
        return BlockDeviceStatus(dev_path=str(path))

    def assemble(self, disk: Disk) -> Attached:
        path = self.allowed_path(disk)
        if not self._is_file(disk, path):
            raise BlockDeviceError(f"{self.describe(disk)}: there is no such file")
        return Attached(path, {})

    def dimensions(self, disk: Disk) -> Dimensions | None:
        path = self.allowed_path(disk)
        if not self._is_file(disk, path):
            return None
        with self._told(disk, "can't ask for its size"):
            return Dimensions(path.stat().st_size, None)

    def grow(
        self, disk: Disk, amount_mib: int, *, dry_run: bool = False, backing_store: bool = True
    ) -> None:
        """The file has `amount_mib` more; a dry run only looks whether it is there."""
        if not backing_store:
            return
        if amount_mib < 0:
            raise BlockDeviceError(f"{self.describe(disk)}: can't grow by {amount_mib} MiB")
        now = self.dimensions(disk)
        if now is None:
            raise BlockDeviceError(f"{self.describe(disk)}: there is no such file")
        if not dry_run:
            with self._told(disk, "can't grow"):
                os.truncate(self.allowed_path(disk), now.size_bytes + amount_mib * MIB)

    def rename(self, disk: Disk, logical_id: Sequence[Json]) -> None:
        """The file has its new name; no-op when only the new one is there (a second try)."""
        old = self.allowed_path(disk)
        new = self.checked(str(logical_id[1]))
        with self._told(disk, f"can't rename to {new}"):
            if old == new or not old.exists() and new.exists():
                return
            if new.exists():
                raise FileExistsError(errno.EEXIST, "a file of that name exists")
            guest_state.rename(guest_state.beside(old), guest_state.beside(new))
            old.rename(new)

    def wipe(self, disk: Disk, offset_mib: int, size_mib: int) -> None:
        """Zeroes are written, so that blocks of a former file are really overwritten."""
        path = self.allowed_path(disk)
        zeroes = bytes(WIPE_CHUNK)
        with self._told(disk, "can't wipe"), path.open("r+b", buffering=0) as file:
            end = min((offset_mib + size_mib) * MIB, path.stat().st_size)
            position = file.seek(offset_mib * MIB)
            while position < end:
                position += file.write(zeroes[: end - position]) or 0
            os.fdatasync(file.fileno())

    def allowed_path(self, disk: Disk) -> Path:
        """Where the file lies, seen from outside the node's root; FileStoragePathError."""
        if len(disk.logical_id) != 2:
            raise BlockDeviceError(f"{self.describe(disk)}: logical id is not (driver, path)")
        return self.checked(str(disk.logical_id[1]))

    def checked(self, path: str) -> Path:
        paths = self.host.paths
        whitelist.check(path, whitelist.read(paths.file_storage_paths))
        return paths.below(path)

    def _is_file(self, disk: Disk, path: Path) -> bool:
        if path.is_dir():
            raise BlockDeviceError(f"{self.describe(disk)}: is a directory, a file is expected")
        return path.exists()

    @contextmanager
    def _told(self, disk: Disk, what: str) -> Iterator[None]:
        """Errors of the file system become a sentence about the disk."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise BlockDeviceError(f"{self.describe(disk)}: {what}: {reason}") from error


class SharedFileDevice(FileDevice):
    """A file in a directory that all nodes share."""

    kind: ClassVar[DiskTemplate] = DiskTemplate.SHARED_FILE
    capabilities: ClassVar[Capabilities] = Capabilities(
        grow=True, rename=True, shared=True, file_based=True
    )
