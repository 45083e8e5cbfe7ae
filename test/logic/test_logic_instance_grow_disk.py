"""Growing a disk."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import a_bed, disk_uuid, disks_of, hook_values, refused
from fakes.services import FakeServices, run_unit
from ganeti.errors import GenericError
from ganeti.opcodes.disk import OpInstanceGrowDisk
from ganeti.types import DiskTemplate

MIB = 1024 * 1024


def grow(amount: int = 512, disk: int = 1, **values: Any) -> OpInstanceGrowDisk:
    return OpInstanceGrowDisk(instance_name="web1", disk=disk, amount=amount, **values)


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path, disks=2)


def test_the_device_is_tried_then_grown_then_recorded(services: FakeServices) -> None:
    ran = run_unit(services, grow())
    assert services.rpc.names == [
        "blockdev_assemble", "blockdev_grow", "blockdev_grow", "blockdev_grow",
        "blockdev_getmirrorstatus", "blockdev_shutdown", "instance_info",
    ]  # fmt: skip
    assert [disk.size for disk in disks_of(services)] == [1024, 1536]
    assert services.place("node2").devices == {disk_uuid(0): 1024, disk_uuid(1): 1536}
    assert services.messages[0] == (
        "Growing disk 1 of instance 'web1.example.com' by 512M to 1536M"
    )
    assert ran.before is not None and ran.before.path == "disk-grow"
    assert hook_values(ran, "DISK", "AMOUNT", "ABSOLUTE") == ["1", "512", "False"]
    assert [ran.before.env["INSTANCE_DISK1_SIZE"], ran.after.env["INSTANCE_DISK1_SIZE"]] == [
        "1024", "1536",
    ]  # fmt: skip


def test_an_absolute_size_is_the_new_one(services: FakeServices) -> None:
    run_unit(services, grow(2048, absolute=True))
    assert disks_of(services)[1].size == 2048


def test_a_running_guest_is_told_and_its_disks_stay_active(tmp_path: Path) -> None:
    services = a_bed(tmp_path, disks=2, up=True)
    run_unit(services, grow())
    assert services.place("node2").resized == {disk_uuid(1): 1536 * MIB}
    assert "blockdev_shutdown" not in services.rpc.names


def test_a_guest_that_can_not_be_told_is_a_warning(tmp_path: Path) -> None:
    services = a_bed(tmp_path, disks=2, up=True)
    services.rpc.failures["resize_disk"] = "no way"
    run_unit(services, grow())
    assert any("next start" in line and "no way" in line for line in services.messages)


def test_only_the_new_part_is_wiped(services: FakeServices) -> None:
    from dataclasses import replace

    services.change(
        lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, prealloc_wipe_disks=True)
        )
    )
    run_unit(services, grow())
    offsets = [args[1] for name, args in services.rpc.arguments if name == "blockdev_wipe"]
    assert offsets[0] == 1024


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"disk": 2}, "wrong_input"),
        ({"amount": 512, "absolute": True}, "wrong_state"),
        ({"amount": 2 * 1024 * 1024}, "wrong_input"),  # the policy
    ],
)
def test_what_can_not_be_is_refused(services: FakeServices, values: Any, code: str) -> None:
    assert refused(services, grow(**values)) == code


def test_the_policy_can_be_ignored(services: FakeServices) -> None:
    run_unit(services, grow(2 * 1024 * 1024, ignore_ipolicy=True))


def test_nodes_must_be_online_and_disks_must_be_there(tmp_path: Path) -> None:
    services = a_bed(tmp_path / "1")
    services.change_node("node2", offline=True, master_candidate=False)
    assert refused(services, grow(disk=0)) == "wrong_state"
    diskless = a_bed(tmp_path / "2", DiskTemplate.DISKLESS, disks=0)
    assert refused(diskless, grow(disk=0)) == "wrong_input"


def test_whatever_fails_the_device_is_never_smaller_than_recorded(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        services = a_bed(tmp_path / str(nth), disks=2)
        services.rpc.fail_at = nth
        try:
            run_unit(services, grow())
        except GenericError:
            pass
        recorded = disks_of(services)[1].size
        assert services.place("node2").devices[disk_uuid(1)] >= recorded
        if len(services.rpc.log) < nth:
            assert recorded == 1536
            return
