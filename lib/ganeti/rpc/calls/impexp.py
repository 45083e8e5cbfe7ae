"""Calls that move disks between nodes, exports, and their certificates."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence

from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.report import ImportExportStatus
from ganeti.rpc.base import FAST, NORMAL, call
from ganeti.rpc.calls.shapes import ImpExpIo, Params


@call(timeout_s=NORMAL)
def import_start(opts: Params, instance: FilledInstance, component: str, dest: ImpExpIo) -> str:
    """Start a receiving transfer; answers its name."""


@call(timeout_s=NORMAL)
def export_start(
    opts: Params, host: str, port: int, instance: FilledInstance, component: str, source: ImpExpIo
) -> str:
    """Start a sending transfer; answers its name."""


@call(timeout_s=FAST)
def impexp_status(names: Sequence[str]) -> list[ImportExportStatus | None]:
    """Status of transfers, null for unknown ones."""


@call(timeout_s=NORMAL)
def impexp_abort(name: str) -> None:
    """Send TERM to a transfer."""


@call(timeout_s=NORMAL)
def impexp_cleanup(name: str) -> None:
    """End a transfer and remove its directory."""


@call(timeout_s=FAST)
def export_info(path: str) -> str:
    """The config.ini text of an export."""


@call(timeout_s=NORMAL)
def finalize_export(instance: FilledInstance, snap_disks: Sequence[Disk | bool]) -> None:
    """Write config.ini and move the export to its place."""


@call(timeout_s=FAST)
def export_list() -> list[str]:
    """Names of the exports here, sorted."""


@call(timeout_s=FAST)
def export_remove(export: str) -> None:
    """Remove an export."""


@call(timeout_s=NORMAL)
def x509_cert_create(validity: int) -> tuple[str, str]:
    """Make a certificate for a transfer; answers [name, PEM]."""


@call(timeout_s=NORMAL)
def x509_cert_remove(name: str) -> None:
    """Remove the certificate."""
