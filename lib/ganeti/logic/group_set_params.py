"""OP_GROUP_SET_PARAMS: change what a node group's nodes and instances inherit.

Source: facts/master.md §F. The result tells of node and disk parameters only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import ask
from ganeti.logic import param_changes as changes
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.base import EMPTY
from ganeti.model.group import NodeGroup
from ganeti.opcodes.group import OpGroupSetParams
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The group as it will be; instances that then violate its policy are only told of."""

    group: NodeGroup
    violating: tuple[str, ...]


@implements(OpGroupSetParams)
class GroupSetParams(LogicalUnit[OpGroupSetParams, GroupPlan]):
    """Values replace; the word `default` lets the cluster's value show through."""

    def arguments(self) -> None:
        op = self.op
        wanted = (
            op.alloc_policy, op.ndparams, op.diskparams, op.hv_state, op.disk_state, op.ipolicy,
        )  # fmt: skip
        if all(value is None for value in wanted):
            raise OpPrereqError("nothing is to be changed", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        group = ask.group(config, self.op.group_name)
        instances = [
            instance.name
            for node in config.nodes_in(group.uuid)
            for side in (config.primary_instances, config.secondary_instances)
            for instance in side(node.uuid)
        ]
        return LockRequest(
            groups={group.uuid: EXCLUSIVE}, instances=dict.fromkeys(instances, SHARED)
        )

    def check(self, config: Snapshot) -> GroupPlan:
        op, group = self.op, ask.group(config, self.op.group_name)
        made = replace(
            group,
            alloc_policy=op.alloc_policy or group.alloc_policy,
            ndparams=changes.changed_ndparams(group.ndparams, op.ndparams or EMPTY),
            diskparams=changes.changed_diskparams(group.diskparams, op.diskparams or {}),
            hv_state_static=changes.changed_hv_state(group.hv_state_static, op.hv_state or EMPTY),
            disk_state_static=changes.changed_disk_state(
                group.disk_state_static, op.disk_state or EMPTY
            ),
            ipolicy=changes.changed_group_ipolicy(
                config.cluster, group.ipolicy, op.ipolicy or EMPTY
            ),
        )
        violating = changes.new_violations(config, config.cluster, [(group, made)])
        if violating:
            self.warn(changes.policy_warning(violating))
        return GroupPlan(made, tuple(violating))

    def hooks(self, config: Snapshot, plan: GroupPlan) -> HookEnv:
        policy = self.op.alloc_policy
        env = {
            "GROUP_NAME": plan.group.name,
            "NEW_ALLOC_POLICY": str(policy.value if policy else None),
        }
        master = [config.cluster.master_node]
        return HookEnv("group-modify", "GROUP", env, master, master)

    def execute(self, plan: GroupPlan) -> Json:
        self.commit(lambda draft: draft.update(plan.group))
        told = []
        if self.op.ndparams:
            told.append(["ndparams", str(dict(plan.group.ndparams))])
        if self.op.diskparams:
            own = {name: dict(values) for name, values in plan.group.diskparams.items()}
            told.append(["diskparams", str(own)])
        return told
