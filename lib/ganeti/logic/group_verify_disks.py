"""OP_GROUP_VERIFY_DISKS: which disks of a node group should be active and are not.

The result is [{node: error}, [instance to activate the disks of], {instance: [[node, vg/lv]]}]
(facts/opcodes.json). Logical volumes are looked for in the nodes' lists, DRBD devices tell whether
they need activation, of all others the primary node is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import SHARED, Level, Mode
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.network_connect import instances_of
from ganeti.logic.registry import implements
from ganeti.model.disk import Disk
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import annotate_disk
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import BlockDeviceStatus, MirrorOutcome
from ganeti.opcodes.group import OpGroupVerifyDisks
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import DiskTemplate

LVM = (DiskTemplate.PLAIN, DiskTemplate.DRBD)


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """The instances whose disks are to be active."""

    instances: tuple[Instance, ...]


@dataclass(slots=True)
class Findings:
    """What was found; names in the order in which they were found, each once."""

    errors: dict[str, str] = field(default_factory=dict)
    inactive: dict[str, None] = field(default_factory=dict)
    missing: dict[str, list[list[str]]] = field(default_factory=dict)

    def result(self) -> Json:
        return [self.errors, list(self.inactive), self.missing]


def volumes_of(config: Snapshot, instance: Instance) -> Iterator[tuple[str, str]]:
    """(node uuid, vg/lv) of every logical volume; those of a mirror are on both of its nodes."""
    for disk in config.disks_of(instance):
        if disk.dev_type is DiskTemplate.PLAIN:
            yield instance.primary_node, _volume(disk)
        elif disk.dev_type is DiskTemplate.DRBD:
            for node in (disk.drbd.node_a, disk.drbd.node_b):
                for child in disk.children:
                    yield node, _volume(child)


def _volume(disk: Disk) -> str:
    return "/".join(map(str, disk.logical_id))


@implements(OpGroupVerifyDisks)
class GroupVerifyDisks(LogicalUnit[OpGroupVerifyDisks, VerifyPlan]):
    """Not strict, it looks only at what is not locked by others just now."""

    _held: Held | None = None

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        self._held = held
        group = ask.group(config, self.op.group_name)
        instances = instances_of(config, group)
        nodes = {node.uuid: node for node in config.nodes_in(group.uuid)}
        for instance in instances:
            nodes.update((node.uuid, node) for node in config.nodes_of(instance))
        names: Mapping[str, Mode] = {instance.name: SHARED for instance in instances}
        loose: dict[Level, int] = {}
        if not self.op.is_strict:
            loose = {Level.INSTANCE: 1, Level.NODE: 1}
        return LockRequest(
            instances=names,
            groups=dict.fromkeys([group.uuid, *(node.group for node in nodes.values())], SHARED),
            nodes=dict.fromkeys(nodes, SHARED),
            opportunistic={level: 1 for level in loose if names or level is Level.NODE},
        )

    def check(self, config: Snapshot) -> VerifyPlan:
        group: NodeGroup = ask.group(config, self.op.group_name)
        return VerifyPlan(
            tuple(
                instance
                for instance in instances_of(config, group)
                if instance.disks_active and self._may_look(config, instance)
            )
        )

    def _may_look(self, config: Snapshot, instance: Instance) -> bool:
        if self.op.is_strict or self._held is None:
            return True
        return self._held.covers(Level.INSTANCE, instance.name, SHARED) and all(
            self._held.covers(Level.NODE, node.uuid, SHARED) for node in config.nodes_of(instance)
        )

    def execute(self, plan: VerifyPlan) -> Json:
        config, found = self.services.snapshot(), Findings()
        self._volumes(config, plan.instances, found)
        self._mirrors(config, plan.instances, found)
        self._others(config, plan.instances, found)
        return found.result()

    def _volumes(self, config: Snapshot, instances: Sequence[Instance], found: Findings) -> None:
        wanted: dict[str, list[tuple[str, Instance]]] = {}
        for instance in instances:
            for uuid, volume in volumes_of(config, instance):
                wanted.setdefault(uuid, []).append((volume, instance))
        nodes = [config.nodes[uuid] for uuid in wanted if not config.nodes[uuid].offline]
        for uuid, outcome in self.rpc.all(nodes, calls.lv_list, []).items():
            name = config.nodes[uuid].name
            if not outcome.ok:
                found.errors[name] = str(outcome.error)
                continue
            present = outcome.get()
            for volume, instance in wanted[uuid]:
                if volume not in present:
                    found.missing.setdefault(instance.name, []).append([name, volume])
                elif present[volume].inactive:
                    found.inactive[instance.name] = None

    def _mirrors(self, config: Snapshot, instances: Sequence[Instance], found: Findings) -> None:
        work: dict[str, list[Disk]] = {}
        owner: dict[str, str] = {}
        for instance in instances:
            for disk in self._disks(config, instance):
                if disk.dev_type is DiskTemplate.DRBD:
                    owner[disk.uuid] = instance.name
                    for uuid in (disk.drbd.node_a, disk.drbd.node_b):
                        work.setdefault(uuid, []).append(disk)
        asked = [(config.nodes[uuid], (disks,)) for uuid, disks in work.items()]
        online = [(node, args) for node, args in asked if not node.offline]
        for uuid, outcome in self.rpc.each(online, calls.drbd_needs_activation).items():
            if outcome.ok:
                found.inactive.update(dict.fromkeys(owner[one] for one in outcome.get()))
            else:
                found.errors[config.nodes[uuid].name] = str(outcome.error)

    def _others(self, config: Snapshot, instances: Sequence[Instance], found: Findings) -> None:
        work: dict[str, list[tuple[Disk, str]]] = {}
        for instance in instances:
            for disk in self._disks(config, instance):
                if disk.dev_type not in LVM:
                    work.setdefault(instance.primary_node, []).append((disk, instance.name))
        asked: list[tuple[Node, tuple[list[Disk]]]] = [
            (config.nodes[uuid], ([disk for disk, _ in disks],))
            for uuid, disks in work.items()
            if not config.nodes[uuid].offline
        ]
        outcomes = self.rpc.each(asked, calls.blockdev_getmirrorstatus_multi)
        for uuid, outcome in outcomes.items():
            if not outcome.ok:
                found.errors[config.nodes[uuid].name] = str(outcome.error)
                continue
            for (_, name), row in zip(work[uuid], outcome.get()):
                if not _is_active(row):
                    found.inactive[name] = None

    def _disks(self, config: Snapshot, instance: Instance) -> list[Disk]:
        group = config.group_of(config.nodes[instance.primary_node])
        return [annotate_disk(config.cluster, group, disk) for disk in config.disks_of(instance)]


def _is_active(row: MirrorOutcome) -> bool:
    return row.ok and isinstance(row.status, BlockDeviceStatus) and bool(row.status.dev_path)
