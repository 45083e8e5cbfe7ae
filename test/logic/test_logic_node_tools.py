"""Power and health, restricted commands, storage units and volumes of nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.admin_services import AdminServices
from fakes.configs import a_snapshot
from ganeti.errors import Code
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic.oob_command import problem_of
from ganeti.model.report import Dimensions, LvInfo
from ganeti.opcodes.cluster import OpClusterRepairDiskSizes, OpClusterVerifyDisks
from ganeti.opcodes.group import OpGroupVerifyDisks
from ganeti.opcodes.node import (
    OpNodeModifyStorage,
    OpNodePowercycle,
    OpNodeQueryStorage,
    OpNodeQueryvols,
    OpNodeRemove,
    OpOobCommand,
    OpRestrictedCommand,
)
from ganeti.types import DiskTemplate, OobCommand, StorageType

FIELDS = ["node", "type", "name", "size", "used", "free", "allocatable"]


@pytest.fixture
def services(tmp_path: Path) -> AdminServices:
    return AdminServices(tmp_path)


def with_program(services: AdminServices, *names: str) -> None:
    for name in names:
        services.change_node(name, ndparams={"oob_program": "/bin/oob"})


# Out of band.


def test_nodes_without_a_program_are_unavailable(services: AdminServices) -> None:
    ran = services.run(OpOobCommand(command=OobCommand.HEALTH))
    names = sorted(node.name for node in services.config.nodes.values())
    assert ran.result == [[[0, name], [3, None]] for name in names]
    assert ran.locks.nodes is EXCLUSIVE
    assert services.calls.names == []


def test_programs_run_on_the_master(services: AdminServices) -> None:
    with_program(services, "node2")
    services.calls.oob = lambda command, node: {"powered": False}
    op = OpOobCommand(command=OobCommand.POWER_STATUS, node_names=["node2"])
    ran = services.run(op)
    name = services.node("node2").name
    assert ran.result == [[[0, name], [0, {"powered": False}]]]
    assert services.calls.log == [("run_oob", services.config.master().name)]
    assert services.calls.sent("run_oob") == ["/bin/oob", "power-status", name, 60]
    assert "recorded as powered on" in services.messages[-1]


@pytest.mark.parametrize(
    ("command", "answer", "good"),
    [
        (OobCommand.HEALTH, [["fan", "OK"], ["psu", "CRITICAL"]], True),
        (OobCommand.HEALTH, [["fan", "FINE"]], False),
        (OobCommand.HEALTH, None, False),
        (OobCommand.HEALTH, [["fan"]], False),
        (OobCommand.POWER_STATUS, {"powered": True}, True),
        (OobCommand.POWER_STATUS, {"powered": "yes"}, False),
        (OobCommand.POWER_STATUS, None, False),
        (OobCommand.POWER_ON, None, True),
        (OobCommand.POWER_OFF, "done", False),
    ],
)
def test_the_shape_of_answers_is_checked(command: OobCommand, answer: Any, good: bool) -> None:
    assert (problem_of(command, answer) is None) == good


def test_a_bad_answer_is_no_data_with_a_warning(services: AdminServices) -> None:
    with_program(services, "node2")
    ran = services.run(OpOobCommand(command=OobCommand.HEALTH, node_names=["node2"]))
    assert ran.result[0][1] == [2, None]
    assert "WARNING" in services.messages[-1]


def test_only_offline_nodes_are_switched_off(services: AdminServices) -> None:
    with_program(services, "node2")
    op = OpOobCommand(command=OobCommand.POWER_OFF, node_names=["node2"])
    assert services.refused(op) == ("OpPrereqError", Code.STATE)
    assert services.run(op.replace(ignore_status=True)).result[0][1] == [0, None]
    assert services.node("node2").powered is False
    services.run(OpOobCommand(command=OobCommand.POWER_ON, node_names=["node2"]))
    assert services.node("node2").powered is True


@pytest.mark.parametrize("command", [OobCommand.POWER_OFF, OobCommand.POWER_CYCLE])
def test_the_master_is_never_switched_off(services: AdminServices, command: OobCommand) -> None:
    master = services.config.master().name
    named = OpOobCommand(command=command, node_names=[master], ignore_status=True)
    assert services.refused(named) == ("OpPrereqError", Code.INVAL)
    everybody = services.run(OpOobCommand(command=command, ignore_status=True)).result
    assert master not in [row[0][1] for row in everybody]


def test_nodes_are_switched_on_one_after_the_other(services: AdminServices) -> None:
    with_program(services, "node2", "node3")
    op = OpOobCommand(command=OobCommand.POWER_ON, node_names=["node2", "node3"], power_delay=1.5)
    services.run(op)
    assert services.waits == [1.5]


def test_a_node_is_power_cycled_but_the_master_only_by_force(services: AdminServices) -> None:
    ran = services.run(OpNodePowercycle(node_name="node2"))
    assert ran.result == "Reboot of fake"
    assert not ran.locks.nodes
    op = OpNodePowercycle(node_name=services.config.master().name)
    assert services.refused(op) == ("OpPrereqError", Code.INVAL)
    assert services.run(op.replace(force=True)).result
    unknown = OpNodePowercycle(node_name="nosuch")
    assert services.refused(unknown) == ("OpPrereqError", Code.NOENT)


# Restricted commands.


def test_a_restricted_command_has_a_row_for_each_node(services: AdminServices) -> None:
    ran = services.run(OpRestrictedCommand(command="uptime", nodes=["node2", "node3"]))
    assert ran.result == [[True, "up"], [True, "up"]]
    assert set(ran.locks.nodes.values()) == {SHARED}  # type: ignore[union-attr]
    locked = services.run(OpRestrictedCommand(command="x", nodes=["node2"], use_locking=True))
    name = services.node("node2").name
    assert locked.result == [[False, f"Command 'x' on node {name!r} failed: not allowed"]]
    assert set(locked.locks.nodes.values()) == {EXCLUSIVE}  # type: ignore[union-attr]


# Storage.


def test_storage_units_are_listed_as_recorded(services: AdminServices) -> None:
    ran = services.run(
        OpNodeQueryStorage(output_fields=FIELDS, storage_type=StorageType.FILE, nodes=["node2"])
    )
    name = services.node("node2").name
    directory = services.config.cluster.file_storage_dir
    assert ran.result == [[name, "file", directory, 100, 1, 99, True]]
    only = services.run(OpNodeQueryStorage(output_fields=["free", "node"], nodes=["node2"]))
    assert only.result == [[99, name]]


def test_a_kind_of_storage_that_nothing_uses_is_refused_without_a_code(
    services: AdminServices,
) -> None:
    op = OpNodeQueryStorage(output_fields=FIELDS, storage_type=StorageType.LVM_VG)
    assert services.refused(op) == ("OpPrereqError", None)
    services.change(
        lambda draft: draft.update_cluster(
            replace(
                draft.snapshot.cluster,
                enabled_disk_templates=(DiskTemplate.DISKLESS, DiskTemplate.FILE),
            )
        )
    )
    assert services.refused(OpNodeQueryStorage(output_fields=FIELDS)) == ("OpPrereqError", None)


def test_unknown_fields_and_nodes_are_refused(services: AdminServices) -> None:
    for op in (
        OpNodeQueryStorage(output_fields=["nosuch"]),
        OpNodeQueryvols(output_fields=["nosuch"]),
    ):
        assert services.refused(op) == ("OpPrereqError", Code.INVAL)
    op = OpNodeQueryStorage(output_fields=FIELDS, nodes=["nosuch"])
    assert services.refused(op) == ("OpPrereqError", Code.NOENT)


def test_silent_and_offline_nodes_are_left_out(services: AdminServices) -> None:
    services.change_node("node3", offline=True, master_candidate=False)
    services.calls.silent.add(services.node("node2").name)
    ran = services.run(OpNodeQueryStorage(output_fields=["node"], storage_type=StorageType.FILE))
    assert ran.result == [[services.config.master().name]]
    assert len(services.messages) == 1 and "node2" in services.messages[0]


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        (StorageType.FILE, {"allocatable": True}, Code.INVAL),
        (StorageType.LVM_PV, {"size": 5}, Code.INVAL),
        (StorageType.LVM_PV, {"allocatable": True}, None),
    ],
)
def test_only_physical_volumes_can_be_changed(
    services: AdminServices, kind: StorageType, changes: dict[str, Any], code: Code | None
) -> None:
    op = OpNodeModifyStorage(node_name="node2", storage_type=kind, name="x", changes=changes)
    assert services.refused(op) == ("OpPrereqError", code)


def test_without_a_volume_group_there_are_no_volumes(services: AdminServices) -> None:
    services.change(
        lambda draft: draft.update_cluster(replace(draft.snapshot.cluster, volume_group_name=None))
    )
    assert services.run(OpNodeQueryvols(output_fields=["name"])).result == []


def test_volumes_name_their_instance(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    services.change(
        lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, volume_group_name="xenvg")
        )
    )
    fields = ["node", "phys", "vg", "name", "size", "instance"]
    ran = services.run(OpNodeQueryvols(output_fields=fields))
    assert [row[1:] for row in ran.result] == [
        ["/dev/sda", "xenvg", "lv1", 128, "-"] for _ in services.config.nodes
    ]


# Disks of groups.


def test_verify_disks_submits_a_job_for_each_group(services: AdminServices) -> None:
    (group,) = services.config.groups.values()
    ((op,),) = services.jobs(OpClusterVerifyDisks())
    assert op["group_name"] == group.uuid
    assert op["comment"] == "Submitted by OP_CLUSTER_VERIFY_DISKS"
    unknown = OpClusterVerifyDisks(group_name="nosuch")
    assert services.refused(unknown) == ("OpPrereqError", Code.NOENT)


def mirrored(tmp_path: Path) -> AdminServices:
    """The example's instance on DRBD, its disks active, its volumes known to the nodes."""
    services = AdminServices(tmp_path, a_snapshot())
    (instance,) = services.config.instances.values()
    services.change_instance(instance.name, disks_active=True)
    for disk in services.config.disks.values():
        for child in disk.children:
            name = "/".join(map(str, child.logical_id))
            services.calls.volumes[name] = LvInfo("128.00", False, True)
    return services


