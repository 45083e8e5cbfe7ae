"""OP_CLUSTER_REPAIR_DISK_SIZES: record the sizes that disks really have (facts/master.md §A6).

The result has a row [instance, disk, "size" or "spindles", value] for each correction.
"""

from __future__ import annotations

from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.disk import Disk
from ganeti.model.inherit import annotate_disk
from ganeti.model.instance import Instance
from ganeti.model.report import Dimensions
from ganeti.opcodes.cluster import OpClusterRepairDiskSizes
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.utils.text import nice_sort_key

BYTES_TO_MIB_SHIFT = 20

Corrections = list[list[Json]]


def raised_children(disk: Disk) -> Disk:
    """A mirror whose data volume is recorded smaller than itself has it raised."""
    if not disk.children or disk.children[0].size >= disk.size:
        return disk
    first, *others = disk.children
    return replace(disk, children=(replace(first, size=disk.size), *others))


@implements(OpClusterRepairDiskSizes)
class ClusterRepairDiskSizes(LogicalUnit[OpClusterRepairDiskSizes, tuple[Instance, ...]]):
    """The plan is the instances to look at. What nodes do not tell is only warned of."""

    def _instances(self, config: Snapshot) -> list[Instance]:
        if self.op.instances:
            return [ask.instance(config, name) for name in dict.fromkeys(self.op.instances)]
        return sorted(config.instances.values(), key=lambda one: nice_sort_key(one.name))

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        if not self.op.instances:
            return LockRequest(instances=EXCLUSIVE, node_res=SHARED)
        instances = self._instances(config)
        return LockRequest(
            instances={instance.name: EXCLUSIVE for instance in instances},
            node_res={instance.primary_node: SHARED for instance in instances},
        )

    def check(self, config: Snapshot) -> tuple[Instance, ...]:
        return tuple(self._instances(config))

    def execute(self, plan: tuple[Instance, ...]) -> Json:
        config = self.services.snapshot()
        by_node: dict[str, list[tuple[Instance, int, Disk]]] = {}
        for instance in plan:
            for number, disk in enumerate(config.disks_of(instance)):
                by_node.setdefault(instance.primary_node, []).append((instance, number, disk))
        corrections: Corrections = []
        for uuid, disks in by_node.items():
            corrections += self._of_node(config, uuid, disks)
        return corrections

    def _of_node(
        self, config: Snapshot, uuid: str, disks: list[tuple[Instance, int, Disk]]
    ) -> Corrections:
        node = config.nodes[uuid]
        group = config.group_of(node)
        asked = [annotate_disk(config.cluster, group, disk) for _, _, disk in disks]
        outcome = self.rpc.ask(node, calls.blockdev_getdimensions, asked)
        if not outcome.ok:
            self.warn(f"node {node.name} does not tell sizes of disks: {outcome.error}")
            return []
        found: Corrections = []
        for (instance, number, disk), dimensions in zip(disks, outcome.get()):
            if dimensions is None:
                self.warn(
                    f"disk {number} of instance {instance.name}: node {node.name} does not tell"
                    " its size"
                )
            else:
                found += self._correct(instance, number, disk, dimensions)
        return found

    def _correct(
        self, instance: Instance, number: int, disk: Disk, dimensions: Dimensions
    ) -> Corrections:
        size = dimensions.size_bytes >> BYTES_TO_MIB_SHIFT
        made, found = disk, []
        if size != disk.size:
            self.info(
                f"disk {number} of instance {instance.name}: {disk.size} MiB are recorded, it has"
                f" {size} MiB"
            )
            made = replace(made, size=size)
            found.append([instance.name, number, "size", size])
        if dimensions.spindles is not None and dimensions.spindles != disk.spindles:
            made = replace(made, spindles=dimensions.spindles)
            found.append([instance.name, number, "spindles", dimensions.spindles])
        raised = raised_children(made)
        if raised is not made and raised != disk and size == disk.size:
            found.append([instance.name, number, "size", size])
        if raised != disk:
            self.commit(lambda draft: _store(draft, raised))
        return found


def _store(draft: Draft, disk: Disk) -> None:
    draft.update(disk)
