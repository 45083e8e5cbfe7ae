"""Making lost disks anew; replacing halves of mirrors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import NAME, a_bed, disk_uuid, disks_of, home_of, refused
from fakes.services import FILE_DIR, FakeServices, contents, run_unit
from ganeti.errors import GenericError, OpExecError
from ganeti.locking.names import EXCLUSIVE
from ganeti.model.report import RunningInfo
from ganeti.opcodes.disk import OpInstanceRecreateDisks, OpInstanceReplaceDisks
from ganeti.types import AdminState, DiskTemplate, ReplaceDisksMode


def recreate(**values: Any) -> OpInstanceRecreateDisks:
    return OpInstanceRecreateDisks(instance_name="web1", **values)


def bed(root: Path) -> FakeServices:
    """The node has lost all."""
    made = a_bed(root, disks=2)
    place = made.place("node2")
    place.devices.clear()
    place.directories.clear()
    return made


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return bed(tmp_path)


def test_all_disks_are_made_in_their_places(services: FakeServices) -> None:
    before = contents(services.config)
    ran = run_unit(services, recreate())
    place = services.place("node2")
    assert place.devices == {disk_uuid(0): 1024, disk_uuid(1): 1024}
    assert place.directories == {f"{FILE_DIR}/{NAME}"}
    assert place.active == set()
    assert contents(services.config) == before
    assert ran.before is not None and ran.before.path == "instance-recreate-disks"
    assert ran.locks.nodes == {services.node("node2").uuid: EXCLUSIVE}


def test_one_disk_is_made_with_another_size(services: FakeServices) -> None:
    run_unit(services, recreate(disks=[[1, {"size": 2048, "mode": "ro"}]]))
    assert services.place("node2").devices == {disk_uuid(1): 2048}
    assert [(disk.size, disk.mode.value) for disk in disks_of(services)] == [
        (1024, "rw"), (2048, "ro"),
    ]  # fmt: skip


def test_disks_can_be_made_on_another_node_when_theirs_is_gone(services: FakeServices) -> None:
    services.change_instance(NAME, admin_state=AdminState.UP)
    services.change_node("node2", offline=True, master_candidate=False)
    run_unit(services, recreate(nodes=["node3"]))
    assert home_of(services) == "node3"
    assert set(services.place("node3").devices) == {disk_uuid(0), disk_uuid(1)}
    assert all(disk.nodes == (services.node("node3").uuid,) for disk in disks_of(services))


def test_an_allocator_may_choose_the_node(services: FakeServices) -> None:
    run_unit(services, recreate(iallocator="hail"))
    assert set(services.place(home_of(services)).devices) == {disk_uuid(0), disk_uuid(1)}


def test_a_disk_that_is_there_is_never_touched(tmp_path: Path) -> None:
    services = a_bed(tmp_path, disks=2)
    with pytest.raises(OpExecError, match="disk 0 exists on node node2"):
        run_unit(services, recreate())
    assert set(services.place("node2").devices) == {disk_uuid(0), disk_uuid(1)}
    assert not services.undo.ran


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"disks": [0, 0]}, "wrong_input"),
        ({"disks": [7]}, "wrong_input"),
        ({"disks": [[0, {"name": "x"}]]}, "wrong_input"),
        ({"disks": [[0, {"size": "many"}]]}, "wrong_input"),
        ({"nodes": ["node3", "node1"]}, "wrong_input"),
        ({"nodes": ["node9"]}, "unknown_entity"),
        ({"nodes": ["node3"], "disks": [0]}, "wrong_input"),
        ({"nodes": ["node3"], "iallocator": "hail"}, "wrong_input"),
    ],
)
def test_what_can_not_be_is_refused(services: FakeServices, values: Any, code: str) -> None:
    assert refused(services, recreate(**values)) == code


def test_only_a_stopped_instance_with_disks_gets_new_ones(tmp_path: Path) -> None:
    services = bed(tmp_path / "1")
    services.place("node2").running[NAME] = RunningInfo(memory=128)
    assert refused(services, recreate()) == "wrong_state"
    services.change_instance(NAME, admin_state=AdminState.UP)
    assert refused(services, recreate(nodes=["node3"])) == "wrong_state"
    services.change_node("node2", offline=True, master_candidate=False)
    assert refused(services, recreate()) == "wrong_state"
    diskless = a_bed(tmp_path / "2", DiskTemplate.DISKLESS, disks=0)
    assert refused(diskless, recreate()) == "wrong_input"


def test_whatever_fails_nothing_half_made_is_left(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        services = bed(tmp_path / str(nth))
        before = contents(services.config)
        services.rpc.fail_at = nth
        failed = False
        try:
            run_unit(services, recreate(nodes=["node3"]))
        except GenericError:
            failed = True
            assert contents(services.config) == before
            assert services.place("node3").is_bare
            assert services.undo.problems == []
        if not failed and len(services.rpc.log) < nth:
            return


# Halves of mirrors: there is no driver for them yet.


def replace_disks(mode: ReplaceDisksMode, **values: Any) -> OpInstanceReplaceDisks:
    return OpInstanceReplaceDisks(instance_name="web1", mode=mode, **values)


@pytest.mark.parametrize(
    ("mode", "values", "code"),
    [
        (ReplaceDisksMode.PRIMARY, {}, "internal_error"),
        (ReplaceDisksMode.PRIMARY, {"remote_node": "node3"}, "wrong_input"),
        (ReplaceDisksMode.CHANGE, {}, "wrong_input"),
        (ReplaceDisksMode.CHANGE, {"remote_node": "node3"}, "internal_error"),
        (ReplaceDisksMode.CHANGE, {"remote_node": "node3", "disks": [0]}, "wrong_input"),
        (ReplaceDisksMode.CHANGE, {"remote_node": "node3", "iallocator": "x"}, "wrong_input"),
        (ReplaceDisksMode.AUTO, {"disks": [0]}, "wrong_input"),
    ],
)
def test_disks_without_a_mirror_have_no_halves(
    services: FakeServices, mode: ReplaceDisksMode, values: Any, code: str
) -> None:
    assert refused(services, replace_disks(mode, **values)) == code
