"""OP_CLUSTER_DEACTIVATE_MASTER_IP: the master's address goes down on the master node."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import cluster_master_ip
from ganeti.logic.base import Held, LockRequest, QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.cluster import OpClusterDeactivateMasterIp
from ganeti.serializer import Json


@implements(OpClusterDeactivateMasterIp)
class ClusterDeactivateMasterIp(QueryUnit[OpClusterDeactivateMasterIp]):
    """The configuration stays as it is."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def execute(self, plan: None) -> Json:
        config = self.services.snapshot()
        outcome = cluster_master_ip.deactivate(self.services, config, config.cluster)
        cluster_master_ip.demand(outcome, "put down")
        return None
