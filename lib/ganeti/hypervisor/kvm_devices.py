"""Disks and network interfaces of a QEMU command line. Pure.

Each device has an `hvinfo`: driver, id, bus and either a PCI slot (`addr`) or a place on a SCSI bus
(`channel`, `scsi-id`, `lun`). It is kept in the runtime file, so that a guest finds its devices
at the same places after a reboot or a migration. Source: facts/hypervisors.md, KVM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def machine_of(hvparams: Mapping[str, Json]) -> str:
    """The machine that is asked for: by its version, else by its chipset; "": QEMU's default."""
    return str(hvparams.get("machine_version") or hvparams.get("chipset") or "")


def is_q35(machine: str) -> bool:
    """Whether it has PCI Express; the default machine is the i440FX one, which has not."""
    return "q35" in machine


ROOT_PORTS: Final = 24  # as many disks and interfaces as an instance may have
ROOT_PORT_SLOT: Final = 0x10  # the board's own devices, and those QEMU places, are around


def root_ports(hvparams: Mapping[str, Json]) -> list[str]:
    """PCI Express takes devices in and out at ports only, one each, not at the root."""
    if not is_q35(machine_of(hvparams)):
        return []
    made = []
    for port in range(ROOT_PORTS):
        place = f"{ROOT_PORT_SLOT + port // 8:#x}.{port % 8}"
        words = f"id=port{port},chassis={port + 1},bus=pcie.0,addr={place},multifunction=on"
        made += ["-device", f"pcie-root-port,{words},io-reserve=0"]
    return made


def device_id(kind: str, uuid: str) -> str:
    """`disk-<uuid without its last two groups>`, and the same for nics."""
    return f"{kind}-{uuid.rsplit('-', 2)[0]}"


def disk_driver(disk_type: str) -> str:
    return {"paravirtual": "virtio-blk-pci", "ide": "ide-hd"}.get(disk_type, disk_type)


def nic_driver(nic_type: str) -> str:
    return "virtio-net-pci" if nic_type == "paravirtual" else nic_type


def wanted_devices(hvparams: Mapping[str, Json]) -> dict[str, str]:
    """By parameter, the devices that not every QEMU has; paravirtual ones are always there."""
    made = {}
    disk, nic = str(hvparams.get("disk_type") or ""), str(hvparams.get("nic_type") or "")
    if disk not in ("", "paravirtual", *BOARD_TYPES):
        made["disk_type"] = disk_driver(disk)
    if nic not in ("", "paravirtual"):
        made["nic_type"] = nic
    if {disk, hvparams.get("cdrom_disk_type")} & set(SCSI_TYPES):
        made["scsi_controller_type"] = str(hvparams["scsi_controller_type"])
    if hvparams.get("spice_bind") and not hvparams.get("vga"):
        made["spice_bind"] = "qxl-vga"
    return made


@dataclass(slots=True)
class Places:
    """The places on the buses of one guest that are taken."""

    has_ports: bool
    slots: set[int]  # of pci.0, or numbers of root ports
    targets: set[int]

    @classmethod
    def of(
        cls, machine: str, reserved: int, hvinfos: Sequence[Mapping[str, Json] | None]
    ) -> Places:
        """`reserved`: the first slots are QEMU's own (hvparam kvm_pci_reservations)."""
        has_ports = is_q35(machine)
        slots: set[int] = set() if has_ports else set(range(reserved))
        targets: set[int] = set()
        for info in hvinfos:
            bus = str((info or {}).get("bus") or "")
            if info and bus.startswith("port"):
                slots.add(int(bus.removeprefix("port")))
            elif info and "addr" in info:
                slots.add(int(str(info["addr"]), 16))
            elif info and "scsi-id" in info:
                targets.add(int(info["scsi-id"]))
        return cls(has_ports, slots, targets)

    def pci(self, driver: str, name: str) -> dict[str, Json]:
        count = ROOT_PORTS if self.has_ports else PCI_SLOTS
        slot = next((n for n in range(count) if n not in self.slots), None)
        if slot is None:
            raise HypervisorError(
                f"device {name}: all PCI slots are taken; lower hvparam kvm_pci_reservations"
            )
        self.slots.add(slot)
        if self.has_ports:
            return {"driver": driver, "id": name, "bus": f"port{slot}", "addr": "0x0"}
        return {"driver": driver, "id": name, "bus": "pci.0", "addr": hex(slot)}

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
    places = Places.of(machine_of(hvparams), int(hvparams.get("kvm_pci_reservations", 12)), known)
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


