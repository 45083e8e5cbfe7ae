"""The allocator protocol, against requests and answers of a real cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from ganeti.alloc import protocol
from ganeti.alloc.answer import migrate_opcode, rebuild_opcodes, solve
from ganeti.alloc.cluster import read_request
from ganeti.errors import OpExecError, ParseError, ResultValidationError
from ganeti.model import inherit
from ganeti.model.config import ConfigDocument
from ganeti.model.report import RunningInfo
from ganeti.serializer import decode, dumps, loads


@pytest.fixture(scope="module")
def runs(samples: Path) -> list[dict[str, Any]]:
    lines = (samples / "iallocator" / "runs.jsonl").read_text().splitlines()
    return [loads(line) for line in lines]


NUMBERS = protocol.NodeNumbers(
    total_memory=24105, reserved_memory=100, free_memory=23000, total_disk=100000,
    free_disk=90000, total_spindles=0, free_spindles=0, total_cpus=2, reserved_cpus=2,
    i_pri_memory=0, i_pri_up_memory=0,
)  # fmt: skip


def document_of(samples: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The document of the recorded cluster's configuration."""
    text = (samples / "state" / "4-full" / "config.data").read_bytes()
    config = decode(ConfigDocument, loads(text), "config.data")
    cluster = config.cluster
    groups = config.nodegroups
    instances = {}
    for one in config.instances.values():
        node = config.nodes[one.primary_node]
        instances[one.name] = protocol.instance_entry(
            one,
            inherit.fill_beparams(cluster, one.beparams),
            [config.disks[uuid] for uuid in one.disks],
            [inherit.fill_nic(cluster, nic, groups[node.group]) for nic in one.nics],
            [node.name],
        )
    return protocol.document(
        cluster_name=cluster.cluster_name,
        cluster_tags=cluster.tags,
        enabled_hypervisors=cluster.enabled_hypervisors,
        ipolicy=inherit.fill_ipolicy(cluster),
        nodegroups={
            uuid: protocol.group_entry(group, inherit.fill_ipolicy(cluster, group))
            for uuid, group in groups.items()
        },
        nodes={
            node.name: protocol.node_entry(
                node, inherit.fill_ndparams(cluster, groups[node.group], node), NUMBERS
            )
            for node in config.nodes.values()
        },
        instances=instances,
        request=request,
    )


def keys_of(table: dict[str, Any]) -> set[str]:
    return set().union(*(entry.keys() for entry in table.values()))


def test_our_documents_have_the_keys_of_a_real_one(
    samples: Path, runs: list[dict[str, Any]]
) -> None:
    own = document_of(samples, {})
    known = runs[0]["request"]
    assert own.keys() == known.keys()
    for part in ("nodegroups", "nodes", "instances"):
        assert keys_of(own[part]) == keys_of(known[part]), part
    web1 = known["instances"]["web2.example.com"]
    assert own["instances"]["web2.example.com"] == web1
    assert own["nodegroups"].keys() == known["nodegroups"].keys()
    for uuid, group in known["nodegroups"].items():
        assert own["nodegroups"][uuid] == group


@pytest.mark.parametrize("kind", [kind.value for kind in protocol.RequestKind])
def test_our_requests_have_the_keys_of_real_ones(runs: list[dict[str, Any]], kind: str) -> None:
    new = protocol.allocate_request(
        name="x", disk_template="drbd", os="noop", vcpus=1, memory=64, hypervisor="fake",
        disks=[{"size": 1024, "mode": "rw"}], nics=[{"mac": "auto"}],
    )  # fmt: skip
    made: dict[str, dict[str, Any]] = {
        "allocate": new,
        "relocate": protocol.relocate_request("x", 4, ["n"]),
        "node-evacuate": protocol.evacuate_request(["x"], protocol.EvacuationMode.ALL),
        "change-group": protocol.change_group_request(["x"], []),
        "multi-allocate": protocol.multi_allocate_request([new]),
        "allocate-secondary": protocol.allocate_secondary_request("x"),
    }
    for run in runs:
        known = run["request"]["request"]
        if known["type"] == kind:
            assert made[kind].keys() == known.keys()
            if kind == "multi-allocate":
                assert made[kind]["instances"][0].keys() == known["instances"][0].keys()
    assert new["disk_space_total"] == 1152 and new["required_nodes"] == 2


