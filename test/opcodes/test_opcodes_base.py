"""Making, checking, showing and copying of opcodes."""

import json
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from ganeti import opcodes
from ganeti.errors import Code, OpCodeUnknown, OpPrereqError, OpResultError, ProgrammerError
from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.cluster import OpClusterSetParams, OpClusterVerify
from ganeti.opcodes.disk import OpInstanceRecreateDisks
from ganeti.opcodes.instance import (
    OpInstanceCreate,
    OpInstanceMultiAlloc,
    OpInstanceReinstall,
    OpInstanceSetParams,
    OpInstanceStartup,
)
from ganeti.opcodes.network import OpNetworkAdd
from ganeti.opcodes.node import OpOobCommand
from ganeti.opcodes.tags import OpTagsSet
from ganeti.opcodes.test import OpTestDelay
from ganeti.types import ChangeAction, DiskTemplate, TagKind


def a_creation(**values: Any) -> OpInstanceCreate:
    given: dict[str, Any] = {"instance_name": "web1", "disks": [], "nics": [], "mode": "create"}
    return OpInstanceCreate(**given | values)


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"a": made}
    return made


def refusal(cls: type[Opcode], **values: Any) -> OpPrereqError:
    with pytest.raises(OpPrereqError) as caught:
        cls(**values)
    assert caught.value.code == Code.INVAL
    return caught.value


def test_parameters_left_out_take_their_defaults() -> None:
    op = OpInstanceStartup(instance_name="web1")
    assert (op.instance_name, op.force, op.shutdown_timeout) == ("web1", False, 120)
    assert (op.priority, op.depends, op.reason) == (0, None, ())


def test_defaults_are_not_shared_between_opcodes() -> None:
    one, other = OpInstanceStartup(instance_name="a"), OpInstanceStartup(instance_name="b")
    assert one.hvparams == other.hvparams == {}
    assert one.hvparams is not other.hvparams


def test_values_are_read_into_types() -> None:
    assert a_creation(disk_template="plain").disk_template is DiskTemplate.PLAIN
    assert OpTestDelay(duration=5).duration == 5.0
    assert isinstance(OpTestDelay(duration=5).duration, float)
    assert OpTagsSet(kind=TagKind.NODE, tags=["a"]).tags == ("a",)


