"""Addresses and host names of this machine and others."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping

from ganeti.errors import IPAddressError, ResolverError
from ganeti.paths import HOSTNAME_VARIABLE
from ganeti.types import IpFamily

PING_S = 10.0


def own_name(environment: Mapping[str, str] | None = None) -> str:
    """The full name of this node; a virtual node has it in its environment."""
    named = (os.environ if environment is None else environment).get(HOSTNAME_VARIABLE)
    return named or socket.getfqdn()


def family_of(address: str) -> IpFamily:
    """IPAddressError when it is no address."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        raise IPAddressError(f"{address!r} is not an IP address") from None
    return IpFamily.IPV4 if version == 4 else IpFamily.IPV6


def client_of(address: str) -> str:
    """Whom limits count as one client: an IPv4 address, or the /64 that an IPv6 host chooses its
    addresses from. What is no address stays as it is."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def resolve(host: str, family: IpFamily | None = None) -> str:
    """One address of the host; ResolverError when it has none (of that family)."""
    wanted = socket.AF_UNSPEC if family is None else socket.AddressFamily(int(family))
    try:
        found = socket.getaddrinfo(host, None, wanted, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ResolverError(host, error.errno or 0, error.strerror or str(error)) from error
    except UnicodeError as error:
        raise ResolverError(host, 0, "not a host name") from error
    return str(found[0][4][0])


def is_own_address(address: str) -> bool:
    """Whether the address is configured on this machine: only then a socket can have it.

    Nothing is sent. Where net.ipv4.ip_nonlocal_bind is set the answer is always yes.
    """
    family = socket.AF_INET6 if family_of(address) == IpFamily.IPV6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def is_port_open(
    address: str, port: int, *, source: str | None = None, timeout_s: float = PING_S
) -> bool:
    """Whether a TCP connection from `source` to the port can be made."""
    return connect_error(address, port, source=source, timeout_s=timeout_s) is None


def connect_error(
    address: str, port: int, *, source: str | None = None, timeout_s: float = PING_S
) -> str | None:
    """Why a TCP connection can't be made; None when it can."""
    try:
        with socket.create_connection((address, port), timeout_s, (source, 0) if source else None):
            return None
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error)


def service_port(name: str, default: int) -> int:
    """The TCP port of a service in the services database, else the built-in one."""
    try:
        return socket.getservbyname(name, "tcp")
    except OSError:
        return default


def any_address(family: str) -> str:
    """What a daemon binds to; `family` is the text of ssconf primary_ip_family."""
    return "::" if family.strip() == str(int(IpFamily.IPV6)) else "0.0.0.0"


def interface_address(interface: str) -> str:
    """The first IPv4, else IPv6 address of a network interface; IPAddressError if it has none."""
    import psutil

    found = psutil.net_if_addrs().get(interface, [])
    for family in (socket.AF_INET, socket.AF_INET6):
        for entry in found:
            if entry.family == family:
                return str(entry.address.partition("%")[0])
    raise IPAddressError(f"network interface {interface!r} has no IP address")
