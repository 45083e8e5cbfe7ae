"""Network interfaces of guests on a real node: tap devices and their connection.

A tap without a name of its own is made by opening /dev/net/tun; it lives as long as QEMU has it
open. What connects it (bridge, route, Open vSwitch) is a list of commands made by a pure function,
or the administrator's CONF/kvm-vif-bridge; what disconnects it is in kvm_ifdown.py. Source:
facts/hypervisors.md (tap devices, NIC script environment).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import CommandError, HypervisorError
from ganeti.hypervisor import kvm_communication, kvm_ifdown
from ganeti.hypervisor.kvm_devices import Tap
from ganeti.types import NicMode

if TYPE_CHECKING:
    from ganeti.hypervisor.base import HvHost
    from ganeti.model.nic import Nic

TUN: Final = Path("/dev/net/tun")
VHOST: Final = Path("/dev/vhost-net")
CONNECT_TIMEOUT_S: Final = 30.0
SCRIPT: Final = "kvm-vif-bridge"
COMMUNICATION_SCRIPT: Final = "kvm-ifup-os"
SYS_NET: Final = Path("/sys/class/net")

# linux/if_tun.h
TUNSETIFF: Final = 0x400454CA
TUNGETFEATURES: Final = 0x800454CF
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
IFF_ONE_QUEUE: Final = 0x2000
IFF_VNET_HDR: Final = 0x4000
IFF_MULTI_QUEUE: Final = 0x0100
IFF_TUN_EXCL: Final = 0x8000


def tap_flags(queues: int, vnet_hdr: bool) -> int:
    flags = IFF_TAP | IFF_NO_PI
    flags |= IFF_MULTI_QUEUE if queues > 1 else IFF_ONE_QUEUE
    return flags | IFF_VNET_HDR if vnet_hdr else flags


def open_tap(queues: int, *, vnet_hdr: bool, vhost: bool, names: Iterable[str] = ("",)) -> Tap:
    """A new tap: the first of the names that is free, or one that the kernel chooses.

    The caller closes all descriptors (`close_tap`).
    """
    fds: list[int] = []
    vhost_fds: list[int] = []
    name = b""
    try:
        for number in range(queues):
            fd = os.open(TUN, os.O_RDWR)
            fds.append(fd)
            flags = tap_flags(queues, vnet_hdr and _has(fd, IFF_VNET_HDR))
            name = _attach(fd, name, flags) if number else _make(fd, names, flags)
            if vhost and VHOST.exists():
                vhost_fds.append(os.open(VHOST, os.O_RDWR))
    except OSError as error:
        for fd in (*fds, *vhost_fds):
            os.close(fd)
        raise HypervisorError(f"tap device: {error.filename or TUN}: {error.strerror}") from error
    return Tap(name.rstrip(b"\0").decode(), tuple(fds), tuple(vhost_fds))


def _make(fd: int, names: Iterable[str], flags: int) -> bytes:
    """A device that was not there; its name. OSError."""
    for name in names:
        try:
            return _attach(fd, name.encode(), flags | IFF_TUN_EXCL)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    raise OSError(errno.EEXIST, "no name is free", str(TUN))


def _attach(fd: int, name: bytes, flags: int) -> bytes:
    """A queue of the device of that name; what the device is called."""
    return fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name, flags).ljust(40, b"\0"))[:16]


def _has(fd: int, flag: int) -> bool:
    """Whether this kernel's taps can do that."""
    (features,) = struct.unpack("I", fcntl.ioctl(fd, TUNGETFEATURES, b"\0" * 4))
    return bool(features & flag)


def close_tap(tap: Tap) -> None:
    for fd in (*tap.fds, *tap.vhost_fds):
        os.close(fd)


