"""OP_INSTANCE_CHANGE_GROUP: an instance goes to another node group. Rules: facts/master.md D3."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.alloc import protocol
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import SHARED
from ganeti.logic import ask, evacuation
from ganeti.logic.base import GeneratedJobs, Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.opcodes.instance import OpInstanceChangeGroup


@dataclass(frozen=True, slots=True)
class ChangeGroupPlan:
    """`targets` are uuids of groups."""

    instance: Instance
    targets: tuple[str, ...]


@implements(OpInstanceChangeGroup)
class InstanceChangeGroup(LogicalUnit[OpInstanceChangeGroup, ChangeGroupPlan]):
    """Submit the jobs that take the instance to one of the groups, or to any other."""

    def _targets(self, config: Snapshot) -> list[NodeGroup]:
        return [ask.group(config, name) for name in self.op.target_groups or ()]

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        own = {instance.name: SHARED}
        targets = self._targets(config)
        if not targets:
            return LockRequest(instances=own, groups=SHARED, nodes=SHARED)
        groups = {one.uuid for one in targets}
        groups |= {node.group for node in config.nodes_of(instance)}
        nodes = {node.uuid for uuid in groups for node in config.nodes_in(uuid)}
        nodes |= {node.uuid for node in config.nodes_of(instance)}
        return LockRequest(
            instances=own,
            groups=dict.fromkeys(sorted(groups), SHARED),
            nodes=dict.fromkeys(sorted(nodes), SHARED),
        )

    def check(self, config: Snapshot) -> ChangeGroupPlan:
        instance = ask.instance(config, self.op.instance_name)
        own = {node.group for node in config.nodes_of(instance)}
        wanted = self._targets(config)
        for group in wanted:
            if group.uuid in own:
                raise OpPrereqError(
                    f"instance {instance.name} is in group {group.name} already", Code.INVAL
                )
        targets = [one.uuid for one in wanted or config.groups.values() if one.uuid not in own]
        if not targets:
            raise OpPrereqError("there are no other node groups", Code.INVAL)
        return ChangeGroupPlan(instance, tuple(targets))

    def hooks(self, config: Snapshot, plan: ChangeGroupPlan) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        env["TARGET_GROUPS"] = " ".join(plan.targets)
        nodes = [config.cluster.master_node]
        return HookEnv("instance-change-group", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: ChangeGroupPlan) -> GeneratedJobs:
        jobs = evacuation.jobs_for(
            self.services,
            self.services.snapshot(),
            [plan.instance],
            protocol.change_group_request([plan.instance.name], plan.targets),
            self.op.iallocator,
            {"early_release": self.op.early_release},
        )
        return GeneratedJobs(jobs)
