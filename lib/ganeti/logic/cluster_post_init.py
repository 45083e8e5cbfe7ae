"""OP_CLUSTER_POST_INIT: the hooks that tell that a cluster was created."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import open_vswitch
from ganeti.logic.base import Held, HookEnv, LockRequest, QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.cluster import OpClusterPostInit
from ganeti.serializer import Json


@implements(OpClusterPostInit)
class ClusterPostInit(QueryUnit[OpClusterPostInit]):
    """The master's Open vSwitch, if there is to be one, and the post hook."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def hooks(self, config: Snapshot, plan: None) -> HookEnv:
        return HookEnv(
            "cluster-init",
            "CLUSTER",
            {"OP_TARGET": config.cluster.cluster_name},
            post_nodes=[config.cluster.master_node],
        )

    def execute(self, plan: None) -> Json:
        config = self.services.snapshot()
        problem = open_vswitch.problem_of_set_up(self.rpc, config, config.master())
        if problem is not None:
            self.warn(problem)
        return True
