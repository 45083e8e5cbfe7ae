"""OP_NODE_MODIFY_STORAGE: change a storage unit; only physical volumes have what can change."""

from __future__ import annotations

from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.node_query_storage import check_enabled, unit_arguments
from ganeti.logic.registry import implements
from ganeti.model.node import Node
from ganeti.opcodes.node import OpNodeModifyStorage
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import StorageType

CHANGEABLE: Final = {StorageType.LVM_PV: ("allocatable",)}


@implements(OpNodeModifyStorage)
class NodeModifyStorage(LogicalUnit[OpNodeModifyStorage, Node]):
    """The plan is the node."""

    def arguments(self) -> None:
        kind = self.op.storage_type
        if kind not in CHANGEABLE:
            raise OpPrereqError(
                f"storage units of type {kind.value!r} can't be changed", Code.INVAL
            )
        if self.op.name is None:
            raise OpPrereqError("the name of the storage unit is missing", Code.INVAL)
        unknown = sorted(self.op.changes.keys() - set(CHANGEABLE[kind]))
        if unknown:
            raise OpPrereqError(
                f"of storage units of type {kind.value!r} can't be changed: {', '.join(unknown)}",
                Code.INVAL,
            )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(nodes={ask.node(config, self.op.node_name).uuid: EXCLUSIVE})

    def check(self, config: Snapshot) -> Node:
        check_enabled(config.cluster, self.op.storage_type)
        return ask.node(config, self.op.node_name)

    def execute(self, plan: Node) -> Json:
        kind = self.op.storage_type
        args = unit_arguments(self.services.snapshot().cluster, kind)
        name = str(self.op.name)
        self.rpc.one(plan, calls.storage_modify, kind.value, args, name, self.op.changes)
        return None
