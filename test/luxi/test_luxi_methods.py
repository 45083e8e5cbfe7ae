"""The table of methods and the check of arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from ganeti.errors import GenericError, ParseError
from ganeti.luxi.client import READ_ONLY
from ganeti.luxi.methods import METHODS, read_arguments
from ganeti.opcodes.test import OpTestDelay

TABLE: dict[str, Any] = facts("luxi")["methods"]
DELAY = {"OP_ID": "OP_TEST_DELAY", "duration": 1}


def test_the_methods_are_those_of_the_table() -> None:
    assert {name for name, method in METHODS.items() if not method.private} == set(TABLE)
    for name, fact in TABLE.items():
        ours = [argument.name for argument in METHODS[name].arguments]
        assert ours == [text.split(":")[0] for text in fact["args"]], name
        assert METHODS[name].internal == fact.get("internal", False)
        bare = fact.get("args_2_1", "").startswith("the bare")
        assert (METHODS[name].is_bare is not None) == bare, name


def test_the_methods_that_only_read_are_those_of_the_table() -> None:
    ours = {name for name, method in METHODS.items() if method.read_only}
    assert ours == READ_ONLY
    private = {name for name, method in METHODS.items() if method.private}
    assert ours - private == set(facts("luxi")["read_only_methods"])


@pytest.mark.parametrize(
    ("method", "args", "read"),
    [
        ("CancelJob", [5], [5, False]),
        ("CancelJob", ["5", True], [5, True]),
        ("CancelJob", 5, [5, False]),
        ("CancelJob", "5", [5, False]),
        ("ArchiveJob", "12", [12]),
        ("SetDrainFlag", True, [True]),
        ("SetDrainFlag", [False], [False]),
        ("SetWatcherPause", ["x"], [None]),
        ("SetWatcherPause", [1.5], [1.5]),
        ("QueryConfigValues", ["cluster_name"], [["cluster_name"]]),
        ("QueryConfigValues", [["cluster_name"]], [["cluster_name"]]),
        ("QueryClusterInfo", None, []),
        ("QueryClusterInfo", [1], []),
        ("QueryJobs", [["1", 2], ["id"]], [[1, 2], ["id"]]),
        ("QueryJobs", [None, ["id"]], [None, ["id"]]),
        ("Query", ["node", ["name"], ["=", "name", "a"]], ["node", ["name"], ["==", "name", "a"]]),
        ("WaitForJobChange", ["1", ["id"], ["x"], -1, 5], [1, ["id"], ["x"], -1, 5]),
        ("SubmitJob", [[]], [[]]),
        ("SubmitManyJobs", [[]], [[]]),
        ("SubmitManyJobs", [[[], []]], [[[], []]]),
    ],
)
def test_arguments_are_read(method: str, args: Any, read: list[Any]) -> None:
    assert read_arguments(method, args) == read


def test_opcodes_arrive_as_objects_in_both_forms() -> None:
    op, old = OpTestDelay(duration=1), OpTestDelay(duration=1)
    assert read_arguments("SubmitJob", [[DELAY | {"reason": []}]]) == [[op]]
    assert read_arguments("SubmitJob", [DELAY]) == [[old]]
    assert read_arguments("SubmitManyJobs", [[DELAY], [DELAY, DELAY]]) == [[[old], [old, old]]]
    with pytest.raises(ParseError, match="reason"):
        read_arguments("SubmitJob", [[DELAY]])


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("SubmitJob", []),
        ("SubmitJob", [[DELAY | {"reason": [], "x": 1}]]),
        ("SubmitJob", [[DELAY | {"reason": [], "priority": 3}]]),
        ("SubmitJob", [[{"OP_ID": "OP_NO_SUCH", "reason": []}]]),
        ("SubmitManyJobs", [[[DELAY]]]),
        ("QueryTags", {"a": 1}),
        ("QueryTags", ["nosuch", "x"]),
        ("Query", ["instance", ["name"], []]),
        ("Query", ["instance", ["name"], ["&&", "a"]]),
        ("ReplaceFilter", [None, -1, [], "PAUSE", []]),
        ("ReplaceFilter", [None, 1, [], "WRONG", []]),
        ("ReplaceFilter", [None, 1, [], ["RATE_LIMIT", 0], []]),
        ("ReplaceFilter", [None, 1, [["nosuch", []]], "PAUSE", []]),
        ("NoSuchMethod", []),
    ],
)
def test_wrong_arguments_are_refused_as_unparsable(method: str, args: Any) -> None:
    with pytest.raises(ParseError):
        read_arguments(method, args)


def test_filters_are_given_on_with_the_newer_equality_sign() -> None:
    args = [None, 1, [["opcode", ["=", "OP_ID", "x"]]], ["RATE_LIMIT", 3], [["me", "why", 1]]]
    assert read_arguments("ReplaceFilter", args)[2] == [["opcode", ["==", "OP_ID", "x"]]]


def test_internal_methods_are_refused_to_clients() -> None:
    with pytest.raises(GenericError, match="internal"):
        read_arguments("PickupJob", [1])


BARE_FORM_OF_2_1 = '"args": ["cluster_name"]'


@pytest.mark.parametrize(
    "name",
    ["calls", "submit", "job-life", "job-life-multi", "query", "query-fields", "query-filters"],
)
def test_recorded_calls_are_refused_and_accepted_as_recorded(samples: Path, name: str) -> None:
    count = 0
    for line in (samples / "luxi" / f"{name}.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record.get("note") == "sent as it stands" or BARE_FORM_OF_2_1 in record["send"]:
            continue
        sent = json.loads(record["send"])
        refused = '"Failed to parse request' in record["recv"] or record["recv"] == ""
        try:
            read_arguments(sent["method"], sent["args"])
        except ParseError as error:
            assert refused, (sent, error)
        except GenericError:
            assert "internal use" in record["recv"]
        else:
            assert not refused, (sent, record["recv"])
        count += 1
    assert count
