"""Disks that are block devices which somebody else looks after. Logical id: ("manual", path).

They are adopted: never made, changed in size, renamed or removed here. Every node sees the same
data, so that the path must mean the same device on each of them. Also in a virtual cluster it is
the path of the machine, not below the node's root.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ganeti.errors import BlockDeviceError
from ganeti.model.report import BlockDeviceStatus, Dimensions
from ganeti.storage import raw
from ganeti.storage.base import Attached, BlockDevice, Capabilities
from ganeti.storage.layout import BLOCKDEV_DRIVER
from ganeti.types import DiskTemplate

if TYPE_CHECKING:
    from ganeti.model.disk import Disk


class AdoptedDevice(BlockDevice):
    """A block device by its path."""

    kind: ClassVar[DiskTemplate] = DiskTemplate.BLOCKDEV
    capabilities: ClassVar[Capabilities] = Capabilities(shared=True)

    def create(self, disk: Disk, size_mib: int) -> None:
        """The device is there, as it was: adopting makes nothing."""
        self._needed(disk)

    def remove(self, disk: Disk) -> None:
        """Nothing: the device is not ours."""

    def find(self, disk: Disk) -> BlockDeviceStatus | None:
        found = self._look(disk)
        return None if found is None else found.status

    def assemble(self, disk: Disk) -> Attached:
        return Attached(self._needed(disk).path, {})

    def dimensions(self, disk: Disk) -> Dimensions | None:
        found = self._look(disk)
        if found is None:
            return None
        return Dimensions(raw.size_bytes(self.host.run, found, self.describe(disk)), None)

    def wipe(self, disk: Disk, offset_mib: int, size_mib: int) -> None:
        raw.wipe(self.host.run, self._needed(disk), offset_mib, size_mib, self.describe(disk))

    def _look(self, disk: Disk) -> raw.Raw | None:
        what = self.describe(disk)
        if len(disk.logical_id) != 2 or disk.logical_id[0] != BLOCKDEV_DRIVER:
            raise BlockDeviceError(f"{what}: logical id is not ({BLOCKDEV_DRIVER!r}, path)")
        path = Path(str(disk.logical_id[1]))
        if not path.is_absolute():
            raise BlockDeviceError(f"{what}: the path is not absolute")
        return raw.look(path, what)

    def _needed(self, disk: Disk) -> raw.Raw:
        found = self._look(disk)
        if found is None:
            raise BlockDeviceError(
                f"{self.describe(disk)}: there is no such device on this node; it must be"
                " connected here before it can be used"
            )
        return found
