"""Where VNC and SPICE listen: an address, a directory, or the address of an interface."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from typing import Final

from ganeti.errors import HypervisorError

SIOCGIFADDR: Final = 0x8915  # linux/sockios.h


def bind_address(text: str, ip_version: int) -> str:
    """`text` itself when it is empty, a directory or an address; else an interface's address.

    `ip_version` 0 takes what there is, IPv4 first. HypervisorError when there is no such interface.
    """
    if not text or text.startswith("/"):
        return text
    try:
        ipaddress.ip_address(text)
        return text
    except ValueError:
        pass
    found = (_ipv4(text) if ip_version in (0, 4) else None) or (
        _ipv6(text) if ip_version in (0, 6) else None
    )
    if found is None:
        raise HypervisorError(
            f"{text!r} is no address, and this node has no interface of that name with an address"
        )
    return found


def _ipv4(interface: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        request = struct.pack("256s", interface.encode()[:15])
        try:
            answer = fcntl.ioctl(asker.fileno(), SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _ipv6(interface: str) -> str | None:
    """From /proc/net/if_inet6: address, number, prefix, scope (00 is global), flags, name."""
    try:
        with open("/proc/net/if_inet6") as lines:
            rows = [line.split() for line in lines]
    except OSError:
        return None
    for row in rows:
        if row[5] == interface and row[3] == "00":
            return str(ipaddress.IPv6Address(bytes.fromhex(row[0])))
    return None