@pytest.mark.parametrize(
    ("cls", "values", "texts"),
    [
        (OpInstanceStartup, {}, ["OP_INSTANCE_STARTUP", "'instance_name' is missing"]),
        (OpInstanceStartup, {"instance_name": 5}, ["'instance_name'", "a text", "not 5"]),
        (OpInstanceStartup, {"instance_name": "a", "force": "yes"}, ["'force'", "not 'yes'"]),
        (OpInstanceStartup, {"instance_name": "a", "force": 1}, ["true or false"]),
        (OpInstanceStartup, {"instance_name": "a", "shutdown_timeout": -1}, ["at least 0"]),
        (OpInstanceStartup, {"instance_name": "a", "shutdown_timeout": True}, ["whole number"]),
        (OpInstanceStartup, {"instance_name": "a", "nosuch": 1}, ["unknown parameter 'nosuch'"]),
        (OpInstanceStartup, {"instance_name": "a", "priority": 20}, ["from -20 to 19"]),
        (OpTagsSet, {"kind": "dog", "tags": []}, ["one of cluster, instance"]),
        (OpTagsSet, {"kind": "node", "tags": ["a", None]}, ["'tags'[1]", "not None"]),
        (OpNetworkAdd, {"network_name": "a", "network": "10.0.0.0"}, ["IPv4 network"]),
        (OpNetworkAdd, {"network_name": "a", "network": "10.0.0/24"}, ["IPv4 network"]),
        (OpClusterVerify, {"ignore_errors": ["ENOSUCH"]}, ["'ignore_errors'[0]", "ENODEDRBD"]),
        (OpTestDelay, {"duration": 1, "depends": [[1]]}, ["'depends'[0]", "2 items"]),
        (OpTestDelay, {"duration": 1, "depends": [[1, ["running"]]]}, ["canceled, error"]),
        (OpTestDelay, {"duration": 10**400}, ["'duration'", "a number is expected"]),
        (OpTestDelay, {"duration": float("nan")}, ["a number is expected, not nan"]),
        (OpTestDelay, {"duration": float("inf")}, ["a number is expected, not inf"]),
        (OpClusterSetParams, {"ipolicy": nested(200)}, ["'ipolicy'", "at most 50 levels"]),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    cls: type[Opcode], values: dict[str, Any], texts: list[str]
) -> None:
    message = str(refusal(cls, **values))
    for text in texts:
        assert text in message


def test_secret_values_are_not_in_the_refusal() -> None:
    error = refusal(OpInstanceReinstall, instance_name="a", osparams_secret="hunter2")
    assert "hunter2" not in str(error)


def test_an_opcode_is_not_changed_but_copied() -> None:
    op = OpInstanceStartup(instance_name="web1")
    with pytest.raises(ProgrammerError):
        op.force = True  # type: ignore[misc]
    assert op.replace(force=True).force is True
    assert op.force is False
    with pytest.raises(OpPrereqError):
        op.replace(force="x")
    with pytest.raises(OpPrereqError):
        op.replace(nosuch=1)


def test_the_reason_trail_grows_at_its_end() -> None:
    op = OpInstanceStartup(instance_name="web1", reason=[["gnt:user", "why", 1]])
    longer = op.with_reason("gnt:opcode:instance_startup", "job=5;index=0", 2)
    assert longer.to_json()["reason"] == [
        ["gnt:user", "why", 1],
        ["gnt:opcode:instance_startup", "job=5;index=0", 2],
    ]
    assert len(op.reason or ()) == 1


def test_json_has_all_parameters_and_the_op_id() -> None:
    value = OpTestDelay(duration=1).to_json()
    names = {row["name"] for row in facts("opcodes")["opcodes"]["OP_TEST_DELAY"]["params"]}
    common = {row["name"] for row in facts("opcodes")["common_params"]}
    assert set(value) == names | common | {"OP_ID"}
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ([], OpPrereqError, "an opcode is an object"),
        ({"duration": 1}, OpPrereqError, "OP_ID"),
        ({"OP_ID": 5}, OpPrereqError, "OP_ID"),
        ({"OP_ID": "OP_NO_SUCH"}, OpCodeUnknown, "OP_NO_SUCH"),
        ({"OP_ID": "OP_TEST_DELAY"}, OpPrereqError, "'duration' is missing"),
        ({"OP_ID": "OP_TEST_DELAY", "duration": 1, "x": 1}, OpPrereqError, "unknown parameter"),
    ],
)
def test_json_that_is_no_opcode_is_refused(value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        opcodes.load(value)


def test_an_opcode_of_another_class_is_refused() -> None:
    with pytest.raises(OpPrereqError, match="OP_TEST_DELAY"):
        OpTestDelay.from_json({"OP_ID": "OP_TAGS_SET"})


def test_submission_wants_a_reason_and_a_usual_priority() -> None:
    value = {"OP_ID": "OP_TEST_DELAY", "duration": 1}
    with pytest.raises(OpPrereqError, match="'reason' is missing"):
        opcodes.load_submitted(value)
    assert opcodes.load_submitted(value, needs_reason=False).priority == 0
    assert opcodes.load_submitted(value | {"reason": [], "priority": -10}).priority == -10
    with pytest.raises(OpPrereqError, match="priority 5 can't be submitted"):
        opcodes.load_submitted(value | {"reason": [], "priority": 5})
    assert opcodes.load(value | {"priority": 5}).priority == 5


def test_recorded_opcodes_are_loaded_and_given_back(samples: Path) -> None:
    count = 0
    for path in sorted((samples / "state" / "5-late" / "queue").rglob("job-*")):
        for entry in json.loads(path.read_text())["ops"]:
            given = entry["input"]
            again = opcodes.load(given).to_json()
            assert {key: again[key] for key in given} == given
            count += 1
    assert count > 100


def test_recorded_summaries_are_ours(samples: Path) -> None:
    lines = (samples / "luxi" / "calls.jsonl").read_text().splitlines()
    asked = [json.loads(line) for line in lines if '\\"summary\\", \\"ops\\"' in line]
    rows = [row for one in asked for row in json.loads(one["recv"])["result"]]
    assert rows
    for found in rows:
        assert [opcodes.summary(op) for op in found[3]] == found[2]


@pytest.mark.parametrize(
    ("op_id", "values"),
    [
        ("OP_INSTANCE_CREATE", {"instance_name": "web1"}),
        ("OP_TAGS_SET", {}),
        ("OP_TEST_DELAY", {"duration": 1.5}),
        ("OP_CLUSTER_VERIFY_GROUP", {"group_name": "default"}),
        ("OP_TEST_ALLOCATOR", {}),
        ("OP_INSTANCE_RENAME", {}),
    ],
)
def test_summaries_are_those_of_the_table(op_id: str, values: dict[str, Any]) -> None:
    examples = facts("opcodes")["summary_rules"]["examples_3_0_python"]
    key = next(key for key in examples if key.split()[0] == op_id)
    tiny = opcodes.find(op_id).tiny_summary()
    assert [opcodes.summary({"OP_ID": op_id, **values}), tiny] == examples[key]


def test_summary_of_an_unknown_opcode_is_invalid() -> None:
    assert opcodes.summary({"OP_ID": "OP_NO_SUCH"}) == "INVALID_OP"
    assert opcodes.summary({}) == "INVALID_OP"


def test_summary_joins_lists_and_shows_enumerations_as_words() -> None:
    @opcode(summary="nodes")
    class OpOwnTest(Opcode):
        """For this test."""

        nodes: Any = param("nodes")

    del Opcode.declared["OP_OWN_TEST"]
    assert OpOwnTest(nodes=["a", "b"]).summary() == "OWN_TEST(a,b)"
    assert opcodes.find("OP_QUERY")(what="node", fields=["name"]).summary() == "QUERY(node)"


def test_private_and_secret_values_are_hidden() -> None:
    op = a_creation(osparams_private={"a": "P1"}, osparams_secret={"b": "S1"})
    assert op.to_json()["osparams_private"] == {"a": "P1"}
    assert op.redacted()["osparams_private"] == {"a": None}
    assert op.redacted()["osparams_secret"] == {"b": None}
    assert op.stored()["osparams_private"] == {"a": "P1"}
    assert op.stored()["osparams_secret"] == {"b": None}
    assert "P1" not in repr(op) and "S1" not in repr(op)
    assert "P1" not in repr(op.osparams_private)
    assert opcodes.load(op.stored()).summary() == op.summary()


def test_hiding_reaches_nested_opcodes_and_objects() -> None:
    op = OpInstanceMultiAlloc(instances=[a_creation(osparams_secret={"b": "S1"}).to_json()])
    assert isinstance(op.instances[0], OpInstanceCreate)
    assert op.redacted()["instances"][0]["osparams_secret"] == {"b": None}
    assert "S1" not in repr(op)
    cluster = OpClusterSetParams(osparams_private_cluster={"noop": {"a": "P1"}})
    assert cluster.redacted()["osparams_private_cluster"] == {"noop": {"a": None}}


def test_hiding_works_on_opcodes_that_are_not_valid() -> None:
    value = {"OP_ID": "OP_INSTANCE_CREATE", "osparams_secret": {"b": "S1"}, "x": 1}
    assert opcodes.redacted(value)["osparams_secret"] == {"b": None}
    assert opcodes.redacted({"OP_ID": "OP_OLD", "my_secret": "S1"})["my_secret"] is None
    assert opcodes.redacted({"OP_ID": ["x"], "my_private": "S1"})["my_private"] is None


def test_old_forms_of_disk_changes_are_read_as_new_ones() -> None:
    op = OpInstanceSetParams(
        instance_name="a",
        disks=[["add", {"size": 1}], ["remove", {}], [3, {"mode": "ro"}], ["attach", "x", {}]],
    )
    assert op.disks == (
        (ChangeAction.ADD, -1, {"size": 1}),
        (ChangeAction.REMOVE, -1, {}),
        (ChangeAction.MODIFY, 3, {"mode": "ro"}),
        (ChangeAction.ATTACH, "x", {}),
    )
    assert opcodes.load(op.to_json()) == op


def test_disks_to_recreate_come_with_or_without_changes() -> None:
    assert OpInstanceRecreateDisks(instance_name="a", disks=[0, 2]).disks == (0, 2)
    changed = OpInstanceRecreateDisks(instance_name="a", disks=[[0, {"spindles": 2}]])
    assert changed.disks == ((0, {"spindles": 2}),)
    refusal(OpInstanceRecreateDisks, instance_name="a", disks=[0, [1, {}]])


def test_job_ids_in_dependencies_may_be_digits() -> None:
    op = OpTestDelay(duration=1, depends=[["12", []], [-1, ["success"]]])
    assert op.depends == ((12, ()), (-1, ("success",)))
    refusal(OpTestDelay, duration=1, depends=[["x", []]])


def test_results_are_checked_against_the_declared_shape() -> None:
    OpInstanceStartup.check_result(None)
    OpClusterVerify.check_result({"jobs": [[True, 5], [False, "no"]], "more": 1})
    OpOobCommand.check_result([[[0, "node1"], [0, None]]])
    for cls, value in (
        (OpInstanceStartup, []),
        (OpClusterVerify, {}),
        (OpClusterVerify, {"jobs": [[True]]}),
        (OpOobCommand, [[[7, "x"]]]),
    ):
        with pytest.raises(OpResultError, match=cls.OP_ID):
            cls.check_result(value)
