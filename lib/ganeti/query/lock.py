"""Fields of locks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ganeti.locking.manager import LockInfo
from ganeti.query.fields import Field, Need, other, table, text
from ganeti.query.sources import LockSource

_ROWS: Final[list[Field[LockInfo]]] = [
    text("name", "Name", lambda row: row.name, "Level and name of the lock"),
    other("mode", "Mode", lambda row: row.mode, "How it is held: exclusive or shared"),
    other("owner", "Owner", lambda row: [str(owner) for owner in row.owners] or None,
        "Jobs that hold it"),
    other("pending", "Pending",
        lambda row: [[mode, [str(owner) for owner in owners]] for mode, owners in row.pending]
        or None, "Jobs that wait for it, and how they want it"),
]  # fmt: skip

FIELDS: Final = table(_ROWS)


class LockTable:
    """Locks as they are now; see `query.table.Table`."""

    fields = FIELDS
    name_field = "name"
    noun = None

    def __init__(self, source: LockSource) -> None:
        self.locks = {lock.name: lock for lock in source.describe()}

    def all(self) -> Iterable[LockInfo]:
        return self.locks.values()

    def find(self, name: str) -> LockInfo | None:
        return self.locks.get(name)

    def name_of(self, row: LockInfo) -> str:
        return row.name

    async def fetch(self, rows: Sequence[LockInfo], needs: frozenset[Need]) -> Sequence[LockInfo]:
        return rows
