"""OP_EXT_STORAGE_DIAGNOSE: providers of external storage as the nodes have them."""

from __future__ import annotations

from ganeti.logic.base import QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.query import OpExtStorageDiagnose
from ganeti.query.extstorage import diagnose
from ganeti.query.live import told
from ganeti.rpc import calls
from ganeti.serializer import Json


@implements(OpExtStorageDiagnose)
class ExtStorageDiagnose(QueryUnit[OpExtStorageDiagnose]):
    """Rows of plain values in the order of `output_fields`; nodes that don't answer don't count."""

    def execute(self, plan: None) -> Json:
        config = self.services.snapshot()
        nodes = [node for node in config.online_nodes() if node.vm_capable]
        answers = told(self.rpc.all(nodes, calls.extstorage_diagnose))
        return diagnose(config, answers, self.op.names, self.op.output_fields)
