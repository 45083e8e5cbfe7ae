"""OP_NODE_EVACUATE: instances leave a node. Rules: facts/master.md D3."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.alloc import protocol
from ganeti.alloc.protocol import EvacuationMode
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import SHARED
from ganeti.logic import ask, evacuation
from ganeti.logic.base import GeneratedJobs, Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.disk import OpInstanceReplaceDisks
from ganeti.opcodes.node import OpNodeEvacuate
from ganeti.types import EvacuateMode, ReplaceDisksMode


@dataclass(frozen=True, slots=True)
class EvacuatePlan:
    node: Node
    instances: tuple[Instance, ...]


@implements(OpNodeEvacuate)
class NodeEvacuate(LogicalUnit[OpNodeEvacuate, EvacuatePlan]):
    """Submit a job for each instance that has to leave the node."""

    def arguments(self) -> None:
        op = self.op
        if op.iallocator is not None and op.remote_node is not None:
            raise OpPrereqError("give either an allocator or a new secondary node", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        node = ask.node(config, self.op.node_name)
        affected = self._affected(config, node)
        nodes = [node]
        if self.op.remote_node is not None:
            nodes.append(ask.node(config, self.op.remote_node))
        else:
            nodes += config.nodes_in(node.group)
        return LockRequest(
            instances=dict.fromkeys((one.name for one in affected), SHARED),
            groups=dict.fromkeys((one.group for one in nodes), SHARED),
            nodes=dict.fromkeys((one.uuid for one in nodes), SHARED),
        )

    def _affected(self, config: Snapshot, node: Node) -> tuple[Instance, ...]:
        made: dict[str, Instance] = {}
        if self.op.mode is not EvacuateMode.SECONDARY:
            made |= {one.name: one for one in config.primary_instances(node.uuid)}
        if self.op.mode is not EvacuateMode.PRIMARY:
            made |= {one.name: one for one in config.secondary_instances(node.uuid)}
        return tuple(made[name] for name in sorted(made))

    def check(self, config: Snapshot) -> EvacuatePlan:
        op = self.op
        node = ask.node(config, op.node_name)
        affected = self._affected(config, node)
        if op.remote_node is not None:
            if ask.node(config, op.remote_node).uuid == node.uuid:
                raise OpPrereqError(
                    f"node {node.name} can't be the new secondary node of its own instances",
                    Code.INVAL,
                )
            if op.mode is not EvacuateMode.SECONDARY:
                raise OpPrereqError(
                    "a new secondary node is for secondary instances only", Code.INVAL
                )
        elif op.mode is EvacuateMode.ALL:
            raise OpPrereqError(
                "primary and secondary instances can't be evacuated at once; say which",
                Code.INVAL,
                hint="first the one, then the other",
            )
        return EvacuatePlan(node, affected)

    def execute(self, plan: EvacuatePlan) -> GeneratedJobs:
        config, op = self.services.snapshot(), self.op
        now = self._affected(config, plan.node)
        if [one.uuid for one in now] != [one.uuid for one in plan.instances]:
            raise OpExecError(f"instances of node {plan.node.name} have changed, try again")
        names = evacuation.names(plan.instances)
        if names:
            self.info(f"Evacuating instances from node '{plan.node.name}': {', '.join(names)}")
        if op.remote_node is not None:
            remote = ask.node(config, op.remote_node).name
            return GeneratedJobs([[_replace(name, remote, op.early_release)] for name in names])
        jobs = evacuation.jobs_for(
            self.services,
            config,
            plan.instances,
            protocol.evacuate_request(names, EvacuationMode(op.mode.value)),
            op.iallocator,
            {"early_release": op.early_release},
            lenient=bool(op.ignore_soft_errors),
        )
        return GeneratedJobs(jobs)


def _replace(name: str, remote: str, early_release: bool) -> OpInstanceReplaceDisks:
    return OpInstanceReplaceDisks(
        instance_name=name,
        remote_node=remote,
        disks=[],
        mode=ReplaceDisksMode.CHANGE,
        early_release=early_release,
    )
