"""The configuration as a value: read without locks, replaced as a whole.

A snapshot never changes. The maps are persistent (`immutables.Map`), so that the next snapshot
shares all but what changed with the one before. Indexes belong to the snapshot and are kept up to
date by transactions (config/index.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from immutables import Map

from ganeti.config.index import Claims, Indexes, build, first_label
from ganeti.errors import ConfigurationError
from ganeti.model.base import empty_map
from ganeti.model.cluster import Cluster
from ganeti.model.config import ConfigDocument
from ganeti.model.disk import Disk
from ganeti.model.filter import JobFilter
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.serializer import Json

ConfigThing: TypeAlias = Cluster | Node | NodeGroup | Instance | Disk | Network | JobFilter
"""Every kind of object that has a place of its own in the configuration."""

Named = TypeVar("Named", Node, NodeGroup, Instance, Network)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The whole configuration at one time. Maps are keyed by uuid.

    `serial_no` grows by one with each transaction that changes something; `version` is that of
    the file.
    """

    version: int
    serial_no: int
    ctime: float
    mtime: float
    cluster: Cluster
    nodes: Map[str, Node]
    groups: Map[str, NodeGroup]
    instances: Map[str, Instance]
    disks: Map[str, Disk]
    networks: Map[str, Network]
    filters: Map[str, JobFilter]
    index: Indexes
    unknown: Mapping[str, Json] = field(default_factory=empty_map)

    # Finding by what people type.

    def find_node(self, name: str) -> Node | None:
        """By full name, uuid, or a shortened name that only one node has (node1)."""
        return _find(self.nodes, self.index.node_names, name)

    def find_group(self, name: str) -> NodeGroup | None:
        """By name or uuid; groups and networks have no shortened names."""
        return _exact(self.groups, self.index.group_names, name)

    def find_instance(self, name: str) -> Instance | None:
        return _find(self.instances, self.index.instance_names, name)

    def find_network(self, name: str) -> Network | None:
        return _exact(self.networks, self.index.network_names, name)

    def nodes_like(self, name: str) -> list[str]:
        """Full names that a shortened one may stand for; `find_node` finds only a single one."""
        return _alike(self.index.node_names, name)

    def instances_like(self, name: str) -> list[str]:
        return _alike(self.index.instance_names, name)

    # Relations.

    def master(self) -> Node:
        node = self.nodes.get(self.cluster.master_node)
        if node is None:
            raise ConfigurationError(f"master node {self.cluster.master_node} is not a known node")
        return node

    def candidates(self) -> list[Node]:
        """The master candidates, and the master even if its flag is off; sorted by name."""
        found = {uuid: self.nodes[uuid] for uuid in self.index.candidates}
        master = self.nodes.get(self.cluster.master_node)
        if master is not None:
            found[master.uuid] = master
        return sorted(found.values(), key=lambda node: node.name)

    def online_nodes(self) -> list[Node]:
        """Sorted by name."""
        online = [node for node in self.nodes.values() if not node.offline]
        return sorted(online, key=lambda node: node.name)

    def disks_of(self, instance: Instance) -> tuple[Disk, ...]:
        """In the instance's order; ConfigurationError if one is missing."""
        try:
            return tuple(self.disks[uuid] for uuid in instance.disks)
        except KeyError as error:
            raise ConfigurationError(
                f"instance {instance.name}: disk {error.args[0]} is not in the configuration"
            ) from None

    def owner_of(self, disk_uuid: str) -> Instance | None:
        """The instance that a disk is attached to."""
        for uuid in self.index.disk_owners.get(disk_uuid, ()):
            return self.instances[uuid]
        return None

    def nodes_of(self, instance: Instance) -> tuple[Node, ...]:
        """Primary first, then the secondaries, that is the other nodes of its disks."""
        uuids = [instance.primary_node, *self.secondaries_of(instance)]
        return tuple(self.nodes[uuid] for uuid in uuids if uuid in self.nodes)

    def secondaries_of(self, instance: Instance) -> tuple[str, ...]:
        """Node uuids."""
        return self.index.secondaries.get(instance.uuid, ())

    def primary_instances(self, node_uuid: str) -> list[Instance]:
        return self._instances(self.index.by_primary.get(node_uuid, ()))

    def secondary_instances(self, node_uuid: str) -> list[Instance]:
        return self._instances(self.index.by_secondary.get(node_uuid, ()))

    def nodes_in(self, group_uuid: str) -> list[Node]:
        """Members of a node group, sorted by name."""
        members = [self.nodes[uuid] for uuid in self.index.by_group.get(group_uuid, ())]
        return sorted(members, key=lambda node: node.name)

    def group_of(self, node: Node) -> NodeGroup:
        group = self.groups.get(node.group)
        if group is None:
            raise ConfigurationError(f"node {node.name}: its group {node.group} does not exist")
        return group

    def _instances(self, uuids: Iterable[str]) -> list[Instance]:
        return sorted((self.instances[uuid] for uuid in uuids), key=lambda one: one.name)

    # The file.

    @classmethod
    def of(cls, document: ConfigDocument) -> Snapshot:
        """The document with its indexes; takes time in proportion to its size."""
        return cls(
            version=document.version,
            serial_no=document.serial_no,
            ctime=document.ctime,
            mtime=document.mtime,
            cluster=document.cluster,
            nodes=Map(document.nodes),
            groups=Map(document.nodegroups),
            instances=Map(document.instances),
            disks=Map(document.disks),
            networks=Map(document.networks),
            filters=Map(document.filters),
            index=build(document),
            unknown=document.unknown,
        )

    def document(self) -> ConfigDocument:
        return ConfigDocument(
            version=self.version,
            serial_no=self.serial_no,
            ctime=self.ctime,
            mtime=self.mtime,
            cluster=self.cluster,
            nodes=self.nodes,
            nodegroups=self.groups,
            instances=self.instances,
            disks=self.disks,
            networks=self.networks,
            filters=self.filters,
            unknown=self.unknown,
        )


def _exact(things: Map[str, Named], names: Claims, name: str) -> Named | None:
    """By uuid or by the very name. `names`: first label → uuid → full name."""
    found = things.get(name)
    if found is not None:
        return found
    for uuid, full in names.get(first_label(name), {}).items():
        if full == name:
            return things[uuid]
    return None


def _alike(names: Claims, name: str) -> list[str]:
    """Full names that begin with these components."""
    wanted = name.lower()
    found = names.get(first_label(name), {}).values()
    return sorted(full for full in found if f"{full.lower()}.".startswith(f"{wanted}."))


def _find(things: Map[str, Named], names: Claims, name: str) -> Named | None:
    """The same, in any case, and by a shortened name if only one has it."""
    found = _exact(things, names, name)
    if found is not None:
        return found
    wanted = name.lower()
    alike = {uuid: full.lower() for uuid, full in names.get(first_label(name), {}).items()}
    same = [uuid for uuid, full in alike.items() if full == wanted]
    same = same or [uuid for uuid, full in alike.items() if full.startswith(wanted + ".")]
    return things[same[0]] if len(same) == 1 else None
