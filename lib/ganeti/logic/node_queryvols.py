"""OP_NODE_QUERYVOLS: the logical volumes of nodes, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.node_rows import answered, check_fields
from ganeti.logic.registry import implements
from ganeti.model.disk import Disk
from ganeti.model.fill import secondary_nodes
from ganeti.model.node import Node
from ganeti.opcodes.node import OpNodeQueryvols
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import DiskTemplate

FIELDS: Final = ("phys", "vg", "name", "size", "instance", "node")
NOBODY: Final = "-"

Owners = Mapping[tuple[str, str], str]


def owners(config: Snapshot) -> dict[tuple[str, str], str]:
    """(node uuid, vg/lv) → instance, of all logical volumes of the configuration."""
    found: dict[tuple[str, str], str] = {}
    for instance in config.instances.values():
        for disk in config.disks_of(instance):
            nodes = [
                instance.primary_node,
                *secondary_nodes(instance.primary_node, [disk]),
            ]
            for volume in _volumes(disk):
                found.update({(node, volume): instance.name for node in nodes})
    return found


def _volumes(disk: Disk) -> list[str]:
    return [
        "/".join(map(str, one.logical_id))
        for one in disk.walk()
        if one.dev_type is DiskTemplate.PLAIN
    ]


@implements(OpNodeQueryvols)
class NodeQueryvols(LogicalUnit[OpNodeQueryvols, tuple[Node, ...]]):
    """The plan is whom to ask: nobody when the cluster has no volume group."""

    def arguments(self) -> None:
        check_fields(self.op.output_fields, FIELDS)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return ask.lock_to_read(config, self.op.nodes)

    def check(self, config: Snapshot) -> tuple[Node, ...]:
        return tuple(ask.nodes(config, self.op.nodes)) if config.cluster.volume_group_name else ()

    def execute(self, plan: tuple[Node, ...]) -> Json:
        outcomes = self.rpc.all(plan, calls.node_volumes)
        users = owners(self.services.snapshot())
        rows: list[Json] = []
        for node, volumes in answered(plan, outcomes, "volumes", self.warn):
            for volume in sorted(volumes, key=lambda one: (one.vg, one.name)):
                known = {
                    "phys": volume.dev,
                    "vg": volume.vg,
                    "name": volume.name,
                    "size": int(float(volume.size)),
                    "instance": users.get((node.uuid, f"{volume.vg}/{volume.name}"), NOBODY),
                    "node": node.name,
                }
                rows.append([known[field] for field in self.op.output_fields])
        return rows
