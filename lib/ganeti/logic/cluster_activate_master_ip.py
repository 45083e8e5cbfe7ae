"""OP_CLUSTER_ACTIVATE_MASTER_IP: the master's address goes up on the master node."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import cluster_master_ip
from ganeti.logic.base import Held, LockRequest, QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.cluster import OpClusterActivateMasterIp
from ganeti.serializer import Json


@implements(OpClusterActivateMasterIp)
class ClusterActivateMasterIp(QueryUnit[OpClusterActivateMasterIp]):
    """The configuration stays as it is."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def execute(self, plan: None) -> Json:
        config = self.services.snapshot()
        outcome = cluster_master_ip.activate(self.services, config)
        cluster_master_ip.demand(outcome, "put up")
        return None
