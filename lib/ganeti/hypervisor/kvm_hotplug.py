"""Devices of a running KVM guest: added, removed and changed over QMP.

Source: facts/hypervisors.md, KVM, Control (Hotplug); qemu-qmp-ref(7). Order: first the guest, then
the runtime file, so that a reboot or a migration makes what the guest has. What QEMU opens comes as
a descriptor: a QEMU without rights of its own could not open it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import HotplugError, HypervisorError
from ganeti.hypervisor import kvm_ifdown, kvm_runtime, kvm_tap
from ganeti.hypervisor.base import GuestDisk
from ganeti.hypervisor.kvm_devices import (
    SCSI_TYPES,
    Tap,
    check_mode,
    device_id,
    disk_device,
    disk_node,
    nic_backend,
    nic_device,
    place_devices,
)
from ganeti.hypervisor.kvm_qmp import Command, Ending
from ganeti.model.nic import Nic
from ganeti.serializer import Json

if TYPE_CHECKING:
    from ganeti.hypervisor.base import HvHost
    from ganeti.hypervisor.kvm_files import KvmFiles
    from ganeti.hypervisor.kvm_qmp import QmpPort
    from ganeti.hypervisor.kvm_runtime import Runtime
    from ganeti.model.disk import Disk
    from ganeti.model.filled import FilledInstance

ADD_TIMEOUT_S: Final = 15.0  # several commands in one conversation; each takes milliseconds
UNPLUG_TIMEOUT_S: Final = 12.0  # a guest with PCIe's own hotplug waits 5 s for a second thought
FD_SET: Final = 4711
"""Number of the descriptor set that one conversation makes and ends."""
NEEDED: Final = frozenset({"device_add", "device_del", "blockdev-add", "netdev_add", "add-fd"})
PERIPHERALS: Final = Command("qom-list", {"path": "/machine/peripheral"})
HOTPLUG_DISKS: Final = ("paravirtual", *SCSI_TYPES)


# What is told to QEMU. Pure.


def add_disk_commands(
    guest: GuestDisk, hvparams: Mapping[str, Json], is_block: bool, fd: int | None
) -> list[Command]:
    """`fd`: the opened disk; None for one that QEMU reaches by its address."""
    path = None if fd is None else f"/dev/fdset/{FD_SET}"
    node = Command("blockdev-add", disk_node(guest, hvparams, is_block, path))
    device = Command("device_add", disk_device(guest, hvparams))
    if fd is None:
        return [node, device]
    number = {"fdset-id": FD_SET}
    return [
        Command("remove-fd", number, optional=True),  # left by a conversation that failed
        *(Command("add-fd", number, fd=fd), node, Command("remove-fd", number), device),
    ]


def add_nic_commands(nic: Nic, tap: Tap) -> list[Command]:
    name = str((nic.hvinfo or {})["id"])
    fds = (*tap.fds, *tap.vhost_fds)
    names = [f"{name}-{number}" for number in range(len(fds))]
    return [
        *(Command("getfd", {"fdname": fdname}, fd=fd) for fdname, fd in zip(names, fds)),
        Command("netdev_add", nic_backend(name, tap, names)),
        Command("device_add", nic_device(nic, tap)),
    ]


def remove_command(name: str) -> Command:
    """The guest is asked; the command ends when it has let go of the device."""
    ending = Ending(name, good="DEVICE_DELETED", bad="DEVICE_UNPLUG_GUEST_ERROR")
    return Command("device_del", {"id": name}, ending=ending)


def remove_backend(device: GuestDisk | Nic, name: str) -> Command:
    """What stood behind a device; it may be gone already."""
    if isinstance(device, Nic):
        return Command("netdev_del", {"id": name}, optional=True)
    return Command("blockdev-del", {"node-name": name}, optional=True)


def names_of(answer: Json) -> set[str]:
    """The ids of the devices that the guest has, from qom-list."""
    return {str(row["name"]) for row in answer or () if row.get("type", "").startswith("child<")}


def uuid_of(device: GuestDisk | Nic) -> str:
    return device.uuid if isinstance(device, Nic) else device.disk.uuid


def id_of(device: GuestDisk | Nic) -> str:
    return device_id("nic" if isinstance(device, Nic) else "disk", uuid_of(device))


class KvmHotplug:
    """The part of the KVM driver that changes devices of a running guest."""

    qmp: QmpPort
    host: HvHost

    if TYPE_CHECKING:

        def files(self, name: str) -> KvmFiles: ...
        def is_alive(self, name: str) -> bool: ...
        def _tap(self, nic: Nic, hv: Mapping[str, Json]) -> Tap: ...

    def check_hotplug(self, instance: FilledInstance) -> None:
        """QEMU is asked whether it can; what it has for a machine stands in the runtime."""
        name = instance.name
        runtime = self._runtime(name)
        try:
            (commands,) = self.qmp(self.files(name).qmp, [Command("query-commands")])
        except HypervisorError as error:
            raise HotplugError(f"instance {name}: {error}") from error
        lacking = NEEDED - {row["name"] for row in commands or ()}
        if lacking:
            raise HotplugError(f"instance {name}: its QEMU has no {', '.join(sorted(lacking))}")
        if not runtime.hvparams.get("acpi"):
            raise HotplugError(f"instance {name}: a guest without ACPI does not see new devices")

    def _runtime(self, name: str) -> Runtime:
        if not self.is_alive(name):
            raise HotplugError(f"instance {name}: does not run")
        return kvm_runtime.load(self.files(name).runtime, name)

    def hot_add(self, instance: FilledInstance, device: GuestDisk | Nic, index: int) -> None:
        """A device that the guest has already is no error: the call may have been repeated."""
        name = instance.name
        runtime = self._runtime(name)
        plugged = id_of(device) in self._devices(name)
        if plugged and _find(runtime, device) is not None:
            return
        if plugged:
            raise HotplugError(f"instance {name}: has a device {id_of(device)} of which no record"
                               " is left; remove it first")  # fmt: skip
        placed = self._placed(runtime, device)
        after = _with(_without(runtime, device), placed, index)
        self._plug(instance, placed, runtime, index)
        kvm_runtime.save(self.files(name).runtime, after)

    def hot_remove(
        self, instance: FilledInstance, device: GuestDisk | Nic
    ) -> Mapping[str, Json] | None:
        name = instance.name
        runtime = self._runtime(name)
        known = _find(runtime, device)
        self._unplug(name, device)
        if isinstance(device, Nic) and known is not None:
            gone = self._note_gone(name, runtime.nics.index(known))
            if gone:
                kvm_ifdown.disconnect(self.host, gone)
        kvm_runtime.save(self.files(name).runtime, _without(runtime, device))
        info = known.hvinfo if isinstance(known, Nic) else known.disk.hvinfo if known else None
        return info

    def hot_modify(self, instance: FilledInstance, device: GuestDisk | Nic, index: int) -> None:
        """An interface is taken out and put in again at its place; a disk only changes its record:
        nothing of it that can change is seen by the guest."""
        name = instance.name
        runtime = self._runtime(name)
        known = _find(runtime, device)
        if known is None:
            raise HotplugError(f"instance {name}: the guest has no device {id_of(device)}")
        if isinstance(known, GuestDisk):
            assert isinstance(device, GuestDisk)
            kept = replace(device, disk=replace(device.disk, hvinfo=known.disk.hvinfo))
            kvm_runtime.save(self.files(name).runtime, _replaced(runtime, kept))
            return
        assert isinstance(device, Nic)
        place = runtime.nics.index(known)
        self.hot_remove(instance, known)
        moved = replace(device, hvinfo=known.hvinfo)
        self.hot_add(instance, moved, place)

    def disks_of_guest(self, instance: FilledInstance) -> Sequence[GuestDisk]:
        return self._runtime(instance.name).disks

    def links_moved(self, instance: FilledInstance, links: Mapping[str, Path]) -> None:
        runtime = self._runtime(instance.name)
        disks = tuple(
            replace(one, link=links.get(one.disk.uuid, one.link)) for one in runtime.disks
        )
        kvm_runtime.save(self.files(instance.name).runtime, replace(runtime, disks=disks))

    def resize_disk(self, instance: FilledInstance, disk: Disk, size_bytes: int) -> None:
        name = device_id("disk", disk.uuid)
        request = {"node-name": name, "size": size_bytes}
        try:
            self.qmp(self.files(instance.name).qmp, [Command("block_resize", request)])
        except HypervisorError as error:
            raise HotplugError(f"instance {instance.name}, disk {name}: {error}") from error

    def _devices(self, name: str) -> set[str]:
        (answer,) = self.qmp(self.files(name).qmp, [PERIPHERALS])
        return names_of(answer)

    def _placed(self, runtime: Runtime, device: GuestDisk | Nic) -> GuestDisk | Nic:
        """The device with its hvinfo; HotplugError for a kind that needs a start."""
        hv = runtime.hvparams
        if isinstance(device, Nic):
            if hv["nic_type"] == "ne2k_isa":
                raise HotplugError("a nic of type ne2k_isa can't be changed while the guest runs")
            return place_devices([*runtime.nics, device], runtime.disks, hv)[0][-1]
        check_mode(device)
        if hv["disk_type"] not in HOTPLUG_DISKS:
            raise HotplugError(
                f"a disk of type {hv['disk_type']} can't be changed while the guest runs"
            )
        return place_devices(runtime.nics, [*runtime.disks, device], hv)[1][-1]

    def _plug(
        self, instance: FilledInstance, device: GuestDisk | Nic, runtime: Runtime, index: int
    ) -> None:
        """After a failure nothing stands behind the device that could not be added."""
        if isinstance(device, Nic):
            self._plug_nic(instance, device, runtime, index)
            return
        fd = None
        try:
            if device.uri is None:
                fd = os.open(device.link, os.O_RDWR | os.O_CLOEXEC)
            is_block = device.link.is_block_device()
            commands = add_disk_commands(device, runtime.hvparams, is_block, fd)
            self._tell(instance.name, device, commands)
        except OSError as error:
            raise HotplugError(f"disk {device.link}: {error.strerror}") from error
        finally:
            if fd is not None:
                os.close(fd)

    def _plug_nic(self, instance: FilledInstance, nic: Nic, runtime: Runtime, index: int) -> None:
        tap = self._tap(nic, runtime.hvparams)
        try:
            if tap.name:
                kvm_tap.connect(self.host, instance.name, instance.tags, nic, index, tap.name)
            self._tell(instance.name, nic, add_nic_commands(nic, tap))
            self._note_new(instance.name, min(index, len(runtime.nics)), tap)
        except HypervisorError:
            if tap.name:
                kvm_ifdown.disconnect(self.host, tap.name)
            raise
        finally:
            kvm_tap.close_tap(tap)

    def _tell(self, name: str, device: GuestDisk | Nic, commands: Sequence[Command]) -> None:
        socket = self.files(name).qmp
        try:
            self.qmp(socket, commands, ADD_TIMEOUT_S)
        except HypervisorError as error:
            self.qmp(socket, [remove_backend(device, id_of(device))])
            raise HotplugError(f"instance {name}: {error}") from error

    def _unplug(self, name: str, device: GuestDisk | Nic) -> None:
        """The guest has let go of it; one that it does not have (any more) is no error."""
        identity = id_of(device)
        commands = [remove_backend(device, identity)]
        if identity in self._devices(name):
            commands.insert(0, remove_command(identity))
        try:
            self.qmp(self.files(name).qmp, commands, UNPLUG_TIMEOUT_S)
        except HypervisorError as error:
            raise HotplugError(
                f"instance {name}: the guest has not let go of {identity}: {error}"
            ) from error

    # Names of taps, by index.
    def _note_new(self, name: str, index: int, tap: Tap) -> None:
        if tap.name:
            notes = self._notes(name)
            self._write_notes(name, [*notes[:index], tap.name, *notes[index:]])

    def _note_gone(self, name: str, index: int) -> str | None:
        """The name of its tap, if it had one."""
        notes = self._notes(name)
        self._write_notes(name, [*notes[:index], *notes[index + 1 :]])
        return notes[index] if index < len(notes) else None

    def _notes(self, name: str) -> list[str]:
        place = self.files(name).nics
        count = len(list(place.iterdir())) if place.is_dir() else 0
        return [(place / str(index)).read_text() for index in range(count)]

    def _write_notes(self, name: str, notes: Sequence[str]) -> None:
        place = self.files(name).nics
        if notes:
            place.mkdir(parents=True, exist_ok=True)
        for index, text in enumerate(notes):
            (place / str(index)).write_text(text)
        (place / str(len(notes))).unlink(missing_ok=True)


# The runtime with other devices. Pure.


def _find(runtime: Runtime, device: GuestDisk | Nic) -> GuestDisk | Nic | None:
    known: Sequence[GuestDisk | Nic] = runtime.nics if isinstance(device, Nic) else runtime.disks
    return next((one for one in known if uuid_of(one) == uuid_of(device)), None)


def _without(runtime: Runtime, device: GuestDisk | Nic) -> Runtime:
    uuid = uuid_of(device)
    if isinstance(device, Nic):
        return replace(runtime, nics=tuple(one for one in runtime.nics if one.uuid != uuid))
    disks = tuple(one for one in runtime.disks if one.disk.uuid != uuid)
    return replace(runtime, disks=disks)


def _with(runtime: Runtime, device: GuestDisk | Nic, index: int) -> Runtime:
    if isinstance(device, Nic):
        nics = runtime.nics
        return replace(runtime, nics=(*nics[:index], device, *nics[index:]))
    disks = runtime.disks
    return replace(runtime, disks=(*disks[:index], device, *disks[index:]))


def _replaced(runtime: Runtime, guest: GuestDisk) -> Runtime:
    disks = tuple(guest if one.disk.uuid == guest.disk.uuid else one for one in runtime.disks)
    return replace(runtime, disks=disks)
