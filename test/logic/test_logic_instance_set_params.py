"""Changing an instance: parameters, interfaces, state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import a_network, a_nic, an_instance
from fakes.instance_bed import NAME, a_bed, home_of, refused, web1
from fakes.services import FakeServices, Ran, run_unit
from ganeti.errors import OpExecError, OpPrereqError, TypeEnforcementError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.model.report import RunningInfo
from ganeti.opcodes.instance import OpInstanceSetParams
from ganeti.types import AdminState, DiskTemplate, HypervisorKind

NIC0 = a_nic(1)


def modify(**values: Any) -> OpInstanceSetParams:
    return OpInstanceSetParams(instance_name="web1", **values)


def nic(action: str, which: int | str = -1, **given: Any) -> OpInstanceSetParams:
    return modify(nics=[(action, which, given)])


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    """web1 is down, in a virtual cluster: no bridges are asked for."""
    return a_bed(tmp_path)


@pytest.fixture
def running(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path, up=True)


def rows(ran: Ran) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in ran.result]


# Parameters.


def test_parameters_are_stored_and_told(services: FakeServices) -> None:
    ran = run_unit(
        services,
        modify(
            beparams={"vcpus": "2", "memory": "256"},
            osparams={"mode": "plain"},
            osparams_private={"token": "x"},
        ),
    )
    assert rows(ran) == [
        ("be/vcpus", 2), ("be/minmem", 256), ("be/maxmem", 256), ("os/mode", "plain"),
        ("os_private/token", "<hidden>"),
    ]  # fmt: skip
    one = web1(services)
    assert one.beparams == {"vcpus": 2, "minmem": 256, "maxmem": 256}
    assert (one.osparams, one.osparams_private) == ({"mode": "plain"}, {"token": "x"})
    assert ran.locks.nodes == {services.node("node2").uuid: EXCLUSIVE}
    assert list(ran.locks.groups.values()) == [SHARED]
    assert ran.locks.node_res == {}


def test_default_goes_back_to_what_the_cluster_has(services: FakeServices) -> None:
    run_unit(services, modify(beparams={"vcpus": 2}))
    ran = run_unit(services, modify(beparams={"vcpus": "default"}))
    assert rows(ran) == [("be/vcpus", "default")]
    assert web1(services).beparams == {}


def test_hooks_tell_new_memory_and_processors_before(services: FakeServices) -> None:
    ran = run_unit(services, modify(beparams={"maxmem": 256, "vcpus": 3}))
    assert ran.before is not None and ran.after is not None
    assert ran.before.path == "instance-modify"
    wanted = ("INSTANCE_MEMORY", "INSTANCE_MAXMEM", "INSTANCE_VCPUS", "INSTANCE_BE_maxmem")
    assert [ran.before.env[name] for name in wanted] == ["256", "256", "3", "128"]
    assert ran.after.env["INSTANCE_BE_maxmem"] == "256"


def test_another_os_is_only_recorded_and_not_told(services: FakeServices) -> None:
    services.place("node2").systems = ("noop", "other")
    assert run_unit(services, modify(os_name="other")).result == []
    assert web1(services).os == "other"
    assert services.place("node2").installed == []


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, "wrong_input"),
        ({"beparams": {"memory": 8192}}, "insufficient_resources"),
        ({"beparams": {"minmem": 512}}, "wrong_input"),
        ({"beparams": {"vcpus": 1000}}, "wrong_input"),  # the policy
        ({"runtime_mem": 128}, "wrong_state"),
        ({"pnode": "node9"}, "unknown_entity"),
        ({"disk_template": "plain"}, "wrong_state"),
        ({"disk_template": "diskless"}, "wrong_input"),
        ({"disk_template": "file"}, "wrong_input"),
        ({"disk_template": "sharedfile", "disks": [("add", -1, {"size": 1})]}, "wrong_input"),
        ({"ext_params": {"provider": "x"}}, "wrong_input"),
        ({"beparams": {"vcpus": 1}, "iallocator": "hail"}, "wrong_input"),
        ({"disk_template": "sharedfile", "remote_node": "node2"}, "wrong_input"),
        (
            {"disk_template": "drbd", "remote_node": "node2", "iallocator": "hail"},
            "wrong_input",
        ),
        ({"instance_communication": True}, "wrong_input"),  # there is no network for it
    ],
)
def test_what_can_not_be_is_refused(services: FakeServices, values: Any, code: str) -> None:
    assert refused(services, modify(**values)) == code


def test_unknown_parameters_and_wrong_types_are_told_as_such(services: FakeServices) -> None:
    for values in ({"hvparams": {"nosuch": 1}}, {"beparams": {"vcpus": "x"}}):
        with pytest.raises(TypeEnforcementError):
            run_unit(services, modify(**values))


def test_a_node_that_refuses_the_parameters_of_the_os_stops_it(services: FakeServices) -> None:
    services.rpc.failures["os_validate"] = "nosuch is not supported"
    with pytest.raises(OpExecError, match="nosuch is not supported"):
        run_unit(services, modify(osparams={"nosuch": "1"}))
    assert web1(services).osparams == {}


def test_force_records_memory_that_is_not_there(services: FakeServices) -> None:
    run_unit(services, modify(beparams={"memory": 8192}, force=True, ignore_ipolicy=True))
    assert web1(services).beparams["maxmem"] == 8192


def test_pinning_must_fit_the_processors(tmp_path: Path) -> None:
    services = a_bed(tmp_path, hypervisor=HypervisorKind.KVM, hvparams={"kernel_path": ""})
    assert refused(services, modify(hvparams={"cpu_mask": "0:1:2"})) == "wrong_input"
    assert refused(services, modify(hvparams={"cpu_mask": "7"})) == "insufficient_resources"
    run_unit(services, modify(hvparams={"cpu_mask": "0-1"}))
    assert web1(services).hvparams["cpu_mask"] == "0-1"


# Memory of the running guest.


def test_the_running_guest_gets_memory_within_its_limits(running: FakeServices) -> None:
    running.change_instance(NAME, beparams={"minmem": 64})
    assert refused(running, modify(runtime_mem=32)) == "wrong_input"
    assert refused(running, modify(runtime_mem=256)) == "wrong_input"
    ran = run_unit(running, modify(runtime_mem=96))
    assert rows(ran) == [("runtime_memory", 96)]
    assert running.place("node2").running[NAME].memory == 96
    assert ran.before is not None and ran.before.env["RUNTIME_MEMORY"] == "96"
    run_unit(running, modify(runtime_mem=32, force=True))
    running.place("node2").memory_mib = 40
    assert refused(running, modify(runtime_mem=96)) == "insufficient_resources"


# State and node.


def test_offline_and_back(services: FakeServices) -> None:
    assert rows(run_unit(services, modify(offline=True))) == [("admin_state", "offline")]
    assert rows(run_unit(services, modify(offline=False))) == [("admin_state", "down")]
    services.change_instance(NAME, admin_state=AdminState.UP)
    for wanted in (True, False):
        assert refused(services, modify(offline=wanted)) == "wrong_state"
    services.change_instance(NAME, admin_state=AdminState.DOWN)
    services.place("node2").running[NAME] = RunningInfo(memory=128)
    assert refused(services, modify(offline=True)) == "wrong_state"


def test_another_primary_node_is_recorded_while_it_does_not_run(tmp_path: Path) -> None:
    services = a_bed(tmp_path, DiskTemplate.SHARED_FILE)
    assert run_unit(services, modify(pnode="node2")).result == []
    services.place("node2").running[NAME] = RunningInfo(memory=128)
    assert refused(services, modify(pnode="node3")) == "wrong_state"
    run_unit(services, modify(pnode="node3", force=True))
    assert home_of(services) == "node3"


# Interfaces.


def test_an_added_interface_gets_an_address_of_its_own(services: FakeServices) -> None:
    ran = run_unit(services, nic("add", ip="192.0.2.210"))
    ((name, text),) = rows(ran)
    added = web1(services).nics[1]
    assert name == "nic.1"
    assert text == (
        f"add:mac={added.mac},ip=192.0.2.210,mode=bridged,link=br0,network=None"
    ) or text.startswith(f"add:mac={added.mac},ip=192.0.2.210,mode=bridged,link=")
    assert ran.before is not None
    assert ran.before.env["INSTANCE_NIC1_IP"] == "192.0.2.210"
    assert ran.before.env["INSTANCE_NIC_COUNT"] == "2"


def test_interfaces_are_added_in_front_and_removed_at_the_end(services: FakeServices) -> None:
    run_unit(services, nic("add", 0, name="front"))
    assert [one.name for one in web1(services).nics] == ["front", None]
    ran = run_unit(services, nic("remove"))
    assert rows(ran) == [("NIC/1", "remove")]
    assert [one.name for one in web1(services).nics] == ["front"]
    run_unit(services, nic("remove", "front"))
    assert web1(services).nics == ()


def test_a_modified_interface_tells_what_it_has_now(services: FakeServices) -> None:
    run_unit(services, nic("modify", 0, ip="192.0.2.77", name="lan"))
    ran = run_unit(services, nic("modify", "lan", ip="none", link="br7"))
    assert rows(ran) == [
        ("nic.ip/0", None), ("nic.link/0", "br7"), ("nic.mode/0", "bridged"), ("nic.vlan/0", ""),
    ]  # fmt: skip
    (one,) = web1(services).nics
    assert (one.ip, one.nicparams, one.mac) == (None, {"link": "br7"}, NIC0.mac)


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (nic("modify", 0, mac="auto"), "wrong_input"),
        (nic("modify", 0, mac=a_nic(2).mac), "resource_not_unique"),
        (nic("modify", 0, mac="zz"), "wrong_input"),
        (nic("modify", 0, ip="auto"), "wrong_input"),
        (nic("modify", 0, ip="pool"), "wrong_input"),
        (nic("modify", 0, ip="1.2.3"), "wrong_input"),
        (nic("modify", 0, mode="routed"), "wrong_input"),
        (nic("modify", 0, network="lan9"), "unknown_entity"),
        (nic("modify", "wrong", ip="none"), "unknown_entity"),
        (nic("modify", 0, name="17"), "wrong_input"),
        (nic("add", mac=a_nic(2).mac), "resource_not_unique"),
        (nic("remove", 0, ip="none"), "wrong_input"),
        (nic("attach", 0), "wrong_input"),
        (nic("detach", 0), "wrong_input"),
        (modify(nics=[("add", -1, {})] * 8), "wrong_state"),
    ],
)
def test_a_bad_change_of_interfaces_is_refused(
    services: FakeServices, op: OpInstanceSetParams, code: str
) -> None:
    other = an_instance(2, services.node("node1").uuid, nics=(a_nic(2),))
    services.change(lambda draft: draft.add(other))
    assert refused(services, op) == code


def test_an_index_that_is_not_there_is_an_error_of_the_command(services: FakeServices) -> None:
    for op in (nic("modify", 9, ip="none"), nic("remove", 1), nic("add", 2)):
        with pytest.raises(OpExecError, match=r"there is no network interface \d"):
            run_unit(services, op)


def connected(services: FakeServices) -> None:
    """Network lan1 (10.0.1.0/28) is connected to the only group."""
    lan = a_network(1)

    def change(draft: Any) -> None:
        draft.add(lan)
        (group,) = draft.snapshot.groups.values()
        params = {"mode": "bridged", "link": "br-lan", "vlan": ""}
        draft.update(replace(group, networks={lan.uuid: params}))

    services.change(change)


def used(services: FakeServices) -> list[int]:
    (lan,) = services.config.networks.values()
    return [index for index, bit in enumerate(lan.reservations) if bit == "1"]


def test_addresses_of_a_network_are_taken_and_given_back(services: FakeServices) -> None:
    connected(services)
    run_unit(services, nic("modify", 0, network="lan1", ip="pool"))
    (one,) = web1(services).nics
    assert (one.ip, one.nicparams["link"], used(services)) == ("10.0.1.1", "br-lan", [1])
    run_unit(services, nic("modify", 0, ip="10.0.1.5"))
    assert (web1(services).nics[0].ip, used(services)) == ("10.0.1.5", [5])
    assert refused(services, nic("add", network="lan1", ip="10.0.1.5")) == "resource_not_unique"
    assert refused(services, nic("modify", 0, link="br9")) == "wrong_input"
    run_unit(services, nic("modify", 0, network="none", ip="none"))
    assert used(services) == []
    run_unit(services, nic("modify", 0, network="lan1", ip="pool"))
    run_unit(services, nic("remove", 0))
    assert used(services) == []


def test_a_network_must_be_connected(services: FakeServices) -> None:
    services.change(lambda draft: draft.add(a_network(1)))
    assert refused(services, nic("add", network="lan1", ip="pool")) == "wrong_input"


def test_a_missing_bridge_refuses_and_force_warns(tmp_path: Path) -> None:
    from ganeti.paths import Paths

    services = a_bed(tmp_path)
    services.paths = Paths(Path("/"))
    assert refused(services, nic("add", link="br9")) == "environment_error"
    run_unit(services, modify(nics=[("add", -1, {"link": "br9"})], force=True))
    assert any("br9" in line for line in services.messages)
    assert len(web1(services).nics) == 2


# Hotplug.


def hot(running: FakeServices) -> FakeServices:
    running.place("node2").hotplug = True
    return running


def test_the_running_guest_sees_its_interfaces_change(running: FakeServices) -> None:
    hot(running)
    run_unit(running, modify(nics=[("add", -1, {})], hotplug=True))
    run_unit(running, modify(nics=[("modify", 1, {"link": "br7"})], hotplug=True))
    run_unit(running, modify(nics=[("remove", 1, {})], hotplug_if_possible=True))
    assert running.place("node2").plugged == [
        ("hotadd", "nic", 1, None), ("hotmod", "nic", 1, None), ("hotremove", "nic", 1, None),
    ]  # fmt: skip


def test_hotplug_that_can_not_be_is_refused_or_left_out(running: FakeServices) -> None:
    change = [("add", -1, {})]
    assert refused(running, modify(nics=change, hotplug=True)) == "wrong_state"
    run_unit(running, modify(nics=change, hotplug_if_possible=True))
    assert len(web1(running).nics) == 2
    assert any("hotplug is not possible" in line for line in running.messages)


def test_a_stopped_guest_is_not_plugged(services: FakeServices) -> None:
    run_unit(hot(services), modify(nics=[("add", -1, {})], hotplug=True))
    assert services.place("node2").plugged == []


def test_a_plug_that_fails_is_told_and_the_change_stays(running: FakeServices) -> None:
    running.rpc.failures["hotplug_device"] = "no slot"
    run_unit(hot(running), modify(nics=[("add", -1, {})], hotplug=True))
    assert len(web1(running).nics) == 2
    assert any("no slot" in line and "next start" in line for line in running.messages)


def test_nothing_given_is_refused_before_anything_is_looked_at(services: FakeServices) -> None:
    with pytest.raises(OpPrereqError):
        run_unit(services, OpInstanceSetParams(instance_name="nosuch"))
