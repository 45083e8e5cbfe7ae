"""Opcodes that make jobs: evacuating nodes and groups, changing groups, placing many at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import an_instance
from fakes.instance_bed import NAME, a_bed, hook_values, refused
from fakes.services import FakeServices, Ran, run_unit
from ganeti.errors import OpExecError
from ganeti.locking.names import SHARED
from ganeti.logic.base import GeneratedJobs
from ganeti.opcodes.group import OpGroupEvacuate
from ganeti.opcodes.instance import (
    OpInstanceChangeGroup,
    OpInstanceCreate,
    OpInstanceMultiAlloc,
)
from ganeti.opcodes.node import OpNodeEvacuate, OpNodeMigrate
from ganeti.types import DiskTemplate, EvacuateMode, InstanceCreateMode, MigrationMode

GROUP2 = "99999999-0000-4000-8000-000000000002"


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    """web1 (shared file, up) and web2 (diskless, down) on node2."""
    made = a_bed(tmp_path, DiskTemplate.SHARED_FILE, up=True)
    other = an_instance(2, made.node("node2").uuid, nics=(), disks_active=False)
    made.change(lambda draft: draft.add(other))
    return made


def jobs(ran: Ran) -> list[list[dict[str, Any]]]:
    assert isinstance(ran.result, GeneratedJobs)
    return [[op.to_json() for op in job] for job in ran.result.jobs]


def with_groups(services: FakeServices) -> None:
    """node3 is in group two."""

    def change(draft: Any) -> None:
        (group,) = draft.snapshot.groups.values()
        draft.add(replace(group, uuid=GROUP2, name="two"))
        draft.update(replace(services.node("node3"), group=GROUP2))

    services.change(change)


# Nodes.


def evacuate(**values: Any) -> OpNodeEvacuate:
    return OpNodeEvacuate(**{"node_name": "node2", "mode": EvacuateMode.PRIMARY, **values})


def test_each_primary_gets_a_job_that_takes_it_away(services: FakeServices) -> None:
    ran = run_unit(services, evacuate())
    made = jobs(ran)
    assert [job[0]["OP_ID"] for job in made] == ["OP_INSTANCE_MIGRATE"] * 2
    assert [job[0]["instance_name"] for job in made] == [NAME, "web2.example.com"]
    assert all(job[0]["target_node"] != "node2.example.com" for job in made)
    assert all(job[0]["allow_failover"] for job in made)
    assert services.messages[0] == (
        " - INFO: Evacuating instances from node 'node2.example.com': web1.example.com,"
        " web2.example.com"
    )
    assert ran.locks.instances == {NAME: SHARED, "web2.example.com": SHARED}
    assert ran.before is None


def test_an_instance_that_can_not_move_fails_all(tmp_path: Path) -> None:
    services = a_bed(tmp_path, DiskTemplate.FILE, up=True)
    services.rpc.allocator = lambda name, document: (
        '{"success": true, "info": "", "result": [[], [["web1.example.com", "no way"]], []]}'
    )
    with pytest.raises(OpExecError, match="no way"):
        run_unit(services, evacuate(iallocator="script"))


def test_nothing_to_evacuate_is_no_job(services: FakeServices) -> None:
    assert jobs(run_unit(services, evacuate(mode=EvacuateMode.SECONDARY))) == []
    assert jobs(run_unit(services, evacuate(node_name="node3"))) == []
    assert services.rpc.names == []


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"mode": EvacuateMode.ALL}, "wrong_input"),
        ({"remote_node": "node3"}, "wrong_input"),
        ({"remote_node": "node3", "iallocator": "x"}, "wrong_input"),
        ({"remote_node": "node2", "mode": EvacuateMode.SECONDARY}, "wrong_input"),
        ({"node_name": "node9"}, "unknown_entity"),
    ],
)
def test_a_bad_evacuation_is_refused(services: FakeServices, values: Any, code: str) -> None:
    assert refused(services, evacuate(**values)) == code


def test_an_allocator_without_an_answer_is_no_resources(services: FakeServices) -> None:
    services.rpc.allocator = lambda name, document: (
        '{"success": false, "info": "full", "result": []}'
    )
    with pytest.raises(Exception, match="full"):
        run_unit(services, evacuate(iallocator="script"))


def test_migrating_a_node_makes_a_job_for_each_primary(services: FakeServices) -> None:
    ran = run_unit(
        services,
        OpNodeMigrate(node_name="node2", target_node="node3", mode=MigrationMode.NON_LIVE),
    )
    made = jobs(ran)
    assert [job[0]["instance_name"] for job in made] == [NAME, "web2.example.com"]
    assert [(job[0]["target_node"], job[0]["mode"]) for job in made] == [("node3", "non-live")] * 2
    assert hook_values(ran, "NODE_NAME", "ALLOW_RUNTIME_CHANGES") == ["node2.example.com", "True"]
    assert ran.locks.nodes == {services.node("node2").uuid: SHARED}


def test_a_bad_migration_of_a_node_is_refused(services: FakeServices) -> None:
    both = OpNodeMigrate(node_name="node2", mode=MigrationMode.LIVE, live=True)
    assert refused(services, both) == "wrong_input"
    assert refused(services, OpNodeMigrate(node_name="node9")) == "unknown_entity"


# Groups.


def test_an_instance_goes_to_another_group(services: FakeServices) -> None:
    with_groups(services)
    ran = run_unit(services, OpInstanceChangeGroup(instance_name="web1"))
    (job,) = jobs(ran)
    assert (job[0]["OP_ID"], job[0]["target_node"]) == ("OP_INSTANCE_MIGRATE", "node3.example.com")
    assert hook_values(ran, "TARGET_GROUPS", "INSTANCE_NAME") == [GROUP2, NAME]
    assert ran.locks.groups is SHARED


@pytest.mark.parametrize(
    ("targets", "code"), [(["nogroup"], "unknown_entity"), (["default"], "wrong_input")]
)
def test_a_bad_group_is_refused(services: FakeServices, targets: Any, code: str) -> None:
    with_groups(services)
    op = OpInstanceChangeGroup(instance_name="web1", target_groups=targets)
    assert refused(services, op) == code
    assert refused(services, OpGroupEvacuate(group_name="default", target_groups=targets)) == code


def test_without_another_group_there_is_nowhere_to_go(services: FakeServices) -> None:
    assert refused(services, OpInstanceChangeGroup(instance_name="web1")) == "wrong_input"
    assert refused(services, OpGroupEvacuate(group_name="default")) == "wrong_input"


def test_a_group_is_evacuated_one_after_the_other_without_migration(
    services: FakeServices,
) -> None:
    with_groups(services)
    op = OpGroupEvacuate(
        group_name="default", target_groups=["two"], sequential=True, force_failover=True
    )
    ran = run_unit(services, op)
    first, second = jobs(ran)
    assert first[0]["OP_ID"] == second[0]["OP_ID"] == "OP_INSTANCE_FAILOVER"
    assert first[0]["target_node"] == "node3.example.com"
    assert "depends" not in first[0] or not first[0]["depends"]
    assert [list(row) for row in second[0]["depends"]] == [[-1, []]]
    assert hook_values(ran, "GROUP_NAME", "TARGET_GROUPS") == ["default", GROUP2]
    assert ran.before is not None
    names = ("node1", "node2")
    assert list(ran.before.pre_nodes) == [services.node(name).uuid for name in names]


# Many at once.


def creation(name: str, **values: Any) -> OpInstanceCreate:
    return OpInstanceCreate(
        **{
            "instance_name": name,
            "mode": InstanceCreateMode.CREATE,
            "disk_template": DiskTemplate.DISKLESS,
            "disks": [],
            "nics": [],
            "os_type": "noop",
            "name_check": False,
            "ip_check": False,
            **values,
        }
    )


def test_all_are_placed_by_one_question(services: FakeServices) -> None:
    ran = run_unit(
        services, OpInstanceMultiAlloc(instances=[creation("a.example.com"), creation("b")])
    )
    made = jobs(ran)
    assert [job[0]["instance_name"] for job in made] == ["a.example.com", "b"]
    assert all(job[0]["pnode"] for job in made)
    assert ran.result.other == {"allocatable": ["a.example.com", "b"], "failed": []}
    assert (ran.locks.nodes, ran.locks.node_res) == (SHARED, SHARED)


def test_those_without_a_place_are_told(services: FakeServices) -> None:
    services.rpc.allocator = lambda name, document: (
        '{"success": true, "info": "", "result":'
        ' [[["a.example.com", ["node3.example.com"]]], ["b.example.com"]]}'
    )
    instances = [creation("a.example.com"), creation("b.example.com")]
    ran = run_unit(services, OpInstanceMultiAlloc(instances=instances, iallocator="script"))
    assert [job[0]["pnode"] for job in jobs(ran)] == ["node3.example.com"]
    assert ran.result.other == {"allocatable": ["a.example.com"], "failed": ["b.example.com"]}


def test_given_nodes_are_taken_as_they_are(services: FakeServices) -> None:
    ran = run_unit(
        services, OpInstanceMultiAlloc(instances=[creation("a.example.com", pnode="node3")])
    )
    assert jobs(ran)[0][0]["pnode"] == "node3"
    assert ran.locks.nodes == {services.node("node3").uuid: SHARED}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"instances": [creation("a"), creation("A.")]}, "wrong_input"),
        ({"instances": [creation("a", pnode="node3"), creation("b")]}, "wrong_input"),
        ({"instances": [creation("a", iallocator="x")]}, "wrong_input"),
        (
            {"instances": [creation("a", pnode="node3")], "iallocator": "hail"}, "wrong_input",
        ),
        ({"instances": [creation("a", pnode="node9")]}, "unknown_entity"),
        ({"instances": [creation("a", hypervisor="xen-pvm")]}, "wrong_state"),
    ],
)  # fmt: skip
def test_a_bad_batch_is_refused(services: FakeServices, values: Any, code: str) -> None:
    assert refused(services, OpInstanceMultiAlloc(**values)) == code
