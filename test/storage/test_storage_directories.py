"""Directories for files of instances, and the whitelist that says where they may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.guests import STORAGE, allow_storage
from ganeti.errors import FileStoragePathError
from ganeti.paths import Paths
from ganeti.storage import directories, whitelist


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    allow_storage(paths)
    return paths


def test_comments_and_empty_lines_of_the_whitelist_are_left_out() -> None:
    assert whitelist.parse("# places\n\n /srv/a \n#/srv/b\n/srv/c") == ["/srv/a", "/srv/c"]


def test_a_missing_whitelist_allows_nothing(tmp_path: Path) -> None:
    assert whitelist.read(tmp_path / "none") == []
    with pytest.raises(FileStoragePathError, match="none is allowed"):
        whitelist.check("/srv/a/b", [])


def test_a_file_lies_below_an_allowed_directory_and_a_directory_may_be_one() -> None:
    whitelist.check("/srv/a/b", ["/srv/a"])
    whitelist.check("/srv/a", ["/srv/a/"], directory=True)
    for path in ("/srv/a", "/srv/ab", "/srv"):
        with pytest.raises(FileStoragePathError, match="not below"):
            whitelist.check(path, ["/srv/a"])


@pytest.mark.parametrize(
    "path", ["/etc/x", "/bin/x", "/usr/lib64/x", "/usr/local/sbin", "/dev/sda"]
)
def test_some_places_are_never_allowed(path: str) -> None:
    with pytest.raises(FileStoragePathError, match="no instance may have files"):
        whitelist.check(path, ["/", path], directory=True)


def test_forbidden_entries_of_a_whitelist_are_told() -> None:
    assert whitelist.forbidden(["/srv/a", "/etc", "/usr/lib/x", "relative", "/usr/library"]) == [
        "/etc", "/usr/lib/x", "relative",
    ]  # fmt: skip


def test_a_directory_is_made_once_and_removed_once(paths: Paths) -> None:
    for _ in range(2):
        directories.create(paths, f"{STORAGE}/web1")
    place = paths.below(f"{STORAGE}/web1")
    assert place.stat().st_mode & 0o777 == 0o750
    for _ in range(2):
        directories.remove(paths, f"{STORAGE}/web1")
    assert not place.exists()


def test_a_directory_with_files_stays(paths: Paths) -> None:
    directories.create(paths, f"{STORAGE}/web1")
    paths.below(f"{STORAGE}/web1/disk").touch()
    with pytest.raises(FileStoragePathError, match="not empty"):
        directories.remove(paths, f"{STORAGE}/web1")


def test_a_renamed_directory_keeps_its_files_and_a_second_try_is_fine(paths: Paths) -> None:
    directories.create(paths, f"{STORAGE}/old")
    paths.below(f"{STORAGE}/old/disk").touch()
    for _ in range(2):
        directories.rename(paths, f"{STORAGE}/old", f"{STORAGE}/new")
    assert paths.below(f"{STORAGE}/new/disk").exists()


def test_renaming_over_a_directory_is_refused(paths: Paths) -> None:
    for name in ("old", "new"):
        directories.create(paths, f"{STORAGE}/{name}")
    with pytest.raises(FileStoragePathError, match="exists"):
        directories.rename(paths, f"{STORAGE}/old", f"{STORAGE}/new")


@pytest.mark.parametrize("path", ["/etc/x", "relative/x", f"{STORAGE}/../../x"])
def test_directories_elsewhere_are_refused(paths: Paths, path: str) -> None:
    for attempt in (
        lambda: directories.create(paths, path),
        lambda: directories.remove(paths, path),
        lambda: directories.rename(paths, f"{STORAGE}/a", path),
    ):
        with pytest.raises(FileStoragePathError):
            attempt()


def test_used_space_counts_what_files_really_take(paths: Paths) -> None:
    directories.create(paths, f"{STORAGE}/web1")
    place = paths.below(f"{STORAGE}/web1")
    with (place / "sparse").open("wb") as file:
        file.truncate(100 << 20)
    (place / "full").write_bytes(b"x" * (2 << 20))
    assert directories.used_mib(place) == 2
    size, free = directories.space(place, "web1")
    assert 0 < free <= size
