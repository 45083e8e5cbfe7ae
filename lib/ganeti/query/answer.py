"""The answer to a query, made while it is read: in small steps, so that the loop is never held.

An answer can be long (10,000 instances, some MiB). It is encoded in pieces of bounded size, with
a chance for everybody else on the loop between two steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import Final, Generic, TypeVar

from ganeti.query.fields import Field, cells_of, values_of
from ganeti.serializer import Json, dump_bytes

R = TypeVar("R")

MAX_PIECE: Final = 256 * 1024  # bytes; nothing longer is passed on (style.md §4)
STEP_BYTES: Final = 16 * 1024  # encoded in one step: some 1 ms with what is computed for it
STEP_CELLS: Final = 1000  # made in one step: some 1 ms
TURNS: Final = 4  # of the loop between two steps: others go on by that many of their small steps
FIRST_ROWS: Final = 16  # how long a row will be is not known yet


async def give_way() -> None:
    """Everybody else on the loop had a chance; costs little when nobody wants it."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Form(Enum):
    """How rows are written."""

    CELLS = "lists of [status, value], after the definitions of the fields (Query)"
    VALUES = "lists of bare values (the older calls)"
    OBJECTS = "objects of bare values by the names of the fields (the remote API)"


class Answer(Generic[R]):
    """Columns and rows."""

    def __init__(
        self, fields: Sequence[Field[R]], rows: Sequence[R], *, form: Form = Form.CELLS
    ) -> None:
        self.fields = fields
        self.rows = rows
        self.form = form

    def shown_as(self, form: Form, start: int = 0, count: int | None = None) -> Answer[R]:
        """The same in another form, or a part of it."""
        end = None if count is None else start + count
        return Answer(self.fields, self.rows[start:end], form=form)

    def definitions(self) -> list[dict[str, str]]:
        return [field.definition() for field in self.fields]

    def plain(self) -> Json:
        """The whole answer as one value; for short ones."""
        data = self._made(self.rows)
        return {"fields": self.definitions(), "data": data} if self.form is Form.CELLS else data

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer as JSON text, in pieces of at most MAX_PIECE bytes."""
        head, tail = b"[", b"]"
        if self.form is Form.CELLS:
            head = b'{"fields":' + dump_bytes(self.definitions()) + b',"data":['
            tail = b"]}"
        waiting = [head]
        size = len(head)
        async for text in self._steps():
            waiting.append(text)
            size += len(text)
            if size >= STEP_BYTES:
                for piece in _split(b"".join(waiting)):
                    yield piece
                waiting, size = [], 0
        for piece in _split(b"".join([*waiting, tail])):
            yield piece

    def _made(self, rows: Sequence[R]) -> list[Json]:
        if self.form is Form.CELLS:
            return list(cells_of(self.fields, rows))
        values = values_of(self.fields, rows)
        if self.form is Form.VALUES:
            return list(values)
        names = [field.name for field in self.fields]
        return [dict(zip(names, row, strict=True)) for row in values]

    async def _steps(self) -> AsyncIterator[bytes]:
        """Encoded rows, the commas between them included."""
        most = max(1, STEP_CELLS // max(1, len(self.fields)))
        count = min(FIRST_ROWS, most)
        done = 0
        while done < len(self.rows):
            rows = self.rows[done : done + count]
            text = dump_bytes(self._made(rows))[1:-1]
            yield b"," + text if done else text
            done += len(rows)
            per_row = max(1, len(text) // len(rows))
            count = max(1, min(most, 4 * count, STEP_BYTES // per_row))
            await give_way()


def _split(text: bytes) -> list[bytes]:
    return [text[start : start + MAX_PIECE] for start in range(0, len(text), MAX_PIECE)]
