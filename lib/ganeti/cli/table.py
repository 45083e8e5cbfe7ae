"""Tables: what lists print.

Source: facts/cli-behaviour.md §7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganeti.cli import text
from ganeti.serializer import Json
from ganeti.types import FieldStatus
from ganeti.utils.text import format_unit

Cell = tuple[int, Json]
Format = Callable[[Any], str]

_NORMAL, _UNKNOWN = int(FieldStatus.NORMAL), int(FieldStatus.UNKNOWN)

# Cells without a value: short, and with -v.
ABNORMAL: dict[int, tuple[str, str]] = {
    _UNKNOWN: ("??", "(unknown)"),
    int(FieldStatus.NO_DATA): ("?", "(nodata)"),
    int(FieldStatus.UNAVAILABLE): ("-", "(unavail)"),
    int(FieldStatus.OFFLINE): ("*", "(offline)"),
}
RIGHT_ALIGNED = frozenset({"number", "float", "unit"})


class Column:
    """One column: its title, how a value becomes text, and on which side it is padded."""

    __slots__ = ("format", "right", "title")

    def __init__(self, title: str, format: Format = str, *, right: bool = False) -> None:
        self.title = title
        self.format = format
        self.right = right


def column_of(field: Mapping[str, Json], units: str, formats: Mapping[str, Format]) -> Column:
    """The column of a field {name, title, kind}; `formats` comes before the kind's format."""
    kind = field["kind"]
    own = formats.get(field["name"])
    if own is not None:
        return Column(field["title"], own)
    by_kind: dict[str, Format] = {
        "bool": text.yes_no,
        "unit": lambda mib: format_unit(mib, units) if isinstance(mib, (int, float)) else str(mib),
        "timestamp": text.moment,
    }
    return Column(field["title"], by_kind.get(kind, str), right=kind in RIGHT_ALIGNED)


def cells(
    rows: Sequence[Sequence[Cell]], columns: Sequence[Column], verbose: bool
) -> list[list[str]]:
    """The texts of rows of [status, value]."""
    formats = [column.format for column in columns]
    return [
        [
            format(value) if status == _NORMAL else ABNORMAL[status][verbose]
            for format, (status, value) in zip(formats, row)
        ]
        for row in rows
    ]


def lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    headers: bool = True,
    separator: str | None = None,
    old: bool = False,
) -> list[str]:
    """The lines of a table.

    Columns are separated by one blank and as wide as their longest text; the last one is not padded
    on its right side, but for the title in tables of the `old` kind. With a separator nothing is
    padded.
    """
    titles = [column.title for column in columns]
    if separator is not None:
        return [separator.join(row) for row in ([titles, *rows] if headers else rows)]
    everything = [titles, *rows] if headers else rows
    widths = [max(map(len, texts), default=0) for texts in zip(*everything)]
    if not widths:
        return ["" for _ in everything]
    made = [_line(row, columns, widths) for row in rows]
    if headers:
        head = _line(titles, columns, widths)
        made.insert(0, head.ljust(sum(widths) + len(widths) - 1) if old else head)
    return made


def _line(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, column, width in zip(row, columns, widths)
    ]
    if not columns[-1].right:
        padded[-1] = row[-1]
    return " ".join(padded)
