"""Fields of the exports (backups) that nodes keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.node import Node
from ganeti.query.fields import Field, Live, Need, host, live, table, text
from ganeti.query.sources import LiveSource
from ganeti.types import FieldStatus


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One export, or a node without any (or one that did not tell)."""

    node: Node
    export: Live[str] = FieldStatus.NO_DATA


_ROWS: Final[list[Field[ExportRow]]] = [
    live(host("node", "Node", lambda row: row.node.name, "Node that keeps it"), Need.EXPORTS),
    live(text("export", "Export", lambda row: row.export, "Name, which is the instance's"),
        Need.EXPORTS),
]  # fmt: skip

FIELDS: Final = table(_ROWS)


class ExportTable:
    """Exports on the nodes of one snapshot; see `query.table.Table`. Names are node names."""

    fields = FIELDS
    name_field = "node"
    noun = "Node"

    def __init__(self, config: Snapshot, source: LiveSource) -> None:
        self.config = config
        self.source = source

    def all(self) -> Iterable[ExportRow]:
        return map(ExportRow, self.config.nodes.values())

    def find(self, name: str) -> ExportRow | None:
        node = self.config.find_node(name)
        return ExportRow(node) if node else None

    def name_of(self, row: ExportRow) -> str:
        return row.node.name

    async def fetch(self, rows: Sequence[ExportRow], needs: frozenset[Need]) -> Sequence[ExportRow]:
        """One row per export; a node without any keeps its row."""
        told = await self.source.exports(self.config, [row.node for row in rows])
        made: list[ExportRow] = []
        for row in rows:
            names = told.get(row.node.uuid, FieldStatus.NO_DATA)
            if isinstance(names, FieldStatus):
                made.append(ExportRow(row.node, names))
            else:
                made.extend([ExportRow(row.node, name) for name in names] or [row])
        return made
