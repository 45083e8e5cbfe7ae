"""Choosing nodes: the built-in allocator, scripts, and what they are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import an_instance
from fakes.services import FakeServices, a_cluster, run_unit
from ganeti.errors import OpExecError, OpPrereqError
from ganeti.model.report import RunningInfo
from ganeti.opcodes.instance import OpInstanceCreate
from ganeti.types import AdminState


def op(**values: Any) -> OpInstanceCreate:
    return OpInstanceCreate(
        **{
            "instance_name": "web1.example.com",
            "mode": "create",
            "disk_template": "file",
            "disks": [{"size": 2048}],
            "nics": [{"mac": "00:11:22:33:44:55"}],
            "os_type": "noop",
            "name_check": False,
            "ip_check": False,
            "start": False,
            **values,
        }
    )


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return FakeServices(a_cluster(), tmp_path)


def install(services: FakeServices, name: str) -> None:
    """A script of this name is in the search path of the master node."""
    place = services.paths.allocator_search[0]
    place.mkdir(parents=True)
    (place / name).touch(mode=0o755)


def answer(**values: Any) -> str:
    return json.dumps({"success": True, "info": "", "result": ["node3.example.com"], **values})


def test_the_node_with_most_room_is_chosen_without_any_script(services: FakeServices) -> None:
    for name in ("node1", "node3"):
        services.place(name).running["other"] = RunningInfo(memory=2048, vcpus=1)
    ran = run_unit(services, op())
    assert ran.result == ["node2.example.com"]
    assert "iallocator_runner" not in services.rpc.names
    assert (
        " - INFO: Selected nodes for instance web1.example.com via iallocator hail:"
        " node2.example.com" in services.messages
    )


def test_each_node_is_asked_once_for_its_figures(services: FakeServices) -> None:
    run_unit(services, op())
    asked = [name for call, name in services.rpc.log if call == "node_figures"]
    assert asked == [f"node{number}.example.com" for number in (1, 2, 3)]


def test_a_node_that_does_not_answer_is_not_considered(services: FakeServices) -> None:
    services.rpc.silent = {"node1.example.com", "node2.example.com"}
    assert run_unit(services, op()).result == ["node3.example.com"]
    assert any("node1.example.com is not considered" in line for line in services.messages)


def test_instances_that_should_run_count_as_if_they_did(services: FakeServices) -> None:
    for number, name in ((1, "node1"), (3, "node3")):
        one = an_instance(
            number,
            services.node(name).uuid,
            beparams={"maxmem": 2000, "minmem": 2000},
            name=f"db{number}.example.com",
        )
        services.change(lambda draft, one=one: draft.add(one))  # type: ignore[misc]
    assert run_unit(services, op()).result == ["node2.example.com"]
    services.place("node2").memory_mib = 100
    services.change_instance("db1", admin_state=AdminState.DOWN)
    again = op(instance_name="web2.example.com", nics=[{}])
    assert run_unit(services, again).result == ["node1.example.com"]


def test_no_room_anywhere_is_told_with_the_reasons(services: FakeServices) -> None:
    with pytest.raises(OpPrereqError, match=r"not enough memory \(3 times\)") as caught:
        run_unit(services, op(beparams={"memory": 8192}))
    assert caught.value.code == "insufficient_resources"


def test_the_group_can_be_named(services: FakeServices) -> None:
    assert run_unit(services, op(group_name="default")).result
    with pytest.raises(OpPrereqError) as caught:
        run_unit(services, op(instance_name="db1.example.com", nics=[{}], group_name="nosuch"))
    assert caught.value.code == "unknown_entity"


@pytest.mark.parametrize("wanted", [".", None, "mine"])
def test_a_script_runs_on_the_master_and_its_answer_counts(tmp_path: Path, wanted: Any) -> None:
    services = FakeServices(a_cluster(default_iallocator="mine"), tmp_path)
    seen: dict[str, Any] = {}

    def run(name: str, document: Any) -> str:
        seen.update(document, name=name)
        return answer()

    services.rpc.allocator = run
    assert run_unit(services, op(iallocator=wanted)).result == ["node3.example.com"]
    assert ("iallocator_runner", "node1.example.com") in services.rpc.log
    assert seen["name"] == "mine"
    assert seen["request"] == {
        "type": "allocate",
        "name": "web1.example.com",
        "disk_template": "file",
        "group_name": None,
        "tags": [],
        "os": "noop",
        "vcpus": 1,
        "memory": 128,
        "spindle_use": 1,
        "disks": [{"dev_type": "file", "size": 2048, "mode": "rw"}],
        "disk_space_total": 2048,
        "nics": [{"mac": "00:11:22:33:44:55", "ip": None, "nicparams": {}}],
        "required_nodes": 1,
        "hypervisor": "fake",
    }
    assert seen["nodes"]["node2.example.com"]["free_disk"] == 100_000


def test_hail_is_the_script_where_it_is_installed(services: FakeServices) -> None:
    install(services, "hail")
    services.rpc.allocator = lambda name, document: answer()
    run_unit(services, op(iallocator="hail"))
    assert services.rpc.sent("iallocator_runner")[0] == "hail"


def test_the_document_has_the_keys_of_a_recorded_one(samples: Path, tmp_path: Path) -> None:
    line = (samples / "iallocator" / "runs.jsonl").read_text().splitlines()[0]
    recorded = json.loads(line)["request"]
    services = FakeServices(a_cluster(default_iallocator="mine"), tmp_path)
    services.change(lambda draft: draft.add(an_instance(1, services.node("node1").uuid)))
    seen: dict[str, Any] = {}

    def run(name: str, document: Any) -> str:
        seen.update(document)
        return answer()

    services.rpc.allocator = run
    run_unit(services, op(instance_name="db1.example.com", nics=[], ignore_ipolicy=True))
    assert set(seen) == set(recorded)
    for table in ("nodes", "nodegroups", "instances"):
        ours = next(iter(seen[table].values()))
        theirs = next(iter(recorded[table].values()))
        assert set(ours) == set(theirs), table
    assert set(seen["request"]) == set(recorded["request"])


def test_a_failure_of_the_script_is_told(services: FakeServices) -> None:
    services.rpc.failures = {"iallocator_runner": "iallocator 'mine' is not in the search path"}
    with pytest.raises(OpExecError, match="not in the search path"):
        run_unit(services, op(iallocator="mine"))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (answer(success=False, info="full", result=[]), OpPrereqError, "full"),
        (answer(result=["node9.example.com"]), OpExecError, "not known"),
        ("no JSON", OpExecError, "allocator mine: .* is not JSON: .* it wrote 'no JSON'"),
    ],
)
def test_answers_that_are_of_no_use_are_errors(
    services: FakeServices, text: str, error: type[Exception], words: str
) -> None:
    services.rpc.allocator = lambda name, document: text
    with pytest.raises(error, match=words):
        run_unit(services, op(iallocator="mine"))
