"""OP_GROUP_ADD: a new, empty node group. Source: facts/master.md §F."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import param_changes as changes
from ganeti.logic.base import GeneratedJobs, Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.communication import connections
from ganeti.logic.registry import implements
from ganeti.model.base import EMPTY
from ganeti.model.group import NodeGroup
from ganeti.opcodes.group import OpGroupAdd
from ganeti.serializer import Json
from ganeti.types import AllocPolicy


def refuse_taken_name(config: Snapshot, name: str) -> None:
    """EXISTS when a group has the name."""
    found = config.find_group(name)
    if found is not None:
        raise OpPrereqError(
            f"there is a node group {name!r} already (UUID: {found.uuid})", Code.EXISTS
        )


@implements(OpGroupAdd)
class GroupAdd(LogicalUnit[OpGroupAdd, NodeGroup]):
    """The plan is the group as it will be stored."""

    config_hook = True

    def arguments(self) -> None:
        self._uuid = self.services.reservations.unique_id(
            self.services.snapshot(), self.services.owner
        )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(groups={self._uuid: EXCLUSIVE})

    def check(self, config: Snapshot) -> NodeGroup:
        refuse_taken_name(config, self.op.group_name)
        op = self.op
        return NodeGroup(
            uuid=self._uuid,
            name=op.group_name,
            alloc_policy=op.alloc_policy or AllocPolicy.PREFERRED,
            ndparams=changes.changed_ndparams(EMPTY, op.ndparams or EMPTY),
            diskparams=changes.changed_diskparams(EMPTY, op.diskparams or {}),
            hv_state_static=changes.changed_hv_state(EMPTY, op.hv_state or EMPTY),
            disk_state_static=changes.changed_disk_state(EMPTY, op.disk_state or EMPTY),
            ipolicy=changes.changed_group_ipolicy(config.cluster, EMPTY, op.ipolicy or EMPTY),
        )

    def hooks(self, config: Snapshot, plan: NodeGroup) -> HookEnv:
        master = [config.cluster.master_node]
        return HookEnv("group-add", "GROUP", {"GROUP_NAME": plan.name}, master, master)

    def execute(self, plan: NodeGroup) -> Json | GeneratedJobs:
        """A communication network is connected to the group by a job of its own."""
        group = self.commit(lambda draft: draft.add(plan))
        config = self.services.snapshot()
        name = config.cluster.instance_communication_network
        if not name or config.find_network(name) is None:
            return None
        return GeneratedJobs([connections(name, [group])])
