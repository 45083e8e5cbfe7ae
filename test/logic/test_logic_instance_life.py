"""Starting, stopping, rebooting, removing and showing instances."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import a_network, a_nic, an_instance
from fakes.services import FILE_DIR, FakeServices, a_cluster, contents, run_unit
from ganeti.config.snapshot import Snapshot
from ganeti.errors import GenericError, OpExecError, OpPrereqError, TypeEnforcementError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.model.report import RunningInfo
from ganeti.opcodes.disk import OpInstanceActivateDisks, OpInstanceDeactivateDisks
from ganeti.opcodes.instance import (
    OpInstanceConsole,
    OpInstanceQueryData,
    OpInstanceReboot,
    OpInstanceRemove,
    OpInstanceShutdown,
    OpInstanceStartup,
)
from ganeti.opcodes.query import OpOsDiagnose
from ganeti.types import AdminState, AdminStateSource, DiskTemplate

NODE2 = "node2.example.com"
NAME = "web1.example.com"
DISK = "33333333-0000-4000-8000-000000000001"


def a_file(node: str) -> Disk:
    return Disk(
        uuid=DISK,
        dev_type=DiskTemplate.FILE,
        logical_id=("loop", f"{FILE_DIR}/{NAME}/x.file.disk0"),
        nodes=(node,),
        iv_name="disk/0",
        size=1024,
        params={},
    )


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    """web1 on node2, with a disk in a file; down."""
    made = FakeServices(a_cluster(), tmp_path)
    node = made.node("node2").uuid
    one = an_instance(1, node, admin_state=AdminState.DOWN, disks_active=False, disks=(DISK,))

    def add(draft: Any) -> None:
        draft.add(a_file(node))
        draft.add(one)

    made.change(add)
    place = made.place("node2")
    place.devices[DISK] = 1024
    place.directories.add(f"{FILE_DIR}/{NAME}")
    return made


@pytest.fixture
def running(services: FakeServices) -> FakeServices:
    """The same, up and running."""
    services.change_instance(NAME, admin_state=AdminState.UP, disks_active=True)
    place = services.place("node2")
    place.active.add(DISK)
    place.running[NAME] = RunningInfo(memory=128, vcpus=1)
    return services


def web1(config: Snapshot) -> Instance:
    found = config.find_instance(NAME)
    assert found is not None
    return found


def state(services: FakeServices) -> tuple[str, bool]:
    one = web1(services.config)
    return one.admin_state.value, one.disks_active


def refused(services: FakeServices, op: Any) -> str | None:
    before = services.config
    with pytest.raises(OpPrereqError) as caught:
        run_unit(services, op)
    assert services.config is before
    return caught.value.code


# Startup.


def startup(**values: Any) -> OpInstanceStartup:
    return OpInstanceStartup(instance_name="web1", **values)


def test_start_marks_up_activates_disks_and_starts(services: FakeServices) -> None:
    ran = run_unit(services, startup(reason=[("test", "", 1)]))
    assert services.rpc.names == [
        "instance_info", "node_info", "blockdev_assemble", "instance_start",
    ]  # fmt: skip
    assert state(services) == ("up", True)
    assert services.commits == 1
    assert ran.result is None
    assert ran.locks.instances == {NAME: EXCLUSIVE}
    assert ran.locks.nodes == {}
    instance, paused, reason = services.rpc.sent("instance_start")
    assert (paused, list(map(list, reason))) == (False, [["test", "", 1]])
    assert instance.beparams["maxmem"] == 128
    assert [disk.uuid for disk in instance.disks_info] == [DISK]


def test_one_off_parameters_are_used_and_not_kept(services: FakeServices) -> None:
    run_unit(services, startup(beparams={"memory": 256}, startup_paused=True))
    instance, paused, _ = services.rpc.sent("instance_start")
    assert (instance.beparams["minmem"], instance.beparams["maxmem"], paused) == (256, 256, True)
    assert web1(services.config).beparams == {}


def test_hooks_of_a_start_tell_the_state_before_and_after(services: FakeServices) -> None:
    ran = run_unit(services, startup(force=True))
    assert ran.before is not None and ran.after is not None
    assert (ran.before.path, ran.before.env["FORCE"]) == ("instance-start", "True")
    states = [env.env["INSTANCE_STATUS"] for env in (ran.before, ran.after)]
    assert states == ["down", "up"]
    nodes = [services.node("node1").uuid, services.node("node2").uuid]
    assert list(ran.before.pre_nodes) == list(ran.before.post_nodes) == nodes


def test_starting_what_runs_is_no_error_and_needs_no_memory(running: FakeServices) -> None:
    running.place("node2").memory_mib = 0
    run_unit(running, startup())
    assert state(running) == ("up", True)


def test_start_without_remembering_only_activates_the_disks(services: FakeServices) -> None:
    run_unit(services, startup(no_remember=True))
    assert state(services) == ("down", True)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"hvparams": {"migration_mode": "live"}}, "wrong_input"),
        ({"beparams": {"memory": 8192}}, "insufficient_resources"),
    ],
    ids=str,
)
def test_a_start_that_can_not_be_is_refused(
    services: FakeServices, values: dict[str, Any], code: str
) -> None:
    assert refused(services, startup(**values)) == code


def test_unknown_parameters_of_a_start_are_type_errors(services: FakeServices) -> None:
    with pytest.raises(TypeEnforcementError):
        run_unit(services, startup(beparams={"nosuch": 1}))


def test_an_offline_instance_is_not_started(services: FakeServices) -> None:
    services.change_instance(NAME, admin_state=AdminState.OFFLINE)
    assert refused(services, startup()) == "wrong_state"


def test_start_on_an_offline_primary_is_only_recorded_when_asked_for(
    services: FakeServices,
) -> None:
    services.change_node("node2", offline=True, master_candidate=False)
    assert refused(services, startup()) == "wrong_state"
    run_unit(services, startup(ignore_offline_nodes=True))
    assert state(services) == ("up", False)
    assert services.rpc.names == []


def test_what_is_left_of_a_guest_its_user_stopped_is_cleaned_up_first(
    running: FakeServices,
) -> None:
    running.user_stops(NAME, "node2")
    run_unit(running, startup())
    assert running.rpc.names[-3:] == ["instance_shutdown", "blockdev_assemble", "instance_start"]


def test_after_a_failed_start_it_stays_marked_up_and_its_disks_are_down(
    services: FakeServices,
) -> None:
    services.rpc.failures = {"instance_start": "no kernel"}
    with pytest.raises(OpExecError, match=f"starting instance {NAME}: node {NODE2}: no kernel"):
        run_unit(services, startup())
    assert state(services) == ("up", False)
    assert services.place("node2").active == set()


def test_disks_that_can_not_be_activated_stop_the_start(services: FakeServices) -> None:
    services.place("node2").devices.clear()
    with pytest.raises(OpExecError, match="disks of instance web1.example.com can't be activated"):
        run_unit(services, startup())
    assert state(services) == ("up", False)
    assert any("disk 0 can't be prepared on node node2" in line for line in services.messages)
    assert "instance_start" not in services.rpc.names


# Shutdown.


def shutdown(**values: Any) -> OpInstanceShutdown:
    return OpInstanceShutdown(instance_name=NAME, **values)


def test_stop_marks_down_before_the_node_is_asked(running: FakeServices) -> None:
    ran = run_unit(running, shutdown(timeout=5))
    assert running.rpc.names == ["instance_shutdown", "blockdev_shutdown"]
    assert running.rpc.sent("instance_shutdown")[0].admin_state is AdminState.DOWN
    assert running.rpc.sent("instance_shutdown")[1] == 5
    assert state(running) == ("down", False)
    assert running.place("node2").running == {}
    assert ran.before is not None and ran.before.env["TIMEOUT"] == "5"


def test_a_diskless_instance_is_stopped_with_one_change(services: FakeServices) -> None:
    one = an_instance(2, services.node("node2").uuid)
    services.change(lambda draft: draft.add(one))
    run_unit(services, OpInstanceShutdown(instance_name="web2"))
    assert services.commits == 1


def test_stop_without_remembering_leaves_the_wanted_state(running: FakeServices) -> None:
    run_unit(running, shutdown(no_remember=True))
    assert state(running) == ("up", False)


def test_an_offline_instance_is_stopped_only_by_force(services: FakeServices) -> None:
    services.change_instance(NAME, admin_state=AdminState.OFFLINE)
    assert refused(services, shutdown()) == "wrong_state"
    run_unit(services, shutdown(force=True))
    assert state(services) == ("down", False)


def test_stop_on_an_offline_primary_is_only_recorded_when_asked_for(running: FakeServices) -> None:
    running.change_node("node2", offline=True, master_candidate=False)
    assert refused(running, shutdown()) == "wrong_state"
    run_unit(running, shutdown(ignore_offline_nodes=True))
    assert state(running) == ("down", True)
    assert running.rpc.names == []


def test_a_stop_by_the_user_must_have_happened(running: FakeServices) -> None:
    order = shutdown(admin_state_source="user")
    assert refused(running, order) == "wrong_state"
    running.user_stops(NAME, "node2")
    run_unit(running, order)
    assert web1(running.config).admin_state_source is AdminStateSource.USER


def test_disks_stay_active_when_the_guest_can_not_be_stopped(running: FakeServices) -> None:
    running.rpc.failures = {"instance_shutdown": "does not end"}
    with pytest.raises(OpExecError, match=f"stopping instance {NAME}"):
        run_unit(running, shutdown())
    assert state(running) == ("down", True)
    assert "blockdev_shutdown" not in running.rpc.names


# Reboot.


def reboot(kind: str, **values: Any) -> OpInstanceReboot:
    return OpInstanceReboot(instance_name=NAME, reboot_type=kind, **values)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_running_instance_is_rebooted_in_place(running: FakeServices, kind: str) -> None:
    ran = run_unit(running, reboot(kind, shutdown_timeout=9))
    assert running.rpc.names == ["instance_info", "instance_reboot"]
    assert running.rpc.sent("instance_reboot")[1:3] == [kind, 9]
    assert running.commits == 0
    assert ran.before is not None
    assert ran.before.env["REBOOT_TYPE"] == kind
    assert ran.before.env["SHUTDOWN_TIMEOUT"] == "9"
    assert ran.before.env["IGNORE_SECONDARIES"] == "False"


FULL = [
    "instance_info", "instance_shutdown", "blockdev_shutdown", "blockdev_assemble",
    "instance_start",
]  # fmt: skip


def test_a_full_reboot_stops_and_starts(running: FakeServices) -> None:
    run_unit(running, reboot("full"))
    assert running.rpc.names == FULL
    assert state(running) == ("up", True)


def test_rebooting_what_does_not_run_starts_it_and_marks_it_up(services: FakeServices) -> None:
    run_unit(services, reboot("hard"))
    assert services.rpc.names == FULL
    assert state(services) == ("up", True)


def test_a_reboot_needs_the_primary_node(running: FakeServices) -> None:
    running.change_node("node2", offline=True, master_candidate=False)
    assert refused(running, reboot("hard")) == "wrong_state"


# Remove.


def remove(**values: Any) -> OpInstanceRemove:
    return OpInstanceRemove(instance_name=NAME, **values)


def test_nothing_is_left_of_a_removed_instance(running: FakeServices) -> None:
    ran = run_unit(running, remove())
    assert running.rpc.names == [
        "instance_shutdown", "blockdev_remove", "file_storage_dir_remove",
    ]  # fmt: skip
    assert (len(running.config.instances), len(running.config.disks)) == (0, 0)
    assert running.place("node2").is_bare
    assert running.commits == 2  # stopped; gone
    node = running.node("node2").uuid
    assert ran.locks.nodes == ran.locks.node_res == {node: EXCLUSIVE}
    assert ran.after is not None
    assert list(ran.after.pre_nodes) == [running.node("node1").uuid]
    assert list(ran.after.post_nodes) == [node, running.node("node1").uuid]
    assert ran.after.env["INSTANCE_STATUS"] == "up"
    assert ran.after.env["SHUTDOWN_TIMEOUT"] == "120"


def test_ports_and_addresses_of_a_removed_instance_are_free(services: FakeServices) -> None:
    network = a_network(reservations="0110" + "0" * 12)
    nic = a_nic(1, network=network.uuid, ip="10.0.1.2")

    def change(draft: Any) -> None:
        draft.add(network)
        draft.update_cluster(replace(draft.snapshot.cluster, highest_used_port=11005))
        one = web1(draft.snapshot)
        draft.update(replace(one, network_port=11003, nics=(nic,)))

    services.change(change)
    run_unit(services, remove())
    assert services.config.cluster.tcpudp_port_pool == (11003,)
    assert services.config.networks[network.uuid].reservations == "0100" + "0" * 12


def test_a_removal_that_fails_can_be_tried_again(running: FakeServices) -> None:
    for nth in itertools.count(1):
        running.rpc.fail_at = nth
        running.rpc._count = 0
        try:
            run_unit(running, remove())
        except GenericError:
            left = web1(running.config)
            stopped = running.rpc.names[-1] != "instance_shutdown"
            assert left.admin_state is (AdminState.DOWN if stopped else AdminState.UP)
        else:
            assert running.place("node2").is_bare
            return


def test_failures_are_only_told_when_that_is_wished(running: FakeServices) -> None:
    running.rpc.silent = {NODE2}
    run_unit(running, remove(ignore_failures=True))
    assert len(running.config.instances) == 0
    assert sum("WARNING" in line for line in running.messages) == 3


# Disks.


def test_activation_tells_node_name_and_path(services: FakeServices) -> None:
    ran = run_unit(services, OpInstanceActivateDisks(instance_name=NAME))
    assert ran.result == [[NODE2, "disk/0", f"{FILE_DIR}/{NAME}/x.file.disk0"]]
    assert state(services) == ("down", True)


def test_deactivation_needs_a_stopped_instance_or_force(running: FakeServices) -> None:
    order = OpInstanceDeactivateDisks(instance_name=NAME)
    assert refused(running, order) == "wrong_state"
    running.change_instance(NAME, admin_state=AdminState.DOWN)
    assert refused(running, order) == "wrong_state"  # it runs
    run_unit(running, OpInstanceDeactivateDisks(instance_name=NAME, force=True))
    assert state(running) == ("down", False)


# Questions.


def test_the_console_of_a_running_instance_is_told(running: FakeServices) -> None:
    ran = run_unit(running, OpInstanceConsole(instance_name=NAME))
    assert ran.result["instance"] == NAME
    assert ran.result["kind"] == "msg"
    assert ran.locks.instances == {NAME: SHARED}


def test_what_does_not_run_has_no_console(services: FakeServices) -> None:
    with pytest.raises(OpExecError, match="does not run"):
        run_unit(services, OpInstanceConsole(instance_name=NAME))


def test_all_instances_are_shown_with_one_question_per_node(running: FakeServices) -> None:
    other = an_instance(2, running.node("node3").uuid)
    running.change(lambda draft: draft.add(other))
    ran = run_unit(running, OpInstanceQueryData())
    assert running.rpc.log == [
        ("all_instances_info", NODE2),
        ("all_instances_info", "node3.example.com"),
        ("blockdev_getmirrorstatus_multi", NODE2),
    ]
    states = {name: one["run_state"] for name, one in ran.result.items()}
    assert states == {NAME: "up", "web2.example.com": "down"}
    assert ran.result[NAME]["disks"][0]["pstatus"][0] == f"/dev/{DISK}"
    assert set(ran.locks.instances) == {NAME, "web2.example.com"}  # type: ignore[call-overload]


def test_static_data_ask_no_node_and_lock_nothing(running: FakeServices) -> None:
    ran = run_unit(running, OpInstanceQueryData(instances=["web1"], static=True))
    assert running.rpc.log == []
    assert ran.result[NAME]["run_state"] is None
    assert ran.locks.instances == {}


def test_an_unknown_instance_is_not_shown(services: FakeServices) -> None:
    assert refused(services, OpInstanceQueryData(instances=["nosuch"])) == "unknown_entity"


def test_a_silent_node_is_told_and_does_not_stop_the_question(running: FakeServices) -> None:
    running.rpc.silent = {NODE2}
    ran = run_unit(running, OpInstanceQueryData())
    assert ran.result[NAME]["run_state"] == "down"
    assert any(NODE2 in line for line in running.messages)


def test_os_definitions_are_told_in_rows(services: FakeServices) -> None:
    services.place("node3").systems = ()
    fields = ["name", "valid", "variants"]
    assert run_unit(services, OpOsDiagnose(output_fields=fields)).result == [["noop", False, []]]
    assert services.rpc.names == ["os_diagnose"] * 3


def test_dry_runs_change_nothing(running: FakeServices) -> None:
    before = contents(running.config)
    for order in (startup(), shutdown(), reboot("hard"), remove()):
        run_unit(running, order.replace(dry_run=True))
    assert contents(running.config) == before
