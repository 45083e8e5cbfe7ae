"""Calls about storage units: volume groups, volumes, file storage directories."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence

from ganeti.model.report import LvInfo, NodeVolume
from ganeti.rpc.base import FAST, NORMAL, URGENT, call
from ganeti.rpc.calls.shapes import Params
from ganeti.serializer import Json


@call(timeout_s=URGENT)
def bdev_sizes(devices: Sequence[str]) -> dict[str, int]:
    """Sizes (MiB) of block devices by path; what is none is left out."""


@call(timeout_s=FAST)
def file_storage_dir_create(file_storage_dir: str) -> None:
    """Make a directory for file storage, mode 0750; it must lie below an allowed path."""


@call(timeout_s=FAST)
def file_storage_dir_remove(file_storage_dir: str) -> None:
    """Remove an empty file storage directory; a missing one is fine."""


@call(timeout_s=FAST)
def file_storage_dir_rename(old_file_storage_dir: str, new_file_storage_dir: str) -> None:
    """Move a file storage directory."""


@call(timeout_s=NORMAL)
def storage_list(
    su_name: str, su_args: Sequence[Json], name: str | None, fields: Sequence[str]
) -> list[list[Json]]:
    """Rows of storage units, values in the order of `fields`; sizes in MiB."""


@call(timeout_s=NORMAL)
def storage_modify(su_name: str, su_args: Sequence[Json], name: str, changes: Params) -> None:
    """Change a storage unit; only `allocatable` of lvm-pv."""


@call(timeout_s=NORMAL)
def storage_execute(su_name: str, su_args: Sequence[Json], name: str, op: str) -> None:
    """Repair a storage unit; only fix-consistency of lvm-vg."""


@call(timeout_s=FAST)
def node_volumes() -> list[NodeVolume]:
    """Logical volumes; one row per physical volume a volume uses."""


@call(timeout_s=URGENT)
def lv_list(vg_name: Sequence[str]) -> dict[str, LvInfo]:
    """ "vg/lv" to [size text in MiB, inactive, open]."""


@call(timeout_s=URGENT)
def vg_list() -> dict[str, int]:
    """Volume groups and their size in MiB."""
