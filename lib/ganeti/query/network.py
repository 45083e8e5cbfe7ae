"""Fields of networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.network import Network
from ganeti.query.fields import Field, Need, kept, number, other, table, text
from ganeti.query.order import nice_key


class NetworkRow:
    """What getters read; `users` are the names of the instances in each network."""

    def __init__(
        self, config: Snapshot, network: Network, users: Mapping[str, Sequence[str]]
    ) -> None:
        self.config = config
        self.network = network
        self.instance_names = users.get(network.uuid, ())

    @property
    def map(self) -> str | None:
        """One character per address: X reserved, . free. None: the network has no pool."""
        own, external = self.network.reservations, self.network.ext_reservations
        if not own or not external:
            return None
        taken = int(own, 2) | int(external, 2)
        return f"{taken:0{len(own)}b}".replace("0", ".").replace("1", "X")

    def count(self, mark: str) -> int | None:
        addresses = self.map
        return None if addresses is None else addresses.count(mark)

    @property
    def external_reservations(self) -> str | None:
        """Of the IPv4 pool, and after them those of IPv6; None: there are no addresses at all."""
        bits, others = self.network.ext_reservations, self.network.ext_reservations6
        if self.network.network is None or bits is None:
            return ", ".join(others) or None
        first = ipaddress.IPv4Network(self.network.network).network_address
        mapped = (str(first + index) for index, bit in enumerate(bits) if bit == "1")
        return ", ".join((*mapped, *others))

    @property
    def connections(self) -> list[list[str]]:
        """`[group, mode, link, vlan]` of each group that it is connected to."""
        uuid = self.network.uuid
        groups = [group for group in self.config.groups.values() if uuid in group.networks]
        return [
            [group.name, *(group.networks[uuid].get(key, "") for key in ("mode", "link", "vlan"))]
            for group in sorted(groups, key=lambda group: nice_key(group.name))
        ]


_ROWS: Final[list[Field[NetworkRow]]] = [
    text("name", "Network", lambda row: row.network.name, "Name"),
    *kept("network", lambda row: row.network),
    text("network", "Subnet", lambda row: row.network.network, "IPv4 addresses, as CIDR"),
    other("gateway", "Gateway", lambda row: row.network.gateway, "IPv4 gateway"),
    other("network6", "IPv6Subnet", lambda row: row.network.network6, "IPv6 addresses, as CIDR"),
    other("gateway6", "IPv6Gateway", lambda row: row.network.gateway6, "IPv6 gateway"),
    other("mac_prefix", "MacPrefix", lambda row: row.network.mac_prefix,
        "Begin of the MAC addresses made for this network"),
    text("map", "Map", lambda row: row.map, "All addresses: X reserved, . free"),
    number("free_count", "FreeCount", lambda row: row.count("."), "How many addresses are free"),
    number("reserved_count", "ReservedCount", lambda row: row.count("X"),
        "How many addresses are reserved"),
    text("external_reservations", "ExternalReservations",
        lambda row: row.external_reservations, "Addresses reserved for others than instances"),
    number("group_cnt", "NodeGroups", lambda row: len(row.connections),
        "How many node groups it is connected to"),
    other("group_list", "GroupList", lambda row: row.connections,
        "Node groups it is connected to, each with mode, link and VLAN"),
    number("inst_cnt", "Instances", lambda row: len(row.instance_names),
        "How many instances have an interface in it"),
    other("inst_list", "InstanceList", lambda row: sorted(row.instance_names, key=nice_key),
        "Instances with an interface in it"),
]  # fmt: skip

FIELDS: Final = table(_ROWS)


class NetworkTable:
    """Networks of one snapshot; see `query.table.Table`."""

    fields = FIELDS
    name_field = "name"
    noun = "Network"

    def __init__(self, config: Snapshot) -> None:
        self.config = config

    @cached_property
    def _users(self) -> Mapping[str, Sequence[str]]:
        users: dict[str, dict[str, None]] = {}
        for instance in self.config.instances.values():
            for nic in instance.nics:
                if nic.network:
                    users.setdefault(nic.network, {})[instance.name] = None
        return {uuid: list(names) for uuid, names in users.items()}

    def all(self) -> Iterable[NetworkRow]:
        networks = self.config.networks.values()
        return (NetworkRow(self.config, network, self._users) for network in networks)

    def find(self, name: str) -> NetworkRow | None:
        network = self.config.find_network(name)
        return NetworkRow(self.config, network, self._users) if network else None

    def name_of(self, row: NetworkRow) -> str:
        return row.network.name

    async def fetch(
        self, rows: Sequence[NetworkRow], needs: frozenset[Need]
    ) -> Sequence[NetworkRow]:
        """Nothing here is live."""
        return rows
