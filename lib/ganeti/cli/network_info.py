"""What gnt-network info shows: a page per network, not YAML (facts/cli-behaviour.md §11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ganeti.cli.world import Master

FIELDS = [
    "name", "uuid", "serial_no", "network", "gateway", "network6", "gateway6", "mac_prefix",
    "map", "free_count", "reserved_count", "external_reservations", "group_list", "inst_list",
]  # fmt: skip
CELLS = 64  # addresses in one row of the map

Found = Mapping[str, Any]


def ask(master: Master, names: list[str]) -> list[dict[str, Any]]:
    """What is known of the networks; `users` are rows of [instance, [[nic, address]...]]."""
    rows = master.call("QueryNetworks", names, FIELDS, False)
    found = [dict(zip(FIELDS, row)) for row in rows]
    for network in found:
        network["users"] = _users(master, network)
    return found


def _users(master: Master, network: Found) -> list[list[Any]]:
    if not network["inst_list"]:
        return []
    fields = ["name", "nic.ips", "nic.networks"]
    rows = master.call("QueryInstances", network["inst_list"], fields, False)
    return [
        [
            name,
            [
                [number, ip]
                for number, (ip, uuid) in enumerate(zip(ips, networks))
                if uuid == network["uuid"]
            ],
        ]
        for name, ips, networks in rows
    ]


def lines(network: Found) -> Iterator[str]:
    yield f"Network name: {network['name']}"
    yield f"UUID: {network['uuid']}"
    yield f"Serial number: {network['serial_no']}"
    for title, key in (
        ("Subnet", "network"),
        ("Gateway", "gateway"),
        ("IPv6 Subnet", "network6"),
        ("IPv6 Gateway", "gateway6"),
        ("Mac Prefix", "mac_prefix"),
    ):
        yield f"  {title}: {network[key]}"
    yield from _pool(network)
    if network["group_list"]:
        yield "  connected to node groups:"
        for group, mode, link, vlan in network["group_list"]:
            yield f"    {group} (mode:{mode} link:{link} vlan:{vlan})"
    else:
        yield "  not connected to any node group"
    if network["users"]:
        yield f"  used by {len(network['users'])} instances:"
        for name, nics in network["users"]:
            yield f"    {name}: " + ", ".join(f"{number}:{ip}" for number, ip in nics)
    else:
        yield "  not used by any instances"


def _pool(network: Found) -> Iterator[str]:
    addresses = network["map"]
    if addresses is None:
        return
    size, free = len(addresses), network["free_count"]
    yield f"  Size: {size}"
    yield f"  Free: {free} ({free / size:.2%})"
    yield "  Usage map:"
    for first in range(0, size, CELLS):
        cells = addresses[first : first + CELLS]
        yield f"    {first:>5} {cells:<{CELLS}} {first + CELLS - 1}"
    yield "         (X) used    (.) free"
    if network["external_reservations"]:
        yield "  externally reserved IPs:"
        yield f"    {network['external_reservations']}"
