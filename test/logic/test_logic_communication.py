"""The interface between an instance and its node: made, taken away, renamed; its network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import a_network, a_nic
from fakes.instance_bed import NAME, a_bed, refused, web1
from fakes.services import FakeServices, run_unit
from ganeti.logic.communication import missing_connections, nic_of
from ganeti.model.nic import Nic
from ganeti.opcodes.instance import OpInstanceCreate, OpInstanceRename, OpInstanceSetParams

PARAMS = {"mode": "routed", "link": "communication_rt", "vlan": ""}


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    """web1, and a network for communication."""
    return connected(a_bed(tmp_path))


def connected(services: FakeServices) -> FakeServices:
    network = a_network(name="comm", mac_prefix="52:54:00")
    (group,) = services.config.groups.values()

    def change(draft: Any) -> None:
        draft.add(network)
        draft.update(replace(group, networks={network.uuid: PARAMS}))
        draft.update_cluster(replace(draft.snapshot.cluster, instance_communication_network="comm"))

    services.change(change)
    return services


def modify(**values: Any) -> OpInstanceSetParams:
    return OpInstanceSetParams(instance_name="web1", **values)


def create(**values: Any) -> OpInstanceCreate:
    return OpInstanceCreate(
        instance_name="web2.example.com", mode="create", disk_template="diskless", disks=[],
        os_type="noop", pnode="node2", name_check=False, ip_check=False, start=False, **values,
    )  # fmt: skip


def interface(services: FakeServices, name: str = NAME) -> Nic:
    nic = nic_of(web1(services, name))
    assert nic is not None
    return nic


def test_a_new_instance_has_it_behind_its_other_interfaces(services: FakeServices) -> None:
    run_unit(services, create(nics=[{}], instance_communication=True))
    made = web1(services, "web2.example.com").nics
    assert [nic.name for nic in made] == [None, "ganeti:communication:web2.example.com"]
    assert (made[1].ip, made[1].nicparams) == ("10.0.1.1", PARAMS)
    assert made[1].mac.startswith("52:54:00:")


def test_the_limit_counts_it(services: FakeServices) -> None:
    assert refused(services, create(nics=[{}] * 8, instance_communication=True)) == "wrong_state"


def test_it_comes_and_goes_once(services: FakeServices) -> None:
    ran = run_unit(services, modify(instance_communication=True))
    nic = interface(services)
    assert ran.result[0][0] == "nic.1" and f"mac={nic.mac},ip=10.0.1.1" in ran.result[0][1]
    assert run_unit(services, modify(instance_communication=True)).result == []
    assert len(web1(services).nics) == 2
    run_unit(services, modify(instance_communication=False))
    assert (nic_of(web1(services)), len(web1(services).nics)) == (None, 1)
    assert run_unit(services, modify(instance_communication=False)).result == []
    run_unit(services, modify(instance_communication=True))
    assert interface(services).ip == "10.0.1.1"


def test_it_goes_together_with_other_changes(services: FakeServices) -> None:
    run_unit(services, modify(instance_communication=True))
    run_unit(services, modify(nics=[("add", 0, {})], instance_communication=False))
    assert [nic.name for nic in web1(services).nics] == [None, None]


def test_without_a_network_for_it_there_is_none(tmp_path: Path) -> None:
    services = a_bed(tmp_path)
    for op in (create(nics=[], instance_communication=True), modify(instance_communication=True)):
        assert refused(services, op) == "wrong_input"
    assert run_unit(services, modify(instance_communication=False)).result == []


def test_its_name_follows_the_instance(services: FakeServices) -> None:
    run_unit(services, modify(instance_communication=True))
    new = "web9.example.com"
    run_unit(
        services,
        OpInstanceRename(instance_name=NAME, new_name=new, name_check=False, ip_check=False),
    )
    assert interface(services, new).name == f"ganeti:communication:{new}"


def test_only_names_of_that_kind_are_meant() -> None:
    assert a_nic(1, name="ganeti:communication:web1").is_communication
    assert not a_nic(1, name="communication").is_communication
    assert not a_nic(1, name=None).is_communication


def test_the_address_of_the_nodes_is_never_given_to_an_instance(tmp_path: Path) -> None:
    services = a_bed(tmp_path)
    services.change(
        lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, instance_communication_network="comm")
        )
    )
    for op in missing_connections(services.config):
        run_unit(services, op)
    network = services.config.find_network("comm")
    assert network is not None and network.ext_reservations is not None
    taken = [index for index, mark in enumerate(network.ext_reservations) if mark == "1"]
    assert taken == [0, 169 * 256 + 254, 2**16 - 1]
