"""The configuration file: loading and saving loses nothing, and is fast and small."""

from __future__ import annotations

import copy
import dataclasses
import time
import tracemalloc
from typing import Any

import pytest
from fact_tables import facts
from ganeti.errors import ConfigurationError, ParseError
from ganeti.model.base import EMPTY
from ganeti.model.config import ConfigDocument
from ganeti.model.disk import template_of
from ganeti.serializer import decode, dumps, encode, loads
from ganeti.types import AdminState, DiskTemplate

STATES = ("1-fresh", "2-three-nodes", "3-instances", "4-full", "5-late", "6-end")
EXAMPLES = ("example_3_0_one_node", "example_3_0_two_nodes_one_drbd_instance")

MADE_UP = {"tags": [], "members": [], "ctime": 0.0, "mtime": 0.0}
"""Keys that a saved file has although the loaded one lacked them, and their values."""


def added_keys(old: Any, new: Any, where: str = "") -> dict[str, Any]:
    """What `new` has that `old` lacks; anything else that differs fails."""
    if isinstance(old, dict):
        assert isinstance(new, dict) and not old.keys() - new.keys(), where
        found = {f"{where}.{key}": new[key] for key in new.keys() - old.keys()}
        for key in old:
            found |= added_keys(old[key], new[key], f"{where}.{key}")
        return found
    if isinstance(old, list):
        assert len(old) == len(new), where
        found = {}
        for index, (one, other) in enumerate(zip(old, new)):
            found |= added_keys(one, other, f"{where}[{index}]")
        return found
    assert type(old) is type(new) or {type(old), type(new)} == {int, float}, where
    assert old == new, where
    return {}


def assert_lossless(raw: dict[str, Any]) -> None:
    saved = loads(dumps(encode(decode(ConfigDocument, copy.deepcopy(raw), "config.data"))))
    for place, value in added_keys(raw, saved).items():
        assert value == MADE_UP[place.rpartition(".")[2]], place


@pytest.mark.parametrize("state", STATES)
def test_files_of_a_real_cluster_are_saved_without_loss(samples: Any, state: str) -> None:
    assert_lossless(loads((samples / "state" / state / "config.data").read_bytes()))


def test_a_file_that_the_daemons_wrote_keeps_exactly_its_keys(samples: Any) -> None:
    raw = loads((samples / "state" / "4-full" / "config.data").read_bytes())
    assert encode(decode(ConfigDocument, raw, "config.data")) == raw


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_saved_without_loss(example: str) -> None:
    assert_lossless(facts("config-data")[example])


def test_unknown_keys_are_kept_on_every_level() -> None:
    raw = facts("config-data")[EXAMPLES[1]]
    raw["from_the_future"] = {"a": [1]}
    raw["cluster"]["new_setting"] = True
    instance = next(iter(raw["instances"].values()))
    instance["new"] = None
    instance["nics"][0]["new"] = "x"
    next(iter(raw["disks"].values()))["children"][0]["new"] = 1
    assert_lossless(raw)


def test_every_documented_field_is_declared() -> None:
    known = facts("config-data")
    config = decode(ConfigDocument, known[EXAMPLES[1]], "config.data")
    instance = next(iter(config.instances.values()))
    objects = {
        "top": config,
        "cluster": config.cluster,
        "node": next(iter(config.nodes.values())),
        "nodegroup": next(iter(config.nodegroups.values())),
        "instance": instance,
        "nic": instance.nics[0],
        "disk": next(iter(config.disks.values())),
        "network": next(iter(config.networks.values())),
    }
    for name, thing in objects.items():
        fields = {field.name: field for field in dataclasses.fields(thing)}  # type: ignore[arg-type]
        for key, row in known[name].items():
            if row.get("note", "").startswith("2.7 only"):
                continue
            assert key in fields, f"{name}.{key}"
            field = fields[key]
            default = field.default
            if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if row["presence"] in ("default", "optional"):
                assert encode(default) == row["default"], f"{name}.{key}"


def test_a_wrong_value_is_told_with_its_place() -> None:
    raw = facts("config-data")[EXAMPLES[1]]
    uuid = next(iter(raw["instances"]))
    raw["instances"][uuid]["nics"][0]["mac"] = 5
    with pytest.raises(ParseError, match=rf"config\.instances\.{uuid}\.nics\[0\]\.mac: a text"):
        decode(ConfigDocument, raw, "config")


def test_a_missing_key_is_told() -> None:
    raw = facts("config-data")[EXAMPLES[0]]
    del raw["cluster"]["rsahostkeypub"]
    with pytest.raises(ParseError, match="rsahostkeypub"):
        decode(ConfigDocument, raw, "config")


def test_objects_can_not_be_changed_and_share_what_is_empty() -> None:
    config = decode(ConfigDocument, facts("config-data")[EXAMPLES[1]], "config")
    instance = next(iter(config.instances.values()))
    assert instance.hvparams is EMPTY
    assert instance.admin_state is AdminState.DOWN
    with pytest.raises(dataclasses.FrozenInstanceError):
        instance.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        instance.hvparams["a"] = 1  # type: ignore[index]


def test_a_drbd_disk_has_named_ids() -> None:
    config = decode(ConfigDocument, facts("config-data")[EXAMPLES[1]], "config")
    disk = next(iter(config.disks.values()))
    assert disk.drbd.minor_on(disk.drbd.node_b) == disk.logical_id[4]
    assert disk.drbd.peer_of(disk.drbd.node_b) == disk.drbd.node_a
    assert [device.dev_type for device in disk.walk()] == ["drbd", "plain", "plain"]
    with pytest.raises(ConfigurationError):
        disk.drbd.minor_on("elsewhere")
    with pytest.raises(ConfigurationError):
        _ = disk.children[0].drbd


def test_the_template_follows_from_the_disks() -> None:
    config = decode(ConfigDocument, facts("config-data")[EXAMPLES[1]], "config")
    disk = next(iter(config.disks.values()))
    assert template_of([disk]) == "drbd"
    assert template_of([]) == "diskless"
    plain = dataclasses.replace(disk, dev_type=DiskTemplate.PLAIN)
    assert template_of([disk, plain]) == "mixed"


def large_document(instances: int) -> dict[str, Any]:
    """The two-node example with many copies of its instance, two disks and two NICs each."""
    raw: dict[str, Any] = facts("config-data")[EXAMPLES[1]]
    instance = next(iter(raw["instances"].values()))
    disk = next(iter(raw["disks"].values()))
    raw["instances"], raw["disks"] = {}, {}
    for number in range(instances):
        uuids = [f"{number:08x}-0000-4000-8000-00000000000{index}" for index in range(3)]
        raw["instances"][uuids[0]] = {
            **instance, "uuid": uuids[0], "disks": uuids[1:], "nics": instance["nics"] * 2
        }  # fmt: skip
        for uuid in uuids[1:]:
            raw["disks"][uuid] = {**disk, "uuid": uuid}
    return raw


def test_a_thousand_instances_load_quickly_and_stay_small() -> None:
    text = dumps(large_document(1000))
    started = time.process_time()
    decode(ConfigDocument, loads(text), "config")
    assert time.process_time() - started < 2.0  # 0.1 s on a machine of 2024
    tracemalloc.start()
    try:
        config = decode(ConfigDocument, loads(text), "config")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(config.instances) == 1000
    assert kept / 1000 < 12_000  # bytes per instance with two DRBD disks and two NICs
