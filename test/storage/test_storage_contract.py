"""What every kind of device does; each driver of this version runs these tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guests import STORAGE, a_file_disk, allow_storage
from ganeti.errors import BlockDeviceError, FileStoragePathError, StorageError
from ganeti.model.disk import Disk
from ganeti.paths import Paths
from ganeti.storage import registry
from ganeti.storage.base import MIB, BlockDevice, StorageHost
from ganeti.types import DiskTemplate
from ganeti.utils.process import run


@pytest.fixture(params=registry.kinds(), ids=str)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockDevice]:
    paths = Paths(tmp_path)
    allow_storage(paths)
    paths.below(f"{STORAGE}/web1").mkdir(parents=True)
    yield registry.make(request.param, StorageHost(paths, run))


@pytest.fixture
def disk(driver: BlockDevice) -> Disk:
    return a_file_disk("web1", size_mib=3, dev_type=driver.kind)


def moved(disk: Disk, name: str) -> Disk:
    return replace(disk, logical_id=("loop", f"{STORAGE}/web1/{name}"))


def test_a_created_device_has_its_size(driver: BlockDevice, disk: Disk) -> None:
    driver.create(disk, 3)
    found = driver.dimensions(disk)
    assert found is not None and found.size_bytes == 3 * MIB and found.spindles is None


def test_an_assembled_device_can_be_written(driver: BlockDevice, disk: Disk) -> None:
    driver.create(disk, 1)
    attached = driver.assemble(disk)
    driver.open(disk)
    assert attached.path is not None
    with attached.path.open("r+b") as file:
        file.write(b"data")
    driver.close(disk)
    driver.shutdown(disk)
    assert attached.path.read_bytes()[:4] == b"data"


def test_create_never_takes_over_what_exists(driver: BlockDevice, disk: Disk) -> None:
    driver.create(disk, 1)
    with pytest.raises(BlockDeviceError, match="File exists"):
        driver.create(disk, 2)
    found = driver.dimensions(disk)
    assert found is not None and found.size_bytes == MIB


def test_a_create_that_fails_leaves_nothing(driver: BlockDevice, disk: Disk) -> None:
    with pytest.raises(BlockDeviceError, match="can't create"):
        driver.create(disk, 1 << 42)
    assert driver.find(disk) is None
    driver.create(disk, 1)


def test_a_removed_device_is_not_found_and_may_be_removed_again(
    driver: BlockDevice, disk: Disk
) -> None:
    driver.create(disk, 1)
    driver.remove(disk)
    driver.remove(disk)
    assert driver.find(disk) is None
    assert driver.dimensions(disk) is None


def test_a_missing_device_can_not_be_assembled(driver: BlockDevice, disk: Disk) -> None:
    with pytest.raises(BlockDeviceError, match="no such"):
        driver.assemble(disk)


def test_a_found_device_is_in_order(driver: BlockDevice, disk: Disk) -> None:
    driver.create(disk, 1)
    status = driver.find(disk)
    assert status is not None
    assert (status.is_degraded, status.ldisk_status, status.sync_percent) == (False, 1, None)


def test_growing_keeps_the_data(driver: BlockDevice, disk: Disk) -> None:
    driver.create(disk, 1)
    path = driver.assemble(disk).path
    assert path is not None
    path.write_bytes(b"x" * MIB)
    driver.grow(disk, 2, dry_run=True)
    driver.grow(disk, 2, backing_store=False)
    assert driver.dimensions(disk) == (MIB, None)
    driver.grow(disk, 2)
    assert path.read_bytes() == b"x" * MIB + bytes(2 * MIB)


def test_a_device_never_shrinks(driver: BlockDevice, disk: Disk) -> None:
    driver.create(disk, 2)
    with pytest.raises(BlockDeviceError, match="-1 MiB"):
        driver.grow(disk, -1)


def test_wiping_zeroes_exactly_what_was_asked(driver: BlockDevice, disk: Disk) -> None:
    driver.create(disk, 3)
    path = driver.assemble(disk).path
    assert path is not None
    path.write_bytes(b"x" * 3 * MIB)
    driver.wipe(disk, 1, 1)
    assert path.read_bytes() == b"x" * MIB + bytes(MIB) + b"x" * MIB


def test_a_renamed_device_has_its_data_and_a_second_try_is_fine(
    driver: BlockDevice, disk: Disk
) -> None:
    driver.create(disk, 1)
    target = moved(disk, "other")
    driver.rename(disk, target.logical_id)
    driver.rename(disk, target.logical_id)
    assert driver.find(disk) is None
    assert driver.dimensions(target) == (MIB, None)


def test_renaming_never_overwrites(driver: BlockDevice, disk: Disk) -> None:
    target = moved(disk, "other")
    driver.create(disk, 1)
    driver.create(target, 2)
    with pytest.raises(BlockDeviceError, match="exists"):
        driver.rename(disk, target.logical_id)
    assert driver.dimensions(target) == (2 * MIB, None)


@pytest.mark.parametrize("path", ["/etc/passwd", f"{STORAGE}/../x", "relative", "/tmp/x", STORAGE])
def test_a_path_outside_the_allowed_places_is_refused_by_each_method(
    driver: BlockDevice, disk: Disk, path: str
) -> None:
    bad = replace(disk, logical_id=("loop", path))
    driver.create(disk, 1)
    for attempt in (
        lambda: driver.create(bad, 1),
        lambda: driver.remove(bad),
        lambda: driver.find(bad),
        lambda: driver.assemble(bad),
        lambda: driver.grow(bad, 1),
        lambda: driver.rename(disk, ("loop", path)),
        lambda: driver.wipe(bad, 0, 1),
    ):
        with pytest.raises(FileStoragePathError):
            attempt()


def test_a_directory_is_no_disk(driver: BlockDevice, disk: Disk) -> None:
    driver.host.paths.below(str(disk.logical_id[1])).mkdir()
    with pytest.raises(BlockDeviceError, match="directory"):
        driver.find(disk)


@pytest.mark.parametrize("kind", [kind for kind in DiskTemplate if kind not in registry.DRIVERS])
def test_a_kind_without_a_driver_is_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"{kind}: this version has no driver"):
        registry.make(kind, StorageHost(Paths(tmp_path), run))


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="'cloud'.*sharedfile"):
        registry.make("cloud", StorageHost(Paths(tmp_path), run))
