"""Installing a guest OS again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import NAME, a_bed, refused, web1
from fakes.services import FakeServices, contents, run_unit
from ganeti.errors import OpExecError
from ganeti.model.report import RunningInfo
from ganeti.opcodes.instance import OpInstanceReinstall
from ganeti.types import AdminState, DiskTemplate


def reinstall(**values: Any) -> OpInstanceReinstall:
    return OpInstanceReinstall(instance_name="web1", **values)


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return a_bed(tmp_path)


def test_the_create_script_runs_on_active_disks(services: FakeServices) -> None:
    ran = run_unit(services, reinstall())
    assert services.rpc.names == [
        "instance_info", "os_validate", "blockdev_assemble", "instance_os_add",
        "blockdev_shutdown",
    ]  # fmt: skip
    instance, again, _ = services.rpc.sent("instance_os_add")
    assert (instance.name, again) == (NAME, True)
    assert not web1(services).disks_active
    assert services.messages == [" - INFO: Running instance OS create scripts..."]
    assert ran.before is not None and ran.before.path == "instance-reinstall"


def test_another_os_and_parameters_are_kept_and_secrets_are_not(services: FakeServices) -> None:
    services.place("node2").systems = ("other",)
    run_unit(
        services,
        reinstall(
            os_type="other",
            osparams={"mode": "plain"},
            osparams_private={"token": "x"},
            osparams_secret={"password": "y"},
        ),
    )
    one = web1(services)
    assert (one.os, one.osparams, one.osparams_private) == (
        "other", {"mode": "plain"}, {"token": "x"},
    )  # fmt: skip
    instance, _, _ = services.rpc.sent("instance_os_add")
    assert instance.osparams == {"mode": "plain", "token": "x", "password": "y"}
    assert "Changing OS scripts to 'other'..." in services.messages


def test_disks_are_inactive_after_a_failed_script(services: FakeServices) -> None:
    services.rpc.failures["instance_os_add"] = "script says no"
    with pytest.raises(OpExecError, match="script says no"):
        run_unit(services, reinstall())
    assert services.place("node2").active == set()
    assert not web1(services).disks_active


def test_an_os_that_is_not_there_changes_nothing(services: FakeServices) -> None:
    before = contents(services.config)
    with pytest.raises(OpExecError, match="nosuch"):
        run_unit(services, reinstall(os_type="nosuch"))
    assert contents(services.config) == before


def test_only_a_stopped_instance_with_disks_is_installed(tmp_path: Path) -> None:
    diskless = a_bed(tmp_path / "1", DiskTemplate.DISKLESS, disks=0)
    assert refused(diskless, reinstall()) == "wrong_input"
    services = a_bed(tmp_path / "2")
    services.place("node2").running[NAME] = RunningInfo(memory=128)
    assert refused(services, reinstall()) == "wrong_state"
    for state in (AdminState.UP, AdminState.OFFLINE):
        services.change_instance(NAME, admin_state=state)
        assert refused(services, reinstall()) == "wrong_state"
    services.change_node("node2", offline=True, master_candidate=False)
    assert refused(services, reinstall()) == "wrong_state"
