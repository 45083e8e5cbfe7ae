"""The QEMU command line of an instance, argument by argument. Pure.

Two stages, as in facts/hypervisors.md, KVM, Command line: `machine_argv` is everything but devices
and is kept in the runtime file; `start_argv` adds what belongs to one start. Booleans are written
`server=on,wait=off`: the short forms `server,nowait` mean the same and are refused by newer QEMU.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_firmware
from ganeti.hypervisor.base import GuestDisk
from ganeti.hypervisor.kvm_devices import (
    SCSI_TYPES,
    Tap,
    disk_argv,
    escaped,
    is_q35,
    machine_of,
    nic_argv,
    option,
    root_ports,
)
from ganeti.hypervisor.kvm_files import KvmFiles
from ganeti.serializer import Json

if TYPE_CHECKING:
    from ganeti.model.filled import FilledInstance
    from ganeti.model.nic import Nic

VNC_BASE_PORT: Final = 5900
URL_SCHEMES: Final = ("http", "https", "ftp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """What one QEMU program can do; asked of the program itself (kvm_probe.py)."""

    version: tuple[int, int, int]
    machines: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    accelerators: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)  # of machines; "": the default one
    options: Mapping[str, str] = field(default_factory=dict)  # each with its description in --help
    properties: frozenset[str] = frozenset()  # of the default machine

    def machine(self, hvparams: Mapping[str, Json]) -> str:
        """Full name of the machine that these parameters mean."""
        name = machine_of(hvparams)
        name = self.aliases.get(name, name)
        return self.aliases.get(name, name)  # the default one may be named by its alias


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What of a command line does not come from the instance.

    `accelerator` is kvm or tcg. `vnc_address` and `spice_address` are the addresses to bind, with
    interface names already resolved. `spice_*_pem` lie on the node.
    """

    accelerator: str
    paused: bool = False
    vnc_address: str = ""
    spice_address: str = ""
    spice_files: Mapping[str, str] = field(default_factory=dict)


def machine_argv(
    instance: FilledInstance, files: KvmFiles, binary: Binary, options: StartOptions
) -> list[str]:
    """Stage 1."""
    hv = instance.hvparams
    return [
        *_identity(instance, files),
        *_controllers(hv),
        *root_ports(hv),
        *("-device", "virtio-balloon", "-daemonize", "-D", str(files.log)),
        *(["-no-reboot"] if hv["reboot_behavior"] == "exit" else []),
        *_machine(hv, binary, options.accelerator),
        *kvm_firmware.machine_argv(hv),
        *(["-S"] if options.paused else []),
        *_boot_media(hv),
        *_kernel(hv),
        *(["-mem-path", str(hv["mem_path"]), "-mem-prealloc"] if hv["mem_path"] else []),
        *("-monitor", server_socket(files.monitor)),
        *("-serial", server_socket(files.serial) if hv["serial_console"] else "none"),
        *_pointer(hv),
        *_display(instance, binary, options),
        *_extras(instance, files, binary),
    ]


def start_argv(
    machine: Sequence[str],
    files: KvmFiles,
    hvparams: Mapping[str, Json],
    nics: Sequence[tuple[Nic, Tap]],
    disks: Sequence[tuple[GuestDisk, bool]],
    binary: Binary,
    *,
    incoming: tuple[str, int] | None = None,
    flash: Sequence[Mapping[str, Json]] = (),
    account: str = "",
) -> list[str]:
    """Stage 2: the whole command. Each disk comes with whether its link is a block device.

    `incoming` is the address and port on which a migrating instance is awaited, `flash` the block
    devices of its firmware, `account` who QEMU becomes ("": nobody else).
    """
    made = list(machine)
    for node in flash:
        made += ["-blockdev", option(node)]
    made += kvm_firmware.tpm_argv(hvparams, files.tpm)
    if hvparams["keymap"]:
        made += ["-k", str(hvparams["keymap"])]
    for nic, tap in nics:
        made += nic_argv(nic, tap)
    if not nics:
        made += ["-net", "none"]
    if incoming:
        made += ["-incoming", f"tcp:{bracketed(incoming[0])}:{incoming[1]}"]
    made += ["-qmp", server_socket(files.qmp)]
    if hvparams["user_shutdown"]:
        made += ["-qmp", server_socket(files.kvmd)]
    if disks and hvparams["boot_order"] == "disk" and not hvparams["kernel_path"]:
        made += ["-boot", "order=c"]
    for disk, is_block in disks:
        made += disk_argv(disk, hvparams, is_block)
    if not incoming and "-S" not in made:
        made.append("-S")
    return made + _confinement(files, hvparams, binary, account)


