"""Patterns that people give: what they find, and that none of them takes for ever."""

from __future__ import annotations

import pytest
from ganeti.errors import ParameterError
from ganeti.opcodes.filter import Cell, from_json, matches
from ganeti.opcodes.pattern import Finder, pattern_problem

EVIL = "(a|aa)+$"
LONG = "a" * 200 + "b"


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^web", "web1", True),
        ("(?i)WEB", "web1", True),
        (r"^web\d+(\..*)?$", "web12.example.com", True),
        (r"(?P<x>a)(?P=x)", "aa", True),
        ("(?!web)", "", True),
        ("db", "web1", False),
    ],
)
def test_the_syntax_is_that_of_python(pattern: str, text: str, found: bool) -> None:
    assert pattern_problem(pattern) == ""
    assert Finder(pattern).is_in(text) is found


@pytest.mark.parametrize("pattern", ["(", "[a", r"\X", r"\p{L}"])
def test_what_python_does_not_know_is_a_problem(pattern: str) -> None:
    assert pattern_problem(pattern)


def test_a_pattern_that_would_take_years_is_given_up() -> None:
    finder = Finder(EVIL, limit_s=0.02)
    with pytest.raises(ParameterError, match=r"takes more than 0\.02 s"):
        finder.is_in(LONG)


def test_all_texts_of_one_question_share_the_time() -> None:
    finder = Finder(EVIL, limit_s=0.02)
    for _ in range(2):
        with pytest.raises(ParameterError):
            finder.is_in(LONG)
    with pytest.raises(ParameterError):
        finder.is_in("a")  # alone it would be quick


def test_a_filter_of_one_row_is_given_up_too() -> None:
    tree = from_json(["=~", "name", EVIL])
    with pytest.raises(ParameterError, match="takes more than"):
        matches(tree, lambda name: Cell(LONG))