def test_active_mirrors_are_found_well(tmp_path: Path) -> None:
    services = mirrored(tmp_path)
    (group,) = services.config.groups.values()
    assert services.run(OpGroupVerifyDisks(group_name=group.uuid)).result == [{}, [], {}]


def test_missing_and_inactive_volumes_are_told(tmp_path: Path) -> None:
    services = mirrored(tmp_path)
    (group,), (instance,) = services.config.groups.values(), services.config.instances.values()
    first, second, *_ = services.calls.volumes
    del services.calls.volumes[first]
    services.calls.volumes[second] = LvInfo("128.00", True, False)
    errors, inactive, missing = services.run(OpGroupVerifyDisks(group_name=group.name)).result
    assert (errors, inactive) == ({}, [instance.name])
    assert {volume for _, volume in missing[instance.name]} == {first}


def test_a_node_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    services = mirrored(tmp_path)
    (group,) = services.config.groups.values()
    name = services.config.master().name
    services.calls.silent.add(name)
    errors, _, _ = services.run(OpGroupVerifyDisks(group_name=group.name)).result
    assert set(errors) == {name}


def test_sizes_are_recorded_as_they_are(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    (instance,) = services.config.instances.values()
    disk = services.config.disks[instance.disks[0]]
    services.calls.sizes = {
        uuid: Dimensions(services.config.disks[uuid].size << 20, None) for uuid in instance.disks
    }
    assert services.run(OpClusterRepairDiskSizes()).result == []
    services.calls.sizes[disk.uuid] = Dimensions((disk.size + 4 << 20) + 5, None)
    ran = services.run(OpClusterRepairDiskSizes(instances=[instance.name]))
    assert ran.result == [[instance.name, 0, "size", disk.size + 4]]
    stored = services.config.disks[disk.uuid]
    assert stored.size == disk.size + 4
    assert stored.children[0].size >= stored.size


def test_a_disk_without_an_answer_is_only_warned_of(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    before = services.config
    assert services.run(OpClusterRepairDiskSizes()).result == []
    assert services.config is before
    assert "WARNING" in services.messages[0]


def test_a_removed_candidate_is_replaced_and_certified(services: AdminServices) -> None:
    services.change_node("node3", master_candidate=False)
    services.change(
        lambda draft: draft.update_cluster(replace(draft.snapshot.cluster, candidate_pool_size=2))
    )
    gone = services.node("node2").uuid
    services.calls.node_leave_cluster = lambda place, setup: "bye"  # type: ignore[attr-defined]
    services.run(OpNodeRemove(node_name="node2"))
    certs = services.config.cluster.candidate_certs
    assert gone not in certs
    assert services.node("node3").uuid in certs
