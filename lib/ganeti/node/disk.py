"""Block devices of instances, and the links by which their guests find them.

The link of a disk is RUN/instance-disks/<instance>:<index>; only the primary node has it.
Source: facts/storage.md §1, facts/node-rpc.json.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ganeti.errors import BlockDeviceError, CommandError, GenericError
from ganeti.hypervisor.base import GuestDisk
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.report import (
    AssembledDevice,
    BlockDeviceStatus,
    Dimensions,
    MirrorOutcome,
    SyncPause,
)
from ganeti.node import impexp_dir
from ganeti.node.context import NodeContext
from ganeti.node.os_task import cancel_scripts_on
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.storage import guest_state
from ganeti.storage.base import MIB, Attached, worst

log = logging.getLogger(__name__)

COPY_TIMEOUT_S = 3600.0  # as long as the calls that wait for it
LINK_SEPARATOR = ":"


# Links.


def link_of(node: NodeContext, instance_name: str, index: int) -> Path:
    return node.paths.disk_links / f"{instance_name}{LINK_SEPARATOR}{index}"


def make_link(node: NodeContext, instance_name: str, index: int, device: Path) -> Path:
    """The link leads to `device`; one that leads elsewhere is replaced at once."""
    link = link_of(node, instance_name, index)
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        if link.is_symlink() and link.readlink() == device:
            return link
        new = link.with_name(f".{link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(device)
        new.rename(link)
    except OSError as error:
        raise BlockDeviceError(
            f"instance {instance_name}, disk {index}: link {link}: {error.strerror}"
        ) from error
    return link


def remove_links(node: NodeContext, instance_name: str, count: int) -> None:
    """The instance's links are gone; one that can't be removed is only logged."""
    for index in range(count):
        link = link_of(node, instance_name, index)
        try:
            link.unlink(missing_ok=True)
        except OSError as error:
            log.warning("link %s: can't remove: %s", link, error.strerror)


# Trees.


def assemble(node: NodeContext, disk: Disk, on_primary: bool) -> Attached | None:
    """The device and what it stands on can be used; on the primary node it may be written.

    None on another node, for a device that is not needed there.
    """
    driver = node.storage(disk.dev_type)
    for child in disk.children:
        try:
            assemble(node, child, on_primary)
        except BlockDeviceError as error:
            if driver.capabilities.children_needed:
                raise
            log.warning("%s: goes on without a child: %s", driver.describe(disk), error)
    if not (on_primary or driver.capabilities.whole_tree):
        return None
    attached = driver.assemble(disk)
    if on_primary:
        driver.open(disk)
    return attached


def guest_disks(node: NodeContext, instance: FilledInstance) -> list[GuestDisk]:
    """The instance's disks as its guest gets them: assembled, and with their links."""
    made = []
    for index, disk in enumerate(instance.disks_info):
        attached = assemble(node, disk, on_primary=True)
        assert attached is not None
        link = link_of(node, instance.name, index)
        if attached.path is not None:
            make_link(node, instance.name, index, attached.path)
        uri = attached.uri(instance.hypervisor) if _wants_uri(disk) else None
        if uri is None and (attached.path is None or _wants_uri(disk)):
            raise BlockDeviceError(_unreachable(node, disk, instance.hypervisor))
        made.append(GuestDisk(disk, link, uri))
    return made


def _unreachable(node: NodeContext, disk: Disk, hypervisor: str) -> str:
    what = node.storage(disk.dev_type).describe(disk)
    if _wants_uri(disk):
        return (
            f"{what}: access is userspace, and there is no address for hypervisor {hypervisor};"
            " access=kernelspace uses the device"
        )
    return f"{what}: has no path on this node; access=userspace uses its address"


def _wants_uri(disk: Disk) -> bool:
    return (disk.params or {}).get("access") == "userspace"


def device_path(node: NodeContext, disk: Disk) -> Path:
    """Where programs on this node find the disk; BlockDeviceError when nowhere."""
    attached = assemble(node, disk, on_primary=True)
    if attached is None or attached.path is None:
        raise BlockDeviceError(f"{node.storage(disk.dev_type).describe(disk)}: has no path here")
    return attached.path


@serves(calls.blockdev_create)
def blockdev_create(
    node: NodeContext,
    bdev: Disk,
    size: int,
    owner: str,
    on_primary: bool,
    info: str,
    exclusive_storage: bool,
) -> calls.LogicalId:
    driver = node.storage(bdev.dev_type)
    for child in bdev.children:
        node.storage(child.dev_type).assemble(child)
    driver.create(bdev, size)
    if on_primary or driver.capabilities.whole_tree:
        driver.assemble(bdev)
        if on_primary:
            driver.open(bdev)
    driver.set_info(bdev, info)
    log.info("instance %s: created %s", owner, driver.describe(bdev))
    return bdev.logical_id


