"""Calls about DRBD devices."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence

from ganeti.model.disk import Disk
from ganeti.model.report import SyncProgress
from ganeti.rpc.base import NORMAL, SLOW, URGENT, call


@call(timeout_s=NORMAL)
def drbd_disconnect_net(disks: Sequence[Disk]) -> None:
    """Stand alone."""


@call(timeout_s=NORMAL)
def drbd_attach_net(disks: Sequence[Disk], multimaster: bool) -> None:
    """Connect to the peer; waits up to 120 s."""


@call(timeout_s=SLOW)
def drbd_wait_sync(disks: Sequence[Disk]) -> SyncProgress:
    """[all done, lowest percent]."""


@call(timeout_s=NORMAL)
def drbd_needs_activation(disks: Sequence[Disk]) -> list[str]:
    """UUIDs of disks that are standalone, diskless or absent."""


@call(timeout_s=URGENT)
def drbd_helper() -> str:
    """DRBD's usermode helper of the kernel module."""
