"""Roles and capabilities of nodes: every transition of facts/master.md §A4."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.admin_services import AdminServices, own_variables
from fakes.configs import a_snapshot
from fakes.services import a_cluster
from ganeti.errors import Code, GenericError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic.registry import unit_for
from ganeti.model.node import Node
from ganeti.opcodes.node import OpNodeSetParams
from ganeti.types import AdminState

ROLES = ("master_candidate", "drained", "offline")


def services_with(tmp_path: Path, pool: int = 2, nodes: int = 3, **roles: str) -> AdminServices:
    """Nodes of these roles (default: candidate), certificates of all candidates known."""
    services = AdminServices(tmp_path, a_cluster(nodes, candidate_pool_size=pool))
    for name, role in roles.items():
        flags = {flag: flag == role for flag in ROLES}
        services.change_node(name, **flags)
    certs = {uuid: "ab:cd" for uuid, node in services.config.nodes.items() if node.master_candidate}
    services.change(
        lambda draft: draft.update_cluster(replace(draft.snapshot.cluster, candidate_certs=certs))
    )
    return services


def modify(node: str, **more: Any) -> OpNodeSetParams:
    return OpNodeSetParams(node_name=node, **more)


def role(node: Node) -> str | None:
    return next((flag for flag in ROLES if getattr(node, flag)), None)


def certified(services: AdminServices) -> set[str]:
    return set(services.config.cluster.candidate_certs)


def candidates(services: AdminServices) -> set[str]:
    return {node.uuid for node in services.config.candidates()}


def test_a_regular_node_becomes_candidate_and_back(tmp_path: Path) -> None:
    services = services_with(tmp_path, node3="regular")
    ran = services.run(modify("node3", master_candidate=True))
    assert ran.result == [["master_candidate", "True"]]
    assert certified(services) == candidates(services) and len(candidates(services)) == 3
    back = services.run(modify("node3", master_candidate=False))
    assert back.result == [["master_candidate", "False"]]
    assert certified(services) == candidates(services)
    assert "node_demote_from_mc" in services.calls.names
    assert services.distributed == 2


@pytest.mark.parametrize("flag", ["drained", "offline"])
def test_a_candidate_leaves_and_another_takes_its_place(tmp_path: Path, flag: str) -> None:
    services = services_with(tmp_path, node3="regular")
    refused = services.refused(modify("node2", **{flag: True}))
    assert refused == ("OpPrereqError", Code.STATE)
    ran = services.run(modify("node2", auto_promote=True, **{flag: True}))
    assert ran.result == [["master_candidate", "False"], [flag, "True"]]
    assert role(services.node("node3")) == "master_candidate"
    assert certified(services) == candidates(services)
    assert any("Promoted nodes" in text and "node3" in text for text in services.messages)
    assert ran.locks.nodes is EXCLUSIVE
    assert ("node_demote_from_mc" in services.calls.names) == (flag == "drained")


@pytest.mark.parametrize("flag", ["drained", "offline"])
@pytest.mark.parametrize("pool", [2, 3])
def test_a_node_that_comes_back_fills_the_pool(tmp_path: Path, flag: str, pool: int) -> None:
    services = services_with(tmp_path, pool=pool, node3=flag)
    ran = services.run(modify("node3", **{flag: False}))
    promoted = [["master_candidate", "True"]] if pool == 3 else []
    assert ran.result == [*promoted, [flag, "False"]]
    assert role(services.node("node3")) == ("master_candidate" if pool == 3 else None)


def test_setting_one_flag_clears_the_others(tmp_path: Path) -> None:
    for before, after in itertools.permutations(ROLES, 2):
        services = services_with(tmp_path, pool=1, node2="regular", node3=before)
        services.run(modify("node3", **{after: True}))
        assert role(services.node("node3")) == after


def test_unsetting_what_is_not_set_changes_nothing(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    before = services.config
    ran = services.run(modify("node2", offline=False))
    assert (ran.result, services.config) == ([], before)
    assert "Ignoring request to unset flag offline" in services.messages[0]
    assert ran.before is not None and ran.before.env["OFFLINE"] == "None"


@pytest.mark.parametrize("flag", ROLES)
@pytest.mark.parametrize("value", [True, False])
def test_the_masters_role_is_not_changed_here(tmp_path: Path, flag: str, value: bool) -> None:
    services = services_with(tmp_path)
    master = services.config.master().name
    assert services.refused(modify(master, **{flag: value})) == ("OpPrereqError", Code.INVAL)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"drained": True, "offline": True},
        {"master_candidate": True, "offline": True},
        {"master_candidate": True, "vm_capable": True},
        {"ndparams": {"exclusive_storage": True}},
        {"secondary_ip": "nonsense"},
        {"secondary_ip": "198.51.100.2"},
        {"hv_state": {"nosuch": {}}},
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    services = services_with(tmp_path)
    assert services.refused(modify("node2", **given)) == ("OpPrereqError", Code.INVAL)


def test_an_unknown_node_is_refused(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    assert services.refused(modify("nosuch", offline=True)) == ("OpPrereqError", Code.NOENT)


# Capabilities.


def test_losing_the_capability_demotes_and_getting_it_promotes(tmp_path: Path) -> None:
    services = services_with(tmp_path, pool=2)
    ran = services.run(modify("node3", master_capable=False))
    assert ran.result == [["master_capable", "False"], ["master_candidate", "False"]]
    assert ran.before is not None and ran.before.env["MASTER_CANDIDATE"] == "False"
    services = services_with(tmp_path, pool=3, node3="regular")
    services.change_node("node3", master_capable=False)
    ran = services.run(modify("node3", master_capable=True))
    assert ran.result == [["master_capable", "True"], ["master_candidate", "True"]]


def test_a_node_that_is_not_capable_is_no_candidate(tmp_path: Path) -> None:
    services = services_with(tmp_path, pool=1, node3="regular")
    services.change_node("node3", master_capable=False)
    refused = services.refused(modify("node3", master_candidate=True))
    assert refused == ("OpPrereqError", Code.STATE)


def test_the_master_stays_capable(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    master = services.config.master().name
    refused = services.refused(modify(master, master_capable=False))
    assert refused == ("OpPrereqError", Code.STATE)


def test_a_node_with_instances_stays_vm_capable(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    (instance,) = services.config.instances.values()
    for node in services.config.nodes_of(instance):
        refused = services.refused(modify(node.name, vm_capable=False))
        assert refused == ("OpPrereqError", Code.STATE)
    empty = services_with(tmp_path)
    assert empty.run(modify("node2", vm_capable=False)).result == [["vm_capable", "False"]]


# Power, answers, addresses.


def test_power_is_recorded_only_with_an_out_of_band_program(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    refused = services.refused(modify("node2", powered=False))
    assert refused == ("OpPrereqError", Code.STATE)
    services.change_node("node2", ndparams={"oob_program": "/bin/oob"})
    assert services.run(modify("node2", powered=False)).result == [["powered", "False"]]
    services = services_with(tmp_path, node3="offline")
    services.change_node("node3", powered=False, ndparams={"oob_program": "/bin/oob"})
    refused = services.refused(modify("node3", offline=False))
    assert refused == ("OpPrereqError", Code.STATE)
    assert services.run(modify("node3", offline=False, powered=True)).result


def test_a_silent_node_stays_offline(tmp_path: Path) -> None:
    services = services_with(tmp_path, node3="offline")
    services.calls.failures["version"] = "no route"
    refused = services.refused(modify("node3", offline=False))
    assert refused == ("OpPrereqError", Code.STATE)


def test_the_masters_second_address_changes_by_force(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    master = services.config.master().name
    op = modify(master, secondary_ip="198.51.100.1")
    assert services.refused(op) == ("OpPrereqError", Code.INVAL)
    ran = services.run(op.replace(force=True))
    assert ran.result == [["secondary_ip", "198.51.100.1"]]
    missing = modify("node2", secondary_ip="203.0.113.2", force=True)
    assert services.refused(missing) == ("OpPrereqError", Code.ENVIRON)
    taken = modify("node2", secondary_ip="198.51.100.1", force=True)
    assert services.refused(taken) == ("OpPrereqError", Code.NOTUNIQUE)


def test_mirrors_that_run_keep_the_second_address(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    (instance,) = services.config.instances.values()
    master = services.config.master()
    services.change_instance(instance.name, admin_state=AdminState.UP)
    op = modify(master.name, secondary_ip="198.51.100.1", force=True)
    assert services.refused(op) == ("OpPrereqError", Code.STATE)
    services.change_instance(instance.name, admin_state=AdminState.DOWN)
    ran = services.run(op)
    assert set(ran.locks.instances) == {instance.name}


# Hooks, faults.


def test_hooks_have_the_recorded_variables(tmp_path: Path, samples: Path) -> None:
    wanted = {}
    for line in (samples / "hooks/node-modify.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["env"]["GANETI_HOOKS_PHASE"] == "pre":
            wanted[record["while"]] = own_variables(record["env"])
    cases: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        ("gnt-node modify -C yes node3", {"master_candidate": True}, {"node3": "regular"}),
        ("gnt-node modify -D yes node3", {"drained": True}, {"node3": "regular"}),
        ("gnt-node modify -D no node3", {"drained": False}, {"node3": "drained"}),
        ("gnt-node modify --master-capable=no node3", {"master_capable": False}, {}),
    ]
    for command, given, roles in cases:
        services = services_with(tmp_path, **roles)
        before = services.run(modify("node3", **given)).before
        assert before is not None and before.env == wanted[command], command
        master = services.config.cluster.master_node
        assert list(before.pre_nodes) == [master, services.node("node3").uuid]


def test_only_a_change_of_role_runs_the_config_hook(tmp_path: Path) -> None:
    for given, expected in (
        ({"drained": True}, True),
        ({"ndparams": {"spindle_count": 3}}, False),
    ):
        services = services_with(tmp_path, pool=1)
        op = modify("node3", **given)
        unit = unit_for(op.OP_ID)(op, services)
        unit.arguments()
        unit.execute(unit.check(services.config))
        assert unit.config_hook is expected


def test_whatever_call_fails_certificates_are_never_of_others(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        services = services_with(tmp_path, node3="regular")
        services.calls.fail_at = nth
        try:
            services.run(modify("node2", offline=True, auto_promote=True))
        except GenericError:
            assert role(services.node("node2")) == "master_candidate"
        else:
            assert role(services.node("node2")) == "offline"
        assert certified(services) <= candidates(services)
        if len(services.calls.log) < nth:
            return
