"""Networks with IPv6 addresses, without IPv4 ones, and without any; instances in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import a_bed, refused, web1
from fakes.services import FakeServices, run_unit
from ganeti.config import pool6
from ganeti.errors import AddressPoolError, OpExecError
from ganeti.model.network import Network
from ganeti.opcodes.instance import OpInstanceFailover, OpInstanceSetParams
from ganeti.opcodes.network import OpNetworkAdd, OpNetworkConnect, OpNetworkSetParams
from ganeti.types import DiskTemplate, NicMode

PREFIX = "2001:db8:1::"
SIX: dict[str, Any] = {"network_name": "six", "network": None, "network6": f"{PREFIX}/64"}


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path)


def network(services: FakeServices, name: str = "six") -> Network:
    found = services.config.find_network(name)
    assert found is not None
    return found


def make(services: FakeServices, **values: Any) -> None:
    """A network of IPv6 addresses, connected to the only group."""
    op = OpNetworkAdd(**{**SIX, **values})
    run_unit(services, op)
    run_unit(services, connect(op.network_name))


def connect(name: str, group: str = "default", link: str = "br6") -> OpNetworkConnect:
    return OpNetworkConnect(
        network_name=name, group_name=group, network_mode=NicMode.BRIDGED, network_link=link
    )


def nic(action: str, which: int = -1, **given: str) -> OpInstanceSetParams:
    return OpInstanceSetParams(instance_name="web1", nics=[(action, which, given)])


def change(services: FakeServices, **values: Any) -> None:
    run_unit(services, OpNetworkSetParams(network_name="six", **values))


def addresses(services: FakeServices) -> list[str | None]:
    return [one.ip for one in web1(services).nics]


# Making them.


def test_a_network_needs_no_ipv4_addresses(services: FakeServices) -> None:
    make(services, gateway6=f"{PREFIX}1")
    made = network(services)
    assert (made.network, made.reservations, made.ext_reservations) == (None, None, None)
    run_unit(services, OpNetworkAdd(network_name="plain", network=None))
    assert network(services, "plain").network6 is None


@pytest.mark.parametrize(
    "given",
    [
        {"gateway": "192.0.2.1"},
        {"network6": "2001:db8:1::5/64"},
        {"gateway6": "2001:db8:2::1"},
        {"add_reserved_ips": ["2001:db8:2::1"]},
        {"add_reserved_ips": ["192.0.2.1"]},
        {"add_reserved_ips": [f"{PREFIX}5", "2001:0db8:1:0::5"]},
        {"add_reserved_ips": [f"{PREFIX}1"], "gateway6": f"{PREFIX}1"},
    ],
    ids=str,
)
def test_what_can_not_be_is_refused(services: FakeServices, given: dict[str, Any]) -> None:
    with pytest.raises(OpExecError):
        run_unit(services, OpNetworkAdd(**{**SIX, **given}))


def test_a_gateway_on_the_link_is_one_of_any_network(services: FakeServices) -> None:
    make(services, gateway6="fe80::1")
    assert network(services).gateway6 == "fe80::1"


# Addresses of interfaces.


def test_the_first_free_address_is_neither_the_routers_nor_the_gateway_nor_reserved(
    services: FakeServices,
) -> None:
    make(services, gateway6="2001:0DB8:1::1", add_reserved_ips=["2001:db8:1:0::2"])
    run_unit(services, nic("add", network="six", ip="pool"))
    run_unit(services, nic("add", network="six", ip="pool"))
    assert addresses(services)[1:] == [f"{PREFIX}3", f"{PREFIX}4"]
    run_unit(services, nic("remove", 1))
    run_unit(services, nic("add", network="six", ip="pool"))
    assert addresses(services)[1:] == [f"{PREFIX}4", f"{PREFIX}3"]


def test_an_address_is_the_same_however_it_is_written(services: FakeServices) -> None:
    make(services, gateway6=f"{PREFIX}1")
    run_unit(services, nic("add", network="six", ip="2001:DB8:1:0::00A"))
    assert addresses(services)[-1] == f"{PREFIX}a"
    for taken in (f"{PREFIX}A", f"{PREFIX}1", "2001:db8:2::1", "192.0.2.77"):
        assert refused(services, nic("add", network="six", ip=taken)) == "resource_not_unique"


def test_a_dual_network_gives_ipv4_addresses_and_has_both(services: FakeServices) -> None:
    make(services, network="10.6.0.0/28")
    run_unit(services, nic("add", network="six", ip="pool"))
    run_unit(services, nic("add", network="six", ip=f"{PREFIX}9"))
    assert addresses(services)[-2:] == ["10.6.0.1", f"{PREFIX}9"]
    assert network(services).reservations == "01" + "0" * 14


def test_without_subnets_there_is_no_pool_and_any_address(services: FakeServices) -> None:
    make(services, network6=None)
    assert refused(services, nic("add", network="six", ip="pool")) == "wrong_input"
    run_unit(services, nic("add", network="six", ip="192.0.2.77"))
    assert refused(services, nic("add", network="six", ip="192.0.2.77")) == "resource_not_unique"
    run_unit(services, nic("add", network="six"))
    assert addresses(services)[-2:] == ["192.0.2.77", None]


def test_a_full_network_is_told(services: FakeServices) -> None:
    make(services, network6=f"{PREFIX}/126", gateway6=f"{PREFIX}1")
    for _ in range(2):
        run_unit(services, nic("add", network="six", ip="pool"))
    assert refused(services, nic("add", network="six", ip="pool")) == "wrong_state"


def test_an_address_outside_of_networks_must_not_lie_in_one(services: FakeServices) -> None:
    make(services)
    assert refused(services, nic("add", ip=f"{PREFIX}5")) == "wrong_state"


# Changing them.


def test_addresses_are_reserved_and_released(services: FakeServices) -> None:
    make(services)
    run_unit(services, nic("add", network="six", ip=f"{PREFIX}7"))
    change(services, add_reserved_ips=[f"{PREFIX}1", f"{PREFIX}7", f"{PREFIX}10", f"{PREFIX}9"])
    reserved = (f"{PREFIX}1", f"{PREFIX}9", f"{PREFIX}10")
    assert network(services).ext_reservations6 == reserved
    assert "WARNING" in services.messages[-1] and f"{PREFIX}7" in services.messages[-1]
    change(services, remove_reserved_ips=[f"{PREFIX}9", f"{PREFIX}8"])
    assert network(services).ext_reservations6 == (f"{PREFIX}1", f"{PREFIX}10")


def test_a_subnet_keeps_what_instances_have_of_it(services: FakeServices) -> None:
    make(services, add_reserved_ips=[f"{PREFIX}1:1"])
    run_unit(services, nic("add", network="six", ip=f"{PREFIX}7"))
    for values in ({"network6": "none"}, {"network6": "2001:db8:2::/64"}):
        op = OpNetworkSetParams(network_name="six", **values)
        assert refused(services, op) == "wrong_state"
    gateway = OpNetworkSetParams(network_name="six", gateway6="2001:db8:1:0::7")
    assert refused(services, gateway) == "wrong_state"
    bad = OpNetworkSetParams(network_name="six", network6="2001:db8:1::7/64")
    assert refused(services, bad) == "wrong_input"
    change(services, network6=f"{PREFIX}/112")
    assert network(services).ext_reservations6 == ()


# Other node groups.


def two_groups(tmp_path: Path) -> FakeServices:
    """web1 with an interface in the network runs in one group, node3 is in another."""
    services = a_bed(tmp_path, DiskTemplate.SHARED_FILE, up=True)
    make(services)
    run_unit(services, nic("add", network="six", ip="pool"))
    (group,) = services.config.groups.values()
    other = replace(group, uuid=group.uuid[:-1] + "f", name="other", networks={})
    services.change(lambda draft: draft.add(other))
    services.change(lambda draft: draft.update(replace(services.node("node3"), group=other.uuid)))
    return services


def test_an_instance_does_not_go_where_its_network_is_not(tmp_path: Path) -> None:
    services = two_groups(tmp_path)
    op = OpInstanceFailover(instance_name="web1", target_node="node3")
    assert refused(services, op) == "wrong_input"
    assert not [call for call in services.rpc.log if call[0] == "instance_shutdown"]


def test_in_another_group_an_interface_has_that_groups_link(tmp_path: Path) -> None:
    services = two_groups(tmp_path)
    run_unit(services, connect("six", "other", "br66"))
    run_unit(services, OpInstanceFailover(instance_name="web1", target_node="node3"))
    one = web1(services).nics[-1]
    assert one.nicparams == {"mode": "bridged", "link": "br66", "vlan": ""}


# The pool itself.


def test_a_large_network_costs_what_is_used_of_it() -> None:
    wide = Network(uuid="u", name="n", network=None, network6="2001::/16")
    looked_at: list[str] = []

    def is_taken(ip: str) -> bool:
        looked_at.append(ip)
        return len(looked_at) <= 100

    assert next(pool6.free_addresses(wide, is_taken))
    assert len(looked_at) == 101


@pytest.mark.parametrize(
    "start", ["::", "::ffff:0:0", "2001:db8:0:1::", "fe80:0:0:1:0:0:1:0", "1::2:0"]
)
def test_addresses_of_the_pool_are_written_in_the_one_way(start: str) -> None:
    net = Network(uuid="u", name="n", network=None, network6=f"{start}/120")
    found = list(pool6.free_addresses(net, lambda _: False))
    assert found == [pool6.canonical(ip) for ip in found]
    assert len(found) == 255


def test_the_smallest_networks_have_no_address_of_routers() -> None:
    two = Network(uuid="u", name="n", network=None, network6=f"{PREFIX}/127")
    found = list(pool6.free_addresses(two, lambda _: False))
    assert found == [PREFIX, f"{PREFIX}1"]
    with pytest.raises(AddressPoolError, match="not reserved"):
        pool6.release(two, found[0])
