"""What every kind of device does; each driver of this version runs these tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guests import STORAGE
from fakes.storage_stands import NAMES, Stand, needs_loops, stand, why_no_loops
from ganeti.errors import BlockDeviceError, FileStoragePathError, StorageError
from ganeti.model.disk import Disk
from ganeti.paths import Paths
from ganeti.storage import registry
from ganeti.storage.base import MIB, StorageHost
from ganeti.types import DiskTemplate
from ganeti.utils.process import run

FILES = [name for name in NAMES if name in (DiskTemplate.FILE, DiskTemplate.SHARED_FILE)]
MADE = [name for name in NAMES if name != DiskTemplate.BLOCKDEV]
"""Kinds that are made here, not adopted."""


@pytest.fixture(params=NAMES)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    if needs_loops(request.param) and why_no_loops():
        pytest.skip(why_no_loops())
    with stand(request.param, tmp_path) as made:
        yield made


only = pytest.mark.parametrize


def test_a_created_device_has_its_size(here: Stand) -> None:
    disk = here.created(3)
    found = here.driver.dimensions(disk)
    assert found is not None and found.size_bytes == 3 * MIB and found.spindles is None


def test_an_assembled_device_can_be_written(here: Stand) -> None:
    disk = here.created(1)
    path = here.path(disk)
    here.driver.open(disk)
    with path.open("r+b") as file:
        file.write(b"data")
    here.driver.close(disk)
    here.driver.shutdown(disk)
    here.driver.shutdown(disk)
    assert here.path(disk).read_bytes()[:4] == b"data"


@only("here", MADE, indirect=True)
def test_create_never_takes_over_what_exists(here: Stand) -> None:
    disk = here.created(1)
    with pytest.raises(BlockDeviceError, match="[Ee]xists"):
        here.driver.create(disk, 2)
    found = here.driver.dimensions(disk)
    assert found is not None and found.size_bytes == MIB


@only("here", MADE, indirect=True)
def test_a_create_that_fails_leaves_nothing(here: Stand) -> None:
    disk = here.disk(1 << 42)
    with pytest.raises(BlockDeviceError, match="create"):
        here.driver.create(disk, 1 << 42)
    assert here.driver.find(disk) is None
    here.created(1)


@only("here", MADE, indirect=True)
def test_a_removed_device_is_not_found_and_may_be_removed_again(here: Stand) -> None:
    disk = here.created(1)
    here.driver.assemble(disk)
    here.driver.remove(disk)
    here.driver.remove(disk)
    assert here.driver.find(disk) is None
    assert here.driver.dimensions(disk) is None


def test_what_never_was_can_be_removed(here: Stand) -> None:
    here.driver.remove(here.disk(1))


@only("here", [DiskTemplate.BLOCKDEV], indirect=True)
def test_an_adopted_device_is_neither_made_nor_removed(here: Stand) -> None:
    disk = here.ready(1)
    here.path(disk).write_bytes(b"mine")
    here.driver.create(disk, 1)
    here.driver.remove(disk)
    assert here.path(disk).read_bytes()[:4] == b"mine"


def test_a_missing_device_can_not_be_assembled(here: Stand) -> None:
    disk = here.disk(1)
    with pytest.raises(BlockDeviceError, match="no such"):
        here.driver.assemble(disk)
    assert here.driver.find(disk) is None and here.driver.dimensions(disk) is None


def test_a_found_device_is_in_order(here: Stand) -> None:
    disk = here.created(1)
    status = here.driver.find(disk)
    assert status is not None and status.dev_path == str(here.path(disk))
    assert (status.is_degraded, status.ldisk_status, status.sync_percent) == (False, 1, None)


def test_growing_keeps_the_data(here: Stand) -> None:
    disk = here.created(1)
    driver = here.driver
    if not driver.capabilities.grow:
        with pytest.raises(BlockDeviceError, match="can't grow"):
            driver.grow(disk, 1)
        return
    here.path(disk).write_bytes(b"x" * MIB)
    driver.grow(disk, 2, dry_run=True)
    driver.grow(disk, 2, backing_store=False)
    assert driver.dimensions(disk) == (MIB, None)
    driver.grow(disk, 2)
    assert here.path(disk).read_bytes() == b"x" * MIB + bytes(2 * MIB)


def test_a_device_never_shrinks(here: Stand) -> None:
    disk = here.created(2)
    with pytest.raises(BlockDeviceError, match=r"-1 MiB|can't grow"):
        here.driver.grow(disk, -1)


def test_wiping_zeroes_exactly_what_was_asked(here: Stand) -> None:
    disk = here.created(3)
    here.path(disk).write_bytes(b"x" * 3 * MIB)
    here.driver.wipe(disk, 1, 1)
    assert here.path(disk).read_bytes() == b"x" * MIB + bytes(MIB) + b"x" * MIB


def test_a_renamed_device_has_its_data_and_a_second_try_is_fine(here: Stand) -> None:
    disk, target = here.created(1), here.disk(1, 1)
    driver = here.driver
    if not driver.capabilities.rename:
        with pytest.raises(BlockDeviceError, match="can't be renamed"):
            driver.rename(disk, target.logical_id)
        return
    driver.rename(disk, target.logical_id)
    driver.rename(disk, target.logical_id)
    assert driver.find(disk) is None
    assert driver.dimensions(target) == (MIB, None)


@only("here", FILES, indirect=True)
def test_renaming_never_overwrites(here: Stand) -> None:
    disk, target = here.created(1), here.created(2, 1)
    with pytest.raises(BlockDeviceError, match="exists"):
        here.driver.rename(disk, target.logical_id)
    assert here.driver.dimensions(target) == (2 * MIB, None)


def test_a_snapshot_holds_what_was_there(here: Stand) -> None:
    disk = here.created(1)
    if not here.driver.capabilities.snapshot:
        with pytest.raises(BlockDeviceError, match="no snapshots"):
            here.driver.snapshot(disk)
        return
    here.path(disk).write_bytes(b"x" * MIB)
    here.driver.shutdown(disk)
    made = replace(disk, logical_id=here.driver.snapshot(disk, "before", 1))
    here.path(disk).write_bytes(b"y" * MIB)
    assert here.path(made).read_bytes() == b"x" * MIB
    here.driver.remove(made)
    assert here.driver.find(made) is None and here.driver.find(disk) is not None


def test_parameters_without_a_fault_are_taken(here: Stand) -> None:
    here.driver.verify(here.disk(1))


@only("here", FILES, indirect=True)
@pytest.mark.parametrize("path", ["/etc/passwd", f"{STORAGE}/../x", "relative", "/tmp/x", STORAGE])
def test_a_path_outside_the_allowed_places_is_refused_by_each_method(
    here: Stand, path: str
) -> None:
    disk = here.created(1)
    bad = replace(disk, logical_id=("loop", path))
    driver = here.driver
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


@only("here", FILES, indirect=True)
def test_a_directory_is_no_disk(here: Stand) -> None:
    disk: Disk = here.disk(1)
    here.paths.below(str(disk.logical_id[1])).mkdir()
    with pytest.raises(BlockDeviceError, match="directory"):
        here.driver.find(disk)


@pytest.mark.parametrize("kind", [kind for kind in DiskTemplate if kind not in registry.DRIVERS])
def test_a_kind_without_a_driver_is_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"{kind}: this version has no driver"):
        registry.make(kind, StorageHost(Paths(tmp_path), run))


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="'cloud'.*sharedfile"):
        registry.make("cloud", StorageHost(Paths(tmp_path), run))
