"""What each hypervisor parameter changes on QEMU's command line: facts/hypervisors.md, row by row.

A row is a parameter, its value, what else is set, and the words that go and that come.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fact_tables import facts
from fakes.guests import a_file_disk, a_nic, an_instance
from ganeti.hypervisor.base import GuestDisk
from ganeti.hypervisor.kvm_argv import Binary, StartOptions, machine_argv, start_argv
from ganeti.hypervisor.kvm_devices import Tap, place_devices
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.hypervisor.kvm_migrate import migrate_commands
from ganeti.model.params_kvm import KVM_PARAMS
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind

FILES = KvmDirectories.of(Paths("/")).files("web1")
RUN = "/var/run/ganeti/kvm-hypervisor"
QEMU = Binary(
    version=(7, 2, 22),
    machines=frozenset({"pc", "q35", "pc-1"}),
    options={"-audio": "", "-display": "", "-runas": "", "-chroot": ""},
    properties=frozenset({"acpi"}),
)
PLAIN = {"kvm_path": "/usr/bin/kvm", "kernel_path": "", "serial_console": False}
DISK = "disk-000003e8-0000-4000"
NIC = "nic-00000bb9-0000-4000"
KERNEL = {"kernel_path": "/k"}
VNC = {"vnc_bind_address": "127.0.0.1"}
SPICE = {"spice_bind": "127.0.0.1"}
SCSI = {"disk_type": "scsi-hd"}
CD = {"cdrom_image_path": "/c.iso"}
BLOCK = "driver=raw,node-name={0},cache.direct={1},cache.no-flush=off,file.driver=file"
LINK = "file.filename=/links/web1:0,file.aio={0},auto-read-only=off"


def blockdev(direct: str = "off", aio: str = "threads", discard: str = "") -> str:
    text = f"{BLOCK.format(DISK, direct)},{LINK.format(aio)}"
    return text.replace(",cache.direct", f",discard={discard},cache.direct") if discard else text


def command(hvparams: dict[str, Json]) -> list[str]:
    instance = an_instance(
        "web1",
        hypervisor=HypervisorKind.KVM,
        hvparams={**PLAIN, **hvparams},
        network_port=11000,
        disks=(a_file_disk("web1"),),
        nics=(a_nic(),),
    )
    hv = instance.hvparams
    options = StartOptions(
        accelerator="tcg",
        vnc_address=str(hv["vnc_bind_address"]),
        spice_address=str(hv["spice_bind"]),
        spice_files={"x509-cert-file": "/cert"},
    )
    guest = GuestDisk(instance.disks_info[0], Path("/links/web1:0"))
    nics, disks = place_devices(instance.nics, [guest], hv)
    fds = tuple(range(10, 10 + int(hv["virtio_net_queues"])))
    return start_argv(
        machine_argv(instance, FILES, QEMU, options),
        *(FILES, hv, [(nics[0], Tap("tap0", fds))], [(disks[0], False)], QEMU),
        account=str(hv["security_domain"]) if hv["security_model"] == "user" else "",
        flash=[{"driver": "raw", "node-name": "firmware"}] if hv["firmware"] == "uefi" else [],
    )


def device(driver: str, more: str = "bus=pci.0,addr=0xc", end: str = "write-cache=on") -> str:
    return f"{driver},id={DISK},{more},drive={DISK}" + (f",{end}" if end else "")


def interface(driver: str, more: str = "") -> str:
    return f"{driver},id={NIC},bus=pci.0,addr=0xd,netdev={NIC},mac=aa:00:00:00:00:01{more}"


VIRTIO_DISK = device("virtio-blk-pci")
VIRTIO_NIC = interface("virtio-net-pci")
NIC_FIRST = VIRTIO_NIC.replace("0xd", "0xc")  # when the disk takes no slot
SPICE_WORD = "addr=127.0.0.1,port=11000,disable-ticketing=on"
AGENT = ("-device", "virtio-serial-pci,id=spice", "-device",
         "virtserialport,chardev=spicechannel0,name=com.redhat.spice.0",
         "-chardev", "spicevmc,id=spicechannel0,name=vdagent")  # fmt: skip
SCSI_PLACE = "bus=scsi.0,channel=0,scsi-id=0,lun=0"
CD_DRIVE = ("driver=raw,cache.direct=off,cache.no-flush=on,read-only=on,node-name={0},"
            "file.driver={1},file.{2}")  # fmt: skip

Row = tuple[str, Json, dict[str, Json], tuple[str, ...], tuple[str, ...]]
ROWS: tuple[Row, ...] = (
    ("kvm_path", "/opt/kvm", {}, ("/usr/bin/kvm",), ("/opt/kvm",)),
    ("kernel_path", "/k", {}, ("-boot", "order=c"),
     ("-kernel", "/k", "-append", "root=/dev/vda1 ro")),
    ("initrd_path", "/i", KERNEL, (), ("-initrd", "/i")),
    ("kernel_args", "rw", KERNEL, ("root=/dev/vda1 ro",), ("root=/dev/vda1 rw",)),
    ("root_path", "/dev/sda", KERNEL, ("root=/dev/vda1 ro",), ("root=/dev/sda ro",)),
    ("acpi", False, {}, (), ("-machine", "acpi=off")),
    ("serial_console", True, {}, ("none",), (f"unix:{RUN}/ctrl/web1.serial,server=on,wait=off",)),
    ("serial_speed", 9600, {**KERNEL, "serial_console": True},
     ("root=/dev/vda1 ro console=ttyS0,38400",), ("root=/dev/vda1 ro console=ttyS0,9600",)),
    ("vnc_bind_address", "0.0.0.0", {}, ("-display", "none"),
     ("-vnc", ":5100", "-usbdevice", "tablet")),
    ("vnc_tls", True, VNC, ("127.0.0.1:5100",),
     ("-object", "tls-creds-anon,id=vnctls0,endpoint=server", "127.0.0.1:5100,tls-creds=vnctls0")),
    ("vnc_x509_path", "/x", {**VNC, "vnc_tls": True},
     ("tls-creds-anon,id=vnctls0,endpoint=server",),
     ("tls-creds-x509,id=vnctls0,endpoint=server,dir=/x,verify-peer=no",)),
    ("vnc_x509_verify", True, {**VNC, "vnc_tls": True, "vnc_x509_path": "/x"},
     ("tls-creds-x509,id=vnctls0,endpoint=server,dir=/x,verify-peer=no",),
     ("tls-creds-x509,id=vnctls0,endpoint=server,dir=/x,verify-peer=yes",)),
    ("vnc_password_file", "/p", VNC, ("127.0.0.1:5100",), ("127.0.0.1:5100,password=on",)),
    ("spice_bind", "127.0.0.1", {}, ("-display", "none"),
     (*AGENT, "-spice", SPICE_WORD, "-vga", "qxl")),
    ("spice_ip_version", 6, SPICE, (SPICE_WORD,), (f"{SPICE_WORD},ipv6=on",)),
    ("spice_password_file", "/p", SPICE, (SPICE_WORD,), ("addr=127.0.0.1,port=11000",)),
    ("spice_image_compression", "lz", SPICE, (SPICE_WORD,),
     (f"{SPICE_WORD},image-compression=lz",)),
    ("spice_jpeg_wan_compression", "never", SPICE, (SPICE_WORD,),
     (f"{SPICE_WORD},jpeg-wan-compression=never",)),
    ("spice_zlib_glz_wan_compression", "auto", SPICE, (SPICE_WORD,),
     (f"{SPICE_WORD},zlib-glz-wan-compression=auto",)),
    ("spice_streaming_video", "all", SPICE, (SPICE_WORD,), (f"{SPICE_WORD},streaming-video=all",)),
    ("spice_playback_compression", False, SPICE, (SPICE_WORD,),
     (f"{SPICE_WORD},playback-compression=off",)),
    ("spice_use_tls", True, SPICE, (SPICE_WORD,),
     ("addr=127.0.0.1,tls-port=11000,x509-cert-file=/cert,"
      "tls-ciphers=HIGH:-DES:-3DES:-EXPORT:-DH,disable-ticketing=on",)),
    ("spice_tls_ciphers", "", {**SPICE, "spice_use_tls": True},
     ("addr=127.0.0.1,tls-port=11000,x509-cert-file=/cert,"
      "tls-ciphers=HIGH:-DES:-3DES:-EXPORT:-DH,disable-ticketing=on",),
     ("addr=127.0.0.1,tls-port=11000,x509-cert-file=/cert,disable-ticketing=on",)),
    ("spice_use_vdagent", False, SPICE, (*AGENT, SPICE_WORD), (f"{SPICE_WORD},agent-mouse=off",)),
    ("floppy_image_path", "/f", {}, (),
     ("-blockdev", "driver=raw,node-name=floppy1,file.driver=file,file.filename=/f",
      "-device", "floppy,drive=floppy1")),
    ("cdrom_image_path", "/c", {}, (),
     ("-blockdev", CD_DRIVE.format("cdrom1", "file", "filename=/c"),
      "-device", "virtio-blk-pci,drive=cdrom1")),
    ("cdrom2_image_path", "http://h/c", {}, (),
     ("-blockdev", CD_DRIVE.format("cdrom2", "http", "url=http://h/c"),
      "-device", "virtio-blk-pci,drive=cdrom2")),
    ("cdrom_disk_type", "ide", CD, ("virtio-blk-pci,drive=cdrom1",), ("ide-cd,drive=cdrom1",)),
    ("boot_order", "network", {}, ("order=c",), ("order=n",)),
    ("boot_order", "cdrom", CD, ("order=c",), ("order=d",)),
    ("boot_order", "floppy", {"floppy_image_path": "/f"}, ("order=c",), ("order=a",)),
    ("nic_type", "e1000", {}, (VIRTIO_NIC,), (interface("e1000"),)),
    ("disk_type", "ide", {}, (VIRTIO_DISK, VIRTIO_NIC),
     (f"ide-hd,drive={DISK},write-cache=on", NIC_FIRST)),
    ("disk_type", "scsi-hd", {}, (VIRTIO_DISK, VIRTIO_NIC),
     ("-device", "lsi,id=scsi", device("scsi-hd", SCSI_PLACE), NIC_FIRST)),
    ("disk_type", "scsi-block", {}, (VIRTIO_DISK, VIRTIO_NIC),
     ("-device", "lsi,id=scsi", device("scsi-block", SCSI_PLACE, ""), NIC_FIRST)),
    ("disk_type", "sd", {},
     ("-device", VIRTIO_DISK, VIRTIO_NIC, "-blockdev", blockdev()),
     ("-drive", "file=/links/web1:0,format=raw,if=sd", NIC_FIRST)),
    ("disk_cache", "writethrough", {"disk_type": "sd"},
     ("file=/links/web1:0,format=raw,if=sd",),
     ("file=/links/web1:0,format=raw,if=sd,cache=writethrough",)),
    ("scsi_controller_type", "megasas", SCSI, ("lsi,id=scsi",), ("megasas,id=scsi",)),
    ("disk_cache", "none", {}, (blockdev(),), (blockdev(direct="on"),)),
    ("disk_cache", "writethrough", {}, (VIRTIO_DISK,),
     (device("virtio-blk-pci", end="write-cache=off"),)),
    ("disk_aio", "io_uring", {}, (blockdev(),), (blockdev(aio="io_uring"),)),
    ("disk_discard", "unmap", {}, (blockdev(),), (blockdev(discard="unmap"),)),
    ("usb_mouse", "mouse", {}, (), ("-usbdevice", "mouse")),
    ("keymap", "de", {}, (), ("-k", "de")),
    ("use_localtime", True, {}, (), ("-rtc", "base=localtime")),
    ("use_guest_agent", True, {}, (),
     ("-chardev", f"socket,path={RUN}/ctrl/web1.qga,server=on,wait=off,id=qga0",
      "-device", "virtio-serial,id=qga0",
      "-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0")),
    ("security_domain", "nobody", {"security_model": "user", "security_domain": "x"}, ("x",),
     ("nobody",)),
    ("security_model", "user", {"security_domain": "nobody"}, (), ("-runas", "nobody")),
    ("kvm_flag", "enabled", {}, ("-accel", "tcg"), ("-machine", "accel=kvm")),
    ("virtio_net_queues", 2, {}, (VIRTIO_NIC, f"type=tap,id={NIC},fd=10"),
     (interface("virtio-net-pci", ",mq=on,vectors=6"), f"type=tap,id={NIC},fds=10:11")),
    ("use_chroot", True, {}, (), ("-chroot", f"{RUN}/chroot/web1")),
    ("user_shutdown", True, {}, (), ("-qmp", f"unix:{RUN}/ctrl/web1.kvmd,server=on,wait=off")),
    ("mem_path", "/hp", {}, (), ("-mem-path", "/hp", "-mem-prealloc")),
    ("reboot_behavior", "exit", {}, (), ("-no-reboot",)),
    ("cpu_type", "host", {}, (), ("-cpu", "host")),
    ("cpu_cores", 2, {}, ("1",), ("1,cores=2",)),
    ("cpu_threads", 2, {}, ("1",), ("1,threads=2",)),
    ("cpu_sockets", 2, {}, ("1",), ("1,sockets=2",)),
    ("soundhw", "hda", {}, (), ("-audio", "driver=none,model=hda")),
    ("usb_devices", "disk,tablet", {}, (), ("-usbdevice", "disk", "-usbdevice", "tablet")),
    ("vga", "std", {}, (), ("-vga", "std")),
    ("kvm_extra", "-a 'b c'", {}, (), ("-a", "b c")),
    ("machine_version", "pc-1", {}, (), ("-machine", "pc-1")),
    ("kvm_pci_reservations", 3, {}, (VIRTIO_DISK, VIRTIO_NIC),
     (device("virtio-blk-pci", "bus=pci.0,addr=0x3"), VIRTIO_NIC.replace("0xd", "0x4"))),
    ("chipset", "pc", {}, (), ("-machine", "pc")),
    ("firmware", "uefi", {}, (),
     ("-machine", "pflash0=firmware,pflash1=variables",
      "-blockdev", "driver=raw,node-name=firmware")),
    ("secure_boot", True, {"firmware": "uefi"}, ("pflash0=firmware,pflash1=variables",),
     ("pflash0=firmware,pflash1=variables,smm=on",
      "-global", "driver=cfi.pflash01,property=secure,value=on")),
    ("tpm", True, {}, (),
     ("-chardev", f"socket,id=chrtpm,path={RUN}/ctrl/web1.tpm",
      "-tpmdev", "emulator,id=tpm0,chardev=chrtpm", "-device", "tpm-tis,tpmdev=tpm0")),
)  # fmt: skip

ELSEWHERE = {
    "cpu_mask": "affinity of QEMU's threads, once it runs: test_hypervisor_kvm_security.py",
    "migration_mode": "which kind of move the master asks for when nothing is said",
    "vhost_net": "how the tap is opened", "vnet_hdr": "how the tap is opened",
}  # fmt: skip
TOLD = {
    "migration_bandwidth": 77,
    "migration_caps": "xbzrle",
    "migration_downtime": 77,
    "migration_port": 7777,
}
"""Over QMP, to the source of a migration."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}={row[1]}")
def test_a_parameter_changes_these_words(row: Row) -> None:
    name, value, others, gone, come = row
    before, after = Counter(command(others)), Counter(command({**others, name: value}))
    assert sorted((before - after).elements()) == sorted(gone)
    assert sorted((after - before).elements()) == sorted(come)


@pytest.mark.parametrize("name", TOLD)
def test_a_parameter_of_migrations_changes_what_qemu_is_told(name: str) -> None:
    plain = an_instance("web1", hypervisor=HypervisorKind.KVM).hvparams
    changed = {**plain, name: TOLD[name]}
    told = migrate_commands(plain, "192.0.2.2", True)
    assert migrate_commands(changed, "192.0.2.2", True) != told


def test_every_parameter_has_a_row() -> None:
    rows = {row[0] for row in ROWS}
    assert rows | set(ELSEWHERE) | set(TOLD) == set(KVM_PARAMS)
    assert len(rows) + len(ELSEWHERE) + len(TOLD) == len(KVM_PARAMS)
    assert set(facts("constants")["hypervisor_parameters"]["kvm"]["params"]) <= set(KVM_PARAMS)
