"""Disks that a node or a provider has to agree to: adopted devices, external storage."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.services import FakeCalls, FakeServices, Place, a_cluster, contents, run_unit
from ganeti.config.reserve import Kind
from ganeti.errors import BlockDeviceError, GenericError, OpPrereqError
from ganeti.model.disk import Disk
from ganeti.model.report import BlockDeviceStatus, MirrorOutcome
from ganeti.opcodes.instance import OpInstanceCreate, OpInstanceSetParams
from ganeti.types import DiskTemplate

NAME = "web1.example.com"
ONE, TWO, AGAIN = (f"/dev/disk/by-id/{word}" for word in ("one", "two", "again"))
VOLUME = {"size": 1024, "provider": "dir"}


@dataclass
class StorageCalls(FakeCalls):
    """Nodes with block devices, and a provider that knows the parameter `colour`."""

    devices: dict[str, tuple[int, int]] = field(
        default_factory=lambda: {ONE: (7, 1), TWO: (7, 2), AGAIN: (7, 1)}
    )

    def bdev_sizes(self, place: Place, paths: Sequence[str]) -> dict[str, int]:
        return {path: 2048 for path in paths if path in self.devices}

    def blockdev_verify(self, place: Place, disk: Disk) -> None:
        params = disk.params or {}
        if disk.logical_id[0] != "dir" or params.get("colour", "red") != "red":
            raise BlockDeviceError(f"provider does not take {sorted(params)}")

    def blockdev_getmirrorstatus_multi(
        self, place: Place, disks: Sequence[Disk]
    ) -> list[MirrorOutcome]:
        found = [self.devices.get(str(disk.logical_id[1])) for disk in disks]
        return [
            MirrorOutcome(False, "is not there")
            if numbers is None
            else MirrorOutcome(
                True, BlockDeviceStatus(dev_path="/dev/x", major=numbers[0], minor=numbers[1])
            )
            for numbers in found
        ]


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path)


def a_bed(root: Path) -> FakeServices:
    enabled = (DiskTemplate.EXT, DiskTemplate.BLOCKDEV, DiskTemplate.FILE)
    made = FakeServices(a_cluster(enabled_disk_templates=enabled), root)
    made.rpc = StorageCalls()
    return made


def op(template: str, *disks: dict[str, Any], **more: Any) -> OpInstanceCreate:
    values = {
        "instance_name": NAME, "mode": "create", "disk_template": template,
        "disks": list(disks), "nics": [], "os_type": "noop", "pnode": "node2",
        "name_check": False, "ip_check": False, "ignore_ipolicy": True,
    }  # fmt: skip
    return OpInstanceCreate(**{**values, **more})


def devices(*paths: str, **more: Any) -> OpInstanceCreate:
    return op("blockdev", *({"adopt": path} for path in paths), **more)


def refused(services: FakeServices, order: Any) -> tuple[str | None, str]:
    before = contents(services.config)
    with pytest.raises(OpPrereqError) as caught:
        run_unit(services, order)
    assert contents(services.config) == before and not services.undo.steps
    return caught.value.code, str(caught.value)


def test_adopted_devices_have_the_size_that_the_node_tells(services: FakeServices) -> None:
    run_unit(services, devices(ONE, TWO))
    (instance,) = services.config.instances.values()
    made = services.config.disks_of(instance)
    assert [(disk.size, disk.logical_id) for disk in made] == [
        (2048, ("manual", ONE)),
        (2048, ("manual", TWO)),
    ]
    assert all(disk.nodes == () for disk in made)


def test_what_adopted_devices_hold_stays(tmp_path: Path) -> None:
    cluster = a_cluster(enabled_disk_templates=(DiskTemplate.BLOCKDEV,), prealloc_wipe_disks=True)
    services = FakeServices(cluster, tmp_path)
    services.rpc = StorageCalls()
    run_unit(services, devices(ONE))
    assert not {"blockdev_wipe", "instance_os_add"} & set(services.rpc.names)


@pytest.mark.parametrize(
    ("order", "code", "why"),
    [
        (devices(ONE, ONE), "wrong_input", "adopted twice"),
        (devices(ONE, AGAIN), "wrong_input", "are the same"),
        (devices("/dev/sda"), "wrong_input", "below /dev/disk/"),
        (devices("/dev/disk/../sda"), "wrong_input", "below /dev/disk/"),
        (devices("/dev/disk/by-id/gone"), "wrong_input", "no block device"),
        (devices(ONE, pnode=None, iallocator="hail"), "wrong_input", "given node"),
        (op("blockdev", {"adopt": ONE}, {"size": 5}), "wrong_input", "or none"),
        (op("ext", {"size": 5}), "wrong_input", "needs a provider"),
        (op("ext", {"size": 5, "provider": "a/b"}), "wrong_input", "no name for a provider"),
        (op("ext", {"size": 5, "provider": "else"}), "wrong_input", "does not take"),
        (op("ext", {**VOLUME, "colour": "blue"}), "wrong_input", "does not take"),
        (op("ext", {**VOLUME, "access": "free"}), "wrong_input", "access 'free'"),
        (op("ext", {**VOLUME, "access": "userspace"}), "wrong_state", "access=userspace"),
        (op("file", {"size": 5, "provider": "dir"}), "wrong_input", "has no provider"),
        (op("blockdev", {"adopt": ONE, "access": "userspace"}), "wrong_input", "has no access"),
    ],
)  # fmt: skip
def test_disks_that_can_not_be(
    services: FakeServices, order: OpInstanceCreate, code: str, why: str
) -> None:
    found, text = refused(services, order)
    assert (found, why in text) == (code, True), text


@pytest.mark.parametrize("path", [ONE, AGAIN])
def test_a_device_of_another_instance_is_refused_by_any_name(
    services: FakeServices, path: str
) -> None:
    run_unit(services, devices(ONE))
    services.undo.steps.clear()
    order = devices(path, instance_name="web2.example.com", pnode="node3")
    code, text = refused(services, order)
    assert code == "resource_not_unique" and NAME in text


def test_two_jobs_do_not_adopt_the_same_device(services: FakeServices) -> None:
    services.reservations.reserve("another job", Kind.NAME, ("device", ONE))
    assert refused(services, devices(ONE))[0] == "resource_not_unique"


def test_parameters_of_a_volume_are_checked_when_they_change(services: FakeServices) -> None:
    run_unit(services, op("ext", {**VOLUME, "colour": "red"}))
    services.undo.steps.clear()
    for change in ({"colour": "blue"}, {"provider": "x"}):
        order = OpInstanceSetParams(instance_name=NAME, disks=[["modify", 0, change]])
        assert refused(services, order)[0] == "wrong_input"
    (disk,) = services.config.disks.values()
    assert disk.params == {"provider": "dir", "colour": "red"}
    assert disk.logical_id[0] == "dir" and str(disk.logical_id[1]).endswith(".ext.disk0")


@pytest.mark.parametrize(
    "order", [op("ext", VOLUME, VOLUME), devices(ONE, TWO)], ids=["ext", "dev"]
)
def test_nothing_is_left_whichever_call_fails(tmp_path: Path, order: OpInstanceCreate) -> None:
    for nth in itertools.count(1):
        services = a_bed(tmp_path)
        before = contents(services.config)
        services.rpc.fail_at = nth
        try:
            run_unit(services, order)
        except GenericError as error:
            assert "connection lost" in str(error)
            if services.rpc.names[nth - 1] == "instance_start":
                continue
        else:
            if len(services.rpc.log) < nth:
                assert nth > 4
                return
            continue
        assert contents(services.config) == before
        assert all(place.is_bare for place in services.rpc.places.values())
