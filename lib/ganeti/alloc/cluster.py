"""A cluster to try things on: what nodes would hold if instances were placed otherwise.

Every change gives a new `WhatIf`; the old one stays as it was. All amounts are MiB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ganeti.errors import ParseError
from ganeti.model.base import EMPTY
from ganeti.model.ipolicy import InstanceSpec, default_ipolicy, merge
from ganeti.serializer import Json
from ganeti.types import AdminState, AllocPolicy, DiskTemplate
from ganeti.utils.text import nice_sort_key

EXCLUSION_TAG_PREFIX: Final = "htools:iextags:"

LOCAL_STORAGE: Final = frozenset({"plain", "drbd", "file"})
"""Templates whose space is taken from the instance's nodes."""

EXTERNALLY_MIRRORED: Final = frozenset(
    {"blockdev", "diskless", "ext", "gluster", "rbd", "sharedfile"}
)
"""Templates with which an instance can run on any node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocGroup:
    """A node group; `ipolicy` is complete."""

    uuid: str
    name: str
    alloc_policy: AllocPolicy
    ipolicy: Mapping[str, Json]
    networks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocInstance:
    """An instance; `nodes` has the primary first, and is empty before it is placed."""

    name: str
    memory: int
    vcpus: int
    disk_template: str
    disk_sizes: tuple[int, ...] = ()
    disk: int = 0  # on each node, metadata included
    spindle_use: int = 1
    nic_count: int = 1
    networks: frozenset[str] = frozenset()  # uuids that the group must be connected to
    tags: frozenset[str] = frozenset()
    up: bool = True
    nodes: tuple[str, ...] = ()

    @property
    def required_nodes(self) -> int:
        return 2 if self.disk_template == DiskTemplate.DRBD else 1

    @property
    def memory_used(self) -> int:
        """On its primary node; reserved on a secondary one."""
        return self.memory if self.up else 0

    @property
    def space_used(self) -> int:
        """On each node."""
        return self.disk if self.disk_template in LOCAL_STORAGE else 0

    @property
    def spec(self) -> InstanceSpec:
        """What an instance policy looks at."""
        return InstanceSpec(
            memory=self.memory,
            vcpus=self.vcpus,
            disk_sizes=self.disk_sizes,
            disk_templates=(self.disk_template,),
            nic_count=self.nic_count,
            spindle_use=self.spindle_use,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocNode:
    """A node with what it holds. `usable`: instances may be placed here."""

    name: str
    group: str
    usable: bool
    total_memory: int = 0
    free_memory: int = 0
    total_disk: int = 0
    free_disk: int = 0
    total_cpus: int = 0
    cpu_speed: float = 1.0
    spindle_count: int = 1
    vcpus: int = 0  # of primaries
    spindles: int = 0  # of all instances
    primaries: int = 0
    secondaries: int = 0
    peers: Mapping[str, int] = field(default_factory=lambda: EMPTY)
    exclusion_tags: tuple[str, ...] = ()
    shared: tuple[int, ...] = ()  # memory of each running primary that could run on any node

    @property
    def failover_reserve(self) -> int:
        """Memory that must stay free: what comes here when the worst single node fails."""
        return max(self.peers.values(), default=0)

    @property
    def survives_one_failure(self) -> bool:
        return self.free_memory >= self.failover_reserve

    @property
    def clashes(self) -> int:
        """How many exclusion tags its primaries have too often."""
        return len(self.exclusion_tags) - len(set(self.exclusion_tags))

    def with_primary(
        self, instance: AllocInstance, sign: int, exclusions: Sequence[str], known: bool
    ) -> AllocNode:
        """`sign` 1 adds, -1 removes. `known`: free amounts have the instance in them already."""
        tags = list(self.exclusion_tags)
        for tag in exclusions:
            tags.append(tag) if sign > 0 else tags.remove(tag)
        shared = list(self.shared)
        if instance.up and instance.disk_template in EXTERNALLY_MIRRORED:
            size = instance.memory
            shared.append(size) if sign > 0 else shared.remove(size)
        return replace(
            self,
            free_memory=self.free_memory - (0 if known else sign * instance.memory_used),
            free_disk=self.free_disk - (0 if known else sign * instance.space_used),
            vcpus=self.vcpus + sign * instance.vcpus,
            spindles=self.spindles + sign * instance.spindle_use,
            primaries=self.primaries + sign,
            exclusion_tags=tuple(tags),
            shared=tuple(shared),
        )

    def with_secondary(self, instance: AllocInstance, sign: int, known: bool) -> AllocNode:
        peers = dict(self.peers)
        primary = instance.nodes[0]
        peers[primary] = peers.get(primary, 0) + sign * instance.memory_used
        return replace(
            self,
            free_disk=self.free_disk - (0 if known else sign * instance.space_used),
            spindles=self.spindles + sign * instance.spindle_use,
            secondaries=self.secondaries + sign,
            peers=peers,
        )


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Groups by uuid, nodes and instances by name; nodes in the order of their names."""

    groups: Mapping[str, AllocGroup]
    nodes: Mapping[str, AllocNode]
    instances: Mapping[str, AllocInstance]
    exclusion_prefixes: tuple[str, ...] = ()
    lenient: bool = False  # what is unwise but possible is allowed

    def members(self, group: str) -> list[AllocNode]:
        """Usable nodes of a group (uuid), in the order of their names."""
        return [node for node in self.nodes.values() if node.group == group and node.usable]

    def group_of(self, instance: AllocInstance) -> AllocGroup:
        return self.groups[self.nodes[instance.nodes[0]].group]

    def exclusions(self, instance: AllocInstance) -> list[str]:
        """The instance's tags that no two primaries of a node may share."""
        return sorted(
            tag
            for tag in instance.tags
            if any(tag.startswith(prefix + ":") for prefix in self.exclusion_prefixes)
        )

    def changed_nodes(
        self, instance: AllocInstance, sign: int = 1, known: bool = False
    ) -> dict[str, AllocNode]:
        """The nodes of the instance as they would be with (or without) it."""
        primary, *secondaries = instance.nodes
        made = {}
        if primary in self.nodes:
            made[primary] = self.nodes[primary].with_primary(
                instance, sign, self.exclusions(instance), known
            )
        for name in secondaries:
            if name in self.nodes:
                made[name] = self.nodes[name].with_secondary(instance, sign, known)
        return made

    def add(self, instance: AllocInstance, *, known: bool = False) -> WhatIf:
        """With the instance on its nodes."""
        return replace(
            self,
            nodes={**self.nodes, **self.changed_nodes(instance, known=known)},
            instances={**self.instances, instance.name: instance},
        )

    def remove(self, name: str) -> WhatIf:
        """Without the instance."""
        instance = self.instances[name]
        return replace(
            self,
            nodes={**self.nodes, **self.changed_nodes(instance, -1)},
            instances={key: one for key, one in self.instances.items() if key != name},
        )

    def move(self, name: str, nodes: Sequence[str]) -> WhatIf:
        """With the instance on other nodes."""
        instance = replace(self.instances[name], nodes=tuple(nodes))
        return self.remove(name).add(instance)