def server_socket(socket: object) -> str:
    """A character device of QEMU that listens on a Unix socket."""
    return f"unix:{escaped(str(socket))},server=on,wait=off"


def agent_socket(files: KvmFiles) -> str:
    """Where the guest agent is talked to."""
    return f"socket,path={escaped(files.guest_agent)},server=on,wait=off,id=qga0"


def bracketed(address: str) -> str:
    """As it stands before a colon and a port."""
    return f"[{address}]" if ":" in address else address


def _identity(instance: FilledInstance, files: KvmFiles) -> list[str]:
    hv = instance.hvparams
    smp = [str(instance.vcpus)]
    for name in ("cores", "threads", "sockets"):
        if hv[f"cpu_{name}"]:
            smp.append(f"{name}={hv[f'cpu_{name}']}")
    return [
        *(str(hv["kvm_path"]), "-name", instance.name, "-m", str(instance.memory_mib)),
        *("-smp", ",".join(smp), "-pidfile", str(files.pid)),
    ]


def _controllers(hv: Mapping[str, Json]) -> list[str]:
    if hv["disk_type"] in SCSI_TYPES or hv["cdrom_disk_type"] in SCSI_TYPES:
        return ["-device", f"{hv['scsi_controller_type']},id=scsi"]
    return []


def _machine(hv: Mapping[str, Json], binary: Binary, accelerator: str) -> list[str]:
    """`-machine` as far as something is asked for, and what runs the guest's code."""
    version = machine_of(hv)
    if version and binary.machines and version not in binary.machines:
        raise HypervisorError(
            f"{hv['kvm_path']} has no machine type {version!r} (hvparam machine_version)"
        )
    if not hv["machine_version"] and version:
        version = binary.machine(hv)  # by its full name, a newer QEMU can take the guest over
    parts = [version] if version else []
    parts += kvm_firmware.machine_words(hv)
    made = []
    if not hv["acpi"]:
        if "acpi" in binary.properties:
            parts.append("acpi=off")
        else:
            made.append("-no-acpi")
    if hv["kvm_flag"] == "enabled":
        parts.append("accel=kvm")
    if parts:
        made += ["-machine", ",".join(parts)]
    if hv["kvm_flag"] != "enabled":  # QEMU takes the accelerator from one place only
        made += ["-accel", accelerator]
    return made


def _boot_media(hv: Mapping[str, Json]) -> list[str]:
    made = []
    bootable = not hv["kernel_path"]
    if bootable and hv["boot_order"] == "network":
        made += ["-boot", "order=n"]
    cdrom_type = str(hv["cdrom_disk_type"] or hv["disk_type"])
    for number, name in ((1, "cdrom_image_path"), (2, "cdrom2_image_path")):
        image = str(hv[name] or "")
        if not image:
            continue
        if number == 1 and bootable and hv["boot_order"] == "cdrom":
            made += ["-boot", "order=d"]
        made += _cdrom(f"cdrom{number}", image, cdrom_type)
    floppy = str(hv["floppy_image_path"] or "")
    if floppy:
        if bootable and hv["boot_order"] == "floppy":
            made += ["-boot", "order=a"]
        backend = f"file.driver=file,file.filename={escaped(floppy)}"
        made += ["-blockdev", f"driver=raw,node-name=floppy1,{backend}"]
        if is_q35(machine_of(hv)):
            made += ["-device", "isa-fdc"]  # the board has none of its own
        made += ["-device", "floppy,drive=floppy1"]
    return made


