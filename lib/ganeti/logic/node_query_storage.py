"""OP_NODE_QUERY_STORAGE: the storage units of nodes, a row each.

Recorded errors about kinds of storage have no code (samples, jobs 115 and 117).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpPrereqError
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.node_rows import answered, check_fields
from ganeti.logic.registry import implements
from ganeti.model.cluster import Cluster
from ganeti.model.node import Node
from ganeti.opcodes.node import OpNodeQueryStorage
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, StorageType
from ganeti.utils.text import nice_sort_key

OWN_FIELDS: Final = ("node", "type")
UNIT_FIELDS: Final = ("name", "used", "free", "size", "allocatable")
TEMPLATES: Final = {
    StorageType.FILE: (DiskTemplate.FILE,),
    StorageType.SHARED_FILE: (DiskTemplate.SHARED_FILE,),
    StorageType.GLUSTER: (DiskTemplate.GLUSTER,),
    StorageType.LVM_PV: (DiskTemplate.PLAIN, DiskTemplate.DRBD),
    StorageType.LVM_VG: (DiskTemplate.PLAIN, DiskTemplate.DRBD),
}
"""Kinds that can be listed, and the disk templates that use them."""


def check_enabled(cluster: Cluster, kind: StorageType) -> None:
    """OpPrereqError without code when no enabled disk template uses this kind of storage."""
    if not set(TEMPLATES.get(kind, ())) & set(cluster.enabled_disk_templates):
        enabled = ", ".join(cluster.enabled_disk_templates)
        raise OpPrereqError(
            f"no disk template of storage type {kind.value!r} is enabled in this cluster;"
            f" enabled are: {enabled}"
        )


def default_type(cluster: Cluster) -> StorageType:
    """The kind of the first enabled disk template; OpPrereqError when it has no units."""
    template = cluster.enabled_disk_templates[0]
    if template in (DiskTemplate.PLAIN, DiskTemplate.DRBD):
        return StorageType.LVM_VG
    for kind, templates in TEMPLATES.items():
        if template in templates:
            return kind
    raise OpPrereqError(
        f"storage of disk template {template.value!r} can't be listed; --storage-type takes one of"
        f" {', '.join(TEMPLATES)}"
    )


def unit_arguments(cluster: Cluster, kind: StorageType) -> list[Json]:
    """`su_args` of the storage calls (facts/node-rpc.json)."""
    places = {
        StorageType.FILE: cluster.file_storage_dir,
        StorageType.SHARED_FILE: cluster.shared_file_storage_dir,
        StorageType.GLUSTER: cluster.gluster_storage_dir,
    }
    return [[places[kind]]] if kind in places else []


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """Whom to ask for which kind."""

    nodes: tuple[Node, ...]
    kind: StorageType


@implements(OpNodeQueryStorage)
class NodeQueryStorage(LogicalUnit[OpNodeQueryStorage, StoragePlan]):
    """Nodes that do not answer are left out, with a warning."""

    def arguments(self) -> None:
        check_fields(self.op.output_fields, (*OWN_FIELDS, *UNIT_FIELDS))

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return ask.lock_to_read(config, self.op.nodes)

    def check(self, config: Snapshot) -> StoragePlan:
        kind = self.op.storage_type or default_type(config.cluster)
        check_enabled(config.cluster, kind)
        return StoragePlan(tuple(ask.nodes(config, self.op.nodes)), kind)

    def execute(self, plan: StoragePlan) -> Json:
        fields = [field for field in UNIT_FIELDS if field in self.op.output_fields]
        asked = fields if "name" in fields else ["name", *fields]
        args = unit_arguments(self.services.snapshot().cluster, plan.kind)
        outcomes = self.rpc.all(
            plan.nodes, calls.storage_list, plan.kind.value, args, self.op.name, asked
        )
        rows: list[Json] = []
        for node, found in answered(plan.nodes, outcomes, "storage", self.warn):
            units = [dict(zip(asked, unit)) for unit in found]
            units.sort(key=lambda unit: nice_sort_key(str(unit["name"])))
            rows += [self._row(node, plan.kind, unit) for unit in units]
        return rows

    def _row(self, node: Node, kind: StorageType, unit: dict[str, Json]) -> Sequence[Json]:
        known = {"node": node.name, "type": kind.value, **unit}
        return [known[field] for field in self.op.output_fields]
