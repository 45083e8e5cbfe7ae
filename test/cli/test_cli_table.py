"""Tables look as §7 of the facts says."""

from __future__ import annotations

from typing import Any

import fakes.command_line  # noqa: F401  # sets the time zone
import pytest
from fact_tables import facts
from ganeti.cli import formats, table, text
from ganeti.utils.text import format_unit

VECTORS = facts("cli-examples")["v3"]
LISTS = VECTORS["list_tables_3x"]


def rendered(options: dict[str, Any]) -> list[str]:
    separator = options.get("separator")
    units = options.get("unit") or ("m" if separator else "h")
    columns = [
        table.column_of({"name": name, "title": title, "kind": kind}, units, {"tags": text.joined})
        for name, title, kind in LISTS["fields"]
    ]
    rows = table.cells(LISTS["rows"], columns, options.get("verbose", False))
    return table.lines(columns, rows, headers=options["header"], separator=separator)


@pytest.mark.parametrize(
    "vector", [one for one in LISTS["renderings"] if set(one["options"]) <= {
        "header", "separator", "unit", "verbose"}], ids=lambda v: str(v["options"])
)  # fmt: skip
def test_a_list_is_printed_like_the_vector(vector: dict[str, Any]) -> None:
    assert rendered(vector["options"]) == vector["lines"]


@pytest.mark.parametrize("vector", VECTORS["format_size"], ids=str)
def test_a_size_has_its_text(vector: dict[str, Any]) -> None:
    assert format_unit(vector["mib"], vector["units"]) == vector["text"]


def test_a_list_without_rows_has_its_titles() -> None:
    columns = [table.Column("Node"), table.Column("DTotal", right=True), table.Column("Pinst")]
    assert table.lines(columns, []) == ["Node DTotal Pinst"]
    assert table.lines(columns, [], headers=False) == []


def test_old_tables_pad_the_last_title_but_no_row() -> None:
    assert table.lines([table.Column("Name")], [["deb+a"], ["x"]], old=True) == [
        "Name ",
        "deb+a",
        "x",
    ]


def test_an_empty_separator_glues_the_cells() -> None:
    columns = [table.Column("A"), table.Column("B")]
    assert table.lines(columns, [["1", "22"]], separator="") == ["AB", "122"]


DATA = [{"name": "i1", "tags": ["a", "b"], "ram": None}, {"name": "i2", "tags": [], "ram": 5}]


def test_csv_has_a_title_row_and_lists_in_one_cell() -> None:
    assert formats.render(DATA, "csv") == 'name,tags,ram\ni1,"a,b",\ni2,,5\n'


def test_csv_of_a_list_is_a_table_whatever_its_cells_are() -> None:
    assert formats.table(["name", "ram"], [], "csv") == "name,ram\n"
    assert formats.table(["name"], [["i1"]], "csv", headers=False) == "i1\n"
    rows = [["default", {"ovs": False}]]
    assert formats.table(["name", "nd"], rows, "csv").splitlines() == [
        "name,nd", 'default,"{""ovs"":false}"'
    ]  # fmt: skip
    assert formats.table(["name"], [], "json") == "[]\n"


def test_csv_of_a_page_has_paths() -> None:
    page = {"Cluster": "c", "ndparams": {"ovs": False}, "pairs": [{"min": 1}]}
    assert formats.render(page, "csv").splitlines() == [
        "path,value", "Cluster,c", "ndparams/ovs,false", "pairs/0/min,1",
    ]  # fmt: skip


def test_yaml_is_read_back_by_eye() -> None:
    assert formats.render(DATA, "yaml").splitlines() == [
        '- "name": "i1"', '  "tags":', '    - "a"', '    - "b"', '  "ram": null',
        '- "name": "i2"', '  "tags": []', '  "ram": 5',
    ]  # fmt: skip
    assert formats.render([], "yaml") == "[]\n"


def test_json_keeps_the_values() -> None:
    import json

    assert json.loads(formats.render(DATA, "json")) == DATA
