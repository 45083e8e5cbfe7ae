"""Moves to another node: what is refused, what is done, and what a failure leaves."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import (
    a_bed,
    disks_of,
    home_of,
    hook_values,
    place_devices,
    refused,
    runs_on,
)
from fakes.services import FakeServices, contents, run_unit
from ganeti.errors import GenericError, OpExecError
from ganeti.opcodes.instance import OpInstanceMove
from ganeti.types import DiskTemplate, HypervisorKind


def move(target_node: str = "node3", **values: Any) -> OpInstanceMove:
    return OpInstanceMove(instance_name="web1", target_node=target_node, **values)


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (move("node2"), "wrong_state"),
        (move("node9"), "unknown_entity"),
        (move(compress="rot13"), "wrong_input"),
    ],
)
def test_each_reason_has_its_code(tmp_path: Path, op: OpInstanceMove, code: str) -> None:
    assert refused(a_bed(tmp_path), op) == code


def test_disks_that_others_see_are_not_copied(tmp_path: Path) -> None:
    assert refused(a_bed(tmp_path, DiskTemplate.SHARED_FILE), move()) == "wrong_state"


def test_the_target_takes_instances_and_has_memory(tmp_path: Path) -> None:
    services = a_bed(tmp_path, up=True)
    services.place("node3").memory_mib = 10
    assert refused(services, move()) == "insufficient_resources"
    services.change_node("node3", drained=True, master_candidate=False)
    assert refused(services, move()) == "wrong_state"


def test_what_is_in_the_way_at_the_target_is_not_touched(tmp_path: Path) -> None:
    services = a_bed(tmp_path)
    place_devices(services, "node3", disks_of(services))
    assert refused(services, move()) == "wrong_state"
    assert services.place("node3").devices
    services.rpc.failures = {"blockdev_find": "the node daemon is busy"}
    assert refused(services, move()) == "environment_error"


@pytest.mark.parametrize("up", [False, True])
def test_the_instance_and_its_disks_are_on_the_other_node(tmp_path: Path, up: bool) -> None:
    services = a_bed(tmp_path, disks=2, up=up)
    ran = run_unit(services, move())
    node3 = services.node("node3").uuid
    assert (home_of(services), [disk.nodes for disk in disks_of(services)]) == (
        "node3",
        [(node3,), (node3,)],
    )
    assert services.place("node2").is_bare
    assert sorted(services.place("node3").devices.values()) == [1024, 1024]
    assert runs_on(services) == (["node3"] if up else [])
    assert services.rpc.rest_of_transfers == []
    assert hook_values(ran, "TARGET_NODE", "SHUTDOWN_TIMEOUT") == ["node3.example.com", "120"]
    assert ran.locks.nodes == ran.locks.node_res


def test_both_ends_of_a_failed_transfer_are_told(tmp_path: Path) -> None:
    services = a_bed(tmp_path, up=True)
    services.rpc.broken = "No space left on device"
    with pytest.raises(OpExecError, match="receiving on node node3.*No space left on device"):
        run_unit(services, move())
    assert "impexp_abort" in services.rpc.names
    assert_untouched(services)


def assert_untouched(services: FakeServices) -> None:
    assert home_of(services) == "node2"
    assert services.place("node3").is_bare
    assert len(services.place("node2").devices) == len(disks_of(services))
    assert runs_on(services) == ["node2"]
    assert services.rpc.rest_of_transfers == []


def assert_arrived(services: FakeServices) -> None:
    node3 = services.node("node3").uuid
    assert [disk.nodes for disk in disks_of(services)] == [(node3,)] * 2
    assert len(services.place("node3").devices) == 2
    assert runs_on(services) in (["node3"], [])


def test_whatever_call_fails_the_instance_is_whole_in_one_place(tmp_path: Path) -> None:
    """Before the configuration names the target all is as before; afterwards it is there."""
    for nth in itertools.count(1):
        services = a_bed(tmp_path / str(nth), disks=2, up=True)
        before = contents(services.config)
        services.rpc.fail_at = nth
        try:
            run_unit(services, move())
        except GenericError:
            pass
        if home_of(services) == "node2":
            assert contents(services.config) == before, services.rpc.log[-3:]
            assert_untouched(services)
        else:
            assert_arrived(services)
        if len(services.rpc.log) < nth:
            break
    assert nth > 25


def test_a_change_that_can_not_be_stored_leaves_everything(tmp_path: Path) -> None:
    services = a_bed(tmp_path, disks=2, up=True)
    services.fail_commit_at = 1
    with pytest.raises(GenericError):
        run_unit(services, move())
    assert_untouched(services)


def test_an_instance_that_can_not_be_stopped_is_not_copied(tmp_path: Path) -> None:
    services = a_bed(tmp_path, up=True)
    services.rpc.failures = {"instance_shutdown": "it hangs"}
    with pytest.raises(OpExecError, match="--ignore-consistency"):
        run_unit(services, move())
    assert_untouched(services)


def test_no_parameter_of_the_guest_os_stands_in_the_journal(tmp_path: Path) -> None:
    params = {"osparams": {"size": "hidden"}, "osparams_private": {"password": "hidden"}}
    services = a_bed(tmp_path, up=True, **params)
    run_unit(services, move())
    start = next(
        arguments for name, _, arguments in services.undo.steps if name == "instance_start"
    )
    assert "hidden" not in str(start)


def test_what_belongs_to_the_guest_is_copied_too(tmp_path: Path) -> None:
    params = {"firmware": "uefi"}
    services = a_bed(tmp_path, hypervisor=HypervisorKind.KVM, hvparams=params)
    run_unit(services, move())
    kinds = [args[3][0] for name, args in services.rpc.arguments if name == "import_start"]
    assert kinds == ["raw", "guest"]
