"""Providers of external storage that are missing, broken, silent or talk rubbish."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.guests import an_uuid
from fakes.storage_stands import install_provider
from ganeti.errors import BlockDeviceError
from ganeti.model.disk import Disk
from ganeti.paths import Paths
from ganeti.storage import ext_script
from ganeti.storage.base import StorageHost
from ganeti.storage.ext import ExtDevice
from ganeti.types import DiskTemplate
from ganeti.utils.process import Result, run

VOLUME = "v1.ext.disk0"
NOW = 1_700_000_000.0


def a_disk(provider: str = "dir", **more: Any) -> Disk:
    values: dict[str, Any] = {
        "uuid": an_uuid(1),
        "dev_type": DiskTemplate.EXT,
        "logical_id": (provider, VOLUME),
        "size": 8,
        "params": {"provider": provider, "access": "kernelspace"},
    }
    return Disk(**{**values, **more})


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path)


@pytest.fixture
def provider(paths: Paths) -> Path:
    return install_provider(paths)


@pytest.fixture
def driver(paths: Paths) -> ExtDevice:
    return ExtDevice(StorageHost(paths, run, now=lambda: NOW))


def write(provider: Path, action: str, body: str) -> None:
    (provider / action).write_text(f"#!/bin/sh\n{body}\n")
    (provider / action).chmod(0o755)


def attaches(provider: Path, output: str) -> None:
    (provider / "answer").write_text(output)
    write(provider, "attach", "cat answer")


def error_of(work: Any, *args: Any, **more: Any) -> str:
    with pytest.raises(BlockDeviceError) as caught:
        work(*args, **more)
    return str(caught.value)


def test_each_script_gets_its_variables(provider: Path, driver: ExtDevice, paths: Paths) -> None:
    for action in ("create", "grow", "setinfo", "open", "close", "remove", "snapshot", "detach"):
        write(provider, action, f"env | grep -E '^(VOL|EXTP|GANETI_ROOT)' | sort > said-{action}")
    params = {"provider": "dir", "access": "kernelspace", "prealloc": "no"}
    disk = a_disk(name="data", params=params)
    paths.below(f"/srv/ganeti/volumes/{VOLUME}").touch()
    driver.create(disk, 8)
    driver.grow(disk, 4)
    driver.set_info(disk, "a text")
    driver.open(disk, exclusive=False)
    driver.close(disk)
    assert driver.snapshot(disk) == ("dir", f"{VOLUME}.snap")
    driver.remove(disk)
    common = {
        "EXTP_ACCESS=kernelspace", "EXTP_PREALLOC=no", "EXTP_PROVIDER=dir",
        f"GANETI_ROOTDIR={paths.root}",
        "VOL_CNAME=data", f"VOL_NAME={VOLUME}", f"VOL_UUID={disk.uuid}",
    }  # fmt: skip
    own = {
        "create": {"VOL_SIZE=8"},
        "grow": {"VOL_SIZE=8", "VOL_NEW_SIZE=12"},
        "setinfo": {"VOL_METADATA=a text"},
        "open": {"VOL_OPEN_EXCLUSIVE=False"},
        "close": set[str](),
        "snapshot": {f"VOL_SNAPSHOT_NAME={VOLUME}.snap", "VOL_SNAPSHOT_SIZE=8"},
        "detach": set[str](),
        "remove": set[str](),
    }
    for action, more in own.items():
        assert set((provider / f"said-{action}").read_text().splitlines()) == common | more, action


def test_a_real_node_passes_no_root(paths: Paths) -> None:
    assert "GANETI_ROOTDIR" not in ext_script.variables(Paths("/"), a_disk(), {})


@pytest.mark.parametrize("name", ["nobody", "..", "dir/../dir", "a b", "Ä"])
def test_an_unknown_provider_is_told_with_the_places(
    provider: Path, driver: ExtDevice, name: str
) -> None:
    text = error_of(driver.create, a_disk(name), 8)
    assert "is not on this node" in text and "/srv/ganeti/extstorage" in text


def test_a_provider_without_a_script_is_told(provider: Path, driver: ExtDevice) -> None:
    (provider / "grow").unlink()
    assert "script grow is missing" in error_of(driver.assemble, a_disk())


def test_optional_scripts_may_be_absent_and_no_snapshot_can_be_attached_then(
    provider: Path, driver: ExtDevice
) -> None:
    for action in ("open", "close", "snapshot"):
        (provider / action).unlink()
    driver.open(a_disk())
    driver.close(a_disk())
    made = driver.snapshot(a_disk())
    assert made == ("dir", f"{VOLUME}.snap")
    assert not list(provider.glob("said-*"))


def test_a_script_that_fails_is_told_with_the_end_of_its_log(
    provider: Path, driver: ExtDevice, paths: Paths
) -> None:
    write(provider, "create", "seq 1 40; echo no space left >&2; exit 3")
    text = error_of(driver.create, a_disk(), 8)
    head, *lines = text.splitlines()
    assert "script create of provider dir exited with exit code 3" in head
    assert lines[-1] == "no space left" and len(lines) == 20
    (log,) = paths.ext_log.glob("create-*")
    assert log.name.startswith(f"create-dir-{VOLUME}-2023-11-1") and f"/{log.name}" in head
    assert log.read_text().startswith("1\n2\n")


class Hanging:
    """Scripts of this name never end by themselves."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, argv: Sequence[str], **more: Any) -> Result:
        if not argv[0].endswith(f"/{self.name}"):
            return run(argv, **more)
        timeout_s = more["timeout_s"]
        assert 0 < timeout_s < 900
        return Result(tuple(argv), None, 15, "", "", f"timeout after {timeout_s:g} s")


