"""Calls about OS definitions, their scripts, and providers of external storage."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence

from ganeti.model.filled import FilledInstance
from ganeti.model.report import ExtStorageReport, OsReport
from ganeti.rpc.base import FAST, ONE_DAY, SLOW, call
from ganeti.rpc.calls.shapes import Params


@call(timeout_s=SLOW)
def instance_run_rename(instance: FilledInstance, old_name: str, debug: int) -> None:
    """Run the OS's rename script."""


@call(timeout_s=ONE_DAY)
def instance_os_add(instance_osp: FilledInstance, reinstall: bool, debug: int) -> None:
    """Run the OS's create script."""


@call(timeout_s=FAST)
def os_diagnose() -> list[OsReport]:
    """Every OS definition found here."""


@call(timeout_s=FAST)
def os_validate(
    required: bool, name: str, checks: Sequence[str], params: Params, force_variant: bool
) -> bool:
    """Check an OS and its parameters; false: absent and not required."""


@call(timeout_s=FAST)
def os_export(instance: FilledInstance, override_env: Params) -> str:
    """Pack the OS scripts and environment; answers the path."""


@call(timeout_s=FAST)
def extstorage_diagnose() -> list[ExtStorageReport]:
    """Every external storage provider found here."""