def _cdrom(name: str, image: str, cdrom_type: str) -> list[str]:
    scheme = image.partition("://")[0]
    if scheme in URL_SCHEMES:
        backend = f"file.driver={scheme},file.url={escaped(image)}"
    else:
        backend = f"file.driver=file,file.filename={escaped(image)}"
    if cdrom_type == "paravirtual":
        driver = "virtio-blk-pci"
    else:
        driver = "scsi-cd" if cdrom_type in SCSI_TYPES else "ide-cd"
    cache = "cache.direct=off,cache.no-flush=on"
    return [
        *("-blockdev", f"driver=raw,{cache},read-only=on,node-name={name},{backend}"),
        *("-device", f"{driver},drive={name}"),
    ]


def _kernel(hv: Mapping[str, Json]) -> list[str]:
    if not hv["kernel_path"]:
        return []
    words = [f"root={hv['root_path']}"] if hv["root_path"] else []
    words += [str(hv["kernel_args"])] if hv["kernel_args"] else []
    if hv["serial_console"]:
        words.append(f"console=ttyS0,{hv['serial_speed']}")
    initrd = ["-initrd", str(hv["initrd_path"])] if hv["initrd_path"] else []
    return ["-kernel", str(hv["kernel_path"]), *initrd, "-append", " ".join(words)]


def _pointer(hv: Mapping[str, Json]) -> list[str]:
    if hv["usb_mouse"]:
        return ["-usb", "-usbdevice", str(hv["usb_mouse"])]
    return ["-usb", "-usbdevice", "tablet"] if hv["vnc_bind_address"] else ["-usb"]


def _display(instance: FilledInstance, binary: Binary, options: StartOptions) -> list[str]:
    hv = instance.hvparams
    if hv["vnc_bind_address"]:
        return _vnc(instance, options.vnc_address)
    if hv["spice_bind"]:
        return _spice(instance, options)
    return ["-display", "none"] if "-display" in binary.options else ["-nographic"]


def _vnc(instance: FilledInstance, address: str) -> list[str]:
    hv = instance.hvparams
    port = instance.network_port or 0
    made = []
    if address.startswith("/"):
        where = f"unix:{escaped(address)}/{instance.name}.vnc"
    elif port <= VNC_BASE_PORT:
        return ["-vnc", "none"]
    elif address == "0.0.0.0":
        where = f":{port - VNC_BASE_PORT}"
    else:
        where = f"{bracketed(address)}:{port - VNC_BASE_PORT}"
    if hv["vnc_tls"]:
        directory = str(hv["vnc_x509_path"] or "")
        kind = "tls-creds-x509" if directory else "tls-creds-anon"
        parts = [kind, "id=vnctls0", "endpoint=server"]
        if directory:
            verify = "yes" if hv["vnc_x509_verify"] else "no"
            parts += [f"dir={escaped(directory)}", f"verify-peer={verify}"]
        made += ["-object", ",".join(parts)]
        where += ",tls-creds=vnctls0"
    if hv["vnc_password_file"]:
        where += ",password=on"
    return [*made, "-vnc", where]


_SPICE_WORDS: Final = (
    ("spice_image_compression", "image-compression"),
    ("spice_jpeg_wan_compression", "jpeg-wan-compression"),
    ("spice_zlib_glz_wan_compression", "zlib-glz-wan-compression"),
    ("spice_streaming_video", "streaming-video"),
)


