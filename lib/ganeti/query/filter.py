"""Fields of the rules that decide which jobs may start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.filter import JobFilter
from ganeti.query.fields import Field, Need, number, other, table, text

_ROWS: Final[list[Field[JobFilter]]] = [
    text("uuid", "UUID", lambda row: row.uuid, "UUID of the rule"),
    number("watermark", "Watermark", lambda row: row.watermark,
        "Number of the last job when the rule was made"),
    number("priority", "Priority", lambda row: row.priority,
        "Place of the rule; lower is asked first"),
    other("predicates", "Predicates", lambda row: row.predicates, "Which jobs it is about"),
    other("action", "Action", lambda row: row.action, "What is done with these jobs"),
    other("reason_trail", "ReasonTrail", lambda row: row.reason_trail, "Why the rule was made"),
]  # fmt: skip

FIELDS: Final = table(_ROWS)


class FilterTable:
    """Job filter rules of one snapshot; see `query.table.Table`."""

    fields = FIELDS
    name_field = "uuid"
    noun = None

    def __init__(self, config: Snapshot) -> None:
        self.config = config

    def all(self) -> Iterable[JobFilter]:
        return self.config.filters.values()

    def find(self, name: str) -> JobFilter | None:
        return self.config.filters.get(name)

    def name_of(self, row: JobFilter) -> str:
        return row.uuid

    async def fetch(self, rows: Sequence[JobFilter], needs: frozenset[Need]) -> Sequence[JobFilter]:
        """Nothing here is live."""
        return rows
