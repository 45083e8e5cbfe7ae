"""The IPv6 addresses of a network. Pure.

A /64 has more addresses than a text could have characters: which of them instances use is seen
from their interfaces, and the few that are reserved by hand are a list in the network. The first
address of a subnet belongs to its routers (RFC 4291 §2.6.1), and so does the gateway.
Errors are AddressPoolError.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import replace
from socket import AF_INET6, inet_ntop
from typing import Final

from ganeti.config.index import nic_scope
from ganeti.config.snapshot import Snapshot
from ganeti.errors import AddressPoolError
from ganeti.model.network import Network

HOSTS_ONLY: Final = 127  # from this prefix length on every address is a host's (RFC 6164)
WITH_IPV4: Final = (0, 0xFFFF)  # addresses that inet_ntop(3) ends with dots


def is_ipv6(ip: str) -> bool:
    """Whether the text of an address is one of IPv6."""
    return ":" in ip


def canonical(ip: str) -> str:
    """The one way to write an address; AddressPoolError when it is none."""
    try:
        return str(ipaddress.ip_address(ip))
    except ValueError as error:
        raise AddressPoolError(f"{ip!r} is not an IP address") from error


def read_subnet(text: str) -> ipaddress.IPv6Network:
    try:
        return ipaddress.IPv6Network(text)
    except ValueError as error:
        raise AddressPoolError(f"{text!r} is not an IPv6 network: {error}") from error


def check_gateway(network6: str | None, gateway6: str | None) -> None:
    """A gateway is in the network or on the link; AddressPoolError."""
    subnet = None if network6 is None else read_subnet(network6)
    if gateway6 is None or subnet is None:
        return
    gateway = ipaddress.IPv6Address(gateway6)
    if gateway not in subnet and not gateway.is_link_local:
        raise AddressPoolError(f"gateway {gateway6} is neither in {network6} nor link-local")


def contains(network: Network, ip: str) -> bool:
    """Whether it is an address of the network's IPv6 side."""
    if network.network6 is None or not is_ipv6(ip):
        return False
    return ipaddress.IPv6Address(ip) in read_subnet(network.network6)


def check_member(network: Network, ip: str) -> None:
    """AddressPoolError unless the network can have the address: one without any subnet has all."""
    if contains(network, ip) or (network.network is None and network.network6 is None):
        return
    raise AddressPoolError(
        f"IP address {ip} is not in network {network.name}"
        f" ({network.network6 or 'which has no IPv6 subnet'})"
    )


def is_used(config: Snapshot, network: Network, ip: str) -> bool:
    """Whether an instance has the address in this network."""
    return (nic_scope(network.uuid, None), ip) in config.index.ips


def blocked(network: Network) -> frozenset[str]:
    """Addresses that no instance gets by itself."""
    found = set(network.ext_reservations6)
    if network.gateway6 is not None:
        found.add(canonical(network.gateway6))
    if network.network6 is not None:
        subnet = read_subnet(network.network6)
        if subnet.prefixlen < HOSTS_ONLY:
            found.add(str(subnet.network_address))
    return frozenset(found)


def free_addresses(network: Network, is_taken: Callable[[str], bool]) -> Iterator[str]:
    """In order, made one by one: as many are looked at as are taken, and one more."""
    if network.network6 is None:
        return
    closed = blocked(network)
    subnet = read_subnet(network.network6)
    first = int(subnet.network_address)
    for number in range(first, first + subnet.num_addresses):
        ip = _text(number)
        if ip not in closed and not is_taken(ip):
            yield ip


def _text(number: int) -> str:
    """As `canonical` writes it; this is gone through for each address that is in use."""
    if number >> 32 in WITH_IPV4:
        return str(ipaddress.IPv6Address(number))
    return inet_ntop(AF_INET6, number.to_bytes(16, "big"))


def reserve(network: Network, ip: str, is_taken: Callable[[str], bool]) -> Network:
    """The address is reserved by hand; AddressPoolError when it is taken already."""
    ip = canonical(ip)
    if not contains(network, ip):
        raise AddressPoolError(f"IP address {ip} is not in network {network.name}")
    if ip in blocked(network) or is_taken(ip):
        raise AddressPoolError(f"IP address {ip} of network {network.name} is taken already")
    return replace(network, ext_reservations6=_sorted({*network.ext_reservations6, ip}))


def release(network: Network, ip: str) -> Network:
    """The address is no longer reserved by hand; AddressPoolError when it is not."""
    ip = canonical(ip)
    if ip not in network.ext_reservations6:
        raise AddressPoolError(f"IP address {ip} of network {network.name} is not reserved by hand")
    return replace(network, ext_reservations6=_sorted({*network.ext_reservations6} - {ip}))


def _sorted(ips: set[str]) -> tuple[str, ...]:
    return tuple(sorted(ips, key=ipaddress.IPv6Address))
