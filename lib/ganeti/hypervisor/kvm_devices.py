"""Disks and network interfaces of a QEMU command line. Pure.

Each device has an `hvinfo`: driver, id, bus and either a PCI slot (`addr`) or a place on a SCSI bus
(`channel`, `scsi-id`, `lun`). It is kept in the runtime file, so that a guest finds its devices
at the same places after a reboot or a migration. Source: facts/hypervisors.md, KVM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import HypervisorError
from ganeti.hypervisor.base import GuestDisk
from ganeti.serializer import Json
from ganeti.types import DiskMode, DiskTemplate

if TYPE_CHECKING:
    from ganeti.model.nic import Nic

PCI_SLOTS: Final = 32
SCSI_TARGETS: Final = 16
SCSI_TYPES: Final = ("scsi-generic", "scsi-block", "scsi-hd", "scsi-cd")
BOARD_TYPES: Final = ("mtd", "pflash", "sd", "scsi")
"""Disk types for which QEMU has an interface of `-drive`, but no device of that name."""

_CACHE: Final[Mapping[str, tuple[str, str, str]]] = {
    "none": ("on", "on", "off"),
    "writeback": ("on", "off", "off"),
    "default": ("on", "off", "off"),
    "writethrough": ("off", "off", "off"),
}
"""write-cache, cache.direct, cache.no-flush of each disk_cache."""


@dataclass(frozen=True, slots=True)
class Tap:
    """How an interface is connected: a tap whose queues are open descriptors, or user mode.

    `fds` empty: QEMU's user mode networking, for a node that may not make devices.
    """

    name: str = ""
    fds: tuple[int, ...] = ()
    vhost_fds: tuple[int, ...] = ()


def escaped(value: str | Path) -> str:
    """A value inside a comma separated option of QEMU: commas are doubled."""
    return str(value).replace(",", ",,")


def root_bus(machine: str) -> str:
    """The PCI bus of a machine type; the default machine is the i440FX one."""
    return "pcie.0" if "q35" in machine else "pci.0"


def device_id(kind: str, uuid: str) -> str:
    """`disk-<uuid without its last two groups>`, and the same for nics."""
    return f"{kind}-{uuid.rsplit('-', 2)[0]}"


def disk_driver(disk_type: str) -> str:
    return {"paravirtual": "virtio-blk-pci", "ide": "ide-hd"}.get(disk_type, disk_type)


def nic_driver(nic_type: str) -> str:
    return "virtio-net-pci" if nic_type == "paravirtual" else nic_type


@dataclass(slots=True)
class Places:
    """The places on the buses of one guest that are taken."""

    bus: str
    slots: set[int]
    targets: set[int]

    @classmethod
    def of(
        cls, machine: str, reserved: int, hvinfos: Sequence[Mapping[str, Json] | None]
    ) -> Places:
        """`reserved`: the first slots are QEMU's own (hvparam kvm_pci_reservations)."""
        slots, targets = set(range(reserved)), set()
        for info in hvinfos:
            if info and "addr" in info:
                slots.add(int(str(info["addr"]), 16))
            elif info and "scsi-id" in info:
                targets.add(int(info["scsi-id"]))
        return cls(root_bus(machine), slots, targets)

    def pci(self, driver: str, name: str) -> dict[str, Json]:
        slot = next((n for n in range(PCI_SLOTS) if n not in self.slots), None)
        if slot is None:
            raise HypervisorError(
                f"device {name}: all PCI slots are taken; lower hvparam kvm_pci_reservations"
            )
        self.slots.add(slot)
        return {"driver": driver, "id": name, "bus": self.bus, "addr": hex(slot)}

    def scsi(self, driver: str, name: str) -> dict[str, Json]:
        target = next((n for n in range(SCSI_TARGETS) if n not in self.targets), None)
        if target is None:
            raise HypervisorError(f"device {name}: all {SCSI_TARGETS} SCSI ids are taken")
        self.targets.add(target)
        place = {"channel": 0, "scsi-id": target, "lun": 0}
        return {"driver": driver, "id": name, "bus": "scsi.0", **place}


def place_devices(
    nics: Sequence[Nic], disks: Sequence[GuestDisk], hvparams: Mapping[str, Json]
) -> tuple[tuple[Nic, ...], tuple[GuestDisk, ...]]:
    """The same devices, each with its `hvinfo`; those that have one keep it."""
    known = [nic.hvinfo for nic in nics] + [guest.disk.hvinfo for guest in disks]
    machine = str(hvparams.get("machine_version") or "")
    places = Places.of(machine, int(hvparams.get("kvm_pci_reservations", 12)), known)
    disk_type = str(hvparams["disk_type"])
    driver = disk_driver(disk_type)
    placed_disks = []
    for guest in disks:
        name = device_id("disk", guest.disk.uuid)
        info = guest.disk.hvinfo
        if info is None and disk_type in SCSI_TYPES:
            info = places.scsi(driver, name)
        elif info is None and disk_type == "paravirtual":
            info = places.pci(driver, name)
        elif info is None:
            info = {"driver": driver, "id": name}  # QEMU finds the place itself
        placed_disks.append(replace(guest, disk=replace(guest.disk, hvinfo=info)))
    nic_type = str(hvparams["nic_type"])
    placed_nics = []
    for nic in nics:
        name = device_id("nic", nic.uuid)
        info = nic.hvinfo
        if info is None and nic_type == "ne2k_isa":
            info = {"driver": nic_type, "id": name}
        elif info is None:
            info = places.pci(nic_driver(nic_type), name)
        placed_nics.append(replace(nic, hvinfo=info))
    return tuple(placed_nics), tuple(placed_disks)


