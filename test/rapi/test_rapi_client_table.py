"""The classic client against the table of the facts: names, signatures, and what each sends."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fact_tables import facts
from fakes.rapi_server import Recorder, recorder
from ganeti.rapi import client as module
from ganeti.rapi.client import GanetiRapiClient

TABLE: dict[str, Any] = facts("rapi_client")
METHODS: dict[str, dict[str, Any]] = TABLE["methods"]
SENDING = {name: fact for name, fact in METHODS.items() if "method" in fact}
FEATURES = [
    "instance-create-reqv1", "instance-reinstall-reqv1", "node-migrate-reqv1", "node-evac-res1",
]  # fmt: skip
LISTS = {
    "tags": ["a:b", "c d"],
    "nodes": ["node2", "node3"],
    "disks": [{"size": 128}],
    "nics": [{}],
    "fields": ["name", "status"],
    "output_fields": ["name", "free"],
    "instances": [{"name": "web1"}],
    "predicates": [["jobid", [">", "id", 0]]],
    "reason_trail": [["me", "test", 1]],
    "prev_job_info": ["queued"],
    "x509_key_name": ["name", "sha1", "mac"],
}
TEXTS_WITH_COMMAS = {("CreateNetwork", "tags"), ("CreateNetwork", "add_reserved_ips")}
NUMBERS = {"job_id", "disk", "amount", "priority", "prev_log_serial"}
SWITCHES = {
    "allocatable", "auto_promote", "cleanup", "early_release", "ignore_consistency", "ignore_size",
    "ignore_secondaries", "ip_check", "name_check", "remove_instance", "shutdown", "static",
    "wait_for_sync",
}  # fmt: skip
KEYWORDS = {"extra_one": 1, "extra_two": {"a": None}}


@pytest.fixture(scope="module")
def server() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


def argument(method: str, name: str, default: object) -> object:
    if (method, name) in TEXTS_WITH_COMMAS:
        return "one,two"
    if (method, name) == ("ReplaceInstanceDisks", "disks"):
        return [0, 1]
    if name in LISTS:
        return LISTS[name]
    if name in NUMBERS:
        return 17
    if default is False or name in SWITCHES:
        return True
    return f"my-{name}"


def arguments(method: str, *, full: bool) -> tuple[list[object], dict[str, object]]:
    """Required arguments in their order, and the others by name; `full`: others as well."""
    required: list[object] = []
    others: dict[str, object] = {}
    for one in METHODS[method]["args"]:
        name = one["name"]
        if name == "**kwargs":
            others |= KEYWORDS if full else {}
        elif "default" not in one:
            required.append(argument(method, name, None))
        elif full:
            others[name] = argument(method, name, one["default"])
    if method in ("MigrateNode",):
        others.pop("reason", None)  # not together with dry_run
    return required, others


def by_name(method: str, required: list[object], others: dict[str, object]) -> dict[str, Any]:
    names = [one["name"] for one in METHODS[method]["args"] if "default" not in one]
    defaults = {one["name"]: one["default"] for one in METHODS[method]["args"] if "default" in one}
    return defaults | dict(zip(names, required)) | others


def value_of(text: object, values: Mapping[str, Any]) -> Any:
    """What the table's notation means with these arguments."""
    if not isinstance(text, str):
        return text
    if found := re.fullmatch(r"<(\w+)>", text):
        return values[found[1]]
    if found := re.fullmatch(r"<(\w+)> (?:joined with commas)", text):
        return None if values[found[1]] is None else ",".join(map(str, values[found[1]]))
    if found := re.fullmatch(r"<(\w+)> split at commas", text):
        return values[found[1]].split(",") if values[found[1]] else []
    if found := re.fullmatch(r"1 when (?:the argument|keyword (\w+)) is true", text):
        return text
    if found := re.fullmatch(r"not <(\w+)>", text):
        return not values[found[1]]
    raise AssertionError(f"notation {text!r}")