def script_environment(
    instance_name: str, tags: Sequence[str], nic: Nic, index: int, interface: str
) -> dict[str, str]:
    """What an administrator's script finds in its environment."""
    params = nic.nicparams
    mode, link = str(params.get("mode") or ""), str(params.get("link") or "")
    made = {
        "INSTANCE": instance_name,
        "MAC": nic.mac,
        "MODE": mode,
        "INTERFACE": interface,
        "INTERFACE_INDEX": str(index),
        "INTERFACE_UUID": nic.uuid,
        "TAGS": " ".join(tags),
    }
    optional = {
        "INTERFACE_NAME": nic.name,
        "IP": nic.ip,
        "LINK": link,
        "VLAN": params.get("vlan"),
        "BRIDGE": link if mode == NicMode.BRIDGED else None,
    }
    made |= {name: str(value) for name, value in optional.items() if value}
    if nic.netinfo:
        made |= network_environment(nic)
    path = os.environ.get("PATH", "/bin:/usr/bin")
    return {**made, "PATH": f"{path}:/sbin:/usr/sbin"}


_NETWORK_KEYS: Final = (
    ("NAME", "name"),
    ("UUID", "uuid"),
    ("SUBNET", "network"),
    ("GATEWAY", "gateway"),
    ("SUBNET6", "network6"),
    ("GATEWAY6", "gateway6"),
    ("MAC_PREFIX", "mac_prefix"),
)


def network_environment(nic: Nic, prefix: str = "NETWORK_") -> dict[str, str]:
    """The network of an interface, as scripts see it."""
    network = nic.netinfo or {}
    made = {f"{prefix}{word}": str(network[key]) for word, key in _NETWORK_KEYS if network.get(key)}
    return {**made, f"{prefix}TAGS": " ".join(network.get("tags") or ())}


def connect_commands(
    nic: Nic, interface: str, bridge_mtu: str | None, uplinks: Sequence[str] = ()
) -> list[list[str]]:
    """The commands that connect a tap; HypervisorError when the NIC lacks what its mode needs.

    `uplinks`: the bridge's ports to the outside, which carry the NIC's VLANs, too.
    """
    mode = str(nic.nicparams.get("mode") or "")
    link = str(nic.nicparams.get("link") or "")
    vlan = str(nic.nicparams.get("vlan") or "")
    up = ["ip", "link", "set", interface, "up"]
    # A low MAC on the tap would become the bridge's own and change when the guest stops. A routed
    # guest has it as its router's, which must be the same where it migrates to.
    address = ["ip", "link", "set", interface, "address", "fe" + nic.mac[2:]]
    if mode == NicMode.BRIDGED:
        made = [address, up]
        if bridge_mtu:
            made.append(["ip", "link", "set", interface, "mtu", bridge_mtu])
        made.append(["ip", "link", "set", interface, "master", link])
        return made + _bridge_vlans(interface, vlan, uplinks)
    if mode == NicMode.OPENVSWITCH:
        made = [up, ["ovs-vsctl", "--if-exists", "del-port", interface]]
        made.append(["ovs-vsctl", "add-port", link, interface])
        untagged, trunks = split_vlan(vlan)
        if untagged:
            made.append(["ovs-vsctl", "set", "port", interface, f"tag={untagged}"])
        if trunks:
            made.append(["ovs-vsctl", "set", "port", interface, f"trunks={','.join(trunks)}"])
        return made
    if mode == NicMode.ROUTED and nic.is_communication:
        table = _routes(nic, interface, link) if kvm_communication.knows_table(link) else []
        return [address, up, *table, *kvm_communication.connect_commands(nic, interface)]
    if mode == NicMode.ROUTED:
        return [address, up, *_routes(nic, interface, link)]
    raise HypervisorError(
        f"nic {nic.uuid}: what connects an interface of mode {mode!r} is the script {SCRIPT} in the"
        " configuration directory, which is not there"
    )


def split_vlan(text: str) -> tuple[str, list[str]]:
    """`.V` or `V`: untagged; `:V:W`: tagged; `.V:W:X`: both."""
    first, *trunks = text.removeprefix(".").split(":")
    return first, [vlan for vlan in trunks if vlan]