# From an allocator request.


def read_request(document: Mapping[str, Json]) -> WhatIf:
    """The cluster of an allocator's input; ParseError names what is missing or wrong."""
    try:
        groups = {uuid: _group(uuid, entry) for uuid, entry in document["nodegroups"].items()}
        nodes = {name: _node(name, entry) for name, entry in document["nodes"].items()}
        instances = {
            name: read_instance(name, entry, tuple(entry["nodes"]))
            for name, entry in document["instances"].items()
        }
        prefixes = tuple(
            tag.removeprefix(EXCLUSION_TAG_PREFIX)
            for tag in document["cluster_tags"]
            if tag.startswith(EXCLUSION_TAG_PREFIX)
        )
    except KeyError as error:
        raise ParseError(f"allocator request: key {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ParseError(f"allocator request: {error}") from None
    return make(groups, nodes, instances, prefixes)


def make(
    groups: Mapping[str, AllocGroup],
    nodes: Mapping[str, AllocNode],
    instances: Mapping[str, AllocInstance],
    exclusion_prefixes: tuple[str, ...] = (),
) -> WhatIf:
    """Put placed instances onto nodes whose free amounts were measured with them."""
    held = {name: nodes[name] for name in sorted(nodes, key=nice_sort_key)}
    made = WhatIf(groups, held, dict(instances), exclusion_prefixes)
    held = dict(held)
    for instance in instances.values():
        if instance.nodes:
            held.update(replace(made, nodes=held).changed_nodes(instance, known=True))
    return replace(made, nodes=held)


def _group(uuid: str, entry: Mapping[str, Json]) -> AllocGroup:
    return AllocGroup(
        uuid=uuid,
        name=entry["name"],
        alloc_policy=AllocPolicy(entry["alloc_policy"]),
        ipolicy=merge(default_ipolicy(), entry.get("ipolicy", EMPTY)),
        networks=frozenset(entry.get("networks", ())),
    )


def _node(name: str, entry: Mapping[str, Json]) -> AllocNode:
    usable = not entry["offline"] and not entry["drained"] and entry["vm_capable"]
    params = entry.get("ndparams", EMPTY)
    return AllocNode(
        name=name,
        group=entry["group"],
        usable=usable and "total_memory" in entry,
        total_memory=int(entry.get("total_memory") or 0),
        free_memory=int(entry.get("free_memory") or 0),
        total_disk=int(entry.get("total_disk") or 0),
        free_disk=int(entry.get("free_disk") or 0),
        total_cpus=int(entry.get("total_cpus") or 0),
        cpu_speed=float(params.get("cpu_speed", 1.0)),
        spindle_count=int(params.get("spindle_count", 1)),
    )


def read_instance(
    name: str, entry: Mapping[str, Json], nodes: tuple[str, ...] = ()
) -> AllocInstance:
    """An instance of the document, or of an allocate request; KeyError when a key is missing."""
    networks = (nic.get("network") for nic in entry["nics"])
    return AllocInstance(
        name=name,
        memory=int(entry["memory"]),
        vcpus=int(entry["vcpus"]),
        disk_template=entry["disk_template"],
        disk_sizes=tuple(int(disk["size"]) for disk in entry["disks"]),
        disk=int(entry["disk_space_total"] or 0),
        spindle_use=int(entry.get("spindle_use", 1)),
        nic_count=len(entry["nics"]),
        networks=frozenset(network for network in networks if network),
        tags=frozenset(entry["tags"]),
        up=entry.get("admin_state", AdminState.UP) == AdminState.UP,
        nodes=nodes,
    )
