"""Durable files: the same promises for the real disk and for the faulty one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from fakes.faulty_disk import FaultyDisk
from ganeti.errors import LockError
from ganeti.utils.files import Disk, LocalDisk


@pytest.fixture(params=["local", "faulty"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    if request.param == "local":
        return LocalDisk()
    made = FaultyDisk()
    made.mkdir(tmp_path)
    return made


def test_a_replaced_file_is_read_back_in_parts(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    disk.replace(path, iter([b"one ", b"two ", b"three"]))
    assert disk.read(path) == b"one two three"
    assert disk.read(path, 4, 3) == b"two"
    assert disk.size(path) == 13


def test_an_append_file_continues_what_is_there(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    disk.replace(path, b"head ")
    file = disk.append_file(path)
    assert file.size == 5
    file.append(b"tail")
    file.sync()
    assert (file.size, disk.read(path)) == (9, b"head tail")
    file.truncate(5)
    file.append(b"end")
    file.close()
    assert disk.read(path) == b"head end"


def test_an_append_file_is_made_when_it_is_missing(disk: Disk, tmp_path: Path) -> None:
    file = disk.append_file(tmp_path / "new")
    assert (file.size, disk.read(tmp_path / "new")) == (0, b"")
    file.close()


def test_names_follow_rename_and_unlink(disk: Disk, tmp_path: Path) -> None:
    disk.replace(tmp_path / "a", b"1")
    disk.replace(tmp_path / "b", b"2")
    disk.rename(tmp_path / "a", tmp_path / "b")
    assert disk.listdir(tmp_path) == ["b"]
    assert disk.read(tmp_path / "b") == b"1"
    disk.unlink(tmp_path / "b")
    disk.unlink(tmp_path / "b", missing_ok=True)
    with pytest.raises(FileNotFoundError):
        disk.unlink(tmp_path / "b")
    assert disk.listdir(tmp_path) == []


def test_directories_are_made_with_their_parents(disk: Disk, tmp_path: Path) -> None:
    disk.mkdir(tmp_path / "x/y")
    disk.mkdir(tmp_path / "x/y")
    assert disk.exists(tmp_path / "x/y")
    assert disk.listdir(tmp_path / "x") == ["y"]


def test_errors_name_the_file(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        disk.read(tmp_path / "missing")


def test_modes_are_set_whatever_the_umask(tmp_path: Path) -> None:
    disk = LocalDisk()
    disk.replace(tmp_path / "file", b"", mode=0o640)
    disk.mkdir(tmp_path / "directory", mode=0o775)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "directory").stat().st_mode & 0o777 == 0o775


def test_a_failed_replacement_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    disk = LocalDisk()
    disk.replace(tmp_path / "file", b"old")

    def pieces() -> itertools.chain[bytes]:
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        disk.replace(tmp_path / "file", pieces())
    assert disk.listdir(tmp_path) == ["file"]
    assert disk.read(tmp_path / "file") == b"old"


def test_a_held_lock_is_refused_to_others(tmp_path: Path) -> None:
    disk = LocalDisk()
    with disk.lock(tmp_path / "lock"):
        with pytest.raises(LockError, match="another process"):
            with disk.lock(tmp_path / "lock", timeout_s=0.0):
                pass
    with disk.lock(tmp_path / "lock", timeout_s=0.0):
        pass


# The faulty disk itself.


def test_the_faulty_disk_forgets_what_was_not_synced(tmp_path: Path) -> None:
    lengths = set()
    for seed in range(20):
        disk = FaultyDisk(seed=seed)
        disk.mkdir(tmp_path)
        file = disk.append_file(tmp_path / "file")
        file.append(b"safe ")
        file.sync()
        file.append(b"lost?")
        after = disk.crash().read(tmp_path / "file")
        assert after.startswith(b"safe ")
        lengths.add(len(after))
    assert len(lengths) > 3


def test_the_faulty_disk_keeps_what_a_finished_replacement_wrote(tmp_path: Path) -> None:
    disk = FaultyDisk()
    disk.mkdir(tmp_path)
    disk.replace(tmp_path / "file", b"new")
    assert disk.crash().read(tmp_path / "file") == b"new"


def test_the_faulty_disk_is_old_or_new_after_any_fault_of_a_replacement(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        disk = FaultyDisk(fail_at=nth, lasting=True, seed=nth)
        disk.put(tmp_path / "file", b"old")
        try:
            disk.replace(tmp_path / "file", iter([b"n", b"ew"]))
        except OSError as error:
            assert "file" in str(error) or str(tmp_path) in str(error)
        assert disk.crash().read(tmp_path / "file") in (b"old", b"new")
        if not disk.failed:
            return


def test_a_failing_write_of_the_faulty_disk_may_be_torn(tmp_path: Path) -> None:
    torn = set()
    for seed in range(20):
        disk = FaultyDisk(seed=seed)
        disk.mkdir(tmp_path)
        file = disk.append_file(tmp_path / "file")
        disk.fail_at = disk.operations + 1
        with pytest.raises(OSError, match="file"):
            file.append(b"0123456789")
        torn.add(file.size)
        file.truncate(0)
        file.append(b"again")
        assert disk.read(tmp_path / "file") == b"again"
    assert len(torn) > 3


def test_a_placed_file_is_there_at_once(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    disk.place(path, b"first")
    disk.place(path, b"second", mode=0o640)
    disk.settle([path])
    assert (disk.read(path), disk.listdir(tmp_path)) == (b"second", ["file"])


def test_the_faulty_disk_may_lose_a_placed_file_until_it_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "file"
    found = set()
    for seed in range(40):
        made = FaultyDisk(seed=seed)
        made.mkdir(tmp_path)
        made.replace(path, b"old")
        made.place(path, b"new contents")
        found.add(made.crash().read(path))
        made.settle([path])
        assert made.crash().read(path) == b"new contents"
    assert b"old" in found and any(text not in (b"old", b"new contents") for text in found)
