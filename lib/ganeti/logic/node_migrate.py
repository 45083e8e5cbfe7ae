"""OP_NODE_MIGRATE: a job for each primary instance of a node. Rules: facts/master.md D3."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import SHARED
from ganeti.logic import ask, evacuation
from ganeti.logic.base import GeneratedJobs, Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceMigrate
from ganeti.opcodes.node import OpNodeMigrate


@dataclass(frozen=True, slots=True)
class NodeMigratePlan:
    node: Node
    names: tuple[str, ...]


@implements(OpNodeMigrate)
class NodeMigrate(LogicalUnit[OpNodeMigrate, NodeMigratePlan]):
    """Submit the migrations."""

    def arguments(self) -> None:
        if self.op.mode is not None and self.op.live is not None:
            raise OpPrereqError("give either a migration mode or the old flag live", Code.INVAL)
        if self.op.iallocator is not None and self.op.target_node is not None:
            raise OpPrereqError("give either an allocator or a target node", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(nodes={ask.node(config, self.op.node_name).uuid: SHARED})

    def check(self, config: Snapshot) -> NodeMigratePlan:
        node = ask.node(config, self.op.node_name)
        if self.op.target_node is not None:
            ask.node(config, self.op.target_node)
        return NodeMigratePlan(node, tuple(evacuation.names(config.primary_instances(node.uuid))))

    def hooks(self, config: Snapshot, plan: NodeMigratePlan) -> HookEnv:
        env = {
            "NODE_NAME": plan.node.name,
            "ALLOW_RUNTIME_CHANGES": str(self.op.allow_runtime_changes),
        }
        nodes = [config.cluster.master_node]
        return HookEnv("node-migrate", "NODE", env, nodes, nodes)

    def execute(self, plan: NodeMigratePlan) -> GeneratedJobs:
        op = self.op
        return GeneratedJobs(
            [
                [
                    OpInstanceMigrate(
                        instance_name=name,
                        mode=op.mode,
                        live=op.live,
                        iallocator=op.iallocator,
                        target_node=op.target_node,
                        allow_runtime_changes=op.allow_runtime_changes,
                        ignore_ipolicy=op.ignore_ipolicy,
                    )
                ]
                for name in plan.names
            ]
        )
