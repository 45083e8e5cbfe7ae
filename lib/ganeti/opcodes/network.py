"""Opcodes of networks."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import Check, read_name, refuse
from ganeti.opcodes.types import Name, NetworkMode
from ganeti.serializer import Json


def _address(notation: str, wish: str, valid: Callable[[str], object]) -> Check:
    """A text that the `ipaddress` class `valid` accepts."""

    def read(value: Json) -> str:
        try:
            valid(read_name(value))
        except ValueError:
            raise refuse(wish, value) from None
        return str(value)

    return Check(notation, read)


def _ipv4_network(text: str) -> object:
    from ipaddress import IPv4Network  # here, as it costs a command line some milliseconds

    return IPv4Network(text) if "/" in text else _no_prefix()


def _ipv6_network(text: str) -> object:
    from ipaddress import IPv6Network

    return IPv6Network(text) if "/" in text else _no_prefix()


def _ipv4_address(text: str) -> object:
    from ipaddress import IPv4Address

    return IPv4Address(text)


def _ipv6_address(text: str) -> object:
    from ipaddress import IPv6Address

    return IPv6Address(text)


def _no_prefix() -> object:
    raise ValueError("no prefix length")


Ipv4Network: TypeAlias = Annotated[
    str, _address("IPv4 network in CIDR", "an IPv4 network like 192.0.2.0/24", _ipv4_network)
]
Ipv6Network: TypeAlias = Annotated[
    str, _address("IPv6 network in CIDR", "an IPv6 network like 2001:db8::/64", _ipv6_network)
]
Ipv4Address: TypeAlias = Annotated[str, _address("IPv4 address", "an IPv4 address", _ipv4_address)]
Ipv6Address: TypeAlias = Annotated[str, _address("IPv6 address", "an IPv6 address", _ipv6_address)]


@opcode(summary="network_name")
class OpNetworkAdd(Opcode):
    """Add an IP network."""

    network_name: Name = param("name of the network", rapi="name")
    network: Ipv4Network = param("IPv4 addresses of the network")
    gateway: Ipv4Address | None = param("IPv4 address of the router", default=None)
    network6: Ipv6Network | None = param("IPv6 addresses of the network", default=None)
    gateway6: Ipv6Address | None = param("IPv6 address of the router", default=None)
    mac_prefix: Name | None = param(
        "first three bytes of MAC addresses in this network", default=None
    )
    add_reserved_ips: Sequence[Ipv4Address] | None = param(
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
    gateway: Ipv4Address | None = param("IPv4 address of the router", default=None)
    network6: Ipv6Network | None = param("IPv6 addresses of the network", default=None)
    gateway6: Ipv6Address | None = param("IPv6 address of the router", default=None)
    mac_prefix: Name | None = param(
        "first three bytes of MAC addresses in this network", default=None
    )
    add_reserved_ips: Sequence[Ipv4Address] | None = param(
        "addresses that instances do not get", default=None
    )
    remove_reserved_ips: Sequence[Ipv4Address] | None = param(
        "addresses that instances may get again", default=None
    )
