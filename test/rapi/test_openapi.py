"""The description in the form of OpenAPI."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fact_tables import facts
from ganeti.opcodes import registry
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.checks import Mismatch
from ganeti.rapi import lists, resources_instance, resources_job, resources_network, resources_node
from ganeti.rapi.answers import (
    ANSWERS,
    FILTER,
    GROUP,
    INFO,
    INSTANCE,
    JOB,
    JOB_IN_LIST,
    NETWORK,
    NODE,
)
from ganeti.rapi.openapi import document
from ganeti.rapi.resources import RESOURCES
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

DOCUMENT = document(RESOURCES)
DECLARED = [(name, one.path) for one in RESOURCES for name in one.methods]
PARAMS = [
    pytest.param(one, id=f"{op_id}.{name}")
    for op_id in sorted(registry.MODULES)
    for name, one in registry.find(op_id).own_params().items()
]  # fmt: skip
WORDS = ["add", "file", "diskless", "live", "preferred", "link", "mode", "size"]
SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=6,
)


def test_it_is_a_valid_description() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_it_has_every_resource_and_method() -> None:
    described = {
        (name.upper(), path)
        for path, item in DOCUMENT["paths"].items()
        for name in item
        if name != "parameters"
    }
    assert described == set(DECLARED)


def test_every_method_of_the_facts_has_an_answer_with_a_type() -> None:
    for row in facts("rapi")["resources"]:
        for name in row["methods"]:
            made = DOCUMENT["paths"][row["path"]][name.lower()]["responses"]["200"]
            assert made["content"]["application/json"]["schema"], (name, row["path"])


def test_answers_belong_to_methods_that_exist() -> None:
    assert set(ANSWERS) <= set(DECLARED)


@pytest.mark.parametrize(
    ("described", "shown"),
    [
        (INSTANCE, resources_instance.FIELDS),
        (NODE, resources_node.FIELDS),
        (NETWORK, resources_network.NETWORK_FIELDS),
        (GROUP, resources_network.GROUP_FIELDS),
        (FILTER, resources_job.FILTER_FIELDS),
        (JOB_IN_LIST, resources_job.BULK_FIELDS),
        (JOB, resources_job.FIELDS),
    ],
)
def test_fields_with_types_are_those_that_are_shown(described: Any, shown: Any) -> None:
    assert set(described) == set(shown)


def test_described_parameters_of_the_cluster_are_known() -> None:
    assert set(INFO["properties"]) <= {name for name, _ in facts("rapi")["field_lists"]["info"]}


def test_a_part_of_a_list_is_described() -> None:
    made = DOCUMENT["paths"]["/2/instances"]["get"]["parameters"]
    assert {one.name for one in lists.PARTS} <= {one["name"] for one in made}


def test_a_parameter_with_two_names_is_given_once() -> None:
    post = DOCUMENT["paths"]["/2/instances"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    check = Draft202012Validator(schema)
    body = {
        "__version__": 1,
        "mode": "create",
        "disk_template": "diskless",
        "disks": [],
        "nics": [],
    }
    assert check.is_valid(body | {"name": "web1"})
    assert check.is_valid(body | {"instance_name": "web1"})
    assert not check.is_valid(body | {"instance_name": "web1", "name": "web1"})
    assert not check.is_valid(body)


def test_what_needs_a_login_says_so() -> None:
    assert {} in DOCUMENT["paths"]["/2/info"]["get"]["security"]
    assert {} not in DOCUMENT["paths"]["/2/modify"]["put"]["security"]


@pytest.mark.parametrize("param", PARAMS)
def test_the_schema_of_a_parameter_takes_its_default(param: Any) -> None:
    Draft202012Validator.check_schema(dict(param.check.schema))
    if not param.required and param.default is not None:
        assert Draft202012Validator(param.check.schema).is_valid(as_json(param.default))


@given(value=VALUES)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_what_a_parameter_takes_its_schema_takes_as_well(value: Any) -> None:
    seen = set()
    for op_id in registry.MODULES:
        for one in (*registry.find(op_id).own_params().values(), *Opcode.PARAMS.values()):
            if one.notation in seen:
                continue
            seen.add(one.notation)
            try:
                one.check.read(value)
            except Mismatch:
                continue
            assert Draft202012Validator(one.check.schema).is_valid(value), one.notation


def as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [as_json(one) for one in value]
    return value


def test_texts_are_complete() -> None:
    for path, item in DOCUMENT["paths"].items():
        for name, method in item.items():
            if name != "parameters":
                assert re.match(r".+\.$", method["summary"]), (name, path)
