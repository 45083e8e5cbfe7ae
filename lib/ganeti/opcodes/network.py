"""Opcodes of networks."""

from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import Annotated, TypeAlias

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import Check, refuse
from ganeti.opcodes.types import Name, NetworkMode
from ganeti.serializer import Json


def _is_address(family: int, text: str) -> bool:
    try:
        inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


NONE = "none"  # in a change: no longer there


def _address(version: int, family: int, example: str, *, or_none: bool = False) -> Check:
    def read(value: Json) -> str:
        if isinstance(value, str) and (_is_address(family, value) or (or_none and value == NONE)):
            return value
        raise refuse(f"an IPv{version} address like {example}", value)

    return Check(f"IPv{version} address", read)


def _network(version: int, family: int, example: str, *, or_none: bool = False) -> Check:
    """Form only: whether address and prefix length fit is found out when the job runs."""

    def read(value: Json) -> str:
        if isinstance(value, str):
            if or_none and value == NONE:
                return value
            address, _, prefix = value.partition("/")
            if prefix.isdecimal() and _is_address(family, address):
                return value
        raise refuse(f"an IPv{version} network like {example}", value)

    return Check(f"IPv{version} network in CIDR", read)


Ipv6Address: TypeAlias = Annotated[str, _address(6, AF_INET6, "2001:db8::1")]
_SUBNET = _network(4, AF_INET, "192.0.2.0/24")
_HOST = _address(4, AF_INET, "192.0.2.1")
Ipv4Address: TypeAlias = Annotated[str, _HOST]


def _null_or_subnet(value: Json) -> str | None:
    return None if value is None else str(_SUBNET.read(value))


def _any_address(value: Json) -> str:
    if isinstance(value, str) and (_is_address(AF_INET, value) or _is_address(AF_INET6, value)):
        return value
    raise refuse("an IP address like 192.0.2.1 or 2001:db8::1", value)


# Wider than their names, which are those of the interface: null is a network without IPv4
# addresses, and addresses of IPv6 are reserved in the same list.
Subnet: TypeAlias = Annotated[str | None, Check(_SUBNET.notation, _null_or_subnet)]
ReservedAddress: TypeAlias = Annotated[str, Check(_HOST.notation, _any_address)]
Ipv6Network: TypeAlias = Annotated[str, _network(6, AF_INET6, "2001:db8::/64")]
ChangedIpv4Address: TypeAlias = Annotated[str, _address(4, AF_INET, "192.0.2.1", or_none=True)]
ChangedIpv6Address: TypeAlias = Annotated[str, _address(6, AF_INET6, "2001:db8::1", or_none=True)]
ChangedIpv6Network: TypeAlias = Annotated[str, _network(6, AF_INET6, "2001:db8::/64", or_none=True)]


@opcode(summary="network_name")
class OpNetworkAdd(Opcode):
    """Add an IP network."""

    network_name: Name = param("name of the network", rapi="name")
    network: Subnet = param("IPv4 addresses of the network; null: it has none")
    gateway: Ipv4Address | None = param("IPv4 address of the router", default=None)
    network6: Ipv6Network | None = param("IPv6 addresses of the network", default=None)
    gateway6: Ipv6Address | None = param("IPv6 address of the router", default=None)
    mac_prefix: Name | None = param(
        "first three bytes of MAC addresses in this network", default=None
    )
    add_reserved_ips: Sequence[ReservedAddress] | None = param(
        "addresses that instances do not get", default=None
    )
    conflicts_check: bool = param("refuse a network that holds addresses in use", default=True)
    tags: Sequence[Name] = param("tags", default=())


@opcode(summary="network_name")
class OpNetworkConnect(Opcode):
    """Connect a network to a node group."""

    group_name: Name = param("name of the node group")
    network_name: Name = param("name of the network")
    network_mode: NetworkMode = param("how interfaces are attached")
    network_link: Name = param("bridge or routing table")
    network_vlan: str = param("VLAN of the interfaces", default="")
    conflicts_check: bool = param(
        "refuse when instances of the group use its addresses", default=True
    )


@opcode(summary="network_name")
class OpNetworkDisconnect(Opcode):
    """Disconnect a network from a node group."""

    group_name: Name = param("name of the node group")
    network_name: Name = param("name of the network")


@opcode(summary="network_name")
class OpNetworkRemove(Opcode):
    """Remove a network that no node group is connected to."""

    network_name: Name = param("name of the network")
    force: bool = param("also when it is in use", default=False)


@opcode(result=Name)
class OpNetworkRename(Opcode):
    """Give a network another name."""

    network_name: Name = param("name of the network")
    new_name: Name = param("new name of the network")


@opcode(summary="network_name")
class OpNetworkSetParams(Opcode):
    """Change parameters of a network."""

    network_name: Name = param("name of the network")
    gateway: ChangedIpv4Address | None = param("IPv4 address of the router, or none", default=None)
    network6: ChangedIpv6Network | None = param(
        "IPv6 addresses of the network, or none", default=None
    )
    gateway6: ChangedIpv6Address | None = param("IPv6 address of the router, or none", default=None)
    mac_prefix: Name | None = param(
        "first three bytes of MAC addresses in this network, or none", default=None
    )
    add_reserved_ips: Sequence[ReservedAddress] | None = param(
        "addresses that instances do not get", default=None
    )
    remove_reserved_ips: Sequence[ReservedAddress] | None = param(
        "addresses that instances may get again", default=None
    )
