"""Opening config.data: versions, defaults, damage, and that nothing gets lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import NOW, PATHS, a_disk, a_store, example, example_two_nodes, opened
from fakes.virtual_time import run
from ganeti.config.upgrade import open_document
from ganeti.errors import ConfigurationError, ConfigVersionMismatch
from ganeti.types import AdminState, DiskTemplate

STATES = ["1-fresh", "2-three-nodes", "3-instances", "4-full", "5-late", "6-end"]


def saved_by_a_store(raw: dict[str, Any]) -> dict[str, Any]:
    """The file after a start and a stop."""
    disk = a_disk(raw)

    async def main() -> None:
        store = a_store(disk)
        await store.start()
        await store.stop()

    run(main())
    made: dict[str, Any] = json.loads(disk.read(PATHS.config_data))
    return made


@pytest.mark.parametrize("state", STATES)
def test_a_recorded_file_is_saved_as_it_was(state: str, samples: Path) -> None:
    raw = json.loads((samples / "state" / state / "config.data").read_text())
    saved = saved_by_a_store(raw)
    for group in raw["nodegroups"].values():
        group.setdefault("members", [])
    for file in (raw, saved):
        for disk in file["disks"].values():
            for field in ("children", "iv_name", "nodes"):
                disk.setdefault(field, "" if field == "iv_name" else [])
    lost = list(missing(raw, saved, ""))
    assert lost == []


def missing(wanted: Any, found: Any, place: str) -> list[str]:
    """Places of `wanted` that `found` does not hold; more in `found` is fine."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            one
            for key, value in wanted.items()
            for one in (
                missing(value, found[key], f"{place}.{key}")
                if key in found
                else ([] if value is None else [f"{place}.{key}"])
            )
        ]
    if place in (".serial_no", ".mtime"):
        return []
    return [] if wanted == found else [f"{place}: {wanted!r} != {found!r}"]


@pytest.mark.parametrize("raw", [example(), example_two_nodes()], ids=["one", "two"])
def test_the_examples_are_saved_without_loss(raw: dict[str, Any]) -> None:
    assert missing(raw, saved_by_a_store(raw), "") == []


def test_unknown_keys_are_kept() -> None:
    raw = example_two_nodes()
    raw["novelty"] = {"a": 1}
    raw["cluster"]["novelty"] = [1, 2]
    next(iter(raw["instances"].values()))["nics"][0]["novelty"] = "x"
    assert missing(raw, saved_by_a_store(raw), "") == []


def test_a_second_opening_changes_nothing() -> None:
    first = saved_by_a_store(example())
    second = saved_by_a_store(first)
    assert first == second


@pytest.mark.parametrize("version", [2_160_000, 3_020_000, 4_000_000])
def test_other_versions_are_refused_with_both_numbers(version: int) -> None:
    with pytest.raises(ConfigVersionMismatch) as caught:
        opened({**example(), "version": version})
    assert caught.value.args == (3_000_000, version)


def test_version_3_1_keeps_its_number() -> None:
    assert saved_by_a_store({**example(), "version": 3_010_000})["version"] == 3_010_000


def opened_bytes(data: bytes) -> None:
    open_document(data, "/x/config.data", new_uuid=lambda: "u", now=NOW)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "/x/config.data is not JSON"),
        (b"{", "/x/config.data is not JSON"),
        (b"\xff", "/x/config.data is not UTF-8"),
        (b"[]", "/x/config.data: an object is expected"),
        (b"{}", "key 'version' is missing"),
        (b'{"version":3000000,"cluster":{}}', "cluster.rsahostkeypub is missing"),
    ],
)
def test_damage_is_named_with_file_and_place(data: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        opened_bytes(data)


def test_a_wrong_type_is_named_with_its_place() -> None:
    raw = example_two_nodes()
    uuid, instance = next(iter(raw["instances"].items()))
    instance["nics"][0]["mac"] = 5
    with pytest.raises(ConfigurationError, match=rf"instances.{uuid}.nics\[0\].mac"):
        opened(raw)


def test_old_instances_are_brought_up_to_date() -> None:
    raw = example_two_nodes()
    instance = next(iter(raw["instances"].values()))
    for key in ("admin_state", "admin_state_source", "disks_active", "osparams"):
        instance.pop(key, None)
    instance["admin_up"] = True
    instance["beparams"] = {"memory": 512, "vcpus": 2}
    instance["hvparams"] = {"migration_mode": "live", "acpi": True}
    (made,) = opened(raw).instances.values()
    assert (made.admin_state, made.disks_active) == (AdminState.UP, True)
    assert made.beparams == {"minmem": 512, "maxmem": 512, "vcpus": 2}
    assert made.hvparams == {"acpi": True}
    assert "admin_up" not in made.unknown


def test_old_cluster_settings_are_brought_up_to_date() -> None:
    raw = example()
    cluster = raw["cluster"]
    cluster["nicparams"] = {"default": {}}
    cluster["default_bridge"] = "br7"
    cluster["enabled_hypervisors"] = ["fake", "kvm"]
    cluster["default_hypervisor"] = "kvm"
    cluster["enabled_disk_templates"] = []
    cluster["drbd_usermode_helper"] = None
    made = opened(raw).cluster
    assert made.nicparams["default"]["link"] == "br7"
    assert made.enabled_hypervisors == ("kvm", "fake")
    assert made.enabled_disk_templates == (DiskTemplate.DRBD, DiskTemplate.PLAIN)
    assert made.drbd_usermode_helper == "/bin/true"
    assert set(made.ipolicy["disk-templates"]) <= {"drbd", "plain"}
    assert made.hvparams["kvm"]["acpi"] is True
    assert made.diskparams["drbd"]["protocol"] == "C"


def test_nodes_without_group_get_the_only_one() -> None:
    raw = example_two_nodes()
    raw["nodegroups"] = {}
    for node in raw["nodes"].values():
        node["group"] = None
        node["ndparams"] = {"exclusive_storage": True, "ssh_port": 23}
    made = opened(raw)
    ((uuid, group),) = made.nodegroups.items()
    assert group.name == "default"
    assert {node.group for node in made.nodes.values()} == {uuid}
    assert all(node.ndparams == {"ssh_port": 23} for node in made.nodes.values())


def test_missing_uuids_are_made_and_counted_as_a_change() -> None:
    raw = example_two_nodes()
    del next(iter(raw["instances"].values()))["nics"][0]["uuid"]
    saved = saved_by_a_store(raw)
    assert saved["serial_no"] == raw["serial_no"] + 1
    assert len(next(iter(saved["instances"].values()))["nics"][0]["uuid"]) == 36


def test_old_disk_types_are_translated() -> None:
    raw = example_two_nodes()
    disk = next(iter(raw["disks"].values()))
    disk["dev_type"] = "drbd8"
    disk["children"][0]["dev_type"] = "lvm"
    (made,) = opened(raw).disks.values()
    assert [part.dev_type.value for part in made.walk()] == ["drbd", "plain", "plain"]


def test_an_instance_policy_with_unknown_keys_is_refused() -> None:
    raw = example()
    raw["cluster"]["ipolicy"]["novelty"] = 1
    with pytest.raises(ConfigurationError, match="cluster.ipolicy: .*'novelty'"):
        opened(raw)
