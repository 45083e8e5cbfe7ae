"""Opcodes of networks: pools, reservations, connections, hooks as recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.admin_services import AdminServices, own_variables
from fakes.configs import a_nic, a_snapshot
from ganeti.config.reserve import free_addresses
from ganeti.errors import AddressPoolError, Code
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import network_pool as pool
from ganeti.logic.base import HookEnv
from ganeti.logic.communication import missing_connections
from ganeti.model.network import Network
from ganeti.opcodes.network import (
    OpNetworkAdd,
    OpNetworkConnect,
    OpNetworkDisconnect,
    OpNetworkRemove,
    OpNetworkRename,
    OpNetworkSetParams,
)
from ganeti.types import NicMode

LAN: dict[str, Any] = {"network_name": "lan-a", "network": "10.1.0.0/28"}


@pytest.fixture
def services(tmp_path: Path) -> AdminServices:
    return AdminServices(tmp_path)


def network(services: AdminServices, name: str = "lan-a") -> Network:
    found = services.config.find_network(name)
    assert found is not None
    return found


def connect(network_name: str = "lan-a", group: str = "default", **more: Any) -> OpNetworkConnect:
    values: dict[str, Any] = {
        "network_name": network_name,
        "group_name": group,
        "network_mode": NicMode.BRIDGED,
        "network_link": "br0",
    }
    return OpNetworkConnect(**{**values, **more})


def recorded(samples: Path, path: str, command: str) -> dict[str, str]:
    """Variables of the first recorded hook of a command."""
    for line in (samples / "hooks" / f"{path}.jsonl").read_text().splitlines():
        record = json.loads(line)
        if command in record["while"]:
            return own_variables(record["env"])
    raise AssertionError(f"{command} is not recorded")


def variables(env: HookEnv | None) -> dict[str, str]:
    assert env is not None
    return dict(env.env)


# Adding.


def test_first_last_and_gateway_address_are_reserved(services: AdminServices) -> None:
    ran = services.run(OpNetworkAdd(**LAN, gateway="10.1.0.1"))
    made = network(services)
    assert (ran.result, made.serial_no) == (None, 1)
    assert made.reservations == "0" * 16
    assert made.ext_reservations == "11" + "0" * 13 + "1"
    assert ran.locks.networks == {made.uuid: EXCLUSIVE}
    assert ran.locks.nodes == dict.fromkeys(services.config.nodes, SHARED)


def test_addresses_of_nodes_and_cluster_are_reserved(services: AdminServices) -> None:
    services.run(OpNetworkAdd(network_name="own", network="192.0.2.0/24"))
    free = set(free_addresses(network(services, "own")))
    taken = {node.primary_ip for node in services.config.nodes.values()}
    assert taken and not taken & free
    services.run(OpNetworkAdd(network_name="loose", network="192.0.2.0/24", conflicts_check=False))
    assert taken < set(free_addresses(network(services, "loose")))


def test_a_network_as_recorded_has_the_recorded_variables(
    services: AdminServices, samples: Path
) -> None:
    ran = services.run(
        OpNetworkAdd(
            network_name="lan-a",
            network="10.1.0.0/24",
            gateway="10.1.0.1",
            network6="2001:db8:1::/64",
            gateway6="2001:db8:1::1",
            mac_prefix="AA:bb:cc",
            add_reserved_ips=["10.1.0.10", "10.1.0.11"],
            tags=["lan"],
        )
    )
    wanted = recorded(samples, "network-add", "--network=10.1.0.0/24 --gateway=10.1.0.1")
    assert variables(ran.before) == variables(ran.after) == wanted
    document = json.loads((samples / "state/4-full/config.data").read_text())
    stored = next(one for one in document["networks"].values() if one["name"] == "lan-a")
    assert network(services).ext_reservations == stored["ext_reservations"]
    assert network(services).mac_prefix == stored["mac_prefix"]


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        ({"network": "10.2.0.0/33"}, "OpExecError", None),
        ({"network": "10.0.0.0/15"}, "OpExecError", None),
        ({"network": "10.2.0.0/31"}, "OpExecError", None),
        ({"network": "10.2.0.5/24"}, "OpExecError", None),
        ({"gateway": "10.9.9.9"}, "OpExecError", None),
        ({"gateway": "10.1.0.0"}, "OpExecError", None),
        ({"add_reserved_ips": ["10.9.9.9"]}, "OpExecError", None),
        ({"add_reserved_ips": ["10.1.0.3", "10.1.0.3"]}, "OpExecError", None),
        ({"mac_prefix": "aa:bb"}, "OpPrereqError", Code.INVAL),
        ({"tags": ["a b"]}, "TagError", None),
    ],
)
def test_what_can_not_be_is_refused(
    services: AdminServices, given: dict[str, Any], error: str, code: Code | None
) -> None:
    assert services.refused(OpNetworkAdd(**{**LAN, **given})) == (error, code)


def test_taken_and_unknown_names_are_refused(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    exists = ("OpPrereqError", Code.EXISTS)
    assert services.refused(OpNetworkAdd(**LAN)) == exists
    assert services.refused(OpNetworkRename(network_name="lan-a", new_name="lan-a")) == exists
    for op in (
        OpNetworkRemove(network_name="nosuch"),
        OpNetworkRename(network_name="nosuch", new_name="x"),
        OpNetworkSetParams(network_name="nosuch", mac_prefix="none"),
        OpNetworkDisconnect(network_name="nosuch", group_name="default"),
        connect("nosuch"),
        connect(group="nosuch"),
    ):
        assert services.refused(op) == ("OpPrereqError", Code.NOENT), op.OP_ID


# Changing.


def test_a_new_gateway_takes_the_place_of_the_old_one(
    services: AdminServices, samples: Path
) -> None:
    services.run(OpNetworkAdd(network_name="lan-b", network="10.2.0.0/28", gateway="10.2.0.5"))
    ran = services.run(OpNetworkSetParams(network_name="lan-b", gateway="10.2.0.1"))
    assert network(services, "lan-b").ext_reservations == "11" + "0" * 13 + "1"
    wanted = recorded(samples, "network-modify", "--gateway=10.2.0.1 lan-b")
    assert variables(ran.before) == wanted
    services.run(OpNetworkSetParams(network_name="lan-b", gateway="none"))
    made = network(services, "lan-b")
    assert (made.gateway, made.ext_reservations) == (None, "1" + "0" * 14 + "1")


def test_none_clears_what_can_be_cleared(services: AdminServices) -> None:
    services.run(
        OpNetworkAdd(**LAN, network6="2001:db8::/64", gateway6="2001:db8::1", mac_prefix="aa:bb:cc")
    )
    services.run(
        OpNetworkSetParams(
            network_name="lan-a", network6="none", gateway6="none", mac_prefix="none"
        )
    )
    made = network(services)
    assert (made.network6, made.gateway6, made.mac_prefix) == (None, None, None)


def test_reservations_that_can_not_be_are_only_warned_of(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    op = OpNetworkSetParams(network_name="lan-a", add_reserved_ips=["10.1.0.4", "10.1.0.0"])
    services.run(op)
    assert network(services).ext_reservations == "10001" + "0" * 10 + "1"
    services.run(
        OpNetworkSetParams(network_name="lan-a", remove_reserved_ips=["10.1.0.4", "10.1.0.5"])
    )
    assert network(services).ext_reservations == "1" + "0" * 14 + "1"
    assert len([text for text in services.messages if "WARNING" in text]) == 2


def test_gateway_and_reservations_are_not_changed_at_once(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    op = OpNetworkSetParams(network_name="lan-a", gateway="10.1.0.1", add_reserved_ips=["10.1.0.4"])
    assert services.refused(op) == ("OpPrereqError", Code.INVAL)


def test_the_gateway_stays_reserved(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN, gateway="10.1.0.1"))
    services.run(OpNetworkSetParams(network_name="lan-a", remove_reserved_ips=["10.1.0.1"]))
    assert network(services).ext_reservations == "11" + "0" * 13 + "1"


def test_an_instances_address_can_not_become_the_gateway(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    used = replace(network(services), reservations="001" + "0" * 13)
    services.change(lambda draft: draft.update(used))
    op = OpNetworkSetParams(network_name="lan-a", gateway="10.1.0.2")
    assert services.refused(op) == ("OpPrereqError", Code.STATE)
    outside = OpNetworkSetParams(network_name="lan-a", gateway="10.9.0.2")
    assert services.refused(outside) == ("OpPrereqError", Code.INVAL)


# Connections.


def test_a_connection_is_stored_in_the_group(services: AdminServices, samples: Path) -> None:
    services.run(OpNetworkAdd(**LAN))
    ran = services.run(connect(network_vlan="10"))
    (group,) = services.config.groups.values()
    assert group.networks == {
        network(services).uuid: {"mode": "bridged", "link": "br0", "vlan": ".10"}
    }
    assert ran.before is not None
    assert set(ran.before.pre_nodes) == set(services.config.nodes)
    wanted = recorded(samples, "network-connect", "link=br0 lan-a default")
    assert variables(ran.before) == {**wanted, "GROUP_NETWORK_VLAN": ".10"}
    assert ran.locks.groups == {group.uuid: EXCLUSIVE}


def test_what_is_connected_is_connected_once(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    services.run(connect())
    before = services.config
    services.run(connect(network_link="br1"))
    assert services.config is before
    assert "already mapped" in services.messages[-1]


def test_a_connected_network_is_not_removed(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    services.run(connect())
    for force in (False, True):
        op = OpNetworkRemove(network_name="lan-a", force=force)
        assert services.refused(op) == ("OpPrereqError", Code.STATE)
    ran = services.run(OpNetworkDisconnect(network_name="lan-a", group_name="default"))
    assert variables(ran.before) == variables(ran.after)
    services.run(OpNetworkRemove(network_name="lan-a"))
    assert services.config.find_network("lan-a") is None


def test_disconnecting_what_is_not_connected_only_warns(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    before = services.config
    services.run(OpNetworkDisconnect(network_name="lan-a", group_name="default"))
    assert services.config is before
    assert "WARNING" in services.messages[-1]


@pytest.fixture
def with_instance(tmp_path: Path) -> AdminServices:
    """lan-a, and an instance with an address of it outside of any network."""
    services = AdminServices(tmp_path, a_snapshot())
    services.run(OpNetworkAdd(**LAN))
    (instance,) = services.config.instances.values()
    services.change(lambda draft: draft.update(replace(instance, nics=(a_nic(1, ip="10.1.0.4"),))))
    return services


def test_a_conflict_keeps_a_network_from_a_group(with_instance: AdminServices) -> None:
    assert with_instance.refused(connect()) == ("OpPrereqError", Code.STATE)
    assert "nic0/10.1.0.4" in with_instance.messages[-1]
    assert with_instance.run(connect(conflicts_check=False)).result is None


def test_a_network_in_use_stays_connected(with_instance: AdminServices) -> None:
    services = with_instance
    services.run(connect(conflicts_check=False))
    (instance,) = services.config.instances.values()
    nic = a_nic(1, ip="10.1.0.4", network=network(services).uuid)
    services.change(lambda draft: draft.update(replace(instance, nics=(nic,))))
    op = OpNetworkDisconnect(network_name="lan-a", group_name="default")
    assert services.refused(op) == ("OpPrereqError", Code.STATE)
    assert instance.name in services.messages[-1]


def test_renaming_follows_the_communication_network(services: AdminServices) -> None:
    services.run(OpNetworkAdd(**LAN))
    services.run(connect())
    services.change(
        lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, instance_communication_network="lan-a")
        )
    )
    ran = services.run(OpNetworkRename(network_name="lan-a", new_name="lan-b"))
    assert ran.result == "lan-b"
    assert services.config.cluster.instance_communication_network == "lan-b"
    assert ran.before is not None and set(ran.before.pre_nodes) == set(services.config.nodes)


def test_the_communication_network_is_made_and_connected(services: AdminServices) -> None:
    services.change(
        lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, instance_communication_network="comm")
        )
    )
    for op in missing_connections(services.config):
        services.run(op)
    assert network(services, "comm").network == "169.254.0.0/16"
    assert missing_connections(services.config) == []


# The pool.


@pytest.mark.parametrize("size", [16, 24, 30])
def test_all_but_the_ends_of_a_new_network_is_free(size: int) -> None:
    made = pool.with_pool(Network(uuid="u", name="n", network=f"10.0.0.0/{size}"))
    assert len(list(free_addresses(made))) == 2 ** (32 - size) - 2


def test_only_what_is_reserved_by_hand_is_released() -> None:
    made = pool.with_pool(Network(uuid="u", name="n", network="10.0.0.0/28"))
    with pytest.raises(AddressPoolError):
        pool.release(made, "10.0.0.4")
    taken = pool.reserve(made, "10.0.0.4")
    assert pool.release(taken, "10.0.0.4") == made
    assert not pool.contains(made, "10.1.0.4")
    assert not pool.contains(made, None)
