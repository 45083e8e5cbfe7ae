"""Indexes of a snapshot: what is where, and what is taken.

Each object contributes *entries*; an index is a map from a key to those who claim it. A changed
object's old entries go, its new ones come, and what did not change is not touched, so a change
costs the same in a large cluster. A key may have several claimants: a file with duplicates
opens (verify names them), only a transaction must not bring new ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias, cast

from immutables import Map

from ganeti.model.cluster import Cluster
from ganeti.model.config import ConfigDocument
from ganeti.model.disk import Disk
from ganeti.model.fill import secondary_nodes
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.types import DiskTemplate

Claims: TypeAlias = "Map[Any, Map[str, Any]]"
"""key → claimant → value. A claimant is a uuid, or `uuid/what` for a part of an object."""

CANDIDATE: Final = "candidate"
NONE: Final[Map[Any, Any]] = Map()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Indexes:
    """Every index. The names in *_names are kept by their first label, in lower case."""

    node_names: Claims = field(default=NONE)
    group_names: Claims = field(default=NONE)
    instance_names: Claims = field(default=NONE)
    network_names: Claims = field(default=NONE)
    roles: Claims = field(default=NONE)  # CANDIDATE → node uuids
    by_group: Claims = field(default=NONE)  # group uuid → node uuids
    by_primary: Claims = field(default=NONE)  # node uuid → instance uuids
    by_secondary: Claims = field(default=NONE)  # node uuid → instance uuids
    by_network: Claims = field(default=NONE)  # network uuid → instance uuid/nic N
    disk_owners: Claims = field(default=NONE)  # disk uuid → instance uuid
    disks_on: Claims = field(default=NONE)  # node uuid → disk uuids
    macs: Claims = field(default=NONE)
    ips: Claims = field(default=NONE)  # (scope, address)
    ports: Claims = field(default=NONE)
    minors: Claims = field(default=NONE)  # (node uuid, minor)
    logical_ids: Claims = field(default=NONE)  # (dev_type, *logical_id), children too
    inner_uuids: Claims = field(default=NONE)  # of NICs and of children of disks
    secondaries: Map[str, tuple[str, ...]] = field(default=NONE)  # instance uuid → node uuids

    @property
    def candidates(self) -> Map[str, Any]:
        """uuids of the nodes that bear the flag of a master candidate."""
        return self.roles.get(CANDIDATE, NONE)


NAMES: Final = frozenset({"node_names", "group_names", "instance_names", "network_names"})
UNIQUE: Final = {
    "disk_owners": "disk",
    "macs": "MAC address",
    "ips": "IP address",
    "ports": "port",
    "minors": "DRBD minor",
    "logical_ids": "logical id",
    "inner_uuids": "uuid",
}
"""Indexes whose keys may have one claimant only, and what people call the key."""


class Entry(NamedTuple):
    """One claim: in the index `table`, `owner` claims `key`."""

    table: str
    key: Hashable
    owner: str
    value: Hashable = True


class Clash(NamedTuple):
    """A key with more than one claimant."""

    table: str
    key: Hashable
    owners: tuple[str, ...]


def cluster_entries(cluster: Cluster) -> Iterator[Entry]:
    yield Entry("ips", ("", cluster.master_ip), cluster.uuid)


def _name(index: str, thing: Node | NodeGroup | Instance | Network) -> Entry:
    return Entry(index, first_label(thing.name), thing.uuid, thing.name)


def first_label(name: str) -> str:
    return name.split(".", 1)[0].lower()


def node_entries(node: Node) -> Iterator[Entry]:
    yield _name("node_names", node)
    yield Entry("by_group", node.group, node.uuid)
    if node.master_candidate:
        yield Entry("roles", CANDIDATE, node.uuid)
    yield Entry("ips", ("", node.primary_ip), node.uuid)
    if node.secondary_ip != node.primary_ip:
        yield Entry("ips", ("", node.secondary_ip), f"{node.uuid}/secondary")


def group_entries(group: NodeGroup) -> Iterator[Entry]:
    yield _name("group_names", group)


def network_entries(network: Network) -> Iterator[Entry]:
    yield _name("network_names", network)


def instance_entries(instance: Instance, disks: Iterable[Disk]) -> Iterator[Entry]:
    uuid = instance.uuid
    yield _name("instance_names", instance)
    yield Entry("by_primary", instance.primary_node, uuid)
    for node_uuid in secondaries(instance, disks):
        yield Entry("by_secondary", node_uuid, uuid)
    for disk_uuid in instance.disks:
        yield Entry("disk_owners", disk_uuid, uuid)
    if instance.network_port is not None:
        yield Entry("ports", instance.network_port, uuid)
    for number, nic in enumerate(instance.nics):
        owner = f"{uuid}/nic {number}"
        yield Entry("macs", nic.mac.lower(), owner)
        yield Entry("inner_uuids", nic.uuid, owner)
        if nic.network is not None:
            yield Entry("by_network", nic.network, owner)
        if nic.ip is not None:
            yield Entry("ips", (nic_scope(nic.network, nic.nicparams.get("link")), nic.ip), owner)


def nic_scope(network: str | None, link: object) -> str:
    """Where an address must be unique: in its network, or on its link (None: the default one)."""
    return f"network {network}" if network is not None else f"link {link or ''}"


def secondaries(instance: Instance, disks: Iterable[Disk]) -> tuple[str, ...]:
    """The nodes that mirror its disks, in the order of the disks."""
    return secondary_nodes(instance.primary_node, tuple(disks))


def disk_nodes(disk: Disk) -> tuple[str, ...]:
    """Nodes that bear the disk; empty for externally mirrored storage."""
    if disk.dev_type is DiskTemplate.DRBD and len(disk.logical_id) >= 2:
        return (disk.logical_id[0], disk.logical_id[1])
    return disk.nodes


def disk_entries(disk: Disk) -> Iterator[Entry]:
    for node_uuid in dict.fromkeys(disk_nodes(disk)):
        yield Entry("disks_on", node_uuid, disk.uuid)
    for number, part in enumerate(disk.walk()):
        owner = disk.uuid if number == 0 else f"{disk.uuid}/part {number}"
        if number:
            yield Entry("inner_uuids", part.uuid, owner)
        if part.logical_id:
            yield Entry("logical_ids", (part.dev_type.value, *map(_plain, part.logical_id)), owner)
        if part.dev_type is DiskTemplate.DRBD and len(part.logical_id) == 6:
            drbd = part.drbd
            yield Entry("minors", (drbd.node_a, drbd.minor_a), owner)
            yield Entry("minors", (drbd.node_b, drbd.minor_b), owner)
            yield Entry("ports", drbd.port, owner)


def _plain(value: object) -> Hashable:
    return value if isinstance(value, (str, int, float)) else repr(value)


def apply(
    indexes: Indexes, old: Iterable[Entry], new: Iterable[Entry]
) -> tuple[Indexes, list[Clash]]:
    """The indexes without `old` and with `new`, and the clashes that this brings."""
    before, after = dict.fromkeys(old), dict.fromkeys(new)
    changed: dict[str, Any] = {}
    for entry in before:
        if entry not in after:
            claims = (
                changed[entry.table] if entry.table in changed else getattr(indexes, entry.table)
            )
            changed[entry.table] = _without(claims, entry)
    added = [entry for entry in after if entry not in before]
    for entry in added:
        claims = _claims(indexes, changed, entry.table)
        owners = claims.get(entry.key, NONE)
        changed[entry.table] = claims.set(entry.key, owners.set(entry.owner, entry.value))
    clashes = [clash for entry in added for clash in _clashes(changed[entry.table], entry)]
    return (replace(indexes, **changed) if changed else indexes), clashes


def _claims(indexes: Indexes, changed: dict[str, Any], table: str) -> Claims:
    return cast("Claims", changed[table] if table in changed else getattr(indexes, table))


def _without(claims: Claims, entry: Entry) -> Claims:
    owners = claims.get(entry.key, NONE)
    if entry.owner not in owners:
        return claims
    left = owners.delete(entry.owner)
    return claims.set(entry.key, left) if left else claims.delete(entry.key)


def _clashes(claims: Claims, entry: Entry) -> Iterator[Clash]:
    owners = claims[entry.key]
    if len(owners) < 2:
        return
    if entry.table in UNIQUE:
        yield Clash(entry.table, entry.key, tuple(sorted(owners)))
    elif entry.table in NAMES:
        same = tuple(sorted(uuid for uuid, name in owners.items() if name == entry.value))
        if len(same) > 1:
            yield Clash(entry.table, entry.value, same)


def build(document: ConfigDocument) -> Indexes:
    """All indexes of a document.

    Most keys have one claimant, and most claimants several keys: these share one map.
    """
    collected: dict[str, dict[Hashable, Map[str, Any]]] = {}
    single: dict[tuple[str, Hashable], Map[str, Any]] = {}
    for entry in all_entries(document):
        keys = collected.setdefault(entry.table, {})
        known = keys.get(entry.key)
        if known is not None:
            keys[entry.key] = known.set(entry.owner, entry.value)
            continue
        claim = entry.owner, entry.value
        if claim not in single:
            single[claim] = Map({entry.owner: entry.value})
        keys[entry.key] = single[claim]
    claims = {index: Map(keys) for index, keys in collected.items()}
    return Indexes(
        secondaries=Map(
            {
                uuid: found
                for uuid, instance in document.instances.items()
                if (found := secondaries(instance, known_disks(document.disks, instance)))
            }
        ),
        **claims,
    )


def all_entries(document: ConfigDocument) -> Iterator[Entry]:
    yield from cluster_entries(document.cluster)
    for node in document.nodes.values():
        yield from node_entries(node)
    for group in document.nodegroups.values():
        yield from group_entries(group)
    for network in document.networks.values():
        yield from network_entries(network)
    for disk in document.disks.values():
        yield from disk_entries(disk)
    for instance in document.instances.values():
        yield from instance_entries(instance, known_disks(document.disks, instance))


def known_disks(disks: Any, instance: Instance) -> list[Disk]:
    """The instance's disks that exist."""
    return [disks[uuid] for uuid in instance.disks if uuid in disks]


def clashes(indexes: Indexes) -> Iterator[Clash]:
    """Every key with several claimants; takes time in proportion to the configuration."""
    for index in UNIQUE:
        for key, owners in getattr(indexes, index).items():
            if len(owners) > 1:
                yield Clash(index, key, tuple(sorted(owners)))
    for index in sorted(NAMES):
        for alike in getattr(indexes, index).values():
            if len(alike) > 1:
                yield from _same_names(index, alike)


def _same_names(index: str, alike: Map[str, Any]) -> Iterator[Clash]:
    by_name: dict[str, list[str]] = {}
    for uuid, name in alike.items():
        by_name.setdefault(name, []).append(uuid)
    for name, uuids in by_name.items():
        if len(uuids) > 1:
            yield Clash(index, name, tuple(sorted(uuids)))
