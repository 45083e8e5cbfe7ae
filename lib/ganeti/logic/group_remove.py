"""OP_GROUP_REMOVE: an empty node group goes. Source: facts/master.md §F."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.opcodes.group import OpGroupRemove
from ganeti.serializer import Json


@implements(OpGroupRemove)
class GroupRemove(LogicalUnit[OpGroupRemove, NodeGroup]):
    """Never the last one, never one with nodes."""

    config_hook = True

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(groups={ask.group(config, self.op.group_name).uuid: EXCLUSIVE})

    def check(self, config: Snapshot) -> NodeGroup:
        group = ask.group(config, self.op.group_name)
        members = config.nodes_in(group.uuid)
        if members:
            raise OpPrereqError(
                f"node group {group.name!r} is not empty, it has the nodes"
                f" {', '.join(node.name for node in members)}",
                Code.STATE,
                hint="gnt-group assign-nodes moves them to another group",
            )
        if len(config.groups) == 1:
            raise OpPrereqError(f"node group {group.name!r} is the last one and stays", Code.STATE)
        return group

    def hooks(self, config: Snapshot, plan: NodeGroup) -> HookEnv:
        master = [config.cluster.master_node]
        return HookEnv("group-remove", "GROUP", {"GROUP_NAME": plan.name}, master, master)

    def execute(self, plan: NodeGroup) -> Json:
        self.commit(lambda draft: draft.remove(plan))
        return None
