"""Reservations: who holds what, and that generators find what is free."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fakes.configs import (
    NOW,
    a_network,
    a_nic,
    a_snapshot,
    an_instance,
    example,
    example_two_nodes,
    master_of,
)
from ganeti.config.reserve import (
    Kind,
    Reservations,
    free_addresses,
    position,
    return_port,
    take_port,
)
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import AddressPoolError, ConfigurationError, ReservationError


class Dice:
    """Randomness that gives the same numbers again and again."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.at = 0

    def getrandbits(self, k: int, /) -> int:
        self.at += 1
        return self.numbers[(self.at - 1) % len(self.numbers)] % (1 << k)


def some(seed: int = 1) -> Reservations:
    return Reservations(random.Random(seed))


def with_network(**more: object) -> Snapshot:
    draft = Draft(a_snapshot(example()), NOW)
    draft.add(a_network(1, **more))
    return draft.finish()[0]


def test_a_reservation_ends_with_its_owner() -> None:
    reservations = some()
    reservations.reserve("5", Kind.NAME, "web1")
    with pytest.raises(ReservationError, match="name web1 is reserved by job 5"):
        reservations.reserve("6", Kind.NAME, "web1")
    reservations.release("5")
    reservations.reserve("6", Kind.NAME, "web1")
    assert reservations.held("6", Kind.NAME) == ["web1"]
    assert reservations.held("5", Kind.NAME) == []


def test_only_the_owner_gives_back() -> None:
    reservations = some()
    reservations.reserve("5", Kind.LV, "vg/lv")
    reservations.give_back("6", Kind.LV, "vg/lv")
    assert reservations.is_reserved(Kind.LV, "vg/lv")
    reservations.give_back("5", Kind.LV, "vg/lv")
    assert not reservations.is_reserved(Kind.LV, "vg/lv")


def test_names_of_the_configuration_are_taken() -> None:
    config = a_snapshot()
    (instance,) = config.instances.values()
    with pytest.raises(ReservationError, match="already in the configuration"):
        some().reserve_name(config, "5", "instance", instance.name)
    some().reserve_name(config, "5", "instance", "new.example.com")


def test_macs_have_the_prefix_and_avoid_the_taken_ones() -> None:
    config = a_snapshot(example())
    draft = Draft(config, NOW)
    draft.add(an_instance(1, master_of(config), nics=(a_nic(1, mac="aa:00:00:00:00:01"),)))
    config = draft.finish()[0]
    reservations = Reservations(Dice(1, 1, 2, 2, 3))
    assert reservations.generate_mac(config, "5") == "aa:00:00:00:00:02"
    assert reservations.generate_mac(config, "6") == "aa:00:00:00:00:03"
    network = a_network(mac_prefix="aa:bb:cc")
    assert reservations.generate_mac(config, "6", network).startswith("aa:bb:cc:")
    with pytest.raises(ReservationError, match="is already in use"):
        reservations.reserve_mac(config, "5", "AA:00:00:00:00:01")
    with pytest.raises(ReservationError, match="reserved by job 5"):
        reservations.reserve_mac(config, "7", "aa:00:00:00:00:02")


def test_a_generator_gives_up_after_64_attempts() -> None:
    config = a_snapshot(example())
    dice = Dice(1)
    reservations = Reservations(dice)
    reservations.generate_mac(config, "5")
    with pytest.raises(ConfigurationError, match="no free MAC address found in 64 attempts"):
        reservations.generate_mac(config, "5")
    assert dice.at == 65


def test_a_uuid_is_a_version_4_one_and_unique() -> None:
    config = a_snapshot(example())
    made = some().unique_id(config, "5")
    assert (len(made), made[14], made[19] in "89ab") == (36, "4", True)
    used = int(made.replace("-", ""), 16)
    draft = Draft(config, NOW)
    draft.add(replace(a_network(), uuid=Reservations(Dice(used)).unique_id(config, "5")))
    config = draft.finish()[0]
    assert Reservations(Dice(used, 7)).unique_id(config, "5") != made


def test_a_secret_has_40_hex_digits() -> None:
    secret = some().drbd_secret("5")
    assert len(secret) == 40 and int(secret, 16) >= 0


def test_minors_are_the_lowest_free_ones_of_each_node() -> None:
    config = a_snapshot(example_two_nodes())
    (disk,) = config.disks.values()
    a, b = disk.drbd.node_a, disk.drbd.node_b
    taken = {a: disk.drbd.minor_a, b: disk.drbd.minor_b}
    reservations = some()

    def lowest(node: str, count: int) -> list[int]:
        return [minor for minor in range(10) if minor != taken[node]][:count]

    first = reservations.take_minors(config, "5", [a, b])
    second = reservations.take_minors(config, "5", [a, b])
    assert [first[0], second[0]] == lowest(a, 2)
    assert [first[1], second[1]] == lowest(b, 2)
    reservations.give_minors_back("5", [(a, first[0])])
    assert reservations.take_minors(config, "6", [a]) == [first[0]]
    with pytest.raises(ReservationError, match="named twice"):
        reservations.take_minors(config, "5", [a, a])


