"""Renaming an instance."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import an_instance
from fakes.instance_bed import NAME, a_bed, refused, web1
from fakes.services import FILE_DIR, FakeServices, contents, run_unit
from ganeti.errors import GenericError
from ganeti.locking.names import EXCLUSIVE
from ganeti.model.report import RunningInfo
from ganeti.opcodes.instance import OpInstanceRename
from ganeti.types import AdminState, DiskTemplate

NEW = "web9.example.com"


def rename(new_name: str = NEW, **values: Any) -> OpInstanceRename:
    checks = {"name_check": False, "ip_check": False}
    return OpInstanceRename(instance_name="web1", new_name=new_name, **{**checks, **values})


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path, disks=2)


def test_directory_files_and_guest_follow_the_new_name(services: FakeServices) -> None:
    ran = run_unit(services, rename())
    assert ran.result == NEW
    assert services.rpc.names == [
        "instance_info", "file_storage_dir_rename", "blockdev_assemble", "blockdev_assemble",
        "blockdev_setinfo", "blockdev_setinfo", "instance_run_rename", "blockdev_shutdown",
        "blockdev_shutdown",
    ]  # fmt: skip
    instance = web1(services, NEW)
    paths = [disk.logical_id[1] for disk in services.config.disks_of(instance)]
    assert paths == [f"{FILE_DIR}/{NEW}/d{n}.file.disk{n}" for n in (0, 1)]
    assert services.place("node2").directories == {f"{FILE_DIR}/{NEW}"}
    assert services.place("node2").installed == [f"{NAME} is {NEW}"]
    assert not instance.disks_active
    assert ran.locks.instances == {NAME: EXCLUSIVE, NEW: EXCLUSIVE}


def test_hooks_know_the_old_name_until_the_end(services: FakeServices) -> None:
    ran = run_unit(services, rename())
    assert ran.before is not None and ran.after is not None
    for env in (ran.before.env, ran.after.env):
        assert (env["INSTANCE_NAME"], env["INSTANCE_NEW_NAME"]) == (NAME, NEW)
    assert NEW in ran.after.env["INSTANCE_DISK0_ID"]


def test_a_name_is_completed_when_it_is_checked(services: FakeServices) -> None:
    services.paths.etc_hosts.parent.mkdir(parents=True)
    services.paths.etc_hosts.write_text(f"192.0.2.99 {NEW} web9\n")
    ran = run_unit(services, rename("web9", name_check=True))
    assert ran.result == NEW
    assert " - INFO: Resolved given name 'web9' to 'web9.example.com'" in services.messages


def test_what_the_guest_refuses_is_only_told(services: FakeServices) -> None:
    services.rpc.failures["instance_run_rename"] = "script says no"
    assert run_unit(services, rename()).result == NEW
    assert any("script says no" in line for line in services.messages)


def test_a_diskless_instance_only_changes_its_name(tmp_path: Path) -> None:
    services = a_bed(tmp_path, DiskTemplate.DISKLESS, disks=0)
    run_unit(services, rename())
    assert services.rpc.names == ["instance_info"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"new_name": "web2.example.com"}, "already_exists"),
        ({"new_name": NAME}, "already_exists"),
        ({"new_name": "we b"}, "wrong_input"),
        ({"ip_check": True}, "wrong_input"),
        ({"name_check": True}, "resolver_error"),
    ],
)
def test_a_bad_name_is_refused(services: FakeServices, values: Any, code: str) -> None:
    services.change(lambda draft: draft.add(an_instance(2, services.node("node1").uuid, nics=())))
    assert refused(services, rename(**values)) == code


def test_only_a_stopped_instance_can_be_renamed(services: FakeServices) -> None:
    services.place("node2").running[NAME] = RunningInfo(memory=128)
    assert refused(services, rename()) == "wrong_state"
    services.change_instance(NAME, admin_state=AdminState.UP)
    assert refused(services, rename()) == "wrong_state"
    services.change_instance(NAME, admin_state=AdminState.DOWN)
    services.change_node("node2", offline=True, master_candidate=False)
    assert refused(services, rename()) == "wrong_state"


def test_whatever_fails_name_and_directory_belong_together(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        services = a_bed(tmp_path / str(nth))
        before = contents(services.config)
        services.rpc.fail_at = nth
        try:
            run_unit(services, rename())
        except GenericError:
            pass
        name = NEW if services.config.find_instance(NEW) else NAME
        assert services.place("node2").directories == {f"{FILE_DIR}/{name}"}
        (disk,) = services.config.disks_of(web1(services, name))
        assert f"/{name}/" in disk.logical_id[1]
        if name == NAME:
            assert contents(services.config) == before
        if len(services.rpc.log) < nth:
            return


def test_a_renamed_instance_keeps_its_name_when_the_master_ends_later(
    services: FakeServices,
) -> None:
    run_unit(services, rename())
    after = contents(services.config)
    services.undo.run()
    assert contents(services.config) == after
    assert services.place("node2").directories == {f"{FILE_DIR}/{NEW}"}


def test_undoing_brings_the_old_name_back(services: FakeServices) -> None:
    """What a master does that was restarted just after the configuration had changed."""
    before = contents(services.config)
    services.undo.settle = lambda: None  # type: ignore[method-assign]
    run_unit(services, rename())
    services.undo.run()
    assert services.undo.problems == []
    assert contents(services.config) == before
    assert services.place("node2").directories == {f"{FILE_DIR}/{NAME}"}