@serves(calls.blockdev_remove)
def blockdev_remove(node: NodeContext, bdev: Disk) -> None:
    """The device first, then its children; all are tried before an error is told."""
    cancel_scripts_on(node, [bdev.uuid])
    impexp_dir.end_on_disks(node, [bdev.uuid])
    problems = []
    for disk in bdev.walk():
        try:
            node.storage(disk.dev_type).remove(disk)
        except GenericError as error:
            problems.append(str(error))
    try:
        guest_state.remove(guest_state.on_node(node.paths, bdev.uuid))
    except OSError as error:
        problems.append(f"state of the guest on disk {bdev.uuid}: {error}")
    if problems:
        raise BlockDeviceError("; ".join(problems))


@serves(calls.blockdev_assemble)
def blockdev_assemble(
    node: NodeContext, disk: Disk, instance: FilledInstance, on_primary: bool, idx: int
) -> AssembledDevice:
    attached = assemble(node, disk, on_primary)
    if attached is None:
        return AssembledDevice(True, True)
    path = "" if attached.path is None else str(attached.path)
    if not on_primary:
        return AssembledDevice(path, None, None)
    link = link_of(node, instance.name, idx)
    if attached.path is not None:
        make_link(node, instance.name, idx, attached.path)
    return AssembledDevice(path, str(link), attached.uri(instance.hypervisor))


@serves(calls.blockdev_shutdown)
def blockdev_shutdown(node: NodeContext, disk: Disk) -> None:
    problems = []
    for one in disk.walk():
        try:
            node.storage(one.dev_type).shutdown(one)
        except GenericError as error:
            problems.append(str(error))
    if problems:
        raise BlockDeviceError("; ".join(problems))


@serves(calls.blockdev_open)
def blockdev_open(
    node: NodeContext, instance_name: str, disks: Sequence[Disk], exclusive: bool
) -> None:
    for index, disk in enumerate(disks):
        driver = node.storage(disk.dev_type)
        attached = driver.assemble(disk)
        driver.open(disk, exclusive=exclusive)
        if attached.path is not None:
            make_link(node, instance_name, index, attached.path)


@serves(calls.blockdev_close)
def blockdev_close(node: NodeContext, instance_name: str, disks: Sequence[Disk]) -> None:
    problems = []
    for disk in disks:
        try:
            node.storage(disk.dev_type).close(disk)
        except GenericError as error:
            problems.append(str(error))
    if problems:
        raise BlockDeviceError("; ".join(problems))
    if instance_name:
        remove_links(node, instance_name, len(disks))


# Questions.


@serves(calls.blockdev_find)
def blockdev_find(node: NodeContext, disk: Disk) -> BlockDeviceStatus | None:
    return node.storage(disk.dev_type).find(disk)


def combined_status(node: NodeContext, disk: Disk) -> BlockDeviceStatus:
    """The device and its children as one; BlockDeviceError when the device is not there."""
    driver = node.storage(disk.dev_type)
    own = driver.find(disk)
    if own is None:
        raise BlockDeviceError(f"{driver.describe(disk)}: is not there")
    below = [combined_status(node, child) for child in disk.children]
    return worst([own, *below])


@serves(calls.blockdev_getmirrorstatus)
def blockdev_getmirrorstatus(node: NodeContext, disks: Sequence[Disk]) -> list[BlockDeviceStatus]:
    return [combined_status(node, disk) for disk in disks]


@serves(calls.blockdev_getmirrorstatus_multi)
def blockdev_getmirrorstatus_multi(
    node: NodeContext, node_disks: Sequence[Disk]
) -> list[MirrorOutcome]:
    made = []
    for disk in node_disks:
        try:
            made.append(MirrorOutcome(True, combined_status(node, disk)))
        except GenericError as error:
            made.append(MirrorOutcome(False, str(error)))
    return made


@serves(calls.blockdev_getdimensions)
def blockdev_getdimensions(node: NodeContext, disks: Sequence[Disk]) -> list[Dimensions | None]:
    return [_dimensions(node, disk) for disk in disks]


def _dimensions(node: NodeContext, disk: Disk) -> Dimensions | None:
    try:
        return node.storage(disk.dev_type).dimensions(disk)
    except GenericError as error:
        log.warning("disk %s: %s", disk.uuid, error)
        return None


