"""OP_CLUSTER_DESTROY: the last node leaves."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.master_params import master_params
from ganeti.model.node import Node
from ganeti.opcodes.cluster import OpClusterDestroy
from ganeti.rpc import calls
from ganeti.serializer import Json


@implements(OpClusterDestroy)
class ClusterDestroy(LogicalUnit[OpClusterDestroy, Node]):
    """Runs the hooks and takes the master address down; the client ends the daemons afterwards."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def check(self, config: Snapshot) -> Node:
        master = config.master()
        others = [node.name for node in config.nodes.values() if node.uuid != master.uuid]
        if others:
            raise OpPrereqError(
                f"the cluster still has {len(others)} other nodes, such as {min(others)}",
                Code.INVAL,
                hint="remove them with gnt-node remove first",
            )
        if config.instances:
            names = sorted(instance.name for instance in config.instances.values())
            raise OpPrereqError(
                f"the cluster still has {len(names)} instances, such as {names[0]}",
                Code.INVAL,
                hint="remove them with gnt-instance remove first",
            )
        return master

    def hooks(self, config: Snapshot, plan: Node) -> HookEnv:
        return HookEnv("cluster-destroy", "CLUSTER", {"OP_TARGET": config.cluster.cluster_name})

    def execute(self, plan: Node) -> Json:
        config = self.services.snapshot()
        self.services.run_post_hooks(self, plan, [plan.uuid])
        outcome = self.rpc.ask(
            plan,
            calls.node_deactivate_master_ip,
            master_params(config.cluster),
            config.cluster.use_external_mip_script,
        )
        if not outcome.ok:
            self.warn(f"the master address is still up: {outcome.error}")
        return plan.uuid
