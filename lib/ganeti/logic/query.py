"""OP_QUERY and OP_QUERY_FIELDS: lists as jobs."""

from __future__ import annotations

from ganeti.logic.base import QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.query import OpQuery, OpQueryFields
from ganeti.serializer import Json


@implements(OpQuery)
class Query(QueryUnit[OpQuery]):
    """What LUXI's Query answers."""

    def execute(self, plan: None) -> Json:
        return self.services.query(self.op.what, self.op.fields, self.op.qfilter)


@implements(OpQueryFields)
class QueryFields(QueryUnit[OpQueryFields]):
    """What LUXI's QueryFields answers."""

    def execute(self, plan: None) -> Json:
        return self.services.query_fields(self.op.what, self.op.fields)
