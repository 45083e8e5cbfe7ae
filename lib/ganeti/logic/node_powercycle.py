"""OP_NODE_POWERCYCLE: reboot a node at once, without asking its system."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.node import Node
from ganeti.opcodes.node import OpNodePowercycle
from ganeti.rpc import calls
from ganeti.serializer import Json


@implements(OpNodePowercycle)
class NodePowercycle(LogicalUnit[OpNodePowercycle, Node]):
    """It takes no locks: what holds them may be what is stuck."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        ask.node(config, self.op.node_name)
        return LockRequest()

    def check(self, config: Snapshot) -> Node:
        node = ask.node(config, self.op.node_name)
        if node.uuid == config.cluster.master_node and not self.op.force:
            raise OpPrereqError(
                f"node {node.name} is the master",
                Code.INVAL,
                hint="--force reboots it all the same",
            )
        return node

    def execute(self, plan: Node) -> Json:
        config = self.services.snapshot()
        hypervisor = config.cluster.enabled_hypervisors[0]
        params = ask.cluster_hvparams(config, hypervisor)
        return self.rpc.one(plan, calls.node_powercycle, str(hypervisor), params)
