"""OP_GROUP_EVACUATE: all instances leave a node group. Rules: facts/master.md D3."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.alloc import protocol
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import SHARED
from ganeti.logic import ask, evacuation
from ganeti.logic.base import GeneratedJobs, Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.opcodes.group import OpGroupEvacuate


@dataclass(frozen=True, slots=True)
class GroupEvacuatePlan:
    """`targets` are uuids of groups."""

    group: NodeGroup
    targets: tuple[str, ...]
    instances: tuple[Instance, ...]


def instances_of(config: Snapshot, group: NodeGroup) -> tuple[Instance, ...]:
    """Instances with a node in the group, by name."""
    found = {}
    for node in config.nodes_in(group.uuid):
        for one in (*config.primary_instances(node.uuid), *config.secondary_instances(node.uuid)):
            found[one.name] = one
    return tuple(found[name] for name in sorted(found))


@implements(OpGroupEvacuate)
class GroupEvacuate(LogicalUnit[OpGroupEvacuate, GroupEvacuatePlan]):
    """Submit jobs that take the instances to the target groups, or to any others."""

    def _targets(self, config: Snapshot) -> list[NodeGroup]:
        return [ask.group(config, name) for name in self.op.target_groups or ()]

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        group = ask.group(config, self.op.group_name)
        affected = instances_of(config, group)
        targets = self._targets(config) or list(config.groups.values())
        groups = {one.uuid for one in (group, *targets)}
        nodes = {node.uuid for uuid in groups for node in config.nodes_in(uuid)}
        for one in affected:
            for node in config.nodes_of(one):
                nodes.add(node.uuid)
                groups.add(node.group)
        return LockRequest(
            instances=dict.fromkeys((one.name for one in affected), SHARED),
            groups=dict.fromkeys(sorted(groups), SHARED),
            nodes=dict.fromkeys(sorted(nodes), SHARED),
        )

    def check(self, config: Snapshot) -> GroupEvacuatePlan:
        group = ask.group(config, self.op.group_name)
        targets = self._targets(config)
        if group.uuid in {one.uuid for one in targets}:
            raise OpPrereqError(f"group {group.name} can't be its own target", Code.INVAL)
        if not targets:
            targets = [one for one in config.groups.values() if one.uuid != group.uuid]
        if not targets:
            raise OpPrereqError("there are no other node groups", Code.INVAL)
        return GroupEvacuatePlan(
            group, tuple(one.uuid for one in targets), instances_of(config, group)
        )

    def hooks(self, config: Snapshot, plan: GroupEvacuatePlan) -> HookEnv:
        env = {"GROUP_NAME": plan.group.name, "TARGET_GROUPS": " ".join(plan.targets)}
        members = [node.uuid for node in config.nodes_in(plan.group.uuid)]
        nodes = list(dict.fromkeys([config.cluster.master_node, *members]))
        return HookEnv("group-evacuate", "GROUP", env, nodes, nodes)

    def execute(self, plan: GroupEvacuatePlan) -> GeneratedJobs:
        op = self.op
        jobs = evacuation.jobs_for(
            self.services,
            self.services.snapshot(),
            plan.instances,
            protocol.change_group_request(evacuation.names(plan.instances), plan.targets),
            op.iallocator,
            {"early_release": op.early_release},
        )
        if op.force_failover:
            jobs = evacuation.as_failovers(jobs)
        if op.sequential:
            jobs = evacuation.one_after_the_other(jobs)
        return GeneratedJobs(jobs)
