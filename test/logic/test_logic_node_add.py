"""OP_NODE_ADD and OP_NODE_REMOVE: every refusal, and what is stored."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.admin_services import AdminServices
from fakes.services import a_cluster
from ganeti.constants import NODED_PORT
from ganeti.errors import Code, GenericError, OpExecError
from ganeti.locking.names import EXCLUSIVE
from ganeti.model.node import Node
from ganeti.opcodes.cluster import OpClusterPostInit
from ganeti.opcodes.node import OpNodeAdd, OpNodeRemove
from ganeti.paths import Paths
from ganeti.version import CONFIG_VERSION

NEW = "node9.example.com"
ADDRESS = f"127.{20 + os.getpid() // 65_536 % 80}.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
"""A loopback address that no other test run uses."""


def services_with(tmp_path: Path, address: str = ADDRESS, **cluster: Any) -> AdminServices:
    """Two nodes, and a third machine whose name resolves."""
    services = AdminServices(tmp_path, a_cluster(2, **{"candidate_pool_size": 10, **cluster}))
    hosts = services.paths.etc_hosts
    hosts.parent.mkdir(parents=True)
    known = "".join(f"{one.primary_ip} {one.name}\n" for one in services.config.nodes.values())
    hosts.write_text(f"{known}{address} {NEW}\n")
    return services


@contextmanager
def listening() -> Iterator[None]:
    """Something answers at the new node's port."""
    with socket.create_server((ADDRESS, NODED_PORT)):
        yield


def node(services: AdminServices, name: str = NEW) -> Node:
    found = services.config.find_node(name)
    assert found is not None
    return found


def error_of(services: AdminServices, op: Any) -> GenericError:
    with pytest.raises(GenericError) as caught:
        services.run(op)
    return caught.value


# Adding.


