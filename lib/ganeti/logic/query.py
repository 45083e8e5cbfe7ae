"""OP_QUERY and OP_QUERY_FIELDS: lists as jobs."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import SHARED
from ganeti.logic.base import Held, LockRequest, QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.query import OpQuery, OpQueryFields
from ganeti.query.engine import FIELDS
from ganeti.query.fields import needs_of, select
from ganeti.serializer import Json
from ganeti.types import QueryResource


@implements(OpQuery)
class Query(QueryUnit[OpQuery]):
    """What LUXI's Query answers; with `use_locking` nothing that live fields tell is changing."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        """facts/locks.json: when nodes are asked."""
        fields = FIELDS[self.op.what]
        if not self.op.use_locking or not needs_of(select(fields, self.op.fields)):
            return LockRequest()
        if self.op.what is QueryResource.INSTANCE:
            return LockRequest(instances=SHARED, nodes=SHARED)
        return LockRequest(nodes=SHARED)

    def execute(self, plan: None) -> Json:
        return self.services.query(self.op.what, self.op.fields, self.op.qfilter)


@implements(OpQueryFields)
class QueryFields(QueryUnit[OpQueryFields]):
    """What LUXI's QueryFields answers."""

    def execute(self, plan: None) -> Json:
        return self.services.query_fields(self.op.what, self.op.fields)
