"""Failing an instance over to another node."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import (
    NAME,
    a_bed,
    disk_uuid,
    disks_of,
    home_of,
    hook_values,
    place_devices,
    refused,
    runs_on,
    web1,
)
from fakes.services import FakeServices, run_unit
from ganeti.errors import GenericError, OpExecError
from ganeti.locking.names import EXCLUSIVE
from ganeti.opcodes.instance import OpInstanceFailover
from ganeti.serializer import dumps
from ganeti.types import AdminState, DiskTemplate, HypervisorKind


def failover(**values: Any) -> OpInstanceFailover:
    return OpInstanceFailover(instance_name="web1", **{"target_node": "node3", **values})


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path, DiskTemplate.SHARED_FILE, up=True)


def test_it_is_stopped_here_and_started_there(services: FakeServices) -> None:
    ran = run_unit(services, failover())
    assert services.rpc.log == [
        ("node_info", "node3.example.com"),
        ("blockdev_find", "node3.example.com"),
        ("instance_shutdown", "node2.example.com"),
        ("blockdev_shutdown", "node2.example.com"),
        ("blockdev_assemble", "node3.example.com"),
        ("instance_start", "node3.example.com"),
    ]
    assert (home_of(services), runs_on(services)) == ("node3", ["node3"])
    assert web1(services).disks_active
    nodes = {services.node(name).uuid: EXCLUSIVE for name in ("node2", "node3")}
    assert (ran.locks.nodes, ran.locks.node_res) == (nodes, nodes)


def test_hooks_are_told_both_nodes(services: FakeServices) -> None:
    ran = run_unit(services, failover(ignore_consistency=True))
    wanted = ("OLD_PRIMARY", "NEW_PRIMARY", "OLD_SECONDARY", "FAILOVER_CLEANUP",
              "IGNORE_CONSISTENCY", "SHUTDOWN_TIMEOUT")  # fmt: skip
    assert hook_values(ran, *wanted) == [
        "node2.example.com", "node3.example.com", "", "False", "True", "120",
    ]  # fmt: skip
    assert ran.before is not None and ran.after is not None
    assert ran.after.env["OLD_PRIMARY"] == "node3.example.com"
    one, two, three = (services.node(name).uuid for name in ("node1", "node2", "node3"))
    assert list(ran.before.pre_nodes) == [one, three]
    assert list(ran.after.post_nodes) == [one, three, two]


def test_a_stopped_instance_only_changes_its_node(tmp_path: Path) -> None:
    services = a_bed(tmp_path, DiskTemplate.SHARED_FILE)
    run_unit(services, failover())
    assert (home_of(services), runs_on(services)) == ("node3", [])
    assert "instance_start" not in services.rpc.names


def test_a_dead_node_that_is_marked_offline_is_left_behind(services: FakeServices) -> None:
    services.change_node("node2", offline=True, master_candidate=False)
    run_unit(services, failover())
    assert home_of(services) == "node3"
    assert services.place("node3").running
    assert any("really off" in line for line in services.messages)


def test_a_silent_source_keeps_the_instance_unless_that_is_ignored(services: FakeServices) -> None:
    services.rpc.silent.add("node2.example.com")
    with pytest.raises(OpExecError, match="still there"):
        run_unit(services, failover())
    assert home_of(services) == "node2"
    run_unit(services, failover(ignore_consistency=True))
    assert home_of(services) == "node3"


def test_disks_the_target_does_not_see_stop_it_before_anything_is_done(
    services: FakeServices,
) -> None:
    services.place("node3").devices.clear()
    with pytest.raises(OpExecError, match="disk 0 is not there on node node3"):
        run_unit(services, failover())
    assert runs_on(services) == ["node2"]


def test_without_a_target_the_allocator_chooses(services: FakeServices) -> None:
    def script(name: str, document: Any) -> str:
        request = document["request"]
        assert (request["type"], request["relocate_from"]) == ("relocate", ["node2.example.com"])
        return dumps({"success": True, "info": "", "result": ["node1.example.com"]})

    services.rpc.allocator = script
    ran = run_unit(services, failover(target_node=None, iallocator="script"))
    assert home_of(services) == "node1"
    assert ran.locks.nodes is EXCLUSIVE
    (kept,) = services.released
    assert set(kept.nodes) == {services.node("node1").uuid, services.node("node2").uuid}


def test_the_built_in_allocator_finds_another_node(services: FakeServices) -> None:
    run_unit(services, failover(target_node=None))
    assert home_of(services) in ("node1", "node3")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"target_node": "node2"}, "wrong_state"),
        ({"target_node": "node9"}, "unknown_entity"),
        ({"iallocator": "hail"}, "wrong_input"),
    ],
)
def test_a_bad_target_is_refused(services: FakeServices, values: Any, code: str) -> None:
    assert refused(services, failover(**values)) == code


@pytest.mark.parametrize(
    "state",
    [{"offline": True, "master_candidate": False}, {"drained": True, "master_candidate": False},
     {"vm_capable": False}],
)  # fmt: skip
def test_a_node_that_takes_no_instances_is_no_target(services: FakeServices, state: Any) -> None:
    services.change_node("node3", **state)
    assert refused(services, failover()) == "wrong_state"


def test_the_target_needs_memory_when_it_will_run(services: FakeServices) -> None:
    services.place("node3").memory_mib = 10
    assert refused(services, failover()) == "insufficient_resources"
    services.rpc.silent.add("node3.example.com")
    assert refused(services, failover()) == "environment_error"


def test_disks_on_one_node_only_allow_no_failover(tmp_path: Path) -> None:
    services = a_bed(tmp_path, DiskTemplate.FILE, up=True)
    assert refused(services, failover()) == "wrong_state"


def test_whatever_fails_it_runs_on_one_node_at_most_and_can_be_repeated(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        services = a_bed(tmp_path / str(nth), DiskTemplate.SHARED_FILE, up=True)
        services.rpc.fail_at = nth
        failed = False
        try:
            run_unit(services, failover())
        except GenericError:
            failed = True
        assert len(runs_on(services)) <= 1
        assert runs_on(services) in ([], [home_of(services)])
        assert web1(services).admin_state is AdminState.UP
        assert disk_uuid(0) in services.config.disks
        if not failed:
            return


def test_cleanup_finds_where_it_runs(services: FakeServices) -> None:
    place = services.place("node2")
    services.place("node3").running[NAME] = place.running.pop(NAME)
    run_unit(services, failover(cleanup=True, target_node=None))
    assert home_of(services) == "node3"


@pytest.mark.parametrize("template", [DiskTemplate.SHARED_FILE, DiskTemplate.BLOCKDEV])
def test_state_that_stays_behind_is_told(tmp_path: Path, template: DiskTemplate) -> None:
    values = {"hypervisor": HypervisorKind.KVM, "hvparams": {"tpm": True, "firmware": "uefi"}}
    services = a_bed(tmp_path, template, up=True, **values)
    place_devices(services, "node3", disks_of(services))
    run_unit(services, failover())
    told = [line for line in services.messages if "UEFI variables and TPM stay on node" in line]
    assert len(told) == (template is DiskTemplate.BLOCKDEV)
