"""OP_GROUP_RENAME: a node group gets another name. Source: facts/master.md §F."""

from __future__ import annotations

from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.group_add import refuse_taken_name
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.opcodes.group import OpGroupRename
from ganeti.serializer import Json


@implements(OpGroupRename)
class GroupRename(LogicalUnit[OpGroupRename, NodeGroup]):
    """The plan is the group under its old name; the result is the new name."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(groups={ask.group(config, self.op.group_name).uuid: EXCLUSIVE})

    def check(self, config: Snapshot) -> NodeGroup:
        group = ask.group(config, self.op.group_name)
        refuse_taken_name(config, self.op.new_name)
        return group

    def hooks(self, config: Snapshot, plan: NodeGroup) -> HookEnv:
        env = {"OLD_NAME": plan.name, "NEW_NAME": self.op.new_name}
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_in(plan.uuid))]
        return HookEnv("group-rename", "GROUP", env, nodes, nodes)

    def execute(self, plan: NodeGroup) -> Json:
        self.commit(
            lambda draft: draft.update(
                replace(draft.snapshot.groups[plan.uuid], name=self.op.new_name)
            )
        )
        return self.op.new_name
