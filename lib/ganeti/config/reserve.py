"""What jobs have taken and not yet stored: MACs, addresses, minors, volumes, names, uuids.

A reservation belongs to an owner (a job) and ends with it. Taking something that is stored or
reserved is a ReservationError; generators try 64 times (facts/config-data.md §7). Ports are no
reservations: taking one is a change of the configuration at once (`take_port`).

Loop and workers use it at the same time: what is taken is taken in one step of the interpreter
(`setdefault`), and what is gone through is copied in one (`list`). Nothing here waits.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, Protocol

from ganeti.config import pool6
from ganeti.config.index import nic_scope
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.constants import LAST_DRBD_PORT
from ganeti.errors import AddressPoolError, ConfigurationError, ReservationError
from ganeti.model.cluster import Cluster
from ganeti.model.network import Network
from ganeti.types import DiskTemplate

TRIES: Final = 64
SECRET_BYTES: Final = 20
USED, FREE = "1", "0"


class Random(Protocol):
    """Source of randomness: `random.SystemRandom`, or a seeded one in tests."""

    def getrandbits(self, k: int, /) -> int: ...


def random_uuid(random: Random) -> str:
    """Version 4, lower case."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) % 4]
    parts = (
        digits[:8], digits[8:12], f"4{digits[13:16]}", f"{variant}{digits[17:20]}", digits[20:]
    )  # fmt: skip
    return "-".join(parts)


class Kind(StrEnum):
    """What can be reserved."""

    MAC = "MAC address"
    IP = "IP address"
    MINOR = "DRBD minor"
    LV = "logical volume"
    NAME = "name"
    SECRET = "DRBD secret"
    UUID = "uuid"