def test_a_new_node_is_stored_with_its_certificate(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    with listening():
        ran = services.run(OpNodeAdd(node_name=NEW))
    assert ran.locks.cluster is EXCLUSIVE
    made = node(services)
    assert (made.primary_ip, made.secondary_ip) == (ADDRESS, ADDRESS)
    assert made.master_candidate and not (made.offline or made.drained)
    assert made.uuid in services.config.cluster.candidate_certs
    assert services.commits == 1
    assert services.distributed == 1


def test_a_given_primary_address_counts_in_place_of_the_resolved_one(tmp_path: Path) -> None:
    services = services_with(tmp_path, address="127.1.2.3")
    with listening():
        services.run(OpNodeAdd(node_name=NEW, primary_ip=ADDRESS))
    assert (node(services).primary_ip, node(services).secondary_ip) == (ADDRESS, ADDRESS)


def test_figures_of_hypervisor_and_storage_are_stored(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    states = {
        "hv_state": {"fake": {"mem_total": 4096}},
        "disk_state": {"plain": {"xenvg": {"disk_total": 10}}},
    }
    with listening():
        services.run(OpNodeAdd(node_name=NEW, **states))
        more = {"hv_state": {"fake": {"cpu_total": "8"}}}
        services.run(OpNodeAdd(node_name=NEW, readd=True, **more))
    made = node(services)
    assert made.hv_state_static == {"fake": {"mem_total": 4096, "cpu_total": 8}}
    assert made.disk_state_static == states["disk_state"]


OVS = {"ovs": True, "ovs_name": "switch9", "ovs_link": "eth1"}


def test_a_node_that_wants_a_switch_gets_one(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    with listening():
        services.run(OpNodeAdd(node_name=NEW))
        assert services.calls.switches == []
        services.run(OpNodeAdd(node_name=NEW, readd=True, ndparams=OVS))
    assert services.calls.switches == [("switch9", "eth1")]


def test_a_node_without_its_switch_is_not_added(tmp_path: Path) -> None:
    services = services_with(tmp_path, ndparams={**OVS, "ovs_link": ""})
    services.calls.failures = {"node_configure_ovs": "ovs-vsctl is missing"}
    with listening():
        error = error_of(services, OpNodeAdd(node_name=NEW))
    assert isinstance(error, OpExecError)
    assert "switch9: ovs-vsctl is missing" in str(error)
    assert services.config.find_node(NEW) is None
    services.run(OpClusterPostInit())
    assert "ovs-vsctl is missing" in services.messages[-1]


class RealMachine(Paths):
    """Its nodes have SSH keys, unlike those of a virtual cluster."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_virtual = False


@pytest.mark.parametrize("node_setup", [True, False])
def test_the_ssh_key_is_spread_when_the_node_is_set_up(tmp_path: Path, node_setup: bool) -> None:
    services = services_with(tmp_path, modify_ssh_setup=True, modify_etc_hosts=False)
    services.paths = RealMachine(tmp_path)
    services.calls.failures = {"node_ssh_key_add": "no sshd here"}
    with listening():
        op = OpNodeAdd(node_name="localhost", primary_ip=ADDRESS, node_setup=node_setup)
        services.run(op)
    assert any("no sshd here" in text for text in services.messages) is node_setup


def test_a_full_pool_takes_no_more_candidates(tmp_path: Path) -> None:
    services = services_with(tmp_path, candidate_pool_size=2)
    with listening():
        services.run(OpNodeAdd(node_name=NEW))
    assert not node(services).master_candidate
    assert node(services).uuid not in services.config.cluster.candidate_certs


def test_a_node_that_cannot_be_master_is_no_candidate(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    with listening():
        services.run(OpNodeAdd(node_name=NEW, master_capable=False, vm_capable=False))
    made = node(services)
    assert (made.master_capable, made.vm_capable, made.master_candidate) == (False,) * 3


def test_a_node_that_returns_keeps_its_identity(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    with listening():
        services.run(OpNodeAdd(node_name=NEW))
        before = node(services)
        services.change_node(NEW, offline=True, master_candidate=False)
        services.run(OpNodeAdd(node_name=NEW, readd=True))
    after = node(services)
    assert after.uuid == before.uuid
    assert not after.offline
    assert after.master_candidate


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"readd": True, "group": "default"}, Code.INVAL),
        ({"readd": True}, Code.NOENT),
        ({"secondary_ip": "not-an-address"}, Code.INVAL),
        ({"secondary_ip": "fe80::1"}, Code.INVAL),
        ({"secondary_ip": "127.9.9.9"}, Code.INVAL),
        ({"group": "nosuch"}, Code.NOENT),
        ({"ndparams": {"ssh_port": "many"}}, None),
        ({"primary_ip": "here"}, Code.INVAL),
        ({"primary_ip": "fe80::1"}, Code.INVAL),
        ({"hv_state": {"nosuch": {}}}, Code.INVAL),
        ({"disk_state": {"file": {}}}, Code.INVAL),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, more: Any, code: Code | None) -> None:
    services = services_with(tmp_path)
    with listening():
        kind, found = services.refused(OpNodeAdd(node_name=NEW, **more))
    assert code is None or (kind, found) == ("OpPrereqError", code)
    assert services.commits == 0


def test_a_name_without_address_is_refused(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    assert services.refused(OpNodeAdd(node_name="nobody.example.com"))[0] == "ResolverError"


def test_a_known_node_is_refused(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    name = services.config.master().name
    assert services.refused(OpNodeAdd(node_name=name)) == ("OpPrereqError", Code.EXISTS)
    assert services.refused(OpNodeAdd(node_name=name, readd=True)) == ("OpPrereqError", Code.STATE)


def test_an_address_of_another_node_is_refused(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    taken = services.config.master().primary_ip
    services = services_with(tmp_path / "other", address=taken)
    assert services.refused(OpNodeAdd(node_name=NEW)) == ("OpPrereqError", Code.NOTUNIQUE)


def test_a_machine_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    error = error_of(services, OpNodeAdd(node_name=NEW))
    assert getattr(error, "code", None) == Code.ENVIRON
    assert NEW in str(error) and str(NODED_PORT) in str(error)


def test_another_version_of_the_protocol_is_refused(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    services.calls.failures["version"] = "who are you"
    with listening():
        assert services.refused(OpNodeAdd(node_name=NEW)) == ("OpPrereqError", Code.ENVIRON)
    assert CONFIG_VERSION


def test_with_several_groups_one_must_be_named(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    (group,) = services.config.groups.values()
    other = replace(group, uuid="99999999-1111-4000-8000-000000000000", name="other")
    services.change(lambda draft: draft.add(other))
    with listening():
        assert services.refused(OpNodeAdd(node_name=NEW)) == ("OpPrereqError", Code.INVAL)
        services.run(OpNodeAdd(node_name=NEW, group="other"))
    assert node(services).group == other.uuid


def test_a_failed_copy_of_files_is_a_warning(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    services.paths.hmac_key.parent.mkdir(parents=True, exist_ok=True)
    services.paths.hmac_key.write_text("secret")
    services.calls.failures["upload_file"] = "disk full"
    with listening():
        services.run(OpNodeAdd(node_name=NEW))
    assert any("hmac.key" in text and "disk full" in text for text in services.messages)
    assert services.config.find_node(NEW) is not None


def test_a_file_that_can_not_be_read_is_a_warning(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    services.paths.hmac_key.mkdir(parents=True)  # in the place of a file
    with listening():
        services.run(OpNodeAdd(node_name=NEW))
    assert any("hmac.key is not copied to the nodes: " in text for text in services.messages)
    assert services.config.find_node(NEW) is not None


def test_a_new_node_is_taken_out_again_when_the_job_fails(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    before = services.config.cluster.candidate_certs

    def dies(*, anew: bool = False) -> None:
        assert services.config.find_node(NEW) is not None
        raise OpExecError("the job was killed")

    services.distribute = dies  # type: ignore[method-assign]
    with listening():
        assert str(error_of(services, OpNodeAdd(node_name=NEW))) == "the job was killed"
    assert services.config.find_node(NEW) is None
    assert services.config.cluster.candidate_certs == before


def test_a_node_that_returns_stays_when_the_job_fails(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    with listening():
        services.run(OpNodeAdd(node_name=NEW))
        services.undo.steps.clear()  # that job has ended
        services.change_node(NEW, offline=True, master_candidate=False)

        def dies(*, anew: bool = False) -> None:
            raise OpExecError("the job was killed")

        services.distribute = dies  # type: ignore[method-assign]
        error_of(services, OpNodeAdd(node_name=NEW, readd=True))
    assert services.config.find_node(NEW) is not None


# Removing.


def test_the_master_stays(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    op = OpNodeRemove(node_name=services.config.master().name)
    assert services.refused(op) == ("OpPrereqError", Code.INVAL)


def test_an_unknown_node_cannot_be_removed(tmp_path: Path) -> None:
    services = services_with(tmp_path)
    assert services.refused(OpNodeRemove(node_name="nosuch")) == ("OpPrereqError", Code.NOENT)


def test_a_removed_node_is_replaced_in_the_pool(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_cluster(3, candidate_pool_size=2))
    services.change_node("node3.example.com", master_candidate=False)
    removed = node(services, "node2.example.com")
    services.calls.failures["node_leave_cluster"] = "gone already"
    services.run(OpNodeRemove(node_name="node2"))
    assert services.config.find_node("node2.example.com") is None
    assert node(services, "node3.example.com").master_candidate
    assert removed.uuid not in services.config.cluster.candidate_certs
    said = "\n".join(services.messages)
    assert "node3.example.com" in said
    assert "gone already" in said
