"""Hypervisor parameters of KVM (facts/hypervisors.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ganeti.errors import Code, OpPrereqError
from ganeti.model.cpu_mask import CPU_MASKS
from ganeti.model.params import (
    PATH,
    PATH_OR_EMPTY,
    PATH_OR_URL,
    PORT,
    Check,
    Kind,
    Param,
    at_least,
    between,
    is_normal_path,
    one_of,
    table,
)
from ganeti.serializer import Json

MIGRATION_MODE: Final = one_of("live", "non-live")
REBOOT_BEHAVIOR: Final = one_of("reboot", "exit")

NIC_TYPES: Final = (
    "e1000", "i82551", "i82557b", "i82559er", "ne2k_isa", "ne2k_pci", "paravirtual",
    "pcnet", "rtl8139",
)  # fmt: skip
SCSI_DISK_TYPES: Final = ("scsi-generic", "scsi-block", "scsi-hd", "scsi-cd")
DISK_TYPES: Final = ("ide", "mtd", "paravirtual", "pflash", "scsi", "sd", *SCSI_DISK_TYPES)
SERIAL_SPEEDS: Final = (
    75, 110, 300, 600, 1200, 1800, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600,
    115200, 230400, 345600, 460800,
)  # fmt: skip

SERIAL_SPEED: Final = Check(
    lambda value: value in SERIAL_SPEEDS, "one of " + ", ".join(map(str, SERIAL_SPEEDS))
)
IP_VERSION: Final = Check(lambda value: value in (0, 4, 6), "0, 4 or 6")
_ADDRESS: Final = re.compile(r"[\w.:@%-]+")
ADDRESS_OR_INTERFACE: Final = Check(
    lambda value: not value or _ADDRESS.fullmatch(value) is not None,
    "empty, an address or the name of an interface",
)
VNC_ADDRESS: Final = Check(
    lambda value: not value or is_normal_path(value) or _ADDRESS.fullmatch(value) is not None,
    "empty, an address, the name of an interface or an absolute directory",
)

KVM_PARAMS = table(
    Param("acpi", Kind.BOOL, True, "give the guest ACPI; also makes a shutdown graceful"),
    Param(
        "boot_order",
        Kind.STRING,
        "disk",
        "device to start from",
        one_of("cdrom", "disk", "floppy", "network"),
    ),
    Param("cdrom2_image_path", Kind.STRING, "", "second CD image, a file or an URL", PATH_OR_URL),
    Param(
        "cdrom_disk_type",
        Kind.STRING,
        "",
        "how CDs are attached; empty: like disks",
        one_of("", *DISK_TYPES),
    ),
    Param("cdrom_image_path", Kind.STRING, "", "CD image, a file or an URL", PATH_OR_URL),
    Param("cpu_cores", Kind.INT, 0, "cores per socket; 0: QEMU's choice", at_least(0)),
    Param("cpu_mask", Kind.STRING, "all", "processors the guest may use", CPU_MASKS),
    Param("cpu_sockets", Kind.INT, 0, "sockets; 0: QEMU's choice", at_least(0)),
    Param("cpu_threads", Kind.INT, 0, "threads per core; 0: QEMU's choice", at_least(0)),
    Param("cpu_type", Kind.STRING, "", "processor model of the guest"),
    Param(
        "disk_aio",
        Kind.STRING,
        "threads",
        "how the disks are read and written",
        one_of("threads", "native", "io_uring"),
    ),
    Param(
        "disk_cache",
        Kind.STRING,
        "default",
        "caching of the disks by the node",
        one_of("default", "none", "writeback", "writethrough"),
    ),
    Param(
        "disk_discard",
        Kind.STRING,
        "default",
        "what becomes of discarded blocks",
        one_of("default", "ignore", "unmap"),
    ),
    Param("disk_type", Kind.STRING, "paravirtual", "how disks are attached", one_of(*DISK_TYPES)),
    Param("floppy_image_path", Kind.STRING, "", "floppy image", PATH_OR_EMPTY),
    Param(
        "initrd_path", Kind.STRING, "", "initial RAM disk, for direct kernel boot", PATH_OR_EMPTY
    ),
    Param("kernel_args", Kind.STRING, "ro", "arguments of the kernel"),
    Param(
        "kernel_path", Kind.STRING, "", "kernel outside the disks, for direct boot", PATH_OR_EMPTY
    ),
    Param("keymap", Kind.STRING, "", "keyboard layout of the console"),
    Param("kvm_extra", Kind.STRING, "", "further arguments for QEMU, split like a shell does"),
    Param(
        "kvm_flag",
        Kind.STRING,
        "",
        "use hardware virtualisation",
        one_of("", "enabled", "disabled"),
    ),
    Param("kvm_path", Kind.STRING, "/usr/bin/kvm", "the QEMU program", PATH),
    Param("kvm_pci_reservations", Kind.INT, 12, "first PCI slots, left to QEMU", between(0, 32)),
    Param("machine_version", Kind.STRING, "", "machine type; empty: QEMU's default"),
    Param(
        "mem_path",
        Kind.STRING,
        "",
        "directory of huge pages to take the memory from",
        PATH_OR_EMPTY,
    ),
    Param(
        "migration_bandwidth",
        Kind.INT,
        32,
        "most MiB/s of a migration",
        at_least(0),
        cluster_only=True,
    ),
    Param(
        "migration_caps", Kind.STRING, "", "QEMU's capabilities for migrations, separated by colons"
    ),
    Param(
        "migration_downtime", Kind.INT, 30, "longest pause of a live migration, in ms", at_least(0)
    ),
    Param(
        "migration_mode",
        Kind.STRING,
        "live",
        "migrate live or paused when nothing is asked for",
        MIGRATION_MODE,
        cluster_only=True,
    ),
    Param(
        "migration_port", Kind.INT, 8102, "TCP port of incoming migrations", PORT, cluster_only=True
    ),
    Param(
        "nic_type",
        Kind.STRING,
        "paravirtual",
        "model of the network interfaces",
        one_of(*NIC_TYPES),
    ),
    Param(
        "reboot_behavior", Kind.STRING, "reboot", "what a reboot from inside does", REBOOT_BEHAVIOR
    ),
    Param("root_path", Kind.MAYBE_STRING, "/dev/vda1", "root device for direct kernel boot"),
    Param(
        "scsi_controller_type",
        Kind.STRING,
        "lsi",
        "SCSI controller",
        one_of("lsi", "virtio-scsi-pci", "megasas"),
    ),
    Param("security_domain", Kind.STRING, "", "account that QEMU runs as, with model user"),
    Param(
        "security_model", Kind.STRING, "none", "who QEMU runs as", one_of("none", "user", "pool")
    ),
    Param("serial_console", Kind.BOOL, True, "give the guest a serial console"),
    Param("serial_speed", Kind.INT, 38400, "speed of the serial console", SERIAL_SPEED),
    Param("soundhw", Kind.STRING, "", "sound card"),
    Param(
        "spice_bind",
        Kind.STRING,
        "",
        "address or interface of the SPICE console",
        ADDRESS_OR_INTERFACE,
    ),
    Param(
        "spice_image_compression",
        Kind.STRING,
        "",
        "lossless compression of images",
        one_of("", "auto_glz", "auto_lz", "glz", "lz", "off", "quic"),
    ),
    Param(
        "spice_ip_version", Kind.INT, 0, "IP version when bound to an interface; 0: any", IP_VERSION
    ),
    Param(
        "spice_jpeg_wan_compression",
        Kind.STRING,
        "",
        "JPEG compression on slow links",
        one_of("", "auto", "never", "always"),
    ),
    Param(
        "spice_password_file", Kind.STRING, "", "file that holds the SPICE password", PATH_OR_EMPTY
    ),
    Param("spice_playback_compression", Kind.BOOL, True, "compress sound"),
    Param(
        "spice_streaming_video",
        Kind.STRING,
        "",
        "detection of video streams",
        one_of("", "off", "all", "filter"),
    ),
    Param("spice_tls_ciphers", Kind.STRING, "HIGH:-DES:-3DES:-EXPORT:-DH", "ciphers of SPICE"),
    Param("spice_use_tls", Kind.BOOL, False, "encrypt SPICE"),
    Param("spice_use_vdagent", Kind.BOOL, True, "pass the mouse by the agent in the guest"),
    Param(
        "spice_zlib_glz_wan_compression",
        Kind.STRING,
        "",
        "lossless compression on slow links",
        one_of("", "auto", "never", "always"),
    ),
    Param("usb_devices", Kind.STRING, "", "USB devices, separated by commas"),
    Param("usb_mouse", Kind.STRING, "", "mouse or tablet on USB", one_of("", "mouse", "tablet")),
    Param("use_chroot", Kind.BOOL, False, "run QEMU in an empty directory"),
    Param("use_guest_agent", Kind.BOOL, False, "socket for the agent in the guest"),
    Param("use_localtime", Kind.BOOL, False, "clock in local time"),
    Param("user_shutdown", Kind.BOOL, False, "notice when the user shuts the guest down"),
    Param("vga", Kind.STRING, "", "graphics card"),
    Param("vhost_net", Kind.BOOL, False, "network in the kernel"),
    Param("virtio_net_queues", Kind.INT, 1, "queues of a paravirtual interface", between(1, 8)),
    Param(
        "vnc_bind_address",
        Kind.STRING,
        "",
        "address, interface or directory of the VNC console",
        VNC_ADDRESS,
    ),
    Param("vnc_password_file", Kind.STRING, "", "file that holds the VNC password", PATH_OR_EMPTY),
    Param("vnc_tls", Kind.BOOL, False, "encrypt VNC"),
    Param("vnc_x509_path", Kind.STRING, "", "directory of VNC certificates", PATH_OR_EMPTY),
    Param("vnc_x509_verify", Kind.BOOL, False, "ask VNC clients for certificates"),
    Param("vnet_hdr", Kind.BOOL, True, "offload headers on the tap device"),
    # From here on: parameters that the classic does not have. Their defaults change nothing.
    Param(
        "chipset",
        Kind.STRING,
        "",
        "board of the guest when machine_version is empty; empty: QEMU's default",
        one_of("", "pc", "q35"),
    ),
    Param("firmware", Kind.STRING, "", "what starts the guest", one_of("", "bios", "uefi")),
    Param("secure_boot", Kind.BOOL, False, "UEFI starts only what is signed; needs q35"),
    Param("tpm", Kind.BOOL, False, "give the guest a TPM 2.0"),
)

KVM_ADDED: Final = ("chipset", "firmware", "secure_boot", "tpm")
"""Parameters of our own."""

KVM_NEW_CLUSTER: Final[Mapping[str, Json]] = MappingProxyType({"chipset": "q35"})
"""What a new cluster has from its first day, where an older one keeps what its guests know."""


def check_kvm(full: Mapping[str, Json]) -> None:
    """Conditions between complete parameters; OpPrereqError INVAL."""
    secure = full.get("secure_boot")
    board = str(full["machine_version"] or full.get("chipset") or "")
    problems = (
        (secure and full.get("firmware") != "uefi", "secure_boot needs firmware uefi"),
        (secure and "q35" not in board, "secure_boot needs chipset q35"),
        (full["kernel_path"] and not full["root_path"], "kernel_path needs root_path"),
        (
            full["vnc_x509_verify"] and not full["vnc_x509_path"],
            "vnc_x509_verify needs vnc_x509_path",
        ),
        (
            full["boot_order"] == "cdrom" and not full["cdrom_image_path"],
            "boot_order cdrom needs cdrom_image_path",
        ),
        (
            full["boot_order"] == "floppy" and not full["floppy_image_path"],
            "boot_order floppy needs floppy_image_path",
        ),
        (
            full["security_model"] == "user" and not full["security_domain"],
            "security_model user needs security_domain",
        ),
        (
            full["security_model"] != "user" and full["security_domain"],
            "security_domain is only for security_model user",
        ),
        (full["spice_bind"] and full["vnc_bind_address"], "SPICE and VNC exclude each other"),
        (
            full["disk_aio"] == "native" and full["disk_cache"] != "none",
            "disk_aio native needs disk_cache none",
        ),
    )
    for wrong, text in problems:
        if wrong:
            raise OpPrereqError(f"hypervisor parameters of kvm: {text}", Code.INVAL)