def _device(hvinfo: Mapping[str, Json], *more: str) -> str:
    keys = ("driver", "id", "bus", "addr", "channel", "scsi-id", "lun")
    parts = [f"{key}={hvinfo[key]}" for key in keys if key in hvinfo]
    return ",".join([parts[0].removeprefix("driver="), *parts[1:], *more])


# Disks.


def cache_of(disk: GuestDisk, hvparams: Mapping[str, Json]) -> tuple[str, str, str]:
    """write-cache, cache.direct, cache.no-flush.

    A disk that another node may open at the same moment is never cached here.
    """
    shared = (
        *(DiskTemplate.SHARED_FILE, DiskTemplate.BLOCKDEV),
        *(DiskTemplate.EXT, DiskTemplate.GLUSTER),
    )
    word = "none" if disk.disk.dev_type in shared else str(hvparams["disk_cache"])
    return _CACHE[word]


def disk_argv(guest: GuestDisk, hvparams: Mapping[str, Json], is_block: bool) -> list[str]:
    """`-device` and `-blockdev` of one disk. `is_block`: the link leads to a block device."""
    disk = guest.disk
    if disk.mode is not DiskMode.READ_WRITE:
        raise HypervisorError(f"disk {disk.iv_name or disk.uuid}: KVM has no read-only disks")
    info = disk.hvinfo or {}
    disk_type = str(hvparams["disk_type"])
    write_cache, direct, no_flush = cache_of(guest, hvparams)
    if disk_type in BOARD_TYPES:
        return ["-drive", f"file={escaped(guest.link)},format=raw,if={disk_type}"]
    name = str(info["id"])
    more = [f"drive={name}"]
    if disk_type not in ("scsi-generic", "scsi-block"):  # these pass commands through
        more.append(f"write-cache={write_cache}")
    if disk_type == "ide":
        device = ",".join(["ide-hd", *more])
    else:
        device = _device(info, *more)
    discard = str(hvparams.get("disk_discard") or "default")
    blockdev = [
        *("driver=raw", f"node-name={name}"),
        *([f"discard={discard}"] if discard != "default" else []),  # QEMU's own choice
        *(f"cache.direct={direct}", f"cache.no-flush={no_flush}"),
        *_backend(guest, str(hvparams.get("disk_aio") or "threads"), is_block),
        "auto-read-only=off",
    ]
    return ["-device", device, "-blockdev", ",".join(blockdev)]


def _backend(guest: GuestDisk, aio: str, is_block: bool) -> list[str]:
    """The `file.` part: a file, a block device, or the address of a storage service."""
    if guest.uri is None:
        driver = "host_device" if is_block else "file"
        return [f"file.driver={driver}", f"file.filename={escaped(guest.link)}", f"file.aio={aio}"]
    scheme, _, rest = guest.uri.partition(":")
    if scheme == "rbd":
        pool, _, image = rest.partition("/")
        return ["file.driver=rbd", f"file.pool={escaped(pool)}", f"file.image={escaped(image)}"]
    if scheme == "gluster":
        return _gluster(rest.removeprefix("//"))
    raise HypervisorError(f"disk address {guest.uri!r}: KVM opens only rbd: and gluster:")


def _gluster(rest: str) -> list[str]:
    server, _, path = rest.partition("/")
    volume, _, file_path = path.partition("/")
    host, _, port = server.rpartition(":")
    return [
        *("file.driver=gluster", "file.server.0.type=inet"),
        *(f"file.server.0.host={host.strip('[]')}", f"file.server.0.port={port}"),
        *(f"file.volume={escaped(volume)}", f"file.path={escaped(file_path)}"),
    ]


# Network interfaces.


def nic_argv(nic: Nic, tap: Tap, hvparams: Mapping[str, Json]) -> list[str]:
    """`-netdev` and `-device` of one interface."""
    info = nic.hvinfo or {}
    name = str(info["id"])
    more = [f"netdev={name}", f"mac={nic.mac}"]
    if not tap.fds:
        return ["-netdev", f"type=user,id={name}", "-device", _device(info, *more)]
    netdev = ["type=tap", f"id={name}", _descriptors("fd", tap.fds)]
    if tap.vhost_fds:
        netdev += [_descriptors("vhostfd", tap.vhost_fds), "vhost=on"]
    if len(tap.fds) > 1:
        # Two vectors per queue, one for configuration, one for control.
        more += ["mq=on", f"vectors={2 * len(tap.fds) + 2}"]
    return ["-netdev", ",".join(netdev), "-device", _device(info, *more)]


def _descriptors(word: str, fds: Sequence[int]) -> str:
    if len(fds) == 1:
        return f"{word}={fds[0]}"
    return f"{word}s=" + ":".join(map(str, fds))
