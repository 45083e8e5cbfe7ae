"""Lists and pages as data for programs: --format json, csv or yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ganeti.serializer import dumps, dumps_pretty


def render(value: Any, form: str) -> str:
    """`value` (dicts, lists, plain values) as json, csv or yaml, with a line break at its end.

    csv of a list of flat dicts has a title row; csv of anything else has rows `path,value`.
    """
    if form == "json":
        return dumps_pretty(value) + "\n"
    if form == "csv":
        return _csv(value)
    return "".join(line + "\n" for line in _yaml(value, ""))


def table(
    titles: Sequence[str], rows: Sequence[Sequence[Any]], form: str, *, headers: bool = True
) -> str:
    """Rows under titles; in csv always a table (objects in cells as JSON), the titles if wanted."""
    if form != "csv":
        return render(records(titles, rows), form)
    lines = [[_csv_cell(item) for item in row] for row in rows]
    return _csv_lines([list(titles), *lines] if headers else lines)


def records(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(titles, row)) for row in rows]


def _csv(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        titles = list(value[0])
        if all(list(row) == titles and not _nested(row) for row in value):
            return table(titles, [list(row.values()) for row in value], "csv")
    if value == []:
        return ""
    return table(["path", "value"], list(_flat(value, "")), "csv")


def _csv_lines(lines: Sequence[Sequence[str]]) -> str:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _nested(row: dict[str, Any]) -> bool:
    """Whether a cell holds more than a list of plain values."""
    return any(
        isinstance(item, dict)
        or (isinstance(item, list) and any(isinstance(part, (dict, list)) for part in item))
        for item in row.values()
    )


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(part, (dict, list)) for part in value):
        return ",".join(_csv_cell(part) for part in value)
    return dumps(value)


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}/{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}/{index}" if path else str(index))
    else:
        yield path, value


def _yaml(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _yaml_entry(f"{indent}{dumps(str(key))}:", item, indent)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _yaml_item(item, indent)
    else:
        yield indent + dumps(value)


def _yaml_entry(head: str, item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, (dict, list)) and item:
        yield head
        yield from _yaml(item, indent + "  ")
    else:
        yield f"{head} {dumps(item)}"


def _yaml_item(item: Any, indent: str) -> Iterator[str]:
    lines = list(_yaml(item, indent + "  "))
    yield f"{indent}- {lines[0].lstrip()}"
    yield from lines[1:]
