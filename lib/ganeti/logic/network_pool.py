"""The addresses of a network that are reserved by hand, as changes of the network. Pure.

Source: facts/config-data.md §7, facts/master.md §F. Errors are AddressPoolError.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from ganeti.config import pool6
from ganeti.config.reserve import FREE, USED, external, internal, position
from ganeti.errors import AddressPoolError, Code, OpPrereqError
from ganeti.model.network import Network

WIDEST, NARROWEST = 16, 30  # prefix lengths that a network can have

_MAC_PREFIX = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){2}")


def check_subnet(text: str) -> None:
    """AddressPoolError unless it is an IPv4 network of a size that can have a pool."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise AddressPoolError(f"{text!r} is not an IPv4 network: {error}") from error
    if not WIDEST <= network.prefixlen <= NARROWEST:
        raise AddressPoolError(
            f"network {text} is of the wrong size: a prefix length from /{WIDEST} to /{NARROWEST}"
            " is possible"
        )


def check_subnets(network: Network) -> None:
    """AddressPoolError unless both subnets are such, and the gateways lie in them."""
    pool6.check_gateway(network.network6, network.gateway6)
    if network.network is not None:
        check_subnet(network.network)
    elif network.gateway is not None:
        raise AddressPoolError(f"gateway {network.gateway} needs an IPv4 subnet")


def with_pool(network: Network) -> Network:
    """The network with nothing used; its first, last and gateway address are reserved."""
    check_subnets(network)
    if network.network is None:
        return network
    subnet = ipaddress.IPv4Network(network.network)
    nothing = FREE * subnet.num_addresses
    made = replace(network, reservations=nothing, ext_reservations=nothing)
    made = reserve(made, str(subnet.network_address))
    made = reserve(made, str(subnet.broadcast_address))
    return reserve(made, network.gateway) if network.gateway else made


def contains(network: Network, ip: str | None) -> bool:
    """Whether it is one of the network's addresses."""
    try:
        return ip is not None and (pool6.contains(network, ip) or position(network, ip) >= 0)
    except AddressPoolError:
        return False


def is_reserved(network: Network, ip: str) -> bool:
    """Whether the address is taken, by an instance (that is known of IPv4 only) or by hand."""
    if pool6.is_ipv6(ip):
        return pool6.canonical(ip) in pool6.blocked(network)
    index = position(network, ip)
    return USED in (internal(network)[index], external(network)[index])


def nobody(_: str) -> bool:
    return False


def reserve(network: Network, ip: str, is_taken: Callable[[str], bool] = nobody) -> Network:
    """The address is reserved by hand; AddressPoolError when it is taken already.

    `is_taken`: whether an instance has an IPv6 address.
    """
    if pool6.is_ipv6(ip):
        return pool6.reserve(network, ip, is_taken)
    if is_reserved(network, ip):
        raise AddressPoolError(f"IP address {ip} of network {network.name} is taken already")
    return _marked(network, ip, USED)


def release(network: Network, ip: str) -> Network:
    """The address is no longer reserved by hand; AddressPoolError when it is not."""
    if pool6.is_ipv6(ip):
        return pool6.release(network, ip)
    if external(network)[position(network, ip)] != USED:
        raise AddressPoolError(f"IP address {ip} of network {network.name} is not reserved by hand")
    return _marked(network, ip, FREE)


def _marked(network: Network, ip: str, mark: str) -> Network:
    bits, index = external(network), position(network, ip)
    return replace(network, ext_reservations=bits[:index] + mark + bits[index + 1 :])


def read_mac_prefix(text: str) -> str:
    """In lower case; INVAL unless it has three octets."""
    prefix = text.lower()
    if _MAC_PREFIX.fullmatch(prefix) is None:
        raise OpPrereqError(f"MAC prefix {text!r} is not of the form xx:xx:xx", Code.INVAL)
    return prefix


def network_env(network: Network) -> Mapping[str, str]:
    """Variables of network hooks, each only when there is a value (facts/hooks.json)."""
    values = {
        "NETWORK_NAME": network.name,
        "NETWORK_SUBNET": network.network,
        "NETWORK_GATEWAY": network.gateway,
        "NETWORK_SUBNET6": network.network6,
        "NETWORK_GATEWAY6": network.gateway6,
        "NETWORK_MAC_PREFIX": network.mac_prefix,
        "NETWORK_TAGS": " ".join(network.tags),
    }
    return {name: value for name, value in values.items() if value}
