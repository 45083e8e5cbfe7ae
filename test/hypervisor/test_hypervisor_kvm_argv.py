"""The QEMU command line, argument by argument as facts/hypervisors.md has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guests import a_file_disk, a_nic, an_instance
from ganeti.errors import HypervisorError
from ganeti.hypervisor.base import GuestDisk
from ganeti.hypervisor.kvm_argv import (
    Binary,
    StartOptions,
    is_instance,
    machine_argv,
    memory_and_vcpus,
    option_value,
    start_argv,
)
from ganeti.hypervisor.kvm_devices import Tap, place_devices, wanted_devices
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.model.filled import FilledInstance
from ganeti.model.nic import Nic
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import DiskMode, DiskTemplate, HypervisorKind

QEMU = Binary(
    version=(7, 2, 22),
    machines=frozenset({"pc", "q35"}),
    options={"-audio": "", "-display": "", "-runas": "", "-chroot": ""},
    properties=frozenset({"acpi"}),
)
NEW_QEMU = Binary(version=(9, 1, 0), options={"-run-with": "-run-with [chroot=dir][,user=name]"})
OLD_QEMU = Binary(version=(0, 15, 0))
FILES = KvmDirectories.of(Paths("/")).files("web1")
RUN = "/var/run/ganeti/kvm-hypervisor"


def kvm(network_port: int | None = None, **hvparams: Json) -> FilledInstance:
    return an_instance(
        "web1",
        hypervisor=HypervisorKind.KVM,
        hvparams={"kvm_path": "/usr/bin/kvm", "kernel_path": "", **hvparams},
        network_port=network_port,
    )


def stage_1(instance: FilledInstance, binary: Binary = QEMU, **options: Json) -> list[str]:
    return machine_argv(instance, FILES, binary, StartOptions(**{"accelerator": "tcg", **options}))


def stage_2(
    instance: FilledInstance,
    disks: Sequence[GuestDisk] = (),
    nics: Sequence[Nic] = (),
    tap: Tap | None = None,
    is_block: bool = False,
    incoming: tuple[str, int] | None = None,
) -> list[str]:
    placed_nics, placed = place_devices(nics, disks, instance.hvparams)
    return start_argv(
        ["qemu"],
        FILES,
        instance.hvparams,
        [(nic, tap or Tap()) for nic in placed_nics],
        [(disk, is_block) for disk in placed],
        QEMU,
        incoming=incoming,
    )


def values(argv: Sequence[str], option: str) -> list[str]:
    return [value for word, value in zip(argv, argv[1:]) if word == option]


def a_guest_disk(index: int = 0, **more: Json) -> GuestDisk:
    disk = a_file_disk("web1", index, **more)
    return GuestDisk(disk, Path(f"/var/run/ganeti/instance-disks/web1:{index}"))


def test_the_arguments_stand_in_the_order_of_the_facts() -> None:
    instance = kvm(kernel_path="/boot/vmlinuz", initrd_path="/boot/initrd")
    assert stage_1(instance) == [
        *("/usr/bin/kvm", "-name", "web1", "-m", "128", "-smp", "1"),
        *("-pidfile", f"{RUN}/pid/web1"),
        *("-device", "virtio-balloon", "-daemonize", "-D", "/var/log/ganeti/kvm/web1.log"),
        *("-accel", "tcg"),
        *("-kernel", "/boot/vmlinuz", "-initrd", "/boot/initrd"),
        *("-append", "root=/dev/vda1 ro console=ttyS0,38400"),
        *("-monitor", f"unix:{RUN}/ctrl/web1.monitor,server=on,wait=off"),
        *("-serial", f"unix:{RUN}/ctrl/web1.serial,server=on,wait=off"),
        *("-usb", "-display", "none", "-uuid", instance.uuid),
    ]


def test_the_second_stage_adds_devices_and_control() -> None:
    disk, nic = a_guest_disk(), a_nic()
    disk_id = f"disk-{disk.disk.uuid.rsplit('-', 2)[0]}"
    nic_id = f"nic-{nic.uuid.rsplit('-', 2)[0]}"
    assert stage_2(kvm(disk_discard="ignore"), [disk], [nic], Tap("tap0", (7,), (8,))) == [
        "qemu",
        *("-netdev", f"type=tap,id={nic_id},fd=7,vhostfd=8,vhost=on"),
        "-device",
        f"virtio-net-pci,id={nic_id},bus=pci.0,addr=0xd,netdev={nic_id},mac={nic.mac}",
        *("-qmp", f"unix:{RUN}/ctrl/web1.qmp,server=on,wait=off"),
        *("-boot", "order=c"),
        "-device",
        f"virtio-blk-pci,id={disk_id},bus=pci.0,addr=0xc,drive={disk_id},write-cache=on",
        "-blockdev",
        f"driver=raw,node-name={disk_id},discard=ignore,cache.direct=off,cache.no-flush=off,"
        "file.driver=file,file.filename=/var/run/ganeti/instance-disks/web1:0,file.aio=threads,"
        "auto-read-only=off",
        "-S",
    ]


@pytest.mark.parametrize(
    ("cache", "write_cache", "direct"),
    [
        ("none", "on", "on"),
        ("writeback", "on", "off"),
        ("default", "on", "off"),
        ("writethrough", "off", "off"),
    ],
)
def test_the_cache_word_becomes_three_switches(cache: str, write_cache: str, direct: str) -> None:
    argv = stage_2(kvm(disk_cache=cache), [a_guest_disk()])
    assert f"write-cache={write_cache}" in values(argv, "-device")[0]
    assert f"cache.direct={direct},cache.no-flush=off" in values(argv, "-blockdev")[0]


def test_a_disk_that_other_nodes_see_is_never_cached() -> None:
    shared = a_guest_disk(dev_type=DiskTemplate.SHARED_FILE)
    argv = stage_2(kvm(disk_cache="writeback"), [shared])
    assert "cache.direct=on" in values(argv, "-blockdev")[0]


def test_a_block_device_is_opened_as_one() -> None:
    argv = stage_2(kvm(), [a_guest_disk()], is_block=True)
    assert "file.driver=host_device" in values(argv, "-blockdev")[0]


def test_a_storage_service_is_opened_by_its_address() -> None:
    disk = replace(a_guest_disk(), uri="gluster://[2001:db8::1]:24007/gv0/ganeti/u.0")
    (blockdev,) = values(stage_2(kvm(), [disk]), "-blockdev")
    assert "file.server.0.host=2001:db8::1,file.server.0.port=24007" in blockdev
    assert "file.volume=gv0,file.path=ganeti/u.0" in blockdev
    disk = replace(disk, uri="rbd:pool/image")
    (blockdev,) = values(stage_2(kvm(), [disk]), "-blockdev")
    assert "file.driver=rbd,file.pool=pool,file.image=image" in blockdev


def test_commas_in_a_path_do_not_end_it() -> None:
    disk = replace(a_guest_disk(), link=Path("/srv/a,b"))
    assert "file.filename=/srv/a,,b," in values(stage_2(kvm(), [disk]), "-blockdev")[0]


def test_read_only_disks_are_refused() -> None:
    with pytest.raises(HypervisorError, match="disk/0: KVM has no read-only disks"):
        stage_2(kvm(), [a_guest_disk(mode=DiskMode.READ_ONLY)])


def test_ide_and_scsi_disks_have_their_own_drivers() -> None:
    ide = stage_2(kvm(disk_type="ide"), [a_guest_disk()])
    assert values(ide, "-device")[0].startswith("ide-hd,drive=disk-")
    disks = [a_guest_disk(0), a_guest_disk(1)]
    scsi = stage_2(kvm(disk_type="scsi-hd"), disks)
    assert [value.split(",drive")[0].split(",", 2)[2] for value in values(scsi, "-device")] == [
        "bus=scsi.0,channel=0,scsi-id=0,lun=0", "bus=scsi.0,channel=0,scsi-id=1,lun=0",
    ]  # fmt: skip
    assert "lsi,id=scsi" in stage_1(kvm(disk_type="scsi-hd", scsi_controller_type="lsi"))


def test_devices_keep_the_places_they_have_and_others_fill_the_gaps() -> None:
    hvparams = kvm(kvm_pci_reservations=3).hvparams
    _, (first, second) = place_devices([], [a_guest_disk(0), a_guest_disk(1)], hvparams)
    assert [disk.disk.hvinfo["addr"] for disk in (first, second) if disk.disk.hvinfo] == [
        "0x3", "0x4",
    ]  # fmt: skip
    (nic,), _ = place_devices([a_nic()], [second], hvparams)
    assert nic.hvinfo is not None and nic.hvinfo["addr"] == "0x3"


def test_a_full_bus_is_told_with_its_way_out() -> None:
    disks = [a_guest_disk(index) for index in range(3)]
    with pytest.raises(HypervisorError, match="lower hvparam kvm_pci_reservations"):
        place_devices([], disks, kvm(kvm_pci_reservations=30).hvparams)


def test_devices_of_a_q35_machine_are_on_its_bus() -> None:
    for board in ({"machine_version": "q35"}, {"chipset": "q35"}):
        guest = kvm(**board)
        argv = stage_2(guest, [a_guest_disk(0), a_guest_disk(1)])
        places = [device for device in values(argv, "-device") if device.startswith("virtio-blk")]
        assert ["bus=port0,addr=0x0," in places[0], "bus=port1,addr=0x0," in places[1]] == [
            True
        ] * 2
        argv = stage_1(guest)
        ports = [device for device in values(argv, "-device") if device.startswith("pcie-root")]
        assert len(ports) == 24 and "id=port9,chassis=10,bus=pcie.0,addr=0x11.1" in ports[9]
    assert values(stage_1(kvm(machine_version="q35")), "-machine") == ["q35"]


def test_a_board_is_told_by_its_full_name_that_a_newer_program_knows_too() -> None:
    binary = Binary(
        version=(7, 2, 0),
        machines=frozenset({"pc", "q35", "pc-i440fx-7.2"}),
        aliases={"": "pc-i440fx-7.2", "pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"},
    )

    def machine(**hvparams: Json) -> list[str]:
        return values(stage_1(kvm(**hvparams), binary), "-machine")

    assert machine() == []
    assert machine(chipset="q35") == ["pc-q35-7.2"]
    assert machine(chipset="q35", machine_version="pc-i440fx-7.2") == ["pc-i440fx-7.2"]
    assert machine(firmware="uefi") == ["pflash0=firmware,pflash1=variables"]
    assert binary.machine(kvm().hvparams) == "pc-i440fx-7.2"


def test_a_machine_that_the_binary_does_not_have_is_refused() -> None:
    with pytest.raises(HypervisorError, match="no machine type 'pc-9'"):
        stage_1(kvm(machine_version="pc-9"))


def test_the_accelerator_is_named_in_one_place() -> None:
    enabled = stage_1(kvm(kvm_flag="enabled", acpi=False), accelerator="kvm")
    assert values(enabled, "-machine") == ["acpi=off,accel=kvm"]
    assert "-accel" not in enabled
    assert values(stage_1(kvm(), accelerator="kvm"), "-accel") == ["kvm"]


def test_several_queues_of_an_interface_are_passed_together() -> None:
    argv = stage_2(kvm(), nics=[a_nic()], tap=Tap("tap0", (5, 6), (7, 8)))
    assert "fds=5:6,vhostfds=7:8,vhost=on" in values(argv, "-netdev")[0]
    assert values(argv, "-device")[0].endswith("mq=on,vectors=6")


def test_an_interface_without_a_tap_uses_user_mode_networking() -> None:
    assert values(stage_2(kvm(), nics=[a_nic()]), "-netdev")[0].startswith("type=user,id=nic-")


def test_without_interfaces_there_is_no_network() -> None:
    assert values(stage_2(kvm()), "-net") == ["none"]


def test_an_awaited_guest_is_not_stopped_by_us() -> None:
    argv = stage_2(kvm(), incoming=("2001:db8::2", 8102))
    assert values(argv, "-incoming") == ["tcp:[2001:db8::2]:8102"]
    assert "-S" not in argv


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [
        ("0.0.0.0", 11001, ":5101"),
        ("192.0.2.1", 11001, "192.0.2.1:5101"),
        ("2001:db8::1", 11001, "[2001:db8::1]:5101"),
        ("/run/vnc", 11001, "unix:/run/vnc/web1.vnc"),
        ("0.0.0.0", 5900, "none"),
    ],
)
def test_vnc_listens_where_it_is_told(address: str, port: int, expected: str) -> None:
    argv = stage_1(kvm(port, vnc_bind_address=address), vnc_address=address)
    assert values(argv, "-vnc") == [expected]
    assert values(argv, "-usbdevice") == ["tablet"]


def test_vnc_with_certificates_and_password() -> None:
    instance = kvm(
        11001,
        vnc_bind_address="0.0.0.0",
        vnc_tls=True,
        vnc_x509_path="/etc/pki",
        vnc_x509_verify=True,
        vnc_password_file="/etc/pw",
    )
    argv = stage_1(instance, vnc_address="0.0.0.0")
    assert values(argv, "-object") == [
        "tls-creds-x509,id=vnctls0,endpoint=server,dir=/etc/pki,verify-peer=yes"
    ]
    assert values(argv, "-vnc") == [":5101,tls-creds=vnctls0,password=on"]


def test_spice_options_follow_the_parameters() -> None:
    instance = kvm(
        11001, spice_bind="127.0.0.1", spice_streaming_video="filter", spice_ip_version=4
    )
    argv = stage_1(instance, spice_address="127.0.0.1")
    assert values(argv, "-spice") == [
        "addr=127.0.0.1,port=11001,disable-ticketing=on,ipv4=on,streaming-video=filter"
    ]
    assert "spicevmc,id=spicechannel0,name=vdagent" in values(argv, "-chardev")
    assert values(argv, "-vga") == ["qxl"]


def test_media_are_booted_when_there_is_no_kernel() -> None:
    argv = stage_1(kvm(boot_order="cdrom", cdrom_image_path="http://example.com/a.iso"))
    assert values(argv, "-boot") == ["order=d"]
    assert "file.driver=http,file.url=http://example.com/a.iso" in values(argv, "-blockdev")[0]
    assert values(argv, "-device")[-1] == "virtio-blk-pci,drive=cdrom1"
    argv = stage_1(kvm(cdrom2_image_path="/srv/b.iso", cdrom_disk_type="ide"))
    assert values(argv, "-device")[-1] == "ide-cd,drive=cdrom2"
    assert values(stage_1(kvm(boot_order="network")), "-boot") == ["order=n"]


def test_the_rest_of_the_parameters_has_its_arguments() -> None:
    argv = stage_1(
        kvm(
            reboot_behavior="exit",
            mem_path="/dev/hugepages",
            cpu_type="host",
            cpu_cores=2,
            use_localtime=True,
            vga="std",
            usb_devices="mouse,keyboard",
            use_guest_agent=True,
            serial_console=False,
            kvm_extra="-device 'a b'",
        )
    )
    assert "-no-reboot" in argv and "-mem-prealloc" in argv
    assert option_value(argv, "-smp") == "1,cores=2"
    assert (option_value(argv, "-cpu"), option_value(argv, "-vga")) == ("host", "std")
    assert option_value(argv, "-rtc") == "base=localtime"
    assert option_value(argv, "-serial") == "none"
    assert values(argv, "-usbdevice") == ["mouse", "keyboard"]
    assert any(value.startswith("socket,path=/var/run") for value in values(argv, "-chardev"))
    assert argv[-2:] == ["-device", "a b"]


def test_confinement_is_written_as_the_version_wants_it() -> None:
    hvparams = kvm(security_model="user", security_domain="kvm", use_chroot=True).hvparams
    old = start_argv(["q"], FILES, hvparams, [], [], QEMU, account="kvm")
    assert old[-4:] == ["-runas", "kvm", "-chroot", f"{RUN}/chroot/web1"]
    new = start_argv(["q"], FILES, hvparams, [], [], NEW_QEMU, account="kvm")
    assert new[-2:] == ["-run-with", f"user=kvm,chroot={RUN}/chroot/web1"]


def test_a_program_is_asked_what_it_has_and_gets_what_it_knows() -> None:
    words = kvm(acpi=False, soundhw="hda")
    assert values(stage_1(words), "-machine") == ["acpi=off"]
    old = stage_1(words, OLD_QEMU)
    assert "-no-acpi" in old and "-nographic" in old
    assert values(old, "-soundhw") == ["hda"] and values(old, "-display") == []


def test_devices_that_a_program_may_lack_are_known_by_their_parameter() -> None:
    assert wanted_devices(kvm().hvparams) == {}
    words = kvm(disk_type="scsi-hd", nic_type="e1000", spice_bind="127.0.0.1").hvparams
    assert wanted_devices(words) == {
        "disk_type": "scsi-hd",
        "nic_type": "e1000",
        "scsi_controller_type": "lsi",
        "spice_bind": "qxl-vga",
    }
    assert wanted_devices(kvm(disk_type="sd").hvparams) == {}


def test_a_command_line_is_recognised_by_its_name_alone() -> None:
    argv = ["qemu", "-name", "web1,process=x", "-m", "128", "-smp", "2,cores=2"]
    assert is_instance(argv, "web1") and not is_instance(argv, "web")
    assert not is_instance(["vi", "web1"], "web1") and not is_instance([], "web1")
    assert memory_and_vcpus(argv) == (128, 2)
    assert memory_and_vcpus(["qemu", "-m"]) == (0, 0)
