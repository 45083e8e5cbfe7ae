"""Calls about files of the job queue."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti.rpc.base import NORMAL, URGENT, call
from ganeti.rpc.calls.shapes import Packed, QueueFile


@call(timeout_s=URGENT)
def jobqueue_update(file_name: str, content: Packed) -> None:
    """Write a file of the job queue."""


@call(timeout_s=NORMAL)
def jobqueue_place(files: Sequence[QueueFile], durable: bool) -> None:
    """Write files of the job queue. Unless `durable`, a crash of the node may damage them until
    `jobqueue_settle`."""


@call(timeout_s=NORMAL)
def jobqueue_settle(files: Mapping[str, int]) -> list[str]:
    """Make files durable if they have this crc32; the paths of those that have not."""


@call(timeout_s=NORMAL)
def jobqueue_purge() -> None:
    """Empty the job queue."""


@call(timeout_s=URGENT)
def jobqueue_rename(rename: Sequence[tuple[str, str]]) -> list[None]:
    """Move files of the job queue."""


@call(timeout_s=URGENT)
def jobqueue_set_drain_flag(flag: bool) -> bool | None:
    """Refuse or accept new jobs."""
