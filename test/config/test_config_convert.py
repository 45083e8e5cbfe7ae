"""Converting configurations of other versions: what becomes of each part, and what is refused."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from fakes.configs import NOW, example, example_two_nodes
from ganeti.config import convert
from ganeti.config.upgrade import open_document
from ganeti.errors import ConfigurationError
from ganeti.version import CONFIG_VERSION

NEWER = 3_010_000


def as_2_7() -> dict[str, Any]:
    """The document with two nodes and a DRBD instance in the form of 2.7."""
    raw = example_two_nodes()
    raw["version"] = 2_070_000
    names = {uuid: node["name"] for uuid, node in raw["nodes"].items()}
    raw["nodes"] = {node["name"]: node for node in raw["nodes"].values()}
    cluster = raw["cluster"]
    cluster["master_node"] = names[cluster["master_node"]]
    pair = cluster["ipolicy"].pop("minmax")[0]
    cluster["ipolicy"] |= {"min": {"memory-size": 64}, "max": pair["max"], "std": {}}
    for key in ("ssh_key_type", "ssh_key_bits", "candidate_certs", "compression_tools"):
        cluster.pop(key, None)
    for group in raw["nodegroups"].values():
        group.pop("networks", None)
        group["ipolicy"] = {"min": {"memory-size": 256}, "max": {}, "std": {"cpu-count": 1}}
    disks = raw.pop("disks")
    for instance in raw["instances"].values():
        instance["primary_node"] = names[instance["primary_node"]]
        instance["disk_template"] = "drbd"
        instance["disks"] = [as_embedded(disks[uuid], names) for uuid in instance["disks"]]
        for nic in instance["nics"]:
            nic["network"] = "net1"
    raw["instances"] = {one["name"]: one for one in raw["instances"].values()}
    raw["networks"] = {"n1": {"uuid": "n1", "name": "net1"}}
    del raw["filters"]
    return raw


def as_embedded(disk: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    made = copy.deepcopy(disk)
    made["dev_type"], made["iv_name"] = "drbd8", "sda"
    made["physical_id"] = [1, 2]
    made["logical_id"] = [
        *(names[uuid] for uuid in made["logical_id"][:2]),
        *made["logical_id"][2:],
    ]
    for part in (made, *made["children"]):
        part.pop("uuid", None)
        part.pop("nodes", None)
    for child in made["children"]:
        child["dev_type"] = "lvm"
    return made


def uuids() -> Any:
    numbers = itertools.count(1)
    return lambda: f"99999999-0000-4000-8000-{next(numbers):012d}"


def converted(raw: dict[str, Any]) -> dict[str, Any]:
    assert convert.upgrade(raw, "config.data", uuids()) == []
    return raw


def test_everything_has_its_place_and_uuid() -> None:
    wanted, raw = example_two_nodes(), converted(as_2_7())
    assert raw["version"] == CONFIG_VERSION
    assert set(raw["nodes"]) == set(wanted["nodes"])
    assert raw["cluster"]["master_node"] == wanted["cluster"]["master_node"]
    assert set(raw["instances"]) == set(wanted["instances"])
    assert raw["filters"] == {}
    (instance,) = raw["instances"].values()
    (before,) = wanted["instances"].values()
    assert instance["primary_node"] == before["primary_node"]
    assert "disk_template" not in instance
    assert {nic["network"] for nic in instance["nics"]} == {"n1"}
    old = [wanted["disks"][uuid] for uuid in before["disks"]]
    for number, (uuid, was) in enumerate(zip(instance["disks"], old, strict=True)):
        disk = raw["disks"][uuid]
        assert (disk["uuid"], disk["dev_type"], disk["iv_name"]) == (uuid, "drbd", f"disk/{number}")
        assert disk["logical_id"] == was["logical_id"]
        assert disk["ctime"] == instance["ctime"]
        for part in (disk, *disk["children"]):
            assert sorted(part["nodes"]) == sorted(was["logical_id"][:2])
            assert "physical_id" not in part and part["uuid"]
        assert {child["dev_type"] for child in disk["children"]} == {"plain"}


def test_policies_get_their_pairs_and_missing_specs() -> None:
    raw = converted(as_2_7())
    policy = raw["cluster"]["ipolicy"]
    assert policy["minmax"][0]["min"]["memory-size"] == 64
    assert policy["minmax"][0]["min"]["cpu-count"] == policy["std"]["cpu-count"] == 1
    assert not {"min", "max"} & set(policy)
    (group,) = raw["nodegroups"].values()
    assert set(group["ipolicy"]) == {"minmax"}
    assert group["ipolicy"]["minmax"][0]["min"]["memory-size"] == 256
    assert group["networks"] == {}


def test_an_old_cluster_has_the_keys_that_it_had() -> None:
    cluster = converted(as_2_7())["cluster"]
    assert (cluster["ssh_key_type"], cluster["ssh_key_bits"]) == ("dsa", 1024)
    assert cluster["candidate_certs"] == {}
    assert cluster["data_collectors"]["drbd"] == {"active": True, "interval": 5_000_000}


def test_this_version_reads_the_result() -> None:
    raw = converted(as_2_7())
    del raw["networks"]["n1"]
    for instance in raw["instances"].values():
        for nic in instance["nics"]:
            nic["network"] = None
    data = json.dumps(raw).encode()
    opened = open_document(data, "config.data", new_uuid=uuids(), now=NOW)
    assert opened.document.version == CONFIG_VERSION


@pytest.mark.parametrize("version", [CONFIG_VERSION, NEWER])
def test_what_this_version_reads_stays(version: int) -> None:
    raw = example() | {"version": version}
    before = copy.deepcopy(raw)
    assert convert.upgrade(raw, "config.data", uuids()) is None
    assert raw == before


@pytest.mark.parametrize("version", [1_020_000, 2_170_000, 3_020_000, 4_000_000])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(ConfigurationError, match="can't become"):
        convert.upgrade(example() | {"version": version}, "config.data", uuids())


def test_a_half_converted_file_is_refused() -> None:
    raw = example()
    raw["cluster"]["config_version"] = 3
    with pytest.raises(ConfigurationError, match="by halves"):
        convert.upgrade(raw, "config.data", uuids())


def test_a_failed_step_leaves_the_rest_to_be_told() -> None:
    raw = as_2_7()
    next(iter(raw["nodes"].values())).pop("name")
    raw["nodegroups"]["bad"] = None
    problems = convert.upgrade(raw, "config.data", uuids())
    assert problems is not None
    assert [one.partition(":")[0] for one in problems] == ["node groups", "nodes by uuid"]


def test_one_version_back_brings_the_xen_command_again() -> None:
    raw = example() | {"version": NEWER}
    raw["cluster"]["hvparams"] = {"xen-pvm": {}, "kvm": {}}
    assert convert.downgrade(raw, "config.data") == []
    assert raw["version"] == CONFIG_VERSION
    assert raw["cluster"]["hvparams"] == {"xen-pvm": {"xen_cmd": "xl"}, "kvm": {}}
    assert convert.downgrade(raw, "config.data") is None


def test_a_target_of_3_1_drops_what_3_1_dropped() -> None:
    raw = example()
    raw["cluster"]["hvparams"] = {"xen-hvm": {"xen_cmd": "xl"}, "kvm": {"disk_discard": "default"}}
    made = convert.Conversion(raw, NEWER, uuids())
    made.run(convert.UPGRADE)
    assert made.problems == []
    assert raw["version"] == NEWER
    assert raw["cluster"]["hvparams"] == {"xen-hvm": {}, "kvm": {"disk_discard": "ignore"}}
