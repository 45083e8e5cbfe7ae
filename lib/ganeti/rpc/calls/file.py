"""Calls that write files on nodes."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping

from ganeti.model.report import FileInfo
from ganeti.rpc.base import FAST, NORMAL, call
from ganeti.rpc.calls.shapes import Packed, UploadedFile


@call(timeout_s=NORMAL)
def etc_hosts_modify(mode: str, name: str, ip: str | None) -> bool:
    """Add or remove a line of /etc/hosts."""


@call(timeout_s=FAST)
def get_file_info(file_path: str) -> FileInfo:
    """[exists, {"size": bytes}]."""


@call(timeout_s=NORMAL)
def upload_file(file_name: UploadedFile) -> None:
    """Write one of the allowed files."""


@call(timeout_s=NORMAL)
def upload_file_single(
    file_name: str,
    content: Packed,
    mode: int | None,
    uid: str,
    gid: str,
    atime: float,
    mtime: float,
) -> None:
    """Write one of the allowed files."""


@call(timeout_s=NORMAL)
def write_ssconf_files(values: Mapping[str, str], generation: str = "") -> None:
    """Write ssconf files. `generation` (ours): of the configuration journal, see journal_promise;
    a node that knows a newer master refuses."""
