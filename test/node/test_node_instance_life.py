"""Instances, disks and OS scripts on one node, with the fake hypervisor."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guests import STORAGE, a_file_disk, allow_storage, an_instance
from ganeti.errors import (
    BlockDeviceError,
    HypervisorError,
    OpExecError,
    OpPrereqError,
    StorageError,
)
from ganeti.model.filled import FilledInstance
from ganeti.node import disk as disks
from ganeti.node import guest_os, instance, os_task, volume
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.node.task import Tasks
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.storage.base import MIB


@pytest.fixture
def node(tmp_path: Path) -> NodeContext:
    paths = Paths(tmp_path)
    allow_storage(paths)
    paths.below(f"{STORAGE}/web1").mkdir(parents=True)
    return NodeContext(settings=NodeSettings(paths=paths, hostname="node1.example.com"))


def an_os(node: NodeContext, create: str, verify: str = "exit 0") -> None:
    directory = node.paths.os_search[0] / "busybox"
    directory.mkdir(parents=True)
    (directory / "ganeti_api_version").write_text("20\n")
    (directory / "variants.list").write_text("default\n")
    (directory / "parameters.list").write_text("token Some text\n")
    scripts = {"create": create, "verify": verify}
    for name in ("create", "import", "export", "rename", "verify"):
        (directory / name).write_text(f"#!/bin/sh\n{scripts.get(name, 'env')}\n")
        (directory / name).chmod(0o755)


def a_disk_instance(node: NodeContext, **more: Json) -> FilledInstance:
    """An instance whose one disk exists."""
    disk = a_file_disk("web1")
    disks.blockdev_create(node, disk, 1, "web1", True, "", False)
    return an_instance("web1", disks=(disk,), **more)


def links(node: NodeContext) -> list[str]:
    place = node.paths.disk_links
    return sorted(os.listdir(place)) if place.exists() else []


# Life.


def test_a_started_instance_has_links_to_its_disks(node: NodeContext) -> None:
    made = a_disk_instance(node)
    instance.instance_start(node, made, False, [("gnt:client", "now", 5)])
    assert links(node) == ["web1:0"]
    device = (node.paths.disk_links / "web1:0").readlink()
    assert device == node.paths.below(str(made.disks_info[0].logical_id[1]))
    info = instance.instance_info(node, "web1", "fake", {})
    assert info is not None and (info.memory, info.vcpus, info.state) == (128, 1, 0)
    reason = json.loads((node.paths.run / "instance-reason/web1").read_text())
    assert reason == [["gnt:client", "now", 5]]


def test_starting_again_and_stopping_again_change_nothing(node: NodeContext) -> None:
    made = a_disk_instance(node)
    for _ in range(2):
        instance.instance_start(node, made, False, [])
    for _ in range(2):
        instance.instance_shutdown(node, made, 10, [])
    assert instance.instance_list(node, ["fake"], {}) == []
    assert links(node) == []


def test_a_failed_start_leaves_no_links(node: NodeContext) -> None:
    made = a_disk_instance(node)
    place = node.paths.run / "fake-hypervisor"
    place.mkdir(parents=True)
    (place / ".control").write_text('{"web1": {"fail_start": "no luck"}}')
    with pytest.raises(HypervisorError, match="no luck"):
        instance.instance_start(node, made, False, [])
    assert links(node) == []


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_rebooted_instance_runs_with_its_links(node: NodeContext, kind: str) -> None:
    made = a_disk_instance(node)
    with pytest.raises(HypervisorError, match="does not run"):
        instance.instance_reboot(node, made, kind, 10, [])
    instance.instance_start(node, made, False, [])
    instance.instance_reboot(node, made, kind, 10, [])
    assert instance.instance_list(node, ["fake"], {}) == ["web1"]
    assert links(node) == ["web1:0"]


def test_a_full_reboot_is_none_of_the_nodes(node: NodeContext) -> None:
    made = a_disk_instance(node)
    instance.instance_start(node, made, False, [])
    with pytest.raises(HypervisorError, match="'full'"):
        instance.instance_reboot(node, made, "full", 10, [])


def test_memory_changes_only_while_it_runs(node: NodeContext) -> None:
    made = a_disk_instance(node)
    instance.instance_balloon_memory(node, made, 64)
    instance.instance_start(node, made, False, [])
    instance.instance_balloon_memory(node, made, 64)
    found = instance.all_instances_info(node, ["fake"], {})
    assert found["web1"].memory == 64


def test_only_what_runs_can_be_migrated(node: NodeContext) -> None:
    made = a_disk_instance(node)
    with pytest.raises(HypervisorError, match=r"web1: does not run on node1\.example\.com"):
        instance.instance_migratable(node, made)
    instance.instance_start(node, made, False, [])
    instance.instance_migratable(node, made)


# Disks.


def test_assembling_makes_the_link_on_the_primary_node_only(node: NodeContext) -> None:
    made = a_disk_instance(node)
    (disk,) = made.disks_info
    path = str(node.paths.below(str(disk.logical_id[1])))
    assert disks.blockdev_assemble(node, disk, made, False, 0) == (True, True, None)
    assert links(node) == []
    answer = disks.blockdev_assemble(node, disk, made, True, 3)
    assert answer == (path, str(node.paths.disk_links / "web1:3"), None)
    disks.blockdev_close(node, "web1", [disk] * 4)
    assert links(node) == []


def test_a_link_that_leads_elsewhere_is_replaced(node: NodeContext) -> None:
    made = a_disk_instance(node)
    node.paths.disk_links.mkdir(parents=True)
    (node.paths.disk_links / "web1:0").symlink_to("/nowhere")
    disks.blockdev_open(node, "web1", made.disks_info, True)
    assert (node.paths.disk_links / "web1:0").exists()


def test_status_of_several_disks_is_told_one_by_one(node: NodeContext) -> None:
    (disk,) = a_disk_instance(node).disks_info
    absent = replace(disk, logical_id=("loop", f"{STORAGE}/web1/absent"))
    good, bad = disks.blockdev_getmirrorstatus_multi(node, [disk, absent])
    assert good.ok and not bad.ok and "absent" in str(bad.status)
    with pytest.raises(BlockDeviceError, match="absent: is not there"):
        disks.blockdev_getmirrorstatus(node, [disk, absent])
    assert disks.blockdev_find(node, absent) is None
    assert disks.blockdev_getdimensions(node, [disk, absent]) == [(MIB, None), None]


def test_a_wipe_stays_within_the_disk(node: NodeContext) -> None:
    (disk,) = a_disk_instance(node).disks_info
    disks.blockdev_wipe(node, disk, 0, 1)
    for offset, size in ((0, 2), (1, 1), (-1, 1)):
        with pytest.raises(BlockDeviceError, match="wipe"):
            disks.blockdev_wipe(node, disk, offset, size)


def test_an_image_is_written_to_the_beginning_of_the_disk(node: NodeContext) -> None:
    (disk,) = a_disk_instance(node).disks_info
    image = node.paths.below("/srv/image")
    image.write_bytes(b"boot")
    disks.blockdev_image(node, disk, "/srv/image", 1)
    assert disks.device_path(node, disk).read_bytes() == b"boot" + bytes(MIB - 4)
    image.write_bytes(bytes(MIB + 1))
    with pytest.raises(BlockDeviceError, match="the disk has"):
        disks.blockdev_image(node, disk, "/srv/image", 1)


def test_a_converted_disk_has_the_data_of_the_other(node: NodeContext) -> None:
    (source,) = a_disk_instance(node).disks_info
    target = a_file_disk("web1", 1)
    disks.blockdev_create(node, target, 2, "web1", True, "", False)
    disks.device_path(node, source).write_bytes(b"x" * MIB)
    disks.blockdev_convert(node, source, target)
    assert disks.device_path(node, target).read_bytes() == b"x" * MIB + bytes(MIB)


def test_storage_units_are_listed_in_the_order_of_the_fields(node: NodeContext) -> None:
    rows = volume.storage_list(node, "file", [[STORAGE]], None, ["allocatable", "name", "used"])
    assert rows == [[True, STORAGE, 0]]
    ((size, free),) = volume.storage_list(node, "file", [[STORAGE]], None, ["size", "free"])
    assert 0 < free <= size
    with pytest.raises(StorageError, match="lvm-vg"):
        volume.storage_list(node, "lvm-vg", [], None, ["name"])
    assert volume.bdev_sizes(node, ["/etc/passwd", "/dev/null", "/dev/nosuch"]) == {}


# OS scripts.


def test_a_create_script_gets_a_clean_environment_and_its_directory(node: NodeContext) -> None:
    an_os(node, 'env | sort > "$DISK_0_PATH"; pwd >> "$DISK_0_PATH"; echo told')
    made = a_disk_instance(node, osparams={"token": "secret word"})
    guest_os.instance_os_add(node, made, True, 2)
    text = disks.device_path(node, made.disks_info[0]).read_text()
    *lines, directory = text.replace("\0", "").splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert directory == str(node.paths.os_search[0] / "busybox")
    assert "OSP_TOKEN=secret word" in lines and "INSTANCE_REINSTALL=1" in lines
    assert "PATH=/sbin:/bin:/usr/sbin:/usr/bin" in lines and "DEBUG_LEVEL=2" in lines
    assert not names & {"HOME", "LC_ALL", "TASK", "USER"}
    (log,) = node.paths.os_log.iterdir()
    assert log.name.startswith("add-busybox+default-web1-") and log.read_text() == "told\n"
    assert Tasks(node).all() == []


def test_a_failing_script_is_told_with_its_last_twenty_lines(node: NodeContext) -> None:
    an_os(node, "seq 1 30; exit 3")
    made = a_disk_instance(node)
    with pytest.raises(OpExecError, match="exited with exit code 3") as caught:
        guest_os.instance_os_add(node, made, False, 0)
    assert str(caught.value).endswith("\n11\n" + "\n".join(str(n) for n in range(12, 31)))


def test_secrets_of_a_script_are_not_among_its_arguments(node: NodeContext) -> None:
    an_os(node, 'tr "\\0" " " < /proc/$$/cmdline; tr "\\0" " " < /proc/$PPID/cmdline; exit 1')
    made = a_disk_instance(node, osparams={"token": "secret word"})
    with pytest.raises(OpExecError) as caught:
        guest_os.instance_os_add(node, made, False, 0)
    assert "secret word" not in str(caught.value) and "create" in str(caught.value)


def test_removing_a_disk_ends_the_script_that_writes_to_it(node: NodeContext) -> None:
    an_os(node, "exit 0")
    made = a_disk_instance(node)
    uuid = made.disks_info[0].uuid
    name = os_task.task_name("web1")
    Tasks(node).start(name, ["sleep", "600"], about={"instance": "web1", "disks": uuid})
    disks.blockdev_remove(node, made.disks_info[0])
    state = Tasks(node).find(name)
    assert state is not None and not state.running
    # The record of the ended one does not stand for the next.
    disks.blockdev_create(node, made.disks_info[0], 1, "web1", True, "", False)
    guest_os.instance_os_add(node, made, False, 0)


def test_a_renamed_guest_is_told_its_old_name(node: NodeContext) -> None:
    an_os(node, "exit 0")
    made = a_disk_instance(node)
    guest_os.instance_run_rename(node, made, "old1", 0)
    (log,) = node.paths.os_log.iterdir()
    assert log.name.startswith("rename-busybox+default-old1-web1-")
    assert "OLD_INSTANCE_NAME=old1" in log.read_text().splitlines()


def test_parameters_are_verified_by_name_and_by_script(node: NodeContext) -> None:
    an_os(node, "exit 0", 'echo "token is bad"; test "$OSP_TOKEN" != bad -a "$1" = parameters')

    def validate(name: str = "busybox+default", **params: str) -> bool:
        return guest_os.os_validate(node, True, name, ["parameters"], params, False)

    assert validate(token="good")
    for name, params, text in (
        ("busybox+default", {"token": "bad"}, "token is bad"),
        ("busybox+default", {"nosuch": "x"}, "no parameters nosuch"),
        ("busybox", {}, "must include a variant"),
        ("nosuch", {}, "not found in search path"),
    ):
        with pytest.raises(OpPrereqError, match=text):
            validate(name, **params)
    assert guest_os.os_validate(node, False, "nosuch", [], {}, False) is False


def test_an_exported_definition_holds_scripts_and_environment(node: NodeContext) -> None:
    an_os(node, "exit 0")
    place = guest_os.os_export(node, a_disk_instance(node), {"EXTRA": "1"})
    with tarfile.open(node.paths.below(place)) as package:
        names = package.getnames()
        member = package.extractfile("environment")
        assert member is not None
        lines = member.read().decode().splitlines()
    assert "os/create" in names and "EXTRA=1" in lines and "INSTANCE_NAME=web1" in lines
    assert node.paths.below(place).stat().st_mode & 0o777 == 0o600


def test_a_reason_that_can_not_be_written_does_not_fail_the_start(node: NodeContext) -> None:
    node.paths.run.mkdir(parents=True)
    (node.paths.run / "instance-reason").touch()  # in the place of the directory
    instance.instance_start(node, a_disk_instance(node), False, [("gnt:user", "why", 1)])
    assert node.hypervisor("fake").is_alive("web1")


def test_a_reason_is_kept_for_root(node: NodeContext) -> None:
    instance.instance_start(node, a_disk_instance(node), False, [("gnt:user", "why", 1)])
    place = node.paths.run / "instance-reason" / "web1"
    assert json.loads(place.read_text()) == [["gnt:user", "why", 1]]
    assert place.stat().st_mode & 0o777 == 0o600
