"""OP_CLUSTER_QUERY: the description of the cluster, as a job."""

from __future__ import annotations

from ganeti.logic.base import QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.cluster import OpClusterQuery
from ganeti.serializer import Json


@implements(OpClusterQuery)
class ClusterQuery(QueryUnit[OpClusterQuery]):
    """What LUXI's QueryClusterInfo answers."""

    def execute(self, plan: None) -> Json:
        return self.services.cluster_info()