def _spice(instance: FilledInstance, options: StartOptions) -> list[str]:
    hv = instance.hvparams
    parts = [f"addr={options.spice_address}"]
    if hv["spice_use_tls"]:
        parts.append(f"tls-port={instance.network_port}")
        parts += [f"{key}={escaped(path)}" for key, path in options.spice_files.items()]
        if hv["spice_tls_ciphers"]:
            parts.append(f"tls-ciphers={hv['spice_tls_ciphers']}")
    else:
        parts.append(f"port={instance.network_port}")
    if not hv["spice_password_file"]:
        parts.append("disable-ticketing=on")
    if hv["spice_ip_version"]:
        parts.append(f"ipv{hv['spice_ip_version']}=on")
    parts += [f"{option}={hv[name]}" for name, option in _SPICE_WORDS if hv[name]]
    if not hv["spice_playback_compression"]:
        parts.append("playback-compression=off")
    agent = []
    if hv["spice_use_vdagent"]:
        agent = [
            *("-device", "virtio-serial-pci,id=spice"),
            *("-device", "virtserialport,chardev=spicechannel0,name=com.redhat.spice.0"),
            *("-chardev", "spicevmc,id=spicechannel0,name=vdagent"),
        ]
    else:
        parts.append("agent-mouse=off")
    return [*agent, "-spice", ",".join(parts)]


def _extras(instance: FilledInstance, files: KvmFiles, binary: Binary) -> list[str]:
    hv = instance.hvparams
    made = []
    if hv["soundhw"]:
        if "-audio" in binary.options:
            made += ["-audio", f"driver=none,model={hv['soundhw']}"]
        else:
            made += ["-soundhw", str(hv["soundhw"])]
    if hv["use_localtime"]:
        made += ["-rtc", "base=localtime"]
    if hv["cpu_type"]:
        made += ["-cpu", str(hv["cpu_type"])]
    if hv["vga"]:
        made += ["-vga", str(hv["vga"])]
    elif hv["spice_bind"]:
        made += ["-vga", "qxl"]
    for device in str(hv["usb_devices"] or "").split(","):
        made += ["-usbdevice", device] if device else []
    made += ["-uuid", instance.uuid]
    if hv["use_guest_agent"]:
        port = "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"
        made += ["-chardev", agent_socket(files), "-device", "virtio-serial,id=qga0"]
        made += ["-device", port]
    return made + shlex.split(str(hv["kvm_extra"] or ""))


def _confinement(files: KvmFiles, hv: Mapping[str, Json], binary: Binary, user: str) -> list[str]:
    """`-run-with` as far as this QEMU has it, else the options that it took the place of."""
    new = binary.options.get("-run-with", "")
    chroot = str(files.chroot) if hv["use_chroot"] else ""
    made, parts = [], []
    if user and "user=" in new:
        parts.append(f"user={user}")
    elif user:
        made += ["-runas", user]
    if chroot and "chroot=" in new:
        parts.append(f"chroot={escaped(chroot)}")
    elif chroot:
        made += ["-chroot", chroot]
    return made + (["-run-with", ",".join(parts)] if parts else [])


# Reading a command line back.


def option_value(argv: Sequence[str], option: str) -> str | None:
    """What follows `option`; None when it is not there."""
    for word, value in zip(argv, argv[1:]):
        if word == option:
            return value
    return None


def is_instance(argv: Sequence[str], name: str) -> bool:
    """Whether a process's command line is the QEMU of this instance."""
    value = option_value(argv, "-name")
    return value is not None and value.split(",")[0] == name


def memory_and_vcpus(argv: Sequence[str]) -> tuple[int, int]:
    """What `-m` and `-smp` say: (MiB, count); 0 where they say nothing that we understand."""
    memory = (option_value(argv, "-m") or "").split(",")[0]
    vcpus = (option_value(argv, "-smp") or "").split(",")[0]
    return (int(memory) if memory.isdigit() else 0, int(vcpus) if vcpus.isdigit() else 0)