class Reservations:
    """All reservations. `owner` is a job's number as text, or any other name of who holds one."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._taken: dict[tuple[Kind, Hashable], str] = {}
        self._of: dict[str, dict[tuple[Kind, Hashable], None]] = {}
        self._addresses: dict[tuple[str, str], tuple[str, bool]] = {}  # → owner, take or give

    # Any kind.

    def reserve(self, owner: str, kind: Kind, what: Hashable) -> None:
        """ReservationError when somebody (the owner, too) has it reserved."""
        held = self._of.setdefault(owner, {})
        again = (kind, what) in held
        holder = self._taken.setdefault((kind, what), owner)
        if again or holder != owner:
            raise ReservationError(f"{kind} {_shown(what)} is reserved by {_holder(holder)}")
        held[kind, what] = None

    def is_reserved(self, kind: Kind, what: Hashable) -> bool:
        return (kind, what) in self._taken

    @property
    def owners(self) -> frozenset[str]:
        """Who holds something."""
        holders = {owner for owner, held in self._of.copy().items() if held}
        return frozenset(holders | {owner for owner, _ in self._addresses.copy().values()})

    def held(self, owner: str, kind: Kind) -> list[Hashable]:
        """In the order in which they were taken."""
        return [what for one, what in self._of.get(owner, {}) if one == kind]

    def give_back(self, owner: str, kind: Kind, what: Hashable) -> None:
        """No error when the owner does not have it."""
        if self._taken.get((kind, what)) == owner:
            del self._taken[kind, what]
            del self._of[owner][kind, what]

    def release(self, owner: str) -> None:
        """The owner holds nothing any more."""
        for key in self._of.pop(owner, {}):
            del self._taken[key]
        held = self._addresses.copy()  # at one go; list(….items()) can be interrupted
        for address in [one for one, (who, _) in held.items() if who == owner]:
            del self._addresses[address]

    def _generate(
        self, owner: str, kind: Kind, make: Callable[[], str], taken: Callable[[str], bool]
    ) -> str:
        for _ in range(TRIES):
            made = make()
            if not taken(made) and not self.is_reserved(kind, made):
                self.reserve(owner, kind, made)
                return made
        raise ConfigurationError(f"no free {kind} found in {TRIES} attempts")

    def _bytes(self, count: int) -> bytes:
        return self._random.getrandbits(8 * count).to_bytes(count, "big")

    # Names and identities.

    def reserve_name(self, config: Snapshot, owner: str, kind: str, name: str) -> None:
        """`kind`: instance, node, group or network. ReservationError when the name is in use."""
        finders: dict[str, Callable[[str], object]] = {
            "instance": config.find_instance,
            "node": config.find_node,
            "group": config.find_group,
            "network": config.find_network,
        }
        found = finders[kind](name)
        if found is not None and getattr(found, "name", None) == name:
            raise ReservationError(f"{kind} {name} is already in the configuration")
        self.reserve(owner, Kind.NAME, (kind, name))

    def unique_id(self, config: Snapshot, owner: str) -> str:
        """A uuid that nothing has: random, version 4, lower case."""
        return self._generate(
            owner,
            Kind.UUID,
            lambda: random_uuid(self._random),
            lambda uuid: _has_uuid(config, uuid),
        )

    # MAC addresses.

    def generate_mac(self, config: Snapshot, owner: str, network: Network | None = None) -> str:
        """Prefix of the network or else of the cluster, and 3 random bytes."""
        prefix = (network.mac_prefix if network is not None else None) or config.cluster.mac_prefix
        return self._generate(
            owner,
            Kind.MAC,
            lambda: f"{prefix}:{self._bytes(3).hex(':')}".lower(),
            lambda mac: mac in config.index.macs,
        )

    def reserve_mac(self, config: Snapshot, owner: str, mac: str) -> None:
        mac = mac.lower()
        if mac in config.index.macs:
            raise ReservationError(f"MAC address {mac} is already in use")
        self.reserve(owner, Kind.MAC, mac)

    # Storage.

    def reserve_lv(self, config: Snapshot, owner: str, name: str) -> None:
        """`name` is `vg/lv`."""
        group, _, volume = name.partition("/")
        if (DiskTemplate.PLAIN.value, group, volume) in config.index.logical_ids:
            raise ReservationError(f"logical volume {name} is already in use")
        self.reserve(owner, Kind.LV, name)

    def drbd_secret(self, owner: str) -> str:
        """40 hex digits."""
        return self._generate(
            owner, Kind.SECRET, lambda: self._bytes(SECRET_BYTES).hex(), lambda _: False
        )

    def take_minors(self, config: Snapshot, owner: str, nodes: Sequence[str]) -> list[int]:
        """The lowest free minor on each of the nodes (uuids), in their order.

        ReservationError when a node is named twice.
        """
        if len(set(nodes)) != len(nodes):
            raise ReservationError("a node is named twice in a request for DRBD minors")
        minors = []
        for node in nodes:
            minor = 0
            while (node, minor) in config.index.minors or self.is_reserved(
                Kind.MINOR, (node, minor)
            ):
                minor += 1
            self.reserve(owner, Kind.MINOR, (node, minor))
            minors.append(minor)
        return minors

    def give_minors_back(self, owner: str, minors: Iterable[tuple[str, int]]) -> None:
        """(node uuid, minor) each; what was stored or never begun."""
        for minor in minors:
            self.give_back(owner, Kind.MINOR, minor)

    # Addresses.

    def reserve_nic_ip(self, config: Snapshot, owner: str, link: str | None, ip: str) -> None:
        """An address outside of any network, unique on its link (None: the default link)."""
        scope = nic_scope(None, link)
        if (scope, ip) in config.index.ips:
            raise ReservationError(f"IP address {ip} is already in use on {scope}")
        self.reserve(owner, Kind.IP, (scope, ip))

    def reserve_ip(
        self, config: Snapshot, owner: str, network: Network, ip: str, *, check: bool = True
    ) -> None:
        """The address becomes the owner's with `commit_addresses`.

        ReservationError when it is taken; without `check` an address that is only reserved
        externally passes. AddressPoolError when it is not in the network.
        """
        network = config.networks.get(network.uuid, network)
        if self._state(config, network, ip) == USED:
            raise ReservationError(f"IP address {ip} of network {network.name} is already in use")
        if check and _is_external(network, ip):
            raise ReservationError(
                f"IP address {ip} of network {network.name} is reserved externally"
            )
        self._addresses[network.uuid, ip] = (owner, True)

    def release_ip(self, owner: str, network: Network, ip: str) -> None:
        """The address is free again with `commit_addresses`."""
        held = self._addresses.get((network.uuid, ip))
        if held == (owner, True):
            del self._addresses[network.uuid, ip]
        else:
            self._addresses[network.uuid, ip] = (owner, False)

    def generate_ip(self, config: Snapshot, owner: str, network: Network) -> str:
        """The first free address of the network, of IPv6 when that is all it has.

        AddressPoolError when it is full.
        """
        network = config.networks.get(network.uuid, network)
        for ip in self._free(config, network):
            mine = (owner, True)
            if self._addresses.setdefault((network.uuid, ip), mine) is mine:
                return ip
        raise AddressPoolError(f"network {network.name} has no free IP address")

    def _free(self, config: Snapshot, network: Network) -> Iterator[str]:
        if network.network is not None:
            return free_addresses(network)
        return pool6.free_addresses(network, lambda ip: pool6.is_used(config, network, ip))

    def _state(self, config: Snapshot, network: Network, ip: str) -> str:
        held = self._addresses.get((network.uuid, ip))
        if held is not None:
            return USED if held[1] else FREE
        if not _is_mapped(network, ip):
            pool6.check_member(network, ip)
            return USED if pool6.is_used(config, network, ip) else FREE
        return internal(network)[position(network, ip)]

    def commit_addresses(self, draft: Draft, owner: str) -> None:
        """What the owner took and gave back stands in the networks of the draft.

        The reservations stay until `release`; asking again changes nothing.
        """
        by_network: dict[str, dict[str, bool]] = {}
        for (uuid, ip), (who, take) in self._addresses.copy().items():
            if who == owner:
                by_network.setdefault(uuid, {})[ip] = take
        for uuid, changes in by_network.items():
            network = draft.snapshot.networks.get(uuid)
            if network is None:
                raise ConfigurationError(f"network {uuid} does not exist any more")
            mapped = {ip: take for ip, take in changes.items() if _is_mapped(network, ip)}
            if not mapped:
                continue
            bits = list(internal(network))
            for ip, take in mapped.items():
                bits[position(network, ip)] = USED if take else FREE
            draft.update(replace(network, reservations="".join(bits)))


# Ports: written at once.


def take_port(draft: Draft) -> int:
    """A port nobody uses: from the pool of returned ones, else above the highest used one.

    ConfigurationError above 14999.
    """
    cluster = draft.snapshot.cluster
    if cluster.tcpudp_port_pool:
        port, *rest = cluster.tcpudp_port_pool
        draft.update_cluster(replace(cluster, tcpudp_port_pool=tuple(rest)))
        return port
    port = cluster.highest_used_port + 1
    if port > LAST_DRBD_PORT:
        raise ConfigurationError(f"no free port: the highest used one is {port - 1}")
    draft.update_cluster(replace(cluster, highest_used_port=port))
    return port


def return_port(draft: Draft, port: int) -> Cluster:
    """The port is in the pool, once, and the next one to be taken."""
    cluster = draft.snapshot.cluster
    if port in cluster.tcpudp_port_pool:
        return cluster
    return draft.update_cluster(
        replace(cluster, tcpudp_port_pool=(port, *cluster.tcpudp_port_pool))
    )


# The pool of a network's IPv4 addresses: a character 0 or 1 each, index 0 the network address.


def _is_mapped(network: Network, ip: str) -> bool:
    """Whether the pool is where it stands who has the address."""
    return network.network is not None and not pool6.is_ipv6(ip)


def _is_external(network: Network, ip: str) -> bool:
    if _is_mapped(network, ip):
        return external(network)[position(network, ip)] == USED
    return ip in pool6.blocked(network)


def position(network: Network, ip: str) -> int:
    """Index of the address; AddressPoolError when it is not in the network."""
    if network.network is None:
        raise AddressPoolError(f"network {network.name} has no IPv4 addresses")
    try:
        base = ipaddress.IPv4Network(network.network)
        address = ipaddress.IPv4Address(ip)
    except ValueError as error:
        raise AddressPoolError(f"network {network.name}: {error}") from error
    if address not in base:
        raise AddressPoolError(f"IP address {ip} is not in network {network.name} ({base})")
    return int(address) - int(base.network_address)


def internal(network: Network) -> str:
    """Addresses that instances use."""
    return network.reservations or FREE * pool_size(network)


def external(network: Network) -> str:
    """Addresses that are reserved by hand."""
    return network.ext_reservations or FREE * pool_size(network)


def pool_size(network: Network) -> int:
    return 0 if network.network is None else ipaddress.IPv4Network(network.network).num_addresses


def free_addresses(network: Network) -> Iterator[str]:
    """In order; found by search in the texts, so that a full /16 costs little."""
    if network.network is None:
        return
    base = int(ipaddress.IPv4Network(network.network).network_address)
    used, blocked = internal(network), external(network)
    index = used.find(FREE)
    while index >= 0:
        if blocked[index] == FREE:
            yield str(ipaddress.IPv4Address(base + index))
        index = used.find(FREE, index + 1)


def _has_uuid(config: Snapshot, uuid: str) -> bool:
    maps = (config.nodes, config.groups, config.instances, config.disks, config.networks)
    return (
        uuid == config.cluster.uuid
        or any(uuid in things for things in (*maps, config.filters))
        or uuid in config.index.inner_uuids
    )


def _shown(what: Hashable) -> str:
    return "/".join(map(str, what)) if isinstance(what, tuple) else str(what)


def _holder(owner: str) -> str:
    return f"job {owner}" if owner.isdigit() else owner
