"""The data behind `gnt-instance info`, against the results of recorded jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from ganeti.config.snapshot import Snapshot
from ganeti.model.config import ConfigDocument
from ganeti.model.report import BlockDeviceStatus
from ganeti.query.instance_info import InstanceFindings, instance_info
from ganeti.serializer import decode, loads
from ganeti.types import AdminState


@pytest.fixture
def config(samples: Path) -> Snapshot:
    text = (samples / "state" / "4-full" / "config.data").read_bytes()
    return Snapshot.of(decode(ConfigDocument, loads(text), "config.data"))


def recorded(samples: Path, job: int) -> dict[str, Any]:
    path = samples / "state" / "5-late" / "queue" / f"job-{job}"
    result: dict[str, Any] = json.loads(path.read_text())["ops"][0]["result"]
    return result


def findings(told: dict[str, Any]) -> InstanceFindings | None:
    """What the nodes must have answered."""
    if told["run_state"] is None:
        return None
    keys = "dev_path major minor sync_percent estimated_time is_degraded ldisk_status".split()
    return InstanceFindings(
        runs=told["run_state"] == "up",
        on_primary={
            disk["uuid"]: BlockDeviceStatus(**dict(zip(keys, disk["pstatus"])))
            for disk in told["disks"]
            if disk["pstatus"]
        },
    )


def without_rounding(value: dict[str, Any]) -> dict[str, Any]:
    """The file has one digit less of the time than the memory of the recorded cluster."""
    return {**value, "mtime": round(value["mtime"], 5)}


@pytest.mark.parametrize("job", [165, 167, 186])
def test_info_is_as_recorded(samples: Path, config: Snapshot, job: int) -> None:
    for name, told in recorded(samples, job).items():
        instance = config.find_instance(name)
        assert instance is not None
        made = instance_info(config, instance, findings(told))
        assert list(made) == list(told)
        assert without_rounding(made) == without_rounding(told)


def test_an_offline_instance_that_does_not_run_is_told_as_offline(config: Snapshot) -> None:
    instance = config.find_instance("app1")
    assert instance is not None
    offline = replace(instance, admin_state=AdminState.OFFLINE)
    assert instance_info(config, offline, InstanceFindings(runs=False))["run_state"] == "offline"
    assert instance_info(config, offline, InstanceFindings(runs=True))["run_state"] == "up"


def test_a_drbd_disk_tells_both_ends_from_the_primary_node() -> None:
    document = facts("config-data")["example_3_0_two_nodes_one_drbd_instance"]
    config = Snapshot.of(decode(ConfigDocument, document, "example"))
    (instance,) = config.instances.values()
    (disk, *_) = config.disks_of(instance)
    primary, secondary = config.nodes_of(instance)
    status = BlockDeviceStatus(dev_path="/dev/drbd0", major=147, minor=0, sync_percent=50.0)
    found = InstanceFindings(runs=True, on_secondary={disk.uuid: status})
    (made, *_) = instance_info(config, instance, found)["disks"]
    assert made["drbd_info"] == {
        "primary_node": primary.name,
        "primary_minor": disk.drbd.minor_on(primary.uuid),
        "secondary_node": secondary.name,
        "secondary_minor": disk.drbd.minor_on(secondary.uuid),
        "port": disk.drbd.port,
    }
    assert made["pstatus"] is None
    assert made["sstatus"] == ["/dev/drbd0", 147, 0, 50.0, None, False, 1]
    assert [child["drbd_info"] for child in made["children"]] == [None, None]