def option(properties: Mapping[str, Json]) -> str:
    """Properties, as QMP takes them, in the form of a command line: `a=1,b.c=on`."""
    return ",".join(_flat(properties, ""))


def device_option(properties: Mapping[str, Json]) -> str:
    """As `option`; the driver stands first and without its name."""
    rest = {key: value for key, value in properties.items() if key != "driver"}
    return f"{properties['driver']},{option(rest)}"


def _flat(value: Json, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _flat(one, f"{name}.{index}")
    elif isinstance(value, bool):
        yield f"{name}={'on' if value else 'off'}"
    else:
        yield f"{name}={escaped(str(value))}"


# Disks.


def cache_of(disk: GuestDisk, hvparams: Mapping[str, Json]) -> tuple[str, str, str]:
    """write-cache, cache.direct, cache.no-flush."""
    return _CACHE[cache_word(disk, hvparams)]


def cache_word(disk: GuestDisk, hvparams: Mapping[str, Json]) -> str:
    """hvparam disk_cache; but a disk that another node may open meanwhile is never cached here."""
    shared = (
        *(DiskTemplate.SHARED_FILE, DiskTemplate.BLOCKDEV),
        *(DiskTemplate.EXT, DiskTemplate.GLUSTER),
    )
    return "none" if disk.disk.dev_type in shared else str(hvparams["disk_cache"])


def disk_argv(guest: GuestDisk, hvparams: Mapping[str, Json], is_block: bool) -> list[str]:
    """`-device` and `-blockdev` of one disk. `is_block`: the link leads to a block device."""
    check_mode(guest)
    disk_type = str(hvparams["disk_type"])
    if disk_type in BOARD_TYPES:
        return ["-drive", _board_drive(guest, hvparams, disk_type)]
    device = disk_device(guest, hvparams)
    if disk_type == "ide":
        device = {key: device[key] for key in ("driver", "drive", "write-cache")}
    return [
        *("-device", device_option(device)),
        *("-blockdev", option(disk_node(guest, hvparams, is_block))),
    ]


def _board_drive(guest: GuestDisk, hvparams: Mapping[str, Json], interface: str) -> str:
    """The old option, for what has no device of its own; its words where they are no defaults."""
    words = [f"file={escaped(guest.link)},format=raw,if={interface}"]
    cache = cache_word(guest, hvparams)
    words += [f"cache={cache}"] if cache != "default" else []
    aio = str(hvparams.get("disk_aio") or "threads")
    words += [f"aio={aio}"] if aio != "threads" else []
    discard = str(hvparams.get("disk_discard") or "default")
    words += [f"discard={discard}"] if discard == "unmap" else []
    return ",".join(words)


def check_mode(guest: GuestDisk) -> None:
    """HypervisorError for a disk that may not be written."""
    if guest.disk.mode is not DiskMode.READ_WRITE:
        raise HypervisorError(
            f"disk {guest.disk.iv_name or guest.disk.uuid}: KVM has no read-only disks"
        )


def disk_device(guest: GuestDisk, hvparams: Mapping[str, Json]) -> dict[str, Json]:
    """What the guest sees of a disk: properties of `-device` and of device_add."""
    info = dict(guest.disk.hvinfo or {})
    made = {**info, "drive": info["id"]}
    if info["driver"] not in ("scsi-generic", "scsi-block"):  # these pass commands through
        made["write-cache"] = cache_of(guest, hvparams)[0]
    return made


def disk_node(
    guest: GuestDisk, hvparams: Mapping[str, Json], is_block: bool, path: str | None = None
) -> dict[str, Json]:
    """What stands behind a disk: properties of `-blockdev` and of blockdev-add.

    `path` takes the place of the disk's link.
    """
    _, direct, no_flush = cache_of(guest, hvparams)
    discard = str(hvparams.get("disk_discard") or "default")
    aio = str(hvparams.get("disk_aio") or "threads")
    return {
        "driver": "raw",
        "node-name": (guest.disk.hvinfo or {})["id"],
        **({"discard": discard} if discard != "default" else {}),  # QEMU's own choice
        "cache": {"direct": direct == "on", "no-flush": no_flush == "on"},
        "file": _backend(guest, aio, is_block, path or str(guest.link)),
        "auto-read-only": False,
    }


def _backend(guest: GuestDisk, aio: str, is_block: bool, path: str) -> dict[str, Json]:
    """The `file` part: a file, a block device, or the address of a storage service."""
    if guest.uri is None:
        driver = "host_device" if is_block else "file"
        return {"driver": driver, "filename": path, "aio": aio}
    scheme, _, rest = guest.uri.partition(":")
    if scheme == "rbd":
        pool, _, image = rest.partition("/")
        return {"driver": "rbd", "pool": pool, "image": image}
    if scheme == "gluster":
        return _gluster(rest.removeprefix("//"))
    if scheme == "file":  # a provider of external storage that only needs a path
        return {"driver": "file", "filename": rest, "aio": aio}
    raise HypervisorError(f"disk address {guest.uri!r}: KVM opens only rbd:, gluster: and file:")


def _gluster(rest: str) -> dict[str, Json]:
    server, _, path = rest.partition("/")
    volume, _, file_path = path.partition("/")
    host, _, port = server.rpartition(":")
    return {
        "driver": "gluster",
        "server": [{"type": "inet", "host": host.strip("[]"), "port": port}],
        "volume": volume,
        "path": file_path,
    }


# Network interfaces.


def nic_argv(nic: Nic, tap: Tap) -> list[str]:
    """`-netdev` and `-device` of one interface."""
    name = str((nic.hvinfo or {})["id"])
    descriptors = [str(fd) for fd in (*tap.fds, *tap.vhost_fds)]
    return [
        *("-netdev", option(nic_backend(name, tap, descriptors))),
        *("-device", device_option(nic_device(nic, tap))),
    ]


def nic_device(nic: Nic, tap: Tap) -> dict[str, Json]:
    """What the guest sees of an interface: properties of `-device` and of device_add."""
    info = dict(nic.hvinfo or {})
    made = {**info, "netdev": info["id"], "mac": nic.mac}
    if len(tap.fds) > 1:
        # Two vectors per queue, one for configuration, one for control.
        made |= {"mq": True, "vectors": 2 * len(tap.fds) + 2}
    return made


def nic_backend(name: str, tap: Tap, descriptors: Sequence[str]) -> dict[str, Json]:
    """What stands behind an interface: properties of `-netdev` and of netdev_add.

    `descriptors`: how QEMU knows the tap's descriptors and after them the vhost ones, by number
    or by the names of getfd.
    """
    if not tap.fds:
        return {"type": "user", "id": name}
    queues = len(tap.fds)
    made: dict[str, Json] = {"type": "tap", "id": name}
    made |= _descriptors("fd", descriptors[:queues])
    if tap.vhost_fds:
        made |= {**_descriptors("vhostfd", descriptors[queues:]), "vhost": True}
    return made


def _descriptors(word: str, names: Sequence[str]) -> dict[str, Json]:
    return {word: names[0]} if len(names) == 1 else {f"{word}s": ":".join(names)}