def test_recorded_answers_are_accepted(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        if run["hail"]["rc"] == 0:
            answer = protocol.parse_answer(run["request"]["request"], run["hail"]["stdout"])
            assert isinstance(answer.info, str)


def test_the_built_in_allocator_answers_every_recorded_request(
    runs: list[dict[str, Any]],
) -> None:
    for run in runs:
        request = run["request"]["request"]
        ours = protocol.parse_answer(request, dumps(solve(run["request"])))
        if run["hail"]["rc"] != 0:
            continue
        theirs = protocol.parse_answer(request, run["hail"]["stdout"])
        if request["type"] == "multi-allocate":
            continue  # without numbers for file storage hail refuses, and we don't
        assert ours.success == theirs.success, (run["while"], ours.info)
        if request["type"] in ("node-evacuate", "change-group") and ours.success:
            assert [row[0] for row in ours.result[0]] == [row[0] for row in theirs.result[0]]
            assert [row[0] for row in ours.result[1]] == [row[0] for row in theirs.result[1]]
            assert len(ours.result[2]) == len(theirs.result[2])
            for job, known in zip(ours.result[2], theirs.result[2]):
                assert [opcode.keys() for opcode in job] == [opcode.keys() for opcode in known]


def test_opcodes_of_answers_are_real_ones() -> None:
    known = facts("opcodes")["opcodes"]
    for opcode in protocol_opcodes():
        names = {field["name"] for field in known[opcode["OP_ID"]]["params"]}
        assert opcode.keys() - {"OP_ID"} <= names


def protocol_opcodes() -> list[dict[str, Any]]:
    return [migrate_opcode("x", "n"), *rebuild_opcodes("x", ["a", "b"])]


@pytest.mark.parametrize("text", ["", "[]", "no json", '{"success": true}', "3"])
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(OpExecError):
        protocol.parse_answer(protocol.relocate_request("x", 0, []), text)


@pytest.mark.parametrize(
    "request_, result",
    [
        (protocol.relocate_request("x", 0, []), []),
        (protocol.relocate_request("x", 0, []), ["a", "b"]),
        (protocol.relocate_request("x", 0, []), "a"),
        (protocol.relocate_request("x", 0, []), [1]),
        (protocol.allocate_secondary_request("x"), ["a"]),
        (protocol.multi_allocate_request([]), [[]]),
        (protocol.multi_allocate_request([]), [[["x"]], []]),
        (protocol.multi_allocate_request([]), [[], [1]]),
        (protocol.change_group_request([], []), [[], []]),
        (protocol.change_group_request([], []), [[["x", "g", "n"]], [], []]),
        (protocol.change_group_request([], []), [[], [["x", 1]], []]),
        (protocol.change_group_request([], []), [[], [], [[{"OP_ID": "OP_NODE_REMOVE"}]]]),
        ({"type": "guess"}, []),
    ],
)
def test_results_of_a_wrong_form_are_refused(request_: dict[str, Any], result: Any) -> None:
    text = dumps(protocol.answer(True, "", result))
    with pytest.raises(ResultValidationError):
        protocol.parse_answer(request_, text)


def test_a_failure_needs_no_result_of_any_form() -> None:
    text = dumps(protocol.answer(False, "full", []))
    answer = protocol.parse_answer(protocol.relocate_request("x", 0, []), text)
    assert (answer.success, answer.info) == (False, "full")


def test_the_old_key_nodes_is_understood() -> None:
    text = dumps({"success": True, "info": "", "nodes": ["a"]})
    assert protocol.parse_answer(protocol.relocate_request("x", 0, []), text).result == ["a"]


def test_memory_that_is_not_taken_yet_counts(samples: Path) -> None:
    text = (samples / "state" / "4-full" / "config.data").read_bytes()
    config = decode(ConfigDocument, loads(text), "config.data")
    instances = {one.name: one for one in config.instances.values()}
    primaries = [(instances["web1.example.com"], 72), (instances["web2.example.com"], 128)]
    running = {"web1.example.com": RunningInfo(memory=64)}
    assert protocol.memory_in_use(primaries, running) == (8, 200, 72)


def test_a_damaged_document_is_told(runs: list[dict[str, Any]]) -> None:
    document = runs[0]["request"]
    for key in ("nodes", "nodegroups", "instances", "request", "cluster_tags"):
        with pytest.raises(ParseError, match=key):
            solve({name: value for name, value in document.items() if name != key})
    with pytest.raises(ParseError, match="guess"):
        solve({**document, "request": {"type": "guess"}})
    with pytest.raises(ParseError, match="nosuch"):
        solve({**document, "request": protocol.relocate_request("nosuch", 0, [])})


def test_an_offline_node_is_not_usable(runs: list[dict[str, Any]]) -> None:
    known = read_request(runs[2]["request"])
    assert not known.nodes["node2.example.com"].usable
    assert known.nodes["node1.example.com"].usable