@pytest.mark.parametrize("action", ["attach", "create"])
def test_a_script_that_hangs_is_ended(provider: Path, paths: Paths, action: str) -> None:
    driver = ExtDevice(StorageHost(paths, Hanging(action), now=lambda: NOW))
    work = {"attach": driver.assemble, "create": lambda disk: driver.create(disk, 8)}[action]
    assert f"script {action} of provider dir timeout after 240 s" in error_of(work, a_disk())


def test_a_file_that_is_no_program_is_told(provider: Path, driver: ExtDevice) -> None:
    (provider / "attach").write_bytes(b"\x00\x01")
    assert "can't be started" in error_of(driver.assemble, a_disk())


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "neither a device nor an address"),
        ("\n\n", "neither a device nor an address"),
        ("volume is ready\n", "the first line must be a device, it is 'volume is ready'"),
        ("\nqemu\n", "must be HYPERVISOR:ADDRESS, one is 'qemu'"),
        ("/nonexistent/x\n", "/nonexistent/x, which it printed, does not exist"),
        ("/etc\n", "/etc is no block device"),
        ("/dev/null\n", "/dev/null is no block device"),
        ("x" * 100_000, "more than 65536 bytes of output"),
    ],
)
def test_rubbish_from_attach_is_refused(
    provider: Path, driver: ExtDevice, output: str, why: str
) -> None:
    attaches(provider, output)
    assert why in error_of(driver.assemble, a_disk())


def test_addresses_are_read_by_hypervisor(provider: Path, driver: ExtDevice) -> None:
    attaches(provider, "\nkvm:nbd://san:1/v\nxen-pvm:iscsi:x\n")
    found = driver.assemble(a_disk())
    assert found.path is None
    assert dict(found.uris) == {"kvm": "nbd://san:1/v", "xen-pvm": "iscsi:x"}
    assert driver.dimensions(a_disk()) is None
    assert "has no path" in error_of(driver.wipe, a_disk(), 0, 1)


def test_only_one_exit_code_means_that_there_is_no_volume(
    provider: Path, driver: ExtDevice
) -> None:
    write(provider, "attach", "echo lost the way >&2; exit 1")
    assert "exit code 1; it said: lost the way" in error_of(driver.find, a_disk())
    write(provider, "attach", f"exit {ext_script.NO_VOLUME}")
    assert driver.find(a_disk()) is None


def test_a_detach_that_bears_only_attached_volumes_will_do(
    provider: Path, driver: ExtDevice
) -> None:
    write(provider, "attach", "touch attached; echo /dev/zero")
    write(provider, "detach", "rm attached")
    driver.shutdown(a_disk())
    assert not (provider / "attached").exists()


def test_a_detach_that_can_not_succeed_keeps_the_volume(provider: Path, driver: ExtDevice) -> None:
    write(provider, "attach", "echo /dev/zero")
    write(provider, "detach", "echo busy; exit 1")
    write(provider, "remove", "touch removed")
    for work in (driver.shutdown, driver.remove):
        assert error_of(work, a_disk()).endswith("busy")
    assert not (provider / "removed").exists()


def test_wrong_parameters_are_refused_before_anything_is_made(
    provider: Path, driver: ExtDevice
) -> None:
    write(provider, "create", "touch created")
    params = a_disk().params or {}
    bad: Mapping[str, str]
    for bad, why in (
        ({"colour": "red"}, "no parameter 'colour'; its parameters.list has device, directory"),
        ({"device": "tape"}, "tape is neither loop nor file"),
        ({"directory": "var"}, "var is not an absolute path"),
        ({"directory": "/srv/../etc"}, "leads upwards"),
    ):
        disk = replace(a_disk(), params={**params, **bad})
        assert why in error_of(driver.create, disk, 8)
    assert not (provider / "created").exists()


def test_the_example_keeps_names_inside_its_directory(provider: Path, driver: ExtDevice) -> None:
    for name in ("../x", "a/b", ".hidden"):
        disk = replace(a_disk(), logical_id=("dir", name))
        assert "no name for a volume" in error_of(driver.create, disk, 8)


def test_the_example_says_nothing_about_volumes_without_its_directory(
    provider: Path, driver: ExtDevice, paths: Paths
) -> None:
    paths.below("/srv/ganeti/volumes").rmdir()
    assert "is the shared storage mounted?" in error_of(driver.find, a_disk())


def test_every_script_of_the_example_is_executable(provider: Path) -> None:
    programs = {one.name for one in provider.iterdir() if os.access(one, os.X_OK)}
    assert programs == {
        *("attach", "close", "create", "detach", "grow"),
        *("open", "remove", "setinfo", "snapshot", "verify"),
    }
