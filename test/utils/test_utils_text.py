"""Names and sizes as text, against the vectors of the command-line layer."""

from __future__ import annotations

from typing import Any

import pytest
from fact_tables import facts
from ganeti.errors import UnitParseError
from ganeti.utils.text import (
    escape_for_log,
    format_unit,
    nice_sorted,
    parse_unit,
    quote_all,
)
from hypothesis import given
from hypothesis import strategies as st

VECTORS: dict[str, Any] = facts("cli-examples")["v3"]


@pytest.mark.parametrize("row", VECTORS["nice_sort"])
def test_names_sort_as_recorded(row: dict[str, Any]) -> None:
    assert nice_sorted(row["in"]) == row["out"]


@given(st.lists(st.text()))
def test_any_texts_can_be_sorted(texts: list[str]) -> None:
    assert sorted(nice_sorted(texts)) == sorted(texts)


@pytest.mark.parametrize("row", VECTORS["parse_size"])
def test_sizes_parse_as_recorded(row: dict[str, Any]) -> None:
    if "error" in row:
        with pytest.raises(UnitParseError):
            parse_unit(row["input"])
    else:
        assert parse_unit(row["input"]) == row["value"]


@pytest.mark.parametrize("row", VECTORS["format_size"])
def test_sizes_print_as_recorded(row: dict[str, Any]) -> None:
    assert format_unit(row["mib"], row["units"]) == row["text"]


@pytest.mark.parametrize("row", VECTORS["safe_encode"])
def test_texts_are_escaped_as_recorded(row: dict[str, Any]) -> None:
    assert escape_for_log(row["in"]) == row["out"]


def test_command_lines_are_quoted() -> None:
    assert quote_all(["a", "b c", ""]) == "a 'b c' ''"
