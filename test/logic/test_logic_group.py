"""Opcodes of node groups: what is refused, what is stored, locks and hooks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.admin_services import AdminServices, own_variables, same_hook
from fakes.configs import a_network, a_snapshot
from fakes.services import contents
from ganeti.errors import Code
from ganeti.locking.names import EXCLUSIVE
from ganeti.model.inherit import fill_ipolicy
from ganeti.opcodes.group import (
    OpGroupAdd,
    OpGroupAssignNodes,
    OpGroupRemove,
    OpGroupRename,
    OpGroupSetParams,
)
from ganeti.opcodes.network import OpNetworkAdd
from ganeti.types import AllocPolicy, DiskTemplate


@pytest.fixture
def services(tmp_path: Path) -> AdminServices:
    return AdminServices(tmp_path)


def group(services: AdminServices, name: str) -> Any:
    found = services.config.find_group(name)
    assert found is not None
    return found


def records(samples: Path, path: str) -> list[dict[str, Any]]:
    lines = (samples / "hooks" / f"{path}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_new_group_is_empty_and_preferred(services: AdminServices) -> None:
    ran = services.run(OpGroupAdd(group_name="rack2"))
    made = group(services, "rack2")
    assert (ran.result, made.alloc_policy, made.serial_no) == (None, AllocPolicy.PREFERRED, 1)
    assert ran.locks.groups == {made.uuid: EXCLUSIVE}
    assert services.config.nodes_in(made.uuid) == []


def test_a_group_is_added_with_parameters_of_its_own(services: AdminServices) -> None:
    services.run(
        OpGroupAdd(
            group_name="rack2",
            alloc_policy=AllocPolicy.LAST_RESORT,
            ndparams={"spindle_count": "4", "cpu_speed": "default"},
            diskparams={DiskTemplate.PLAIN: {"stripes": "2"}, DiskTemplate.FILE: {}},
            ipolicy={"vcpu-ratio": 8},
            hv_state={"kvm": {"mem_total": "1000"}},
            disk_state={"plain": {"xenvg": {"disk_total": 5}}},
        )
    )
    made = group(services, "rack2")
    assert made.ndparams == {"spindle_count": 4}
    assert made.diskparams == {"plain": {"stripes": 2}}
    assert made.ipolicy == {"vcpu-ratio": 8.0}
    assert made.hv_state_static == {"kvm": {"mem_total": 1000}}
    assert made.disk_state_static == {"plain": {"xenvg": {"disk_total": 5}}}


def test_a_taken_name_is_refused(services: AdminServices) -> None:
    assert services.refused(OpGroupAdd(group_name="default")) == ("OpPrereqError", Code.EXISTS)
    op = OpGroupRename(group_name="default", new_name="default")
    assert services.refused(op) == ("OpPrereqError", Code.EXISTS)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"ndparams": {"nosuch": 1}}, "TypeEnforcementError"),
        ({"diskparams": {"file": {"nosuch": 1}}}, "TypeEnforcementError"),
        ({"ipolicy": {"std": {"memory-size": 1}}}, "OpPrereqError"),
        ({"ipolicy": {"disk-templates": ["rbd"]}}, "OpPrereqError"),
        ({"ipolicy": {"minmax": []}}, "OpPrereqError"),
        ({"hv_state": {"nosuch": {}}}, "OpPrereqError"),
        ({"disk_state": {"file": {}}}, "OpPrereqError"),
    ],
)
def test_wrong_parameters_are_refused(
    services: AdminServices, given: dict[str, Any], error: str
) -> None:
    for op in (
        OpGroupAdd(group_name="new", **given),
        OpGroupSetParams(group_name="default", **given),
    ):
        found, code = services.refused(op)
        assert found == error
        assert error == "TypeEnforcementError" or code == Code.INVAL


def test_an_unknown_group_is_refused_by_all(services: AdminServices) -> None:
    for op in (
        OpGroupRemove(group_name="nosuch"),
        OpGroupRename(group_name="nosuch", new_name="x"),
        OpGroupSetParams(group_name="nosuch", ndparams={}),
        OpGroupAssignNodes(group_name="nosuch", nodes=[]),
    ):
        assert services.refused(op) == ("OpPrereqError", Code.NOENT), op.OP_ID


def test_only_an_empty_group_that_is_not_the_last_one_is_removed(services: AdminServices) -> None:
    assert services.refused(OpGroupRemove(group_name="default")) == ("OpPrereqError", Code.STATE)
    before = contents(services.config)
    services.run(OpGroupAdd(group_name="rack2"))
    services.run(OpGroupRemove(group_name="rack2"))
    assert contents(services.config) == before


def test_a_renamed_group_keeps_its_uuid(services: AdminServices) -> None:
    uuid = group(services, "default").uuid
    ran = services.run(OpGroupRename(group_name="default", new_name="rack1"))
    assert ran.result == "rack1"
    assert group(services, "rack1").uuid == uuid
    assert ran.before is not None
    assert set(ran.before.pre_nodes) == set(services.config.nodes)


def test_a_change_tells_node_and_disk_parameters(services: AdminServices) -> None:
    op = OpGroupSetParams(
        group_name="default",
        alloc_policy=AllocPolicy.UNALLOCABLE,
        ndparams={"spindle_count": "2"},
        diskparams={DiskTemplate.PLAIN: {"stripes": 3}},
    )
    ran = services.run(op)
    assert ran.result == [
        ["ndparams", "{'spindle_count': 2}"],
        ["diskparams", "{'plain': {'stripes': 3}}"],
    ]
    assert group(services, "default").alloc_policy is AllocPolicy.UNALLOCABLE


def test_default_lets_the_cluster_count_again(services: AdminServices) -> None:
    services.run(
        OpGroupSetParams(
            group_name="default", ndparams={"spindle_count": 2}, ipolicy={"vcpu-ratio": 9}
        )
    )
    services.run(
        OpGroupSetParams(
            group_name="default",
            ndparams={"spindle_count": "default"},
            ipolicy={"vcpu-ratio": "default"},
        )
    )
    made = group(services, "default")
    assert (made.ndparams, made.ipolicy) == ({}, {})


def test_nothing_to_change_is_refused(services: AdminServices) -> None:
    op = OpGroupSetParams(group_name="default")
    assert services.refused(op) == ("OpPrereqError", Code.INVAL)


def test_instances_that_violate_the_new_policy_are_named(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    name = next(iter(services.config.groups.values())).name
    (instance,) = services.config.instances.values()
    minmax = fill_ipolicy(services.config.cluster)["minmax"]
    narrow = [{"min": pair["min"], "max": {**pair["max"], "memory-size": 128}} for pair in minmax]
    narrow[0]["min"] = {**narrow[0]["min"], "memory-size": 127}
    narrow[0]["max"] = {**narrow[0]["max"], "memory-size": 127}
    services.run(OpGroupSetParams(group_name=name, ipolicy={"minmax": narrow}))
    assert any(instance.name in text and "WARNING" in text for text in services.messages)


def test_nodes_move_into_a_group(services: AdminServices) -> None:
    services.run(OpGroupAdd(group_name="rack2"))
    ran = services.run(OpGroupAssignNodes(group_name="rack2", nodes=["node2", "node2"]))
    assert ran.result is None and ran.before is None
    assert services.node("node2").group == group(services, "rack2").uuid
    assert set(ran.locks.groups) == {one.uuid for one in services.config.groups.values()}
    assert ran.locks.nodes == {services.node("node2").uuid: EXCLUSIVE}
    op = OpGroupAssignNodes(group_name="rack2", nodes=["nosuch"])
    assert services.refused(op) == ("OpPrereqError", Code.NOENT)


def test_a_mirrored_instance_is_torn_only_by_force(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    services.run(OpGroupAdd(group_name="rack2"))
    (instance,) = services.config.instances.values()
    primary, secondary = services.config.nodes_of(instance)
    op = OpGroupAssignNodes(group_name="rack2", nodes=[secondary.name])
    assert services.refused(op)[0] == "OpExecError"
    both = OpGroupAssignNodes(group_name="rack2", nodes=[primary.name, secondary.name])
    assert services.run(both).result is None
    back = OpGroupAssignNodes(group_name="default", nodes=[primary.name], force=True)
    services.run(back)
    assert services.node(primary.name).group != services.node(secondary.name).group
    assert any(instance.name in text for text in services.messages)


def test_networks_that_are_left_behind_are_told(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    services.run(OpGroupAdd(group_name="rack2"))
    services.run(OpNetworkAdd(network_name="lan9", network="203.0.113.0/24", conflicts_check=False))
    (instance,) = services.config.instances.values()
    lan = services.config.find_network("lan9")
    assert lan is not None
    nics = (replace(instance.nics[0], network=lan.uuid),)
    services.change_instance(instance.name, nics=nics)
    nodes = [one.name for one in services.config.nodes_of(instance)]
    services.run(OpGroupAssignNodes(group_name="default", nodes=nodes))
    assert not any("are not connected" in text for text in services.messages)
    services.run(OpGroupAssignNodes(group_name="rack2", nodes=nodes))
    (told,) = [text for text in services.messages if "are not connected" in text]
    assert f"{instance.name}: lan9" in told


def test_hooks_have_the_recorded_variables(services: AdminServices, samples: Path) -> None:
    added = services.run(OpGroupAdd(group_name="rack2"))
    first = records(samples, "group-add")[0]
    assert same_hook(added.before, first)
    assert added.before is not None and added.before.env == own_variables(first["env"])
    changed = services.run(OpGroupSetParams(group_name="default", ndparams={"spindle_count": 2}))
    record = next(
        one for one in records(samples, "group-modify") if "spindle_count" in one["while"]
    )
    assert changed.before is not None
    assert changed.before.env == own_variables(record["env"])
    renamed = services.run(OpGroupRename(group_name="rack2", new_name="rack3"))
    assert same_hook(renamed.before, records(samples, "group-rename")[0])
    removed = services.run(OpGroupRemove(group_name="rack3"))
    assert same_hook(removed.before, records(samples, "group-remove")[0])


def test_a_new_group_gets_the_communication_network(services: AdminServices) -> None:
    network = a_network(1, name="comm")
    services.change(lambda draft: draft.add(network))
    services.change(
        lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, instance_communication_network="comm")
        )
    )
    ((connect,),) = services.jobs(OpGroupAdd(group_name="rack2"))
    assert connect["group_name"] == group(services, "rack2").uuid
