"""Finding things in a snapshot, and the checks of the whole document."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.configs import a_snapshot, example, example_two_nodes
from ganeti.config.check import check_document
from ganeti.errors import ConfigurationError


def test_the_examples_are_sound() -> None:
    assert check_document(a_snapshot(example())) == []
    assert check_document(a_snapshot(example_two_nodes())) == []


def test_things_are_found_by_uuid_name_and_short_name() -> None:
    config = a_snapshot()
    node = config.master()
    for text in (node.uuid, node.name, node.name.split(".")[0], node.name.upper()):
        assert config.find_node(text) is node
    assert config.find_node("nobody") is None
    (group,) = config.groups.values()
    assert config.find_group(group.name) is group
    assert config.find_group(group.uuid) is group
    assert config.find_group(group.name.upper()) is None


def test_relations_of_a_mirrored_instance() -> None:
    config = a_snapshot()
    (instance,) = config.instances.values()
    primary, secondary = config.nodes_of(instance)
    assert primary.uuid == instance.primary_node
    assert config.primary_instances(primary.uuid) == [instance]
    assert config.secondary_instances(secondary.uuid) == [instance]
    assert config.secondary_instances(primary.uuid) == []
    (disk,) = config.disks_of(instance)
    assert config.owner_of(disk.uuid) is instance
    assert {node.uuid for node in config.nodes_in(primary.group)} == set(config.nodes)
    assert config.group_of(primary).uuid == primary.group


def test_the_master_is_a_candidate_even_without_the_flag() -> None:
    raw = example()
    for node in raw["nodes"].values():
        node["master_candidate"] = False
    config = a_snapshot(raw)
    assert config.candidates() == [config.master()]


def test_a_missing_master_or_disk_is_named() -> None:
    raw = example_two_nodes()
    raw["cluster"]["master_node"] = "gone"
    raw["disks"] = {}
    config = a_snapshot(raw)
    with pytest.raises(ConfigurationError, match="master node gone"):
        config.master()
    with pytest.raises(ConfigurationError, match="is not in the configuration"):
        config.disks_of(next(iter(config.instances.values())))


def first(raw: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(raw[kind].values()))
    return found


def no_hypervisor(raw: dict[str, Any]) -> None:
    raw["cluster"]["enabled_hypervisors"] = []


def two_states(raw: dict[str, Any]) -> None:
    first(raw, "nodes")["drained"] = True
    first(raw, "nodes")["offline"] = True


def bad_group(raw: dict[str, Any]) -> None:
    first(raw, "nodes")["group"] = "nowhere"


def uuid_group(raw: dict[str, Any]) -> None:
    first(raw, "nodegroups")["name"] = first(raw, "nodegroups")["uuid"]


def wrong_key(raw: dict[str, Any]) -> None:
    raw["nodes"]["other"] = {**first(raw, "nodes"), "uuid": "x", "name": "y", "primary_ip": "z"}


def wrong_type(raw: dict[str, Any]) -> None:
    raw["cluster"]["beparams"]["default"]["vcpus"] = "many"


def bad_iv_name(raw: dict[str, Any]) -> None:
    first(raw, "disks")["iv_name"] = "sda"


def free_port_in_use(raw: dict[str, Any]) -> None:
    raw["cluster"]["tcpudp_port_pool"] = [first(raw, "disks")["logical_id"][2]]


def port_too_high(raw: dict[str, Any]) -> None:
    raw["cluster"]["highest_used_port"] = 10999


def no_candidate(raw: dict[str, Any]) -> None:
    for node in raw["nodes"].values():
        node["master_candidate"] = False


def same_group_name(raw: dict[str, Any]) -> None:
    raw["nodegroups"]["g2"] = {**first(raw, "nodegroups"), "uuid": "g2"}


def same_mac(raw: dict[str, Any]) -> None:
    nics = first(raw, "instances")["nics"]
    nics.append({**nics[0], "uuid": "other"})


def node_ip_twice(raw: dict[str, Any]) -> None:
    for node in raw["nodes"].values():
        node["secondary_ip"] = "192.0.2.77"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_hypervisor, "no enabled hypervisor"),
        (two_states, "drained and offline"),
        (bad_group, "its group nowhere does not exist"),
        (uuid_group, "looks like a uuid"),
        (wrong_key, "object x stands under the key other"),
        (wrong_type, "cluster beparams: 'vcpus'"),
        (bad_iv_name, "disk 0 is named 'sda', not 'disk/0'"),
        (free_port_in_use, "in the pool of free ports and used by disk"),
        (port_too_high, "above the highest used port 10999"),
        (no_candidate, "0 master candidates, 2 are wanted"),
        (no_candidate, "is not a master candidate"),
        (same_group_name, "node group name default is used twice"),
        (same_mac, "nic 0 and instance"),
        (node_ip_twice, "IP address 192.0.2.77 is used twice"),
    ],
)
def test_the_check_names_what_is_wrong(spoil: Any, sentence: str) -> None:
    raw = example_two_nodes()
    spoil(raw)
    problems = check_document(a_snapshot(raw))
    assert any(sentence in problem for problem in problems), problems