def wanted_query(fact: dict[str, Any], values: dict[str, Any]) -> list[tuple[str, str]]:
    made = []
    for name, text, when in fact["query"]:
        if text.startswith("1 when"):
            keyword = name.replace("-", "_")
            made += [(name, "1")] if values.get(keyword) else []
        elif text.startswith("one per element"):
            made += [(name, tag) for tag in values["tags"]]
        else:
            value = value_of(text, values)
            if when == "always" or value is not None:
                made.append((name, str(int(value)) if isinstance(value, bool) else str(value)))
    return made


def wanted_body(fact: dict[str, Any], values: dict[str, Any]) -> Any:
    if fact["body"] is None:
        return None
    if isinstance(fact["body"], str):
        return value_of(fact["body"], values)
    made = {}
    for name, (text, when) in fact["body"].items():
        if name == "...":
            made |= {key: values[key] for key in KEYWORDS if key in values}
        elif name == "reason":
            made[name] = [*(values["reason_trail"] or []), ["gnt:client", "", 0]]
        else:
            value = value_of(text, values)
            if when == "always" or value is not None:
                made[name] = value
    return made


@pytest.mark.parametrize("full", [False, True], ids=["required", "all"])
@pytest.mark.parametrize("method", SENDING)
def test_a_method_sends_the_request_of_the_table(server: Recorder, method: str, full: bool) -> None:
    fact = SENDING[method]
    server.answers = {"/2/features": FEATURES}
    server.other = [] if method.startswith("Get") else {}
    required, others = arguments(method, full=full)
    made = getattr(server.client(), method)
    server.requests.clear()
    try:
        made(*required, **others)
    except (TypeError, ValueError):
        assert fact["method"] == "GET"  # an answer without sense
    values = by_name(method, required, others)
    sent = server.requests[-1]
    path = re.sub(r"{(\w+)}", lambda found: str(values[found[1]]), fact["path"])
    address = urlsplit(sent.target)
    assert (sent.method, address.path) == (fact["method"], path)
    assert parse_qsl(address.query, keep_blank_values=True) == wanted_query(fact, values)
    body = json.loads(sent.body) if sent.body else None
    if isinstance(body, dict) and "reason" in body and "predicates" in body:
        body["reason"][-1][2] = 0
    assert body == wanted_body(fact, values)


@pytest.mark.parametrize("method", METHODS)
def test_a_signature_is_that_of_the_table(method: str) -> None:
    made = []
    for name, one in inspect.signature(getattr(GanetiRapiClient, method)).parameters.items():
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            made.append(("**" + name, "none"))
        elif name != "self":
            made.append((name, "none" if one.default is one.empty else one.default))
    assert made == [(one["name"], one.get("default", "none")) for one in METHODS[method]["args"]]


def test_the_constructor_is_that_of_the_table() -> None:
    made = list(inspect.signature(GanetiRapiClient).parameters.values())
    wanted = TABLE["constructor"]["args"]
    assert [one.name for one in made] == [one["name"] for one in wanted]
    assert [one.default for one in made if one.name == "port"] == [5080]


def test_constants_and_exceptions_are_those_of_the_table() -> None:
    for name, value in TABLE["module"]["constants"].items():
        ours = getattr(module, name)
        assert (sorted(ours) if isinstance(value, list) else ours) == value, name
    for name in (*TABLE["module"]["exceptions"], *TABLE["module"]["functions"]):
        assert hasattr(module, name)
    assert issubclass(module.CertificateError, module.GanetiApiError)


def test_the_module_imports_nothing_else_of_the_project() -> None:
    source = inspect.getsource(module)
    assert not re.search(r"^\s*(from|import) ganeti", source, re.MULTILINE)


def test_the_arguments_of_an_allocation_are_those_of_the_table() -> None:
    made = GanetiRapiClient.InstanceAllocation(
        "create", "web1", "plain", [{"size": 1}], [{}], dry_run=True, os="debian"
    )
    assert made == {
        "mode": "create",
        "name": "web1",
        "disk_template": "plain",
        "disks": [{"size": 1}],
        "nics": [{}],
        "os": "debian",
    }
