"""Hypervisor parameters of Xen (facts/hypervisors.md)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from ganeti.errors import Code, OpPrereqError
from ganeti.model.cpu_mask import CPU_MASKS
from ganeti.model.params import (
    PATH,
    PATH_OR_EMPTY,
    PORT,
    Check,
    Kind,
    Param,
    at_least,
    between,
    one_of,
    table,
)
from ganeti.model.params_kvm import MIGRATION_MODE, REBOOT_BEHAVIOR
from ganeti.serializer import Json


def _is_ipv4(value: Json) -> bool:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return True


IPV4: Final = Check(_is_ipv4, "an IPv4 address")
BOOT_ORDER: Final = Check(
    lambda value: re.fullmatch("[acdn]+", value) is not None,
    "some of the letters a (floppy), c (disk), d (CD), n (network)",
)

XEN_PVM_PARAMS = table(
    Param("blockdev_prefix", Kind.STRING, "sd", "first letters of disk names"),
    Param("bootloader_args", Kind.STRING, "", "arguments of the boot loader"),
    Param("bootloader_path", Kind.STRING, "", "boot loader on the node", PATH_OR_EMPTY),
    Param("cpu_cap", Kind.INT, 0, "most processor time in percent; 0: no limit", at_least(0)),
    Param("cpu_mask", Kind.STRING, "all", "processors the guest may use", CPU_MASKS),
    Param("cpu_weight", Kind.INT, 256, "share of processor time", between(1, 65535)),
    Param("cpuid", Kind.STRING, "", "CPUID masks"),
    Param(
        "initrd_path", Kind.STRING, "", "initial RAM disk, for direct kernel boot", PATH_OR_EMPTY
    ),
    Param("kernel_args", Kind.STRING, "ro", "arguments of the kernel"),
    Param(
        "kernel_path",
        Kind.STRING,
        "/boot/vmlinuz-3-xenU",
        "kernel outside the disks, for direct boot",
        PATH,
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
        "migration_port", Kind.INT, 8002, "TCP port of incoming migrations", PORT, cluster_only=True
    ),
    Param(
        "reboot_behavior", Kind.STRING, "reboot", "what a reboot from inside does", REBOOT_BEHAVIOR
    ),
    Param("root_path", Kind.MAYBE_STRING, "/dev/xvda1", "root device for direct kernel boot"),
    Param("soundhw", Kind.STRING, "", "sound card"),
    Param("use_bootloader", Kind.BOOL, False, "boot with a boot loader from the node"),
    Param("vif_script", Kind.STRING, "", "script for network interfaces", PATH_OR_EMPTY),
    Param(
        "xen_cmd",
        Kind.STRING,
        "xm",
        "tool that talks to Xen",
        one_of("xm", "xl"),
        cluster_only=True,
    ),
)

XEN_HVM_PARAMS = table(
    Param("acpi", Kind.BOOL, True, "give the guest ACPI; also makes a shutdown graceful"),
    Param("blockdev_prefix", Kind.STRING, "hd", "first letters of disk names"),
    Param("boot_order", Kind.STRING, "cd", "device to start from", BOOT_ORDER),
    Param("cdrom_image_path", Kind.STRING, "", "CD image, a file or an URL", PATH_OR_EMPTY),
    Param("cpu_cap", Kind.INT, 0, "most processor time in percent; 0: no limit", at_least(0)),
    Param("cpu_mask", Kind.STRING, "all", "processors the guest may use", CPU_MASKS),
    Param("cpu_weight", Kind.INT, 256, "share of processor time", between(1, 65534)),
    Param("cpuid", Kind.STRING, "", "CPUID masks"),
    Param(
        "device_model", Kind.STRING, "/usr/lib/xen/bin/qemu-dm", "the device model program", PATH
    ),
    Param(
        "disk_type",
        Kind.STRING,
        "paravirtual",
        "how disks are attached",
        one_of("ioemu", "paravirtual"),
    ),
    Param(
        "kernel_path",
        Kind.STRING,
        "/usr/lib/xen/boot/hvmloader",
        "kernel outside the disks, for direct boot",
        PATH,
    ),
    Param(
        "migration_mode",
        Kind.STRING,
        "non-live",
        "migrate live or paused when nothing is asked for",
        MIGRATION_MODE,
        cluster_only=True,
    ),
    Param(
        "migration_port", Kind.INT, 8002, "TCP port of incoming migrations", PORT, cluster_only=True
    ),
    Param(
        "nic_type",
        Kind.STRING,
        "rtl8139",
        "model of the network interfaces",
        one_of("e1000", "ne2k_isa", "ne2k_pci", "paravirtual", "rtl8139"),
    ),
    Param("pae", Kind.BOOL, True, "give the guest PAE"),
    Param("pci_pass", Kind.STRING, "", "PCI devices to pass through, separated by ;"),
    Param(
        "reboot_behavior", Kind.STRING, "reboot", "what a reboot from inside does", REBOOT_BEHAVIOR
    ),
    Param("soundhw", Kind.STRING, "", "sound card"),
    Param("use_localtime", Kind.BOOL, False, "clock in local time"),
    Param("vif_script", Kind.STRING, "", "script for network interfaces", PATH_OR_EMPTY),
    Param("vif_type", Kind.STRING, "ioemu", "kind of network interface", one_of("ioemu", "vif")),
    Param("viridian", Kind.BOOL, False, "tell Windows about the hypervisor"),
    Param(
        "vnc_bind_address",
        Kind.STRING,
        "0.0.0.0",
        "address, interface or directory of the VNC console",
        IPV4,
    ),
    Param(
        "vnc_password_file",
        Kind.STRING,
        "/etc/ganeti/vnc-cluster-password",
        "file that holds the VNC password",
        PATH,
    ),
    Param(
        "xen_cmd",
        Kind.STRING,
        "xm",
        "tool that talks to Xen",
        one_of("xm", "xl"),
        cluster_only=True,
    ),
)


def check_xen_pvm(full: Mapping[str, Json]) -> None:
    """Conditions between complete parameters; OpPrereqError INVAL."""
    if full["use_bootloader"] and not full["bootloader_path"]:
        raise OpPrereqError(
            "hypervisor parameters of xen-pvm: use_bootloader needs bootloader_path", Code.INVAL
        )
