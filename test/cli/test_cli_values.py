"""Option values are read as the recorded programs read them."""

from __future__ import annotations

from typing import Any

import fakes.command_line  # noqa: F401  # sets the time zone
import pytest
from fact_tables import facts
from ganeti.cli import text, values
from ganeti.cli.gnt_os import names_with_variants
from ganeti.cli.log import hide
from ganeti.cli.options import OS_PARAMETERS, OS_PARAMETERS_PRIVATE
from ganeti.errors import GenericError

VECTORS = facts("cli-examples")["v3"]

READERS = {
    "parse_size": values.parse_unit,
    "parse_duration": values.read_duration,
    "keyval": values.read_key_values,
    "identkeyval": values.read_ident_key_values,
    "bool": values.read_bool,
    "list": values.split_list,
    "maybefloat": values.read_maybe_float,
    "filteraction": values.read_filter_action,
    "node_placement": values.read_placement,
}


def cases() -> list[Any]:
    return [
        pytest.param(read, vector, id=f"{name}:{vector['input']}")
        for name, read in READERS.items()
        for vector in VECTORS[name]
    ]


@pytest.mark.parametrize(("read", "vector"), cases())
def test_a_value_is_read_like_the_vector_says(read: Any, vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises((GenericError, ValueError)):
            read(vector["input"])
    else:
        found = read(vector["input"])
        wanted = vector["value"]
        assert (list(found) if isinstance(found, tuple) else found) == wanted
        assert type(found) is not bool or type(wanted) is bool


@pytest.mark.parametrize("vector", VECTORS["multilistidentkeyval"], ids=lambda v: v["input"])
def test_sections_are_read_like_the_vector_says(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(GenericError):
            values.read_sections(vector["input"])
    else:
        assert values.read_sections(vector["input"]) == vector["value"]


@pytest.mark.parametrize("vector", VECTORS["fields"], ids=lambda v: str(v["option"]))
def test_columns_replace_or_extend_the_default(vector: dict[str, Any]) -> None:
    assert values.read_fields(vector["option"], vector["default"]) == vector["fields"]


@pytest.mark.parametrize("vector", VECTORS["timestamps"]["list_cell"])
def test_moments_have_their_text(vector: dict[str, Any]) -> None:
    assert text.moment(vector["seconds"]) == vector["text"]


@pytest.mark.parametrize("vector", VECTORS["timestamps"]["job"])
def test_moments_of_jobs_have_their_text(vector: dict[str, Any]) -> None:
    assert text.job_moment(vector["value"]) == vector["text"]


@pytest.mark.parametrize("vector", VECTORS["os_names"])
def test_an_os_has_one_name_per_variant(vector: dict[str, Any]) -> None:
    assert names_with_variants(vector["name"], vector["variants"]) == vector["names"]


def test_private_values_are_neither_shown_nor_logged() -> None:
    private = values.read_private_key_values("password=secret1")
    assert private == {"password": "secret1"}
    assert "secret1" not in repr(private) + str(private)
    taken = [OS_PARAMETERS, OS_PARAMETERS_PRIVATE]
    words = ["-O", "a=b", "--os-parameters", "c=d", "--os-parameters-p", "password=secret1"]
    assert hide(words, taken) == [*words[:5], "<hidden>"]
    assert hide(["--os-parameters-private=password=x", "i1"], taken) == [
        "--os-parameters-private=<hidden>",
        "i1",
    ]


def test_without_a_converter_numbers_stay_numbers() -> None:
    assert text.roman(4, False) == 4
    assert text.roman("x") == "x"
    assert text.roman(True) is True
