"""doc/rapi.rst is what its tool writes, and has examples of most of the interface."""

from __future__ import annotations

from ganeti.rapi.resources import RESOURCES
from rapi_page import EXAMPLES, PAGE, page, read_examples

DECLARED = {(name, one.path) for one in RESOURCES for name in one.methods}


def test_the_page_is_up_to_date() -> None:
    made = page(RESOURCES, read_examples())
    assert PAGE.read_text() == made, "run tools/make-rapi-doc"


def test_examples_are_of_methods_that_exist_and_were_answered() -> None:
    examples = read_examples()
    assert len(examples) > 50
    for one in examples:
        assert (one["method"], one["path"]) in DECLARED, (
            f"{EXAMPLES}: {one['method']} {one['path']}"
        )
        assert one["status"].split()[0] in ("200", "400", "404"), one["target"]


def test_most_methods_that_read_have_an_example() -> None:
    shown = {(one["method"], one["path"]) for one in read_examples()}
    assert len([key for key in shown if key[0] == "GET"]) > 20
