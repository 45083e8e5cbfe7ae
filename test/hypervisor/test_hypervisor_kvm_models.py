"""Models of devices, and what a guest boots from: a real QEMU, and its firmware as guest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guests import a_file_disk, a_nic, an_instance
from fakes.serial import SerialConsole
from fakes.short_root import short_root
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_qmp, kvm_tap
from ganeti.hypervisor.base import GuestDisk, HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.hypervisor.kvm_devices import device_id
from ganeti.hypervisor.kvm_hotplug import PERIPHERALS, names_of
from ganeti.hypervisor.kvm_qmp import Command
from ganeti.model.filled import FilledInstance
from ganeti.model.nic import Nic
from ganeti.model.params_kvm import NIC_TYPES
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind
from ganeti.utils.process import run

QEMU = "/usr/bin/qemu-system-x86_64"
DISK_MIB = 2
SECTOR, CD_SECTOR = 512, 2048


@pytest.fixture
def kvm() -> Iterator[KvmHypervisor]:
    yield from a_driver(privileged=False)


def a_driver(*, privileged: bool) -> Iterator[KvmHypervisor]:
    if not os.path.exists(QEMU):
        pytest.skip(f"needs {QEMU}")
    with short_root() as root:
        driver = KvmHypervisor(HvHost(Paths(root), run, privileged=privileged))
        yield driver
        for _ in driver.running():
            driver.kill(a_guest())


def a_guest(*nics: Nic, vcpus: int = 1, **hvparams: Json) -> FilledInstance:
    plain = {"kvm_path": QEMU, "kernel_path": "", "kvm_flag": "disabled", "chipset": "pc"}
    return an_instance(
        "web1",
        hypervisor=HypervisorKind.KVM,
        memory_mib=32,
        vcpus=vcpus,
        hvparams=plain | hvparams,
        nics=nics,
    )


def a_disk(place: Path, index: int = 0, start: bytes = b"") -> GuestDisk:
    image = place / f"disk{index}"
    image.write_bytes(start)
    os.truncate(image, DISK_MIB << 20)
    return GuestDisk(a_file_disk("web1", index, DISK_MIB), image)


def ask(kvm: KvmHypervisor, name: str, **arguments: Json) -> Json:
    (answer,) = kvm.qmp(kvm.files("web1").qmp, [Command(name, arguments)])
    return answer


def devices(kvm: KvmHypervisor) -> set[str]:
    (answer,) = kvm.qmp(kvm.files("web1").qmp, [PERIPHERALS])
    return names_of(answer)


def disk_sizes(kvm: KvmHypervisor) -> list[int]:
    rows = [row for row in ask(kvm, "query-block") if "inserted" in row]
    return [row["inserted"]["image"]["virtual-size"] for row in rows]


SCSI = ("lsi", "virtio-scsi-pci", "megasas")
DISKS: tuple[dict[str, Json], ...] = (
    {"disk_type": "paravirtual"},
    {"disk_type": "paravirtual", "chipset": "q35"},
    {"disk_type": "ide"},
    {"disk_type": "ide", "chipset": "q35"},
    {"disk_type": "scsi-cd", "scsi_controller_type": "virtio-scsi-pci"},
    *({"disk_type": "scsi-hd", "scsi_controller_type": one} for one in SCSI),
    *({"disk_type": "scsi-hd", "scsi_controller_type": one, "chipset": "q35"} for one in SCSI),
    *({"disk_cache": word} for word in ("none", "writeback", "writethrough")),
    {"disk_cache": "none", "disk_aio": "native"},
    {"disk_aio": "io_uring", "disk_discard": "unmap"},
)


def words(hvparams: dict[str, Json]) -> str:
    return ",".join(str(value) for value in hvparams.values())


@pytest.mark.parametrize("hvparams", DISKS, ids=words)
def test_a_disk_of_this_model_is_there_and_another_one_can_come(
    kvm: KvmHypervisor, tmp_path: Path, hvparams: dict[str, Json]
) -> None:
    guest = a_guest(**hvparams)
    kvm.validate_params(guest.hvparams)
    kvm.start(guest, [a_disk(tmp_path)])
    assert disk_sizes(kvm) == [DISK_MIB << 20]
    if hvparams.get("disk_type") == "ide":
        with pytest.raises(HypervisorError, match="ide can't be changed while the guest runs"):
            kvm.hot_add(guest, a_disk(tmp_path, 1), 1)
        return
    second = a_disk(tmp_path, 1)
    kvm.hot_add(guest, second, 1)
    assert device_id("disk", second.disk.uuid) in devices(kvm)
    assert disk_sizes(kvm) == [DISK_MIB << 20] * 2


@pytest.mark.parametrize("disk_type", ["sd", "mtd", "scsi"])
def test_a_disk_that_the_board_has_no_place_for_is_told_in_qemus_words(
    kvm: KvmHypervisor, tmp_path: Path, disk_type: str
) -> None:
    with pytest.raises(HypervisorError, match=f"web1: QEMU .*(if={disk_type}|bus type)"):
        kvm.start(a_guest(disk_type=disk_type), [a_disk(tmp_path)])
    assert not kvm.files("web1").runtime.exists()


@pytest.mark.parametrize("chipset", ["pc", "q35"])
@pytest.mark.parametrize("nic_type", NIC_TYPES)
def test_an_interface_of_this_model_is_there_and_another_one_can_come(
    kvm: KvmHypervisor, nic_type: str, chipset: str
) -> None:
    first, second = a_nic(1), a_nic(2)
    guest = a_guest(first, nic_type=nic_type, chipset=chipset)
    kvm.validate_params(guest.hvparams)
    kvm.start(guest, [])
    wanted = {device_id("nic", first.uuid)}
    assert wanted <= devices(kvm)
    if nic_type == "ne2k_isa":
        with pytest.raises(HypervisorError, match="ne2k_isa can't be changed"):
            kvm.hot_add(guest, second, 1)
        return
    kvm.hot_add(guest, second, 1)
    assert wanted | {device_id("nic", second.uuid)} <= devices(kvm)
    ports = [one for one in devices(kvm) if one.startswith("port")]
    assert len(ports) == (24 if chipset == "q35" else 0)


def test_an_interface_with_several_queues_has_them_on_its_tap(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not kvm_tap.TUN.exists():
        pytest.skip("needs root and /dev/net/tun")
    for kvm in a_driver(privileged=True):
        kvm.host.paths.conf.mkdir(parents=True)
        script = kvm.host.paths.conf / "kvm-vif-bridge"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
        kvm.start(a_guest(a_nic(), vcpus=2, virtio_net_queues=2), [])
        name = (kvm.files("web1").nics / "0").read_text()
        shown = str(ask(kvm, "human-monitor-command", **{"command-line": "info network"}))
        assert shown.count("type=tap") == 2
        argv = (Path("/proc") / kvm.files("web1").pid.read_text().strip() / "cmdline").read_bytes()
        assert (b"vhost=on" in argv) is kvm_tap.VHOST.exists()
        assert b"mq=on,vectors=6" in argv
        kvm.stop(a_guest(), force=True)
        assert not Path("/sys/class/net", name).exists()


OTHERS: tuple[dict[str, Json], ...] = (
    {"usb_mouse": "mouse"},
    {"usb_mouse": "tablet", "chipset": "q35"},
    {"usb_devices": "tablet,keyboard"},
    {"soundhw": "hda", "vga": "cirrus", "keymap": "de", "use_localtime": True},
    {"cpu_type": "qemu64", "cpu_cores": 2, "cpu_threads": 1, "cpu_sockets": 1},
    {"machine_version": "pc-i440fx-6.2", "acpi": False},
    {"use_guest_agent": True, "kvm_extra": "-device virtio-rng-pci,id='rng0',max-bytes='1024'"},
)


@pytest.mark.parametrize("hvparams", OTHERS, ids=words)
def test_qemu_takes_these_parameters(kvm: KvmHypervisor, hvparams: dict[str, Json]) -> None:
    guest = a_guest(vcpus=2, **hvparams)
    kvm.validate_params(guest.hvparams)
    kvm.start(guest, [])
    assert ask(kvm, "query-status")["running"] is True
    usb = str(ask(kvm, "human-monitor-command", **{"command-line": "info usb"})).lower()
    for word in (*str(hvparams.get("usb_devices", "")).split(","), hvparams.get("usb_mouse", "")):
        assert word in usb
    if "kvm_extra" in hvparams:
        assert "rng0" in devices(kvm)
        assert kvm.files("web1").guest_agent.is_socket()


# Booting. The guest is one sector that says on the serial line where it comes from.


def boot_sector(letter: str, *, then: bytes = b"\xf4\xeb\xfd") -> bytes:
    """mov dx,0x3f8; mov al,LETTER; out dx,al; then hlt, for ever."""
    code = b"\xfa\xba\xf8\x03\xb0" + letter.encode() + b"\xee" + then
    return code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def a_cd(letter: str) -> bytes:
    """A CD-ROM that boots without emulation: El Torito, its least form."""
    entry = b"\x01" + bytes(27) + bytes(2) + b"\x55\xaa"
    checksum = -sum(int.from_bytes(entry[i : i + 2], "little") for i in range(0, 32, 2)) & 0xFFFF
    validation = entry[:28] + checksum.to_bytes(2, "little") + entry[30:]
    initial = b"\x88\0\0\0\0\0\1\0" + (20).to_bytes(4, "little")
    sectors = {
        16: b"\1CD001\1",
        17: (b"\0CD001\1EL TORITO SPECIFICATION".ljust(0x47, b"\0") + (19).to_bytes(4, "little")),
        18: b"\xffCD001\1",
        19: validation + initial,
        20: boot_sector(letter),
    }
    return b"".join(sectors.get(number, b"").ljust(CD_SECTOR, b"\0") for number in range(21))


@pytest.fixture
def media(tmp_path: Path) -> dict[str, Json]:
    floppy, cd = tmp_path / "floppy", tmp_path / "cd"
    floppy.write_bytes(boot_sector("F").ljust(1440 << 10, b"\0"))
    cd.write_bytes(a_cd("C"))
    return {
        "floppy_image_path": str(floppy),
        "cdrom_image_path": str(cd),
        "cdrom_disk_type": "ide",
        "serial_console": True,
    }


@pytest.mark.parametrize("chipset", ["pc", "q35"])
@pytest.mark.parametrize(("order", "letter"), [("disk", "D"), ("cdrom", "C"), ("floppy", "F")])
def test_a_guest_boots_from_what_is_named(
    kvm: KvmHypervisor,
    tmp_path: Path,
    media: dict[str, Json],
    chipset: str,
    order: str,
    letter: str,
) -> None:
    guest = a_guest(boot_order=order, chipset=chipset, **media)
    kvm.start(guest, [a_disk(tmp_path, start=boot_sector("D"))], paused=True)
    with SerialConsole(kvm.files("web1").serial) as console:
        kvm.qmp(kvm.files("web1").qmp, [kvm_qmp.CONTINUE])
        console.expect(letter)


def test_a_guest_that_reboots_ends_when_that_is_wanted(kvm: KvmHypervisor, tmp_path: Path) -> None:
    reset = b"\xb0\xfe\xe6\x64\xf4\xeb\xfd"  # mov al,0xfe; out 0x64,al
    disk = a_disk(tmp_path, start=boot_sector("R", then=reset))
    kvm.start(a_guest(reboot_behavior="exit"), [disk])
    assert kvm.wait_gone("web1", 30.0)


def test_read_only_disks_are_refused(kvm: KvmHypervisor, tmp_path: Path) -> None:
    disk = a_disk(tmp_path)
    disk = replace(disk, disk=replace(disk.disk, mode=disk.disk.mode.__class__("ro")))
    with pytest.raises(HypervisorError, match="no read-only disks"):
        kvm.start(a_guest(), [disk])
