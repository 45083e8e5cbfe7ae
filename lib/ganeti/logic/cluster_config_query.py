"""OP_CLUSTER_CONFIG_QUERY: single values of the cluster, as a job."""

from __future__ import annotations

from ganeti.errors import Code, OpPrereqError
from ganeti.logic.base import QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.cluster import OpClusterConfigQuery
from ganeti.query.cluster import CONFIG_VALUES
from ganeti.serializer import Json


@implements(OpClusterConfigQuery)
class ClusterConfigQuery(QueryUnit[OpClusterConfigQuery]):
    """What LUXI's QueryConfigValues answers, but unknown names are refused."""

    def arguments(self) -> None:
        unknown = [name for name in self.op.output_fields if name not in CONFIG_VALUES]
        if unknown:
            raise OpPrereqError(
                f"Unknown output fields selected: {', '.join(unknown)}",
                Code.INVAL,
                hint=f"known: {', '.join(CONFIG_VALUES)}",
            )

    def execute(self, plan: None) -> Json:
        return self.services.config_values(self.op.output_fields)