def test_an_adopted_volume_must_be_free() -> None:
    config = a_snapshot(example_two_nodes())
    (disk,) = config.disks.values()
    group, volume = disk.children[0].logical_id
    with pytest.raises(ReservationError, match=f"{group}/{volume} is already in use"):
        some().reserve_lv(config, "5", f"{group}/{volume}")
    reservations = some()
    reservations.reserve_lv(config, "5", "xenvg/free")
    with pytest.raises(ReservationError, match="reserved by job 5"):
        reservations.reserve_lv(config, "6", "xenvg/free")


def test_addresses_of_a_network_are_given_in_order_and_stored() -> None:
    config = with_network()
    (network,) = config.networks.values()
    reservations = some()
    assert reservations.generate_ip(config, "5", network) == "10.0.1.1"
    assert reservations.generate_ip(config, "6", network) == "10.0.1.2"
    reservations.reserve_ip(config, "5", network, "10.0.1.9")
    with pytest.raises(ReservationError, match="10.0.1.9 of network lan1 is already in use"):
        reservations.reserve_ip(config, "6", network, "10.0.1.9")
    draft = Draft(config, NOW)
    reservations.commit_addresses(draft, "5")
    reservations.commit_addresses(draft, "5")
    config, _ = draft.finish()
    assert config.networks[network.uuid].reservations == "0100000001000000"
    reservations.release("5")
    with pytest.raises(ReservationError, match="already in use"):
        reservations.reserve_ip(config, "7", network, "10.0.1.1")
    reservations.release_ip("7", config.networks[network.uuid], "10.0.1.1")
    draft = Draft(config, NOW)
    reservations.commit_addresses(draft, "7")
    assert draft.finish()[0].networks[network.uuid].reservations == "0000000001000000"


def test_external_addresses_are_only_given_without_check() -> None:
    config = with_network()
    (network,) = config.networks.values()
    reservations = some()
    with pytest.raises(ReservationError, match="reserved externally"):
        reservations.reserve_ip(config, "5", network, "10.0.1.15")
    reservations.reserve_ip(config, "5", network, "10.0.1.15", check=False)
    with pytest.raises(AddressPoolError, match="is not in network lan1"):
        reservations.reserve_ip(config, "5", network, "10.0.2.1")


def test_a_full_network_has_no_address() -> None:
    config = with_network(reservations="1" * 15 + "0")
    (network,) = config.networks.values()
    assert list(free_addresses(network)) == []
    with pytest.raises(AddressPoolError, match="lan1 has no free IP address"):
        some().generate_ip(config, "5", network)
    assert position(network, "10.0.1.15") == 15


def test_an_address_outside_of_networks_is_unique_on_its_link() -> None:
    config = a_snapshot(example())
    draft = Draft(config, NOW)
    nics = (a_nic(1, ip="10.9.9.9", nicparams={"link": "br1"}),)
    draft.add(an_instance(1, master_of(config), nics=nics))
    config = draft.finish()[0]
    reservations = some()
    with pytest.raises(ReservationError, match="on link br1"):
        reservations.reserve_nic_ip(config, "5", "br1", "10.9.9.9")
    reservations.reserve_nic_ip(config, "5", None, "10.9.9.9")


def test_ports_come_from_the_pool_first_and_the_last_freed_is_reused_first() -> None:
    draft = Draft(a_snapshot(example()), NOW)
    assert [take_port(draft), take_port(draft)] == [11000, 11001]
    return_port(draft, 11000)
    return_port(draft, 11001)
    return_port(draft, 11001)
    assert draft.snapshot.cluster.tcpudp_port_pool == (11001, 11000)
    assert [take_port(draft), take_port(draft), take_port(draft)] == [11001, 11000, 11002]
    made, _ = draft.finish()
    assert made.cluster.highest_used_port == 11002


def test_there_is_no_port_above_14999() -> None:
    raw = example()
    raw["cluster"]["highest_used_port"] = 14998
    draft = Draft(a_snapshot(raw), NOW)
    assert take_port(draft) == 14999
    with pytest.raises(ConfigurationError, match="no free port"):
        take_port(draft)


def test_workers_may_reserve_at_the_same_time() -> None:
    """Logical units take addresses in their threads while the loop releases those of ended jobs."""
    network = a_network(network="10.1.0.0/22", reservations="", ext_reservations="")
    config = a_snapshot()
    reservations = Reservations(random.Random(1))

    def work(owner: str) -> list[str]:
        taken = [reservations.generate_ip(config, owner, network) for _ in range(100)]
        reservations.reserve(f"ended {owner}", Kind.LV, owner)
        reservations.release(f"ended {owner}")
        return taken

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(work, map(str, range(8))))
    finally:
        sys.setswitchinterval(interval)
    taken = [ip for part in found for ip in part]
    assert len(set(taken)) == len(taken) == 800
