"""Providers of external storage on this node."""

from __future__ import annotations

from ganeti.model.report import ExtStorageReport
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.storage import ext_find


@serves(calls.extstorage_diagnose)
def extstorage_diagnose(node: NodeContext) -> list[ExtStorageReport]:
    return ext_find.diagnose(node.paths.extstorage_search)
