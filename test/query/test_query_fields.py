"""Every field of the fact table is declared, with the same title and kind, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from ganeti.model.params_kvm import KVM_ADDED
from ganeti.query.engine import FIELDS, query_fields
from ganeti.types import QueryResource

RESOURCES: dict[str, Any] = facts("query_fields")["resources"]


ADDED = {f"hv/{name}" for name in KVM_ADDED}
"""Fields that neither the facts nor the recordings have: parameters of our own."""


def expected(what: str) -> dict[str, tuple[str, str]]:
    """Title and kind by name, patterns written out."""
    table = RESOURCES[what]
    found = {name: (row["title"], row["kind"]) for name, row in table["fields"].items()}
    for pattern, row in table.get("patterns", {}).items():
        last = int(row["indices"].rsplit("..", 1)[1])
        for index in range(last + 1):
            title = row["title"].replace("/N", f"/{index}")
            found[pattern.replace("/N", f"/{index}")] = (title, row["kind"])
    return found


@pytest.mark.parametrize("what", sorted(RESOURCES))
def test_the_declared_fields_are_those_of_the_facts(what: str) -> None:
    declared = {
        name: (field.title, field.kind.value)
        for name, field in FIELDS[QueryResource(what)].items()
        if name not in ADDED
    }
    assert declared == expected(what)


@pytest.mark.parametrize("what", sorted(RESOURCES))
def test_fields_are_live_where_the_facts_say_so(what: str) -> None:
    fields = FIELDS[QueryResource(what)]
    told_live = {n for n, row in RESOURCES[what]["fields"].items() if "live" in row["data"]}
    assert {name for name, field in fields.items() if field.needs} - {"archived"} == told_live


def test_only_the_parameters_of_our_own_have_fields_beyond_the_table() -> None:
    declared = {(what, name) for what in RESOURCES for name in FIELDS[QueryResource(what)]}
    told = {(what, name) for what in RESOURCES for name in expected(what)}
    assert declared - told == {("instance", name) for name in ADDED}


def test_aliases_have_the_values_of_what_they_stand_for() -> None:
    fields = FIELDS[QueryResource.INSTANCE]
    for name, target in RESOURCES["instance"]["aliases"].items():
        assert fields[name].get is fields[target].get


def test_host_names_are_compared_as_host_names() -> None:
    for what, table in RESOURCES.items():
        for name, row in table["fields"].items():
            rule = row.get("compare_as", "")
            field = FIELDS[QueryResource(what)][name]
            assert (field.compare.name == "HOST_NAME") == rule.startswith("host name"), name
            assert (field.compare.name == "SECONDS") == rule.startswith("split"), name


def test_every_field_says_what_it_is() -> None:
    for fields in FIELDS.values():
        for field in fields.values():
            assert len(field.doc) > 2 and not field.doc.endswith("."), field.name


def test_definitions_come_in_the_recorded_order(samples: Path) -> None:
    for line in (samples / "luxi" / "query-fields.jsonl").read_text().splitlines():
        record = json.loads(line)
        method, (what, names) = json.loads(record["send"]).values()
        answer = json.loads(record["recv"])
        if not answer["success"]:
            continue
        told = [(f["name"], f["title"]) for f in answer["result"]["fields"]]
        made = query_fields(QueryResource(what), names)["fields"]
        made = [field for field in made if field["name"] not in ADDED]
        assert [(f["name"], f["title"]) for f in made] == told, (method, what)


def test_an_unknown_field_is_defined_as_unknown() -> None:
    (made,) = query_fields(QueryResource.NODE, ["nosuch"])["fields"]
    assert made == {
        "name": "nosuch",
        "title": "nosuch",
        "kind": "unknown",
        "doc": "Unknown field 'nosuch'",
    }
