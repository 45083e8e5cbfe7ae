"""Changing the disks of an instance, and their template."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import NAME, a_bed, disk_uuid, disks_of, refused, web1
from fakes.services import FILE_DIR, SHARED_DIR, FakeServices, contents, run_unit
from ganeti.errors import GenericError, OpExecError
from ganeti.opcodes.instance import OpInstanceSetParams
from ganeti.types import DiskTemplate


def modify(**values: Any) -> OpInstanceSetParams:
    return OpInstanceSetParams(instance_name="web1", **values)


def disk(action: str, which: int | str = -1, **given: Any) -> OpInstanceSetParams:
    return modify(disks=[(action, which, given)])


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path, disks=2)


def hot(root: Path) -> FakeServices:
    made = a_bed(root, disks=2, up=True)
    made.place("node2").hotplug = True
    return made


def test_a_new_disk_lies_beside_the_others(services: FakeServices) -> None:
    ran = run_unit(services, disk("add", size=64, name="extra"))
    assert ran.result == [["disk/2", "add:size=64,mode=rw"]]
    made = disks_of(services)[2]
    assert (made.iv_name, made.name, made.size) == ("disk/2", "extra", 64)
    assert made.logical_id[1].startswith(f"{FILE_DIR}/{NAME}/")
    assert services.place("node2").devices[made.uuid] == 64
    assert services.messages[0] == "* disk 2, size 64M"
    assert services.place("node2").active == set()
    assert services.rpc.names[-1] == "blockdev_shutdown"


def test_disks_are_numbered_anew_when_one_comes_or_goes(services: FakeServices) -> None:
    run_unit(services, disk("add", 0, size=64))
    names = [one.iv_name for one in disks_of(services)]
    assert (names, disks_of(services)[0].size) == (["disk/0", "disk/1", "disk/2"], 64)
    ran = run_unit(services, disk("remove", disk_uuid(0)))
    assert ran.result == [["disk/1", "remove"]]
    assert [one.iv_name for one in disks_of(services)] == ["disk/0", "disk/1"]
    assert disk_uuid(0) not in services.place("node2").devices
    assert disk_uuid(0) not in services.config.disks


def test_the_directory_goes_with_the_last_disk(services: FakeServices) -> None:
    run_unit(services, disk("remove"))
    assert services.place("node2").directories
    run_unit(services, disk("remove"))
    assert services.place("node2").is_bare
    assert web1(services).disks == ()


def test_name_and_mode_change(services: FakeServices) -> None:
    ran = run_unit(services, disk("modify", 0, name="system", mode="ro"))
    assert ran.result == [["disk.name/0", "system"], ["disk.mode/0", "ro"]]
    assert (disks_of(services)[0].name, disks_of(services)[0].mode) == ("system", "ro")
    run_unit(services, disk("modify", "system", name="none"))
    assert disks_of(services)[0].name is None


def test_a_detached_disk_can_be_attached_again(services: FakeServices) -> None:
    assert run_unit(services, disk("detach", 0)).result == [["disk/0", "detach"]]
    assert [one.uuid for one in disks_of(services)] == [disk_uuid(1)]
    assert services.config.disks[disk_uuid(0)].iv_name == ""
    assert disk_uuid(0) in services.place("node2").devices
    ran = run_unit(services, disk("attach", uuid=disk_uuid(0)))
    assert ran.result == [["disk/1", "attach:size=1024,mode=rw"]]
    assert [one.iv_name for one in disks_of(services)] == ["disk/0", "disk/1"]


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (disk("add"), "wrong_input"),
        (disk("add", size=1, dev_type="plain"), "wrong_state"),
        (disk("add", size=1, dev_type="nosuch"), "wrong_input"),
        (modify(disks=[("add", -1, {"size": 1})], wait_for_sync=False), "wrong_input"),
        (modify(disks=[("add", -1, {"size": 1})] * 15), "wrong_state"),
        (disk("add", size=2 * 1024 * 1024), "wrong_input"),  # the policy
        (disk("modify", 0, size=5), "wrong_input"),
        (disk("modify", 0, mode="rx"), "wrong_input"),
        (disk("modify", 0, name="7"), "wrong_input"),
        (disk("modify", "nosuch", mode="ro"), "unknown_entity"),
        (disk("remove", 0, size=5), "wrong_input"),
        (disk("attach", uuid="nosuch"), "unknown_entity"),
        (disk("attach", uuid=disk_uuid(0)), "wrong_input"),
        (disk("attach"), "wrong_input"),
    ],
)
def test_a_bad_change_is_refused(
    services: FakeServices, op: OpInstanceSetParams, code: str
) -> None:
    assert refused(services, op) == code
    assert set(services.place("node2").devices) == {disk_uuid(0), disk_uuid(1)}


def test_an_index_that_is_not_there_is_an_error_of_the_command(services: FakeServices) -> None:
    with pytest.raises(OpExecError, match="there is no disk 9, there are 2"):
        run_unit(services, disk("modify", 9, mode="ro"))


def test_a_diskless_instance_needs_to_know_the_template(tmp_path: Path) -> None:
    services = a_bed(tmp_path, DiskTemplate.DISKLESS, disks=0)
    assert refused(services, disk("add", size=5)) == "wrong_input"
    run_unit(services, disk("add", size=5, dev_type="file"))
    assert disks_of(services)[0].dev_type is DiskTemplate.FILE
    assert services.place("node2").directories == {f"{FILE_DIR}/{NAME}"}


# Running guests.


def test_without_hotplug_a_running_guest_keeps_its_disks(tmp_path: Path) -> None:
    services = a_bed(tmp_path, disks=2, up=True)
    for action in ("remove", "detach"):
        assert refused(services, disk(action, 0)) == "wrong_state"
    run_unit(services, disk("add", size=5))
    assert disks_of(services)[2].uuid in services.place("node2").devices


def test_a_running_guest_gets_and_loses_disks(tmp_path: Path) -> None:
    services = hot(tmp_path)
    run_unit(services, modify(disks=[("add", -1, {"size": 5})], hotplug=True))
    run_unit(services, modify(disks=[("remove", 2, {})], hotplug=True))
    (added, link), (removed, _) = [(step[:3], step[3]) for step in services.place("node2").plugged]
    assert (added, removed) == (("hotadd", "disk", 2), ("hotremove", "disk", 2))
    assert link == ["/links/2", None]
    assert len(services.place("node2").devices) == 2


def test_a_disk_the_guest_does_not_let_go_stays(tmp_path: Path) -> None:
    services = hot(tmp_path)
    before = contents(services.config)
    services.rpc.failures["hotplug_device"] = "busy"
    with pytest.raises(OpExecError, match="busy"):
        run_unit(services, modify(disks=[("remove", 1, {})], hotplug=True))
    assert contents(services.config) == before
    assert disk_uuid(1) in services.place("node2").devices


def test_new_disks_are_emptied_where_that_is_wanted(services: FakeServices) -> None:
    services.change(
        lambda draft: draft.update_cluster(
            replace(draft.snapshot.cluster, prealloc_wipe_disks=True)
        )
    )
    run_unit(services, disk("add", size=64))
    assert "blockdev_wipe" in services.rpc.names


# Faults.


def test_whatever_fails_devices_and_configuration_agree(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        services = a_bed(tmp_path / str(nth), disks=2)
        services.rpc.fail_at = nth
        try:
            run_unit(services, disk("add", size=64))
        except GenericError:
            pass
        assert services.undo.problems == []
        assert {one.uuid for one in disks_of(services)} == set(services.place("node2").devices)
        assert set(services.config.disks) == set(services.place("node2").devices)
        if len(services.rpc.log) < nth:
            return


# Conversion.


def convert(template: str = "sharedfile", **values: Any) -> OpInstanceSetParams:
    return modify(disk_template=template, **values)


def test_disks_are_copied_to_another_template(services: FakeServices) -> None:
    ran = run_unit(services, convert())
    assert ran.result == [["disk_template", "sharedfile"]]
    made = disks_of(services)
    assert [one.dev_type for one in made] == [DiskTemplate.SHARED_FILE] * 2
    assert [one.nodes for one in made] == [(), ()]
    assert all(one.logical_id[1].startswith(f"{SHARED_DIR}/{NAME}/") for one in made)
    assert services.rpc.names.count("blockdev_convert") == 2
    place = services.place("node2")
    assert set(place.devices) == set(services.config.disks) == {one.uuid for one in made}
    assert ran.before is not None and ran.before.env["NEW_DISK_TEMPLATE"] == "sharedfile"
    assert services.node("node2").uuid in ran.locks.node_res


def test_only_a_stopped_instance_is_converted(tmp_path: Path) -> None:
    services = a_bed(tmp_path / "1", disks=2, up=True)
    assert refused(services, convert()) == "wrong_state"
    diskless = a_bed(tmp_path / "2", DiskTemplate.DISKLESS, disks=0)
    assert refused(diskless, convert()) == "wrong_input"


def test_a_conversion_that_fails_leaves_the_old_disks(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        services = a_bed(tmp_path / str(nth), disks=2)
        before = contents(services.config)
        services.rpc.fail_at = nth
        try:
            run_unit(services, convert())
        except GenericError:
            assert contents(services.config) == before
        place = services.place("node2")
        assert {one.uuid for one in disks_of(services)} <= set(place.devices)
        assert set(services.config.disks) == {one.uuid for one in disks_of(services)}
        if len(services.rpc.log) < nth:
            return
