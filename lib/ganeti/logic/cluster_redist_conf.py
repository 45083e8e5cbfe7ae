"""OP_CLUSTER_REDIST_CONF: send configuration and ancillary files to all nodes again."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import SHARED
from ganeti.logic import ancillary
from ganeti.logic.base import Held, LockRequest, QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.cluster import OpClusterRedistConf
from ganeti.serializer import Json


@implements(OpClusterRedistConf)
class ClusterRedistConf(QueryUnit[OpClusterRedistConf]):
    """Nothing is changed; what differs on a node is written anew."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(nodes=SHARED)

    def execute(self, plan: None) -> Json:
        self.services.distribute(anew=True)
        ancillary.distribute(self.services, self.services.snapshot())
        return None
