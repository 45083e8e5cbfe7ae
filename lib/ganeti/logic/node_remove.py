"""OP_NODE_REMOVE: a node leaves the cluster."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ancillary, ask, ssh_keys
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.logic.roles import change_roles
from ganeti.model.node import Node
from ganeti.opcodes.node import OpNodeRemove
from ganeti.rpc import calls
from ganeti.serializer import Json


@implements(OpNodeRemove)
class NodeRemove(LogicalUnit[OpNodeRemove, Node]):
    """Only a node without instances, and never the master."""

    config_hook = True

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def check(self, config: Snapshot) -> Node:
        node = ask.node(config, self.op.node_name)
        if node.uuid == config.cluster.master_node:
            raise OpPrereqError(
                f"node {node.name} is the master and can't be removed",
                Code.INVAL,
                hint="make another node the master first: gnt-cluster master-failover there",
            )
        held = config.primary_instances(node.uuid) + config.secondary_instances(node.uuid)
        if held:
            raise OpPrereqError(
                f"instance {held[0].name} is still on node {node.name}",
                Code.INVAL,
                hint="move or remove its instances first",
            )
        return node

    def hooks(self, config: Snapshot, plan: Node) -> HookEnv:
        others = [uuid for uuid in config.nodes if uuid != plan.uuid]
        env = {"OP_TARGET": plan.name, "NODE_NAME": plan.name}
        return HookEnv("node-remove", "NODE", env, others, others)

    def execute(self, plan: Node) -> Json:
        self.services.run_post_hooks(self, plan, [plan.uuid])
        ssh_keys.withdraw(self.services, plan)
        change_roles(self.services, lambda draft: draft.remove(plan))
        config = self.services.snapshot()
        if config.cluster.modify_etc_hosts and not self.services.paths.is_virtual:
            self.rpc.one(config.master(), calls.etc_hosts_modify, "remove", plan.name, None)
            ancillary.distribute(self.services, config, config.online_nodes())
        outcome = self.rpc.ask(plan, calls.node_leave_cluster, config.cluster.modify_ssh_setup)
        if not outcome.ok and not outcome.offline:
            self.warn(f"node {plan.name} could not be cleaned: {outcome.error}")
        return None