@serves(calls.blockdev_pause_resume_sync)
def blockdev_pause_resume_sync(
    node: NodeContext, disks: Sequence[Disk], pause: bool
) -> list[SyncPause]:
    """A device without a mirror has nothing to pause, which is no error."""
    made = []
    for disk in disks:
        driver = node.storage(disk.dev_type)
        if driver.capabilities.mirrored:
            made.append(SyncPause(False, f"{driver.describe(disk)}: its sync can't be paused"))
        elif driver.find(disk) is None:
            made.append(SyncPause(False, f"{driver.describe(disk)}: is not there"))
        else:
            made.append(SyncPause(True, None))
    return made


# Changes.


@serves(calls.blockdev_grow)
def blockdev_grow(
    node: NodeContext, cf_bdev: Disk, amount: int, dryrun: bool, backingstore: bool, es_flag: bool
) -> None:
    node.storage(cf_bdev.dev_type).grow(cf_bdev, amount, dry_run=dryrun, backing_store=backingstore)


@serves(calls.blockdev_rename)
def blockdev_rename(node: NodeContext, devlist: Sequence[tuple[Disk, calls.LogicalId]]) -> None:
    problems = []
    for disk, logical_id in devlist:
        try:
            node.storage(disk.dev_type).rename(disk, logical_id)
        except GenericError as error:
            problems.append(str(error))
    if problems:
        raise BlockDeviceError("; ".join(problems))


@serves(calls.blockdev_wipe)
def blockdev_wipe(node: NodeContext, bdev: Disk, offset: int, size: int) -> None:
    driver = node.storage(bdev.dev_type)
    if offset < 0 or size < 0:
        raise BlockDeviceError(f"{driver.describe(bdev)}: can't wipe {size} MiB from {offset} MiB")
    found = driver.dimensions(bdev)
    if found is None:
        raise BlockDeviceError(f"{driver.describe(bdev)}: is not there")
    if offset + size > -(-found.size_bytes // MIB):
        raise BlockDeviceError(
            f"{driver.describe(bdev)}: has {found.size_bytes // MIB} MiB,"
            f" {size} MiB from {offset} MiB can't be wiped"
        )
    driver.wipe(bdev, offset, size)


@serves(calls.blockdev_setinfo)
def blockdev_setinfo(node: NodeContext, disk: Disk, info: str) -> None:
    node.storage(disk.dev_type).set_info(disk, info)


@serves(calls.blockdev_verify)
def blockdev_verify(node: NodeContext, disk: Disk) -> None:
    node.storage(disk.dev_type).verify(disk)


@serves(calls.blockdev_snapshot)
def blockdev_snapshot(
    node: NodeContext, cf_bdev: Disk, snap_name: str | None, snap_size: int | None
) -> calls.LogicalId:
    made = node.storage(cf_bdev.dev_type).snapshot(cf_bdev, snap_name, snap_size)
    log.info("%s: made the snapshot %s", node.storage(cf_bdev.dev_type).describe(cf_bdev), made)
    return made


@serves(calls.blockdev_convert)
def blockdev_convert(node: NodeContext, bdev_src: Disk, bdev_dest: Disk) -> None:
    source, target = device_path(node, bdev_src), device_path(node, bdev_dest)
    _copy(node, source, target, f"disk {bdev_dest.uuid}")


@serves(calls.blockdev_image)
def blockdev_image(node: NodeContext, bdev: Disk, image: str, size: int) -> None:
    """The image, a file on this node, stands at the beginning of the device."""
    if not image.startswith("/"):
        raise BlockDeviceError(f"image {image!r}: only files on the node can be written to a disk")
    source = node.paths.below(image)
    try:
        bytes_needed = source.stat().st_size
    except OSError as error:
        raise BlockDeviceError(f"image {image}: {error.strerror}") from error
    found = node.storage(bdev.dev_type).dimensions(bdev)
    room = size * MIB if found is None else found.size_bytes
    if bytes_needed > room:
        raise BlockDeviceError(f"image {image}: has {bytes_needed} bytes, the disk has {room}")
    _copy(node, source, device_path(node, bdev), f"disk {bdev.uuid}")


def _copy(node: NodeContext, source: Path, target: Path, what: str) -> None:
    argv = ["dd", f"if={source}", f"of={target}", "bs=1048576", "conv=notrunc,fsync"]
    try:
        node.run(argv, timeout_s=COPY_TIMEOUT_S).check(what)
    except CommandError as error:
        raise BlockDeviceError(str(error)) from error
