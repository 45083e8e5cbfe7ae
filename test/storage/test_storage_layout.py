"""Disk templates as trees, against the forms and names of the facts and of a real cluster."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.guests import an_uuid
from ganeti.errors import OpPrereqError
from ganeti.model.disk import Disk
from ganeti.storage.layout import (
    DiskSpec,
    DrbdNumbers,
    Place,
    file_directory,
    plan_disks,
    required_space,
    total_space_mib,
)
from ganeti.types import DiskMode, DiskTemplate

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NUMBERS = DrbdNumbers(11000, 0, 3, "ab" * 20)


def uuids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: an_uuid(next(numbers))


def a_place(nodes: int = 1) -> Place:
    return Place(
        instance_uuid="i-uuid",
        nodes=("node-a", "node-b")[:nodes],
        vg="xenvg",
        metavg="metavg",
        file_directory="/srv/ganeti/file-storage/web1",
        now=7.5,
    )


def plan(template: DiskTemplate, *specs: DiskSpec) -> tuple[Disk, ...]:
    nodes = 2 if template is DiskTemplate.DRBD else 1
    drbd = [NUMBERS] * len(specs) if template is DiskTemplate.DRBD else []
    return plan_disks(template, specs, a_place(nodes), uuids(), drbd)


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        (DiskTemplate.PLAIN, rf"xenvg\|{UUID}\.disk0"),
        (DiskTemplate.FILE, rf"loop\|/srv/ganeti/file-storage/web1/{UUID}\.file\.disk0"),
        (
            DiskTemplate.SHARED_FILE,
            rf"loop\|/srv/ganeti/file-storage/web1/{UUID}\.sharedfile\.disk0",
        ),
        (DiskTemplate.RBD, rf"rbd\|{UUID}\.rbd\.disk0"),
        (DiskTemplate.EXT, rf"vendor\|{UUID}\.ext\.disk0"),
        (DiskTemplate.GLUSTER, r"loop\|ganeti/i-uuid\.0"),
        (DiskTemplate.BLOCKDEV, r"manual\|/dev/disk/by-id/x"),
        (DiskTemplate.DRBD, r"node-a\|node-b\|11000\|0\|3\|(ab)+"),
    ],
)
def test_logical_ids_have_the_form_of_their_template(template: DiskTemplate, pattern: str) -> None:
    spec = DiskSpec(size_mib=64, provider="vendor", adopt="/dev/disk/by-id/x")
    (disk,) = plan(template, spec)
    assert re.fullmatch(pattern, "|".join(map(str, disk.logical_id)))
    assert (disk.size, disk.iv_name, disk.dev_type) == (64, "disk/0", template)


def test_a_drbd_disk_stands_on_a_data_and_a_meta_volume_of_one_name() -> None:
    (disk,) = plan(DiskTemplate.DRBD, DiskSpec(size_mib=2048))
    data, meta = disk.children
    assert (data.size, meta.size) == (2048, 128)
    assert data.logical_id[0] == "xenvg" and meta.logical_id[0] == "metavg"
    assert data.logical_id[1].removesuffix("_data") == meta.logical_id[1].removesuffix("_meta")
    assert data.iv_name == "" and data.nodes == disk.nodes == ("node-a", "node-b")
    assert len({one.uuid for one in disk.walk()}) == 3


def test_disks_are_numbered_after_those_that_are_there() -> None:
    place = Place(instance_uuid="i", nodes=["n"], vg="vg", first_index=2)
    specs = [DiskSpec(size_mib=1), DiskSpec(size_mib=2, mode=DiskMode.READ_ONLY, name="log")]
    disks = plan_disks(DiskTemplate.PLAIN, specs, place, uuids())
    assert [disk.iv_name for disk in disks] == ["disk/2", "disk/3"]
    assert disks[1].logical_id[1].endswith(".disk3")
    assert (disks[1].mode, disks[1].name) == ("ro", "log")


def test_disks_of_a_recorded_cluster_have_the_planned_forms(samples: Path) -> None:
    document = json.loads((samples / "state/4-full/config.data").read_text())
    for recorded in document["disks"].values():
        template = DiskTemplate(recorded["dev_type"])
        directory = recorded["logical_id"][1].rsplit("/", 1)[0]
        nodes = recorded["nodes"] or ["anybody"]
        place = Place(instance_uuid="i", nodes=nodes, file_directory=directory)
        (disk,) = plan_disks(template, [DiskSpec(size_mib=recorded["size"])], place, uuids())
        assert disk.logical_id[0] == recorded["logical_id"][0]
        form = re.compile(UUID)
        name = form.sub("U", recorded["logical_id"][1])
        index = recorded["iv_name"].removeprefix("disk/")
        assert form.sub("U", disk.logical_id[1])[:-1] + index == name
        assert list(disk.nodes) == recorded["nodes"]


def test_shared_storage_belongs_to_no_node() -> None:
    (disk,) = plan(DiskTemplate.SHARED_FILE, DiskSpec(size_mib=1))
    assert disk.nodes == ()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DiskTemplate.PLAIN, {("lvm-vg", "xenvg"): 30}),
        (DiskTemplate.DRBD, {("lvm-vg", "xenvg"): 30, ("lvm-vg", "metavg"): 256}),
        (DiskTemplate.FILE, {("file", "/srv/ganeti/file-storage/web1"): 30}),
        (DiskTemplate.RBD, {}),
        (DiskTemplate.DISKLESS, {}),
    ],
)
def test_required_space_is_told_per_storage_unit(
    template: DiskTemplate, expected: dict[tuple[str, str], int]
) -> None:
    specs = [DiskSpec(size_mib=10), DiskSpec(size_mib=20)]
    assert required_space(template, specs, a_place()) == expected


def test_adopted_disks_need_no_space() -> None:
    specs = [DiskSpec(size_mib=10, adopt="old")]
    assert required_space(DiskTemplate.PLAIN, specs, a_place()) == {}


def test_total_space_counts_drbd_meta_volumes() -> None:
    assert total_space_mib(DiskTemplate.DRBD, [10, 20]) == 30 + 2 * 128
    assert total_space_mib(DiskTemplate.PLAIN, [10, 20]) == 30
    assert total_space_mib(DiskTemplate.BLOCKDEV, [10]) == 0


def test_the_instance_directory_lies_below_the_storage_directory() -> None:
    assert file_directory("/srv/f", None, "web1") == "/srv/f/web1"
    assert file_directory("/srv/f", "group/a", "web1") == "/srv/f/group/a/web1"
    for outside in ("/etc", "../x", "a/../../x"):
        with pytest.raises(OpPrereqError, match="not a path below"):
            file_directory("/srv/f", outside, "web1")


@pytest.mark.parametrize(
    ("template", "specs"),
    [
        (DiskTemplate.DISKLESS, [DiskSpec(size_mib=1)]),
        (DiskTemplate.EXT, [DiskSpec(size_mib=1)]),
        (DiskTemplate.BLOCKDEV, [DiskSpec(size_mib=1)]),
        (DiskTemplate.DRBD, [DiskSpec(size_mib=1)]),
    ],
)
def test_a_template_refuses_what_it_can_not_make(
    template: DiskTemplate, specs: list[DiskSpec]
) -> None:
    with pytest.raises(OpPrereqError):
        plan_disks(template, specs, a_place(), uuids())
