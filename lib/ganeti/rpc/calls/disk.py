"""Calls about disks of instances, whatever device is behind them."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence

from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.report import (
    AssembledDevice,
    BlockDeviceStatus,
    Dimensions,
    MirrorOutcome,
    SyncPause,
)
from ganeti.rpc.base import NORMAL, SLOW, call
from ganeti.rpc.calls.shapes import LogicalId


@call(timeout_s=NORMAL)
def blockdev_create(
    bdev: Disk, size: int, owner: str, on_primary: bool, info: str, exclusive_storage: bool
) -> LogicalId:
    """Create a device; answers its unique id."""


@call(timeout_s=SLOW)
def blockdev_convert(bdev_src: Disk, bdev_dest: Disk) -> None:
    """Copy the contents of one device to another."""


@call(timeout_s=SLOW)
def blockdev_image(bdev: Disk, image: str, size: int) -> None:
    """Write an image (URL or path) to the device."""


@call(timeout_s=SLOW)
def blockdev_wipe(bdev: Disk, offset: int, size: int) -> None:
    """Overwrite `size` MiB from `offset` MiB."""


@call(timeout_s=NORMAL)
def blockdev_remove(bdev: Disk) -> None:
    """Remove a device and its children; errors are joined."""


@call(timeout_s=NORMAL)
def blockdev_pause_resume_sync(disks: Sequence[Disk], pause: bool) -> list[SyncPause]:
    """Pause or resume the resync; per disk [ok, message]."""


@call(timeout_s=NORMAL)
def blockdev_assemble(
    disk: Disk, instance: FilledInstance, on_primary: bool, idx: int
) -> AssembledDevice:
    """Activate a device; answers [device, link, uri]."""


@call(timeout_s=NORMAL)
def blockdev_shutdown(disk: Disk) -> None:
    """Deactivate a device."""


@call(timeout_s=NORMAL)
def blockdev_addchildren(bdev: Disk, ndevs: Sequence[Disk]) -> None:
    """Add mirror legs."""


@call(timeout_s=NORMAL)
def blockdev_removechildren(bdev: Disk, ndevs: Sequence[Disk]) -> None:
    """Remove mirror legs."""


@call(timeout_s=NORMAL)
def blockdev_close(instance_name: str, disks: Sequence[Disk]) -> None:
    """Make the disks read-only (secondary)."""


@call(timeout_s=NORMAL)
def blockdev_open(instance_name: str, disks: Sequence[Disk], exclusive: bool) -> None:
    """Make the disks writable (primary)."""


@call(timeout_s=NORMAL)
def blockdev_getdimensions(disks: Sequence[Disk]) -> list[Dimensions | None]:
    """Per disk [bytes, spindles], null when absent."""


@call(timeout_s=NORMAL)
def blockdev_grow(
    cf_bdev: Disk, amount: int, dryrun: bool, backingstore: bool, es_flag: bool
) -> None:
    """Grow by `amount` MiB."""


@call(timeout_s=NORMAL)
def blockdev_snapshot(cf_bdev: Disk, snap_name: str | None, snap_size: int | None) -> LogicalId:
    """Take a snapshot; answers its id."""


@call(timeout_s=NORMAL)
def blockdev_rename(devlist: Sequence[tuple[Disk, LogicalId]]) -> None:
    """Give devices new logical ids."""


@call(timeout_s=NORMAL)
def blockdev_find(disk: Disk) -> BlockDeviceStatus | None:
    """Status of a device; None if it does not exist."""


@call(timeout_s=NORMAL)
def blockdev_getmirrorstatus(disks: Sequence[Disk]) -> list[BlockDeviceStatus]:
    """Status of devices, children counted in; fails if one is missing."""


@call(timeout_s=NORMAL)
def blockdev_getmirrorstatus_multi(
    node_disks: Sequence[Disk],
) -> list[MirrorOutcome]:
    """Per disk [true, status] or [false, message]."""


@call(timeout_s=NORMAL)
def blockdev_setinfo(disk: Disk, info: str) -> None:
    """Set the text (LV tag) of a device."""


@call(timeout_s=NORMAL)
def blockdev_verify(disk: Disk) -> None:
    """Fails when the disk's own parameters are wrong here (ours, not in facts/node-rpc.json)."""
