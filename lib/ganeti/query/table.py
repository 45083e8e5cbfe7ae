"""What the engine needs to know about the objects of one kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from ganeti.query.fields import Field, Need

R = TypeVar("R")


class Table(Protocol[R]):
    """The objects of one kind, at one moment. A row is one object; getters of fields read it.

    Rows are given by `all` or `find`, reduced by what is known already, and completed by one
    `fetch`, which may also make other rows of them (one per export of a node).
    """

    @property
    def fields(self) -> Mapping[str, Field[R]]: ...
    @property
    def name_field(self) -> str:
        """The field whose value a name filter names."""

    @property
    def noun(self) -> str | None:
        """For the error about a name that matches nothing; None: no error, no row."""

    def all(self) -> Iterable[R]:
        """All rows, in any order."""

    def find(self, name: str) -> R | None:
        """The row of a full or shortened name, or of a uuid."""

    def name_of(self, row: R) -> str:
        """What rows are sorted by."""

    async def fetch(self, rows: Sequence[R], needs: frozenset[Need]) -> Sequence[R]:
        """Rows that know what `needs` names."""
