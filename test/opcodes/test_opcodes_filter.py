"""The filter language: JSON form, text form, matching rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from ganeti.errors import OpPrereqError, ParameterError, QueryFilterParseError
from ganeti.opcodes import filter_text
from ganeti.opcodes.checks import Mismatch
from ganeti.opcodes.filter import (
    And,
    Cell,
    Compare,
    Contains,
    Filter,
    Match,
    Not,
    Or,
    Truth,
    all_of,
    fields_of,
    from_json,
    matches,
    names_to_filter,
    requested_names,
    to_json,
)
from ganeti.types import InstanceStatus
from hypothesis import given
from hypothesis import strategies as st

TEXT_FACTS: dict[str, Any] = facts("query_fields")["filter_text"]

FIELDS = st.sampled_from(["name", "tags", "be/maxmem", "disk.size/0"])
VALUES = st.text(max_size=5) | st.integers(-99, 99)
CONDITIONS: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Truth, FIELDS),
    st.builds(Compare, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), FIELDS, VALUES),
    st.builds(Contains, FIELDS, VALUES),
    st.builds(Match, FIELDS, st.sampled_from(["^web", "a|b", "[0-9]+"])),
)
TREES: st.SearchStrategy[Filter] = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def quoted(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(tree: Filter) -> str:
    """A text that means the tree."""
    match tree:
        case And(parts):
            return "(" + " and ".join(map(written, parts)) + ")"
        case Or(parts):
            return "(" + " or ".join(map(written, parts)) + ")"
        case Not(part):
            return f"not {written(part)}"
        case Truth(field):
            return field
        case Compare(operator, field, value):
            return f"{field} {operator} {quoted(value)}"
        case Contains(field, value):
            return f"{quoted(value)} in {field}"
        case Match(field, pattern):
            return f"{field} =~ m#{pattern}#"


def cells(**values: Any) -> Any:
    def cell(field: str) -> Cell:
        if field not in values:
            raise ParameterError(f"unknown field {field!r}")
        value = values[field]
        return value if isinstance(value, Cell) else Cell(value)

    return cell


def holds(text: str, **values: Any) -> bool:
    return matches(filter_text.parse(text), cells(**values))


@given(TREES)
def test_a_filter_survives_json(tree: Filter) -> None:
    assert from_json(json.loads(json.dumps(to_json(tree)))) == tree


@given(TREES)
def test_a_filter_survives_its_text(tree: Filter) -> None:
    assert filter_text.parse(written(tree)) == tree


@given(st.text(max_size=30) | st.text("()'\"/\\=~!<> andortiname1", max_size=30))
def test_any_text_is_parsed_or_refused_with_a_caret(text: str) -> None:
    try:
        filter_text.parse(text)
    except QueryFilterParseError as error:
        message, (line, caret, wish) = error.args
        assert wish in message
        assert caret.strip() == "^" and len(caret) <= len(line) + 1


@pytest.mark.parametrize(("text", "wanted"), TEXT_FACTS["examples_3_0"])
def test_examples_of_the_table_are_parsed(text: str, wanted: Any) -> None:
    assert to_json(filter_text.parse(text)) == wanted


@pytest.mark.parametrize(
    ("arguments", "forced", "field", "wanted"), TEXT_FACTS["command_arguments_3_0"]["cases"]
)
def test_arguments_of_list_commands_become_filters(
    arguments: list[str], forced: bool, field: str | None, wanted: Any
) -> None:
    found = filter_text.from_arguments(
        arguments, force_filter=forced, name_field=field or "name", numeric=field == "id"
    )
    assert to_json(found) == wanted


def test_marks_of_a_filter_are_those_of_the_table() -> None:
    key = "filter when the single argument has any of"
    assert set(TEXT_FACTS["detection"][key]) == filter_text.MARKS


def test_wrong_arguments_are_wrong_input() -> None:
    for arguments, forced, numeric in ((["a", "b"], True, False), ([], True, False)):
        with pytest.raises(OpPrereqError):
            filter_text.from_arguments(arguments, force_filter=forced, numeric=numeric)
    with pytest.raises(OpPrereqError, match="'x' is not a number"):
        filter_text.from_arguments(["x"], numeric=True)


@pytest.mark.parametrize(
    ("text", "column"),
    [("(((", 4), ("?(nosuch)", 1), ("web*", 4), ("a == ", 6), ("a =~ /x/q", 6), ("a =~ /(/", 6)],
)
def test_the_caret_stands_where_the_text_goes_wrong(text: str, column: int) -> None:
    with pytest.raises(QueryFilterParseError) as caught:
        filter_text.parse(text)
    line, caret, _ = caught.value.args[1]
    assert (line, caret) == (text, " " * (column - 1) + "^")


def test_recorded_filters_of_commands_are_parsed_as_recorded(samples: Path) -> None:
    count = 0
    for path in sorted((samples / "cli").glob("20-list-*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            option = next((one for one in ("-F", "--filter") if one in record["argv"]), None)
            if option is None or record["rc"] == 2:
                continue
            text = record["argv"][record["argv"].index(option) + 1]
            try:
                filter_text.parse(text)
            except QueryFilterParseError as error:
                assert record["stderr"].splitlines()[1:3] == error.args[1][:2]
            else:
                assert "parsing query filter" not in record["stderr"], text
            count += 1
    assert count > 10


@pytest.mark.parametrize(
    "value",
    ["x", 5, [], [[]], ["%%", "a", 1], ["=", "a"], ["=", "a", None], ["=", 1, 2], ["!", "a"]]
    + [["!"], ["?"], ["?", "a", "b"], ["=~", "a", 1], ["=~", "a", "("], ["=", "a", True]],
)
def test_json_that_is_no_filter_is_refused(value: Any) -> None:
    with pytest.raises(Mismatch):
        from_json(value)


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 3000 + ")" * 3000])
def test_a_pattern_that_python_can_not_compile_is_refused(pattern: str) -> None:
    with pytest.raises(Mismatch, match="regular expression"):
        from_json(["=~", "name", pattern])
    with pytest.raises(QueryFilterParseError, match="a valid regular expression"):
        filter_text.parse(f"name =~ m/{pattern}/")


def test_nesting_ends_at_ten_levels() -> None:
    deep: Any = ["?", "a"]
    for _ in range(9):
        deep = ["!", deep]
    assert from_json(deep) is not None
    with pytest.raises(Mismatch, match="nested"):
        from_json(["!", deep])


def test_conditions_hold_as_they_say() -> None:
    row = {"name": "web1", "size": 5, "tags": ["prod"], "up": True, "ts": [100, 999]}
    for text in (
        'name == "web1"', 'name != "db"', "size < 6", "size <= 5", "size > 4", "size >= 5",
        '"prod" in tags', '"x" not in tags', "up", "not (size > 5)", "name =~ /^w/",
        'name =* "web?"', 'name !* "db*"', "up and size == 5", "size == 1 or up", "ts == 100",
        "ts < 101", 'name > "vvv"',
    ):  # fmt: skip
        assert holds(text, **row), text
        assert not holds(f"not ({text})", **row), text


def test_empty_and_is_true_and_empty_or_is_false() -> None:
    assert matches(from_json(["&"]), cells())
    assert not matches(from_json(["|"]), cells())
    assert matches(None, cells())


def test_host_names_match_by_their_first_labels_ignoring_case() -> None:
    host = Cell("Node1.example.com", is_host=True)
    assert holds('pnode == "node1"', pnode=host)
    assert holds('pnode == "NODE1.EXAMPLE"', pnode=host)
    assert not holds('pnode == "node1.ex"', pnode=host)
    assert not holds('pnode != "node1"', pnode=host)
    assert not holds('name == "web1"', name="web1.example.com")


def test_a_field_without_normal_status_passes() -> None:
    assert holds("mfree < 5", mfree=Cell(None, known=False))
    assert holds("mfree > 5", mfree=Cell(None, known=False))


@pytest.mark.parametrize(
    ("text", "value"),
    [("a < 'x'", 1), ("a < 1", "x"), ("a", {}), ("a =~ /x/", 1), ("1 in a", 1), ("a == 1", None)],
)
def test_what_can_not_be_compared_is_an_error(text: str, value: Any) -> None:
    with pytest.raises(ParameterError, match="'a'"):
        holds(text, a=value)


def test_an_unknown_field_is_an_error_even_after_a_decision() -> None:
    with pytest.raises(ParameterError, match="unknown"):
        holds("a == 1 or nosuch", a=1)


def test_simple_name_filters_are_found() -> None:
    simple = names_to_filter(["a", "b", "a"])
    assert requested_names(simple, "name") == ["a", "b"]
    assert requested_names(simple, "uuid") is None
    assert requested_names(from_json(["==", "id", 3]), "id") == [3]
    assert requested_names(names_to_filter(["a", "w*"]), "name") is None
    assert requested_names(from_json(["&", ["==", "name", "a"]]), "name") is None
    assert requested_names(None, "name") is None


def test_fields_and_combinations() -> None:
    tree = from_json(["&", ["?", "a"], ["!", ["|", ["=", "b", 1], ["=[]", "c", "x"]]]])
    assert fields_of(tree) == {"a", "b", "c"}
    assert all_of([None, tree]) is tree
    assert all_of([None]) is None
    assert all_of([Truth("a"), Truth("b")]) == And((Truth("a"), Truth("b")))


def test_a_state_in_an_error_is_its_text() -> None:
    row = {"status": Cell(InstanceStatus.RUNNING)}
    wanted = "^field 'status': 'running' can't be compared with 1$"
    with pytest.raises(ParameterError, match=wanted):
        matches(Compare("==", "status", 1), row.__getitem__)