def _bridge_vlans(interface: str, vlan: str, uplinks: Sequence[str]) -> list[list[str]]:
    untagged, trunks = split_vlan(vlan)
    add = ["bridge", "vlan", "add", "dev"]
    made = []
    if untagged:
        made.append([*add, interface, "vid", untagged, "pvid", "untagged", "master"])
    made += [[*add, interface, "vid", trunk, "master"] for trunk in trunks]
    tags = [untagged, *trunks] if untagged else trunks
    return made + [[*add, uplink, "vid", tag, "master"] for uplink in uplinks for tag in tags]


def family(ip: str | None) -> list[str]:
    """What ip(8) needs for an address that is not of IPv4."""
    return ["-6"] if ip is not None and ":" in ip else []


def _routes(nic: Nic, interface: str, table: str) -> list[list[str]]:
    if not nic.ip:
        raise HypervisorError(f"nic {nic.uuid}: a routed interface needs an address")
    ip = ["ip", *family(nic.ip)]
    end = ["proto", "static", "dev", interface]
    if not table:
        return [[*ip, "route", "replace", nic.ip, *end]]
    return [
        [*ip, "rule", "add", "dev", interface, "table", table],
        [*ip, "route", "replace", nic.ip, "table", table, *end],
    ]


def connect(
    host: HvHost, instance_name: str, tags: Sequence[str], nic: Nic, index: int, interface: str
) -> None:
    """The tap is connected as the NIC says. HypervisorError with the command that failed.

    What was done is on record before it is done, for `kvm_ifdown`.
    """
    script = host.paths.conf / SCRIPT
    environment = script_environment(instance_name, tags, nic, index, interface)
    has_script = os.access(script, os.X_OK)
    link = str(nic.nicparams.get("link") or "")
    commands = (
        [[str(script)]]
        if has_script
        else connect_commands(nic, interface, _mtu(link), uplinks_of(link))
    )
    before = host.paths.conf / COMMUNICATION_SCRIPT
    if nic.is_communication and os.access(before, os.X_OK):
        commands.insert(0, [str(before)])
    kvm_ifdown.note(host, interface, environment, by_script=has_script)
    try:
        _drop_rules(host, nic, interface)
        for command in commands:
            host.run(command, env=environment, timeout_s=CONNECT_TIMEOUT_S).check(
                f"instance {instance_name}, interface {interface}"
            )
    except CommandError as error:
        raise HypervisorError(str(error)) from error
    if nic.nicparams.get("mode") == NicMode.ROUTED:
        _forward(interface, not nic.is_communication)


def _drop_rules(host: HvHost, nic: Nic, interface: str) -> None:
    """A rule outlives its tap, whose name the kernel gives again; a second one can't be added."""
    if nic.nicparams.get("mode") == NicMode.ROUTED and nic.nicparams.get("link"):
        kvm_ifdown.drop_rules(host, interface, nic.ip)


def _mtu(link: str) -> str | None:
    try:
        return (SYS_NET / link / "mtu").read_text().strip()
    except OSError:
        return None


def uplinks_of(bridge: str, devices: Path = SYS_NET) -> list[str]:
    """Ports of the bridge that are no guest's."""
    try:
        ports = sorted(entry.name for entry in (devices / bridge / "brif").iterdir())
    except OSError:
        return []
    return [port for port in ports if not (devices / port / "tun_flags").exists()]


def _forward(interface: str, wanted: bool) -> None:
    """Answer ARP and neighbour requests for the guest, and forward its packets; or never."""
    for family, words in (
        ("ipv4", ("proxy_arp", "forwarding")),
        ("ipv6", ("proxy_ndp", "forwarding")),
    ):
        for word in words:
            place = Path("/proc/sys/net") / family / "conf" / interface / word
            if place.exists():
                place.write_text("1\n" if wanted else "0\n")
