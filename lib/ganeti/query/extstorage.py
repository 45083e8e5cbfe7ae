"""Fields of external storage providers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.report import ExtStorageReport
from ganeti.query.fields import Field, Live, Need, live, other, select, table, text, values_of
from ganeti.query.order import nice_key
from ganeti.query.sources import LiveSource
from ganeti.serializer import Json
from ganeti.types import FieldStatus


class ExtStorageRow:
    """One provider on all nodes that answered; an empty sequence where it is missing."""

    def __init__(
        self, config: Snapshot, name: str, found: Mapping[str, Sequence[ExtStorageReport]]
    ) -> None:
        self.config = config
        self.name = name
        self.found = found

    @property
    def node_status(self) -> dict[str, list[list[Json]]]:
        """Per node uuid what was found: path, ok, diagnose, parameters."""
        return {
            uuid: [
                [report.path, report.ok, report.diagnose, [list(p) for p in report.parameters]]
                for report in reports
            ]
            for uuid, reports in self.found.items()
        }

    @cached_property
    def group_status(self) -> dict[str, bool]:
        """Per node group: whether all its nodes have it in order."""
        status: dict[str, bool] = {}
        for uuid, reports in self.found.items():
            group = self.config.group_of(self.config.nodes[uuid]).name
            status[group] = status.get(group, True) and bool(reports and reports[0].ok)
        return status

    @property
    def parameters(self) -> list[list[str]]:
        """Those that all nodes have in common, of groups where it is in order."""
        sets = [
            set(reports[0].parameters)
            for uuid, reports in self.found.items()
            if self.group_status[self.config.group_of(self.config.nodes[uuid]).name]
        ]
        return [list(pair) for pair in sorted(set.intersection(*sets))] if sets else []


_ROWS: Final[list[Field[ExtStorageRow]]] = [
    text("name", "Name", lambda row: row.name, "Name"),
    other("node_status", "NodeStatus", lambda row: row.node_status, "What each node has of it"),
    other("nodegroup_status", "NodegroupStatus", lambda row: row.group_status,
        "Whether all nodes of a group have it, in order"),
    other("parameters", "Parameters", lambda row: row.parameters,
        "Parameters that every node's copy has, each with its help"),
]  # fmt: skip

FIELDS: Final = table(live(row, Need.EXT_STORAGE) for row in _ROWS)

Told = Mapping[str, Live[Sequence[ExtStorageReport]]]


def provider_rows(config: Snapshot, told: Told) -> list[ExtStorageRow]:
    """One row per name found anywhere, sorted; nodes that did not answer don't count."""
    answers = {
        uuid: reports for uuid, reports in told.items() if not isinstance(reports, FieldStatus)
    }
    names = {report.name for reports in answers.values() for report in reports}
    return [
        ExtStorageRow(config, name, {uuid: [r for r in reports if r.name == name]
            for uuid, reports in answers.items()})
        for name in sorted(names, key=nice_key)
    ]  # fmt: skip


def diagnose(
    config: Snapshot, told: Told, names: Sequence[str], fields: Sequence[str]
) -> list[list[Json]]:
    """The result of OP_EXT_STORAGE_DIAGNOSE: rows of plain values. `told`: what nodes answered."""
    wanted = [row for row in provider_rows(config, told) if not names or row.name in names]
    return list(values_of(select(FIELDS, fields), wanted))


class ExtStorageTable:
    """Providers on the online nodes; see `query.table.Table`. All of it is live."""

    fields = FIELDS
    name_field = "name"
    noun = None

    def __init__(self, rows: Sequence[ExtStorageRow]) -> None:
        self.rows = {row.name: row for row in rows}

    @classmethod
    async def open(cls, config: Snapshot, source: LiveSource) -> ExtStorageTable:
        nodes = [node for node in config.online_nodes() if node.vm_capable]
        return cls(provider_rows(config, await source.ext_storage(config, nodes)))

    def all(self) -> Iterable[ExtStorageRow]:
        return self.rows.values()

    def find(self, name: str) -> ExtStorageRow | None:
        return self.rows.get(name)

    def name_of(self, row: ExtStorageRow) -> str:
        return row.name

    async def fetch(
        self, rows: Sequence[ExtStorageRow], needs: frozenset[Need]
    ) -> Sequence[ExtStorageRow]:
        """All has been asked."""
        return rows
