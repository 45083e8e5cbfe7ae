"""Fields of OS definitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from ganeti.config.snapshot import Snapshot
from ganeti.model.report import OsReport
from ganeti.query.fields import (
    Field,
    Live,
    Need,
    flag,
    live,
    other,
    select,
    table,
    text,
    values_of,
)
from ganeti.query.order import nice_key
from ganeti.query.sources import LiveSource
from ganeti.serializer import Json
from ganeti.types import FieldStatus

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparison

T = TypeVar("T", bound="SupportsRichComparison")

Found = Mapping[str, Sequence[OsReport]]
"""Per node uuid what was found of one OS; the first is used, further ones are hidden by it."""


class OsRow:
    """One OS definition on all nodes that answered; an empty sequence where it is missing."""

    def __init__(self, config: Snapshot, name: str, found: Found) -> None:
        self.config = config
        self.name = name
        self.found = found

    @cached_property
    def valid(self) -> bool:
        """On every node, and in order there."""
        return all(reports and reports[0].ok for reports in self.found.values())

    @property
    def hidden(self) -> bool:
        return self.name in self.config.cluster.hidden_os

    @property
    def blacklisted(self) -> bool:
        return self.name in self.config.cluster.blacklisted_os

    @property
    def trusted(self) -> bool:
        return all(reports[0].trusted for reports in self.found.values() if reports)

    def common(self, get: Callable[[OsReport], Sequence[T]]) -> list[T]:
        """What all nodes have in common, sorted; nothing of an OS that is not valid."""
        if not self.valid:
            return []
        sets = [set(get(reports[0])) for reports in self.found.values()]
        return sorted(set.intersection(*sets))

    @property
    def node_status(self) -> dict[str, list[list[Json]]]:
        """Per node uuid all that was found, each as its report without the name."""
        return {
            uuid: [[_plain(part) for part in report[1:]] for report in reports]
            for uuid, reports in self.found.items()
        }


def _plain(value: Json) -> Json:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


_ROWS: Final[list[Field[OsRow]]] = [
    text("name", "Name", lambda row: row.name, "Name"),
    flag("valid", "Valid", lambda row: row.valid, "Whether every node has it, in order"),
    flag("hidden", "Hidden", lambda row: row.hidden, "Whether it is left out of lists"),
    flag("blacklisted", "Blacklisted", lambda row: row.blacklisted,
        "Whether no instance may be installed with it"),
    flag("trusted", "Trusted", lambda row: row.trusted,
        "Whether its scripts may run on the node itself"),
    other("variants", "Variants", lambda row: row.common(lambda report: report.variants),
        "Variants that every node has"),
    other("api_versions", "ApiVersions",
        lambda row: row.common(lambda report: report.api_versions),
        "Versions of the OS interface that every node's copy supports"),
    other("parameters", "Parameters",
        lambda row: [list(pair) for pair in row.common(lambda report: report.parameters)],
        "Parameters that every node's copy has, each with its help"),
    other("node_status", "NodeStatus", lambda row: row.node_status, "What each node has of it"),
    other("os_hvp", "OsHypervisorParams",
        lambda row: row.config.cluster.os_hvp.get(row.name, {}),
        "Hypervisor parameters that the cluster sets for it"),
    other("osparams", "OsParameters",
        lambda row: row.config.cluster.osparams.get(row.name, {}),
        "OS parameters that the cluster sets for it"),
]  # fmt: skip

FIELDS: Final = table(live(row, Need.GUEST_OS) for row in _ROWS)


def os_rows(config: Snapshot, told: Mapping[str, Live[Sequence[OsReport]]]) -> list[OsRow]:
    """One row per name found anywhere, sorted; nodes that did not answer don't count."""
    answers = {
        uuid: reports for uuid, reports in told.items() if not isinstance(reports, FieldStatus)
    }
    names = {report.name for reports in answers.values() for report in reports}
    return [
        OsRow(config, name, {uuid: [r for r in reports if r.name == name]
            for uuid, reports in answers.items()})
        for name in sorted(names, key=nice_key)
    ]  # fmt: skip


def visible(row: OsRow, asked: Collection[str]) -> bool:
    """Whether a plain list shows it: who asks for one of these flags sees those that have it."""
    return (
        (row.valid or "valid" in asked)
        and (not row.hidden or "hidden" in asked)
        and (not row.blacklisted or "blacklisted" in asked)
    )


def diagnose(
    config: Snapshot,
    told: Mapping[str, Live[Sequence[OsReport]]],
    names: Sequence[str],
    fields: Sequence[str],
) -> list[list[Json]]:
    """The result of OP_OS_DIAGNOSE: rows of plain values. `told`: what nodes answered."""
    rows = [row for row in os_rows(config, told) if visible(row, fields)]
    wanted = [row for row in rows if not names or row.name in names]
    return list(values_of(select(FIELDS, fields), wanted))


class OsTable:
    """OS definitions on the online nodes; see `query.table.Table`. All of it is live."""

    fields = FIELDS
    name_field = "name"
    noun = None

    def __init__(self, rows: Sequence[OsRow]) -> None:
        self.rows = {row.name: row for row in rows}

    @classmethod
    async def open(cls, config: Snapshot, source: LiveSource) -> OsTable:
        nodes = [node for node in config.online_nodes() if node.vm_capable]
        return cls(os_rows(config, await source.guest_os(config, nodes)))

    def all(self) -> Iterable[OsRow]:
        return self.rows.values()

    def find(self, name: str) -> OsRow | None:
        return self.rows.get(name)

    def name_of(self, row: OsRow) -> str:
        return row.name

    async def fetch(self, rows: Sequence[OsRow], needs: frozenset[Need]) -> Sequence[OsRow]:
        """All has been asked."""
        return rows
