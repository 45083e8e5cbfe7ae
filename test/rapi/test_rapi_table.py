"""The declared resources against the table of the facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fact_tables import facts
from ganeti.opcodes import registry
from ganeti.rapi import lists, resources_instance, resources_job, resources_network, resources_node
from ganeti.rapi.resources import RESOURCES
from ganeti.rapi.table import Method

TABLE: list[dict[str, Any]] = facts("rapi")["resources"]
OURS = {one.path: one for one in RESOURCES}
ADDED_ARGUMENTS = {one.name for one in lists.PARTS}


def rows() -> Iterator[Any]:
    for row in TABLE:
        for name, fact in row["methods"].items():
            yield pytest.param(row["path"], name, fact, id=f"{name} {row['path']}")


def ours(path: str, name: str) -> Method:
    return OURS[path].methods[name]


def test_every_method_of_the_table_is_there() -> None:
    wanted = {(row["path"], name) for row in TABLE for name in row["methods"]}
    declared = {(one.path, name) for one in RESOURCES for name in one.methods}
    assert wanted <= declared


@pytest.mark.parametrize(("path", "name", "fact"), list(rows()))
def test_access_is_that_of_the_table(path: str, name: str, fact: dict[str, Any]) -> None:
    assert ours(path, name).access == fact["access"]


@pytest.mark.parametrize(("path", "name", "fact"), list(rows()))
def test_query_arguments_are_those_of_the_table(path: str, name: str, fact: dict[str, Any]) -> None:
    declared = {argument.name for argument in ours(path, name).arguments}
    if "bulk" in fact["query"]:
        declared -= ADDED_ARGUMENTS
    assert declared == set(fact["query"])


@pytest.mark.parametrize(("path", "name", "fact"), list(rows()))
def test_a_body_is_read_where_the_table_has_one(path: str, name: str, fact: dict[str, Any]) -> None:
    method = ours(path, name)
    body = fact.get("body")
    assert method.takes_body == (body is not None)
    if isinstance(body, dict):
        assert method.body is not None
        assert set(method.body.params) - method.body.forbidden == set(body)


@pytest.mark.parametrize(("path", "name", "fact"), list(rows()))
def test_names_of_the_older_form_are_those_of_the_table(
    path: str, name: str, fact: dict[str, Any]
) -> None:
    body = ours(path, name).body
    wanted = fact.get("rename", {})
    if body is not None and body.renamed:
        assert dict(body.renamed) == wanted
    else:
        assert not wanted


@pytest.mark.parametrize(("path", "name", "fact"), list(rows()))
def test_the_opcodes_are_those_of_the_table(path: str, name: str, fact: dict[str, Any]) -> None:
    wanted = [fact["opcode"]] if "opcode" in fact else fact.get("opcodes", [])
    declared = [one.OP_ID for one in ours(path, name).opcodes]
    assert declared == [text.partition("(")[0].partition(" ")[0] for text in wanted]
    assert all(registry.find(one) for one in declared)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("instance", resources_instance.FIELDS),
        ("node", resources_node.FIELDS),
        ("network", resources_network.NETWORK_FIELDS),
        ("group", resources_network.GROUP_FIELDS),
        ("filter", resources_job.FILTER_FIELDS),
        ("job_bulk", resources_job.BULK_FIELDS),
        ("job", resources_job.FIELDS),
    ],
)
def test_whole_objects_have_the_fields_of_the_table(kind: str, fields: tuple[str, ...]) -> None:
    assert list(fields) == [name for name, _ in facts("rapi")["field_lists"][kind]]
