"""The declarations are those of facts/opcodes.json, completely and in both directions."""

from __future__ import annotations

from typing import Any

import pytest
from fact_tables import facts
from ganeti import opcodes
from ganeti.opcodes.base import Opcode, Param, op_id_of
from ganeti.opcodes.checks import check_for
from ganeti.serializer import Json, encode

TABLE: dict[str, Any] = facts("opcodes")["opcodes"]
COMMON: list[dict[str, Any]] = facts("opcodes")["common_params"]
ENUMS: dict[str, list[Json]] = facts("opcodes")["enums"]


def row_of(declared: Param) -> dict[str, Json]:
    """A parameter in the form of the table."""
    row = {"name": declared.name, "type": declared.notation}
    if declared.required:
        return row | {"required": True}
    return row | {"default": encode(declared.default)}


def wanted(row: dict[str, Any]) -> dict[str, Json]:
    return {key: row[key] for key in ("name", "type", "required", "default") if key in row}


def test_every_opcode_of_the_table_is_declared_and_no_other() -> None:
    assert set(opcodes.MODULES) == set(TABLE)
    for op_id in TABLE:
        opcodes.find(op_id)
    assert set(Opcode.declared) == set(TABLE)


@pytest.mark.parametrize("op_id", sorted(TABLE))
def test_declaration_equals_the_table(op_id: str) -> None:
    cls, fact = opcodes.find(op_id), TABLE[op_id]
    assert cls.__name__ == fact["class"]
    assert cls.OP_ID == op_id == op_id_of(fact["class"])
    assert cls.SUMMARY == fact["summary_field"]
    assert check_for(cls.RESULT).notation == fact["result"]
    ours = {name: row_of(one) for name, one in cls.own_params().items()}
    assert ours == {row["name"]: wanted(row) for row in fact["params"]}


def test_common_parameters_equal_the_table() -> None:
    ours = [row_of(one) for one in Opcode.PARAMS.values()]
    assert ours == [wanted(row) for row in COMMON]


@pytest.mark.parametrize("op_id", sorted(TABLE))
def test_every_declaration_explains_itself(op_id: str) -> None:
    cls = opcodes.find(op_id)
    assert cls.__doc__ and cls.__doc__.endswith(".")
    for one in cls.PARAMS.values():
        assert 2 < len(one.help) < 80
        assert not one.help.endswith(".")


def enum_checks() -> dict[str, Param]:
    found = {}
    for op_id in TABLE:
        for one in opcodes.find(op_id).PARAMS.values():
            for word in one.notation.replace("]", " ").replace(",", " ").split():
                name = word.split("enum:")[-1].split("→")[0]
                if "enum:" in word:
                    found[name] = one
    return found


def values_in(check: Any, notation: str, words: list[Json]) -> list[Json]:
    """The words as values of a parameter that uses the enumeration in this way."""
    if "dict enum" in notation:
        return [{word: {}} for word in words]
    if "[enum:DdmSimple" in notation:
        return [[[word, "x"]] for word in words]
    if "list" in notation:
        return [[word] for word in words]
    return list(words)


@pytest.mark.parametrize("name", sorted(enum_checks()))
def test_enumerations_accept_exactly_the_words_of_the_table(name: str) -> None:
    one = enum_checks()[name]
    for value in values_in(one.check, one.notation, ENUMS[name]):
        one.check.read(value)
    others = {str(word) for words in ENUMS.values() for word in words} - set(map(str, ENUMS[name]))
    for value in values_in(one.check, one.notation, [*others, "nosuch", ""]):
        with pytest.raises(Exception, match="is expected"):
            one.check.read(value)


def test_all_defaults_pass_their_own_check() -> None:
    for op_id in TABLE:
        for one in opcodes.find(op_id).PARAMS.values():
            if not one.required:
                assert one.check.read(one.fresh_default()) == one.fresh_default()
