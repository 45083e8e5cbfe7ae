"""Where small things that belong to a guest live: UEFI variables, the state of its TPM.

They follow the instance's first disk: beside its file when it is one (so that all nodes of a shared
directory see them), else in a directory of the node, by the disk's uuid. A live migration carries
their contents in QEMU's own stream in either case, and takes them from the source; after a failover
of another kind of disk the guest begins with new ones, which is told. They go when the disk goes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.types import DiskTemplate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ganeti.paths import Paths

SUFFIX: Final = ".guest"


def follows(templates: Sequence[DiskTemplate]) -> bool:
    """Whether state beside the first of these disks is seen from all of the instance's nodes."""
    return bool(templates) and templates[0] in (DiskTemplate.FILE, DiskTemplate.SHARED_FILE)


def beside(disk_file: Path) -> Path:
    """The directory that belongs to a disk which is a file."""
    return disk_file.with_name(disk_file.name + SUFFIX)


def on_node(paths: Paths, uuid: str) -> Path:
    """The directory for any other disk, or for an instance without one."""
    return paths.data / "guest-state" / uuid


def is_on_node(paths: Paths, place: Path) -> bool:
    return place == on_node(paths, place.name)


def make(place: Path) -> None:
    """It exists, for root only: it holds keys. Directories above it are made as usual."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)


def remove(place: Path) -> None:
    """OSError when it is still there."""
    if place.is_dir():
        shutil.rmtree(place)


def rename(old: Path, new: Path) -> None:
    """No-op when there is none."""
    if old.is_dir() and not new.exists():
        old.rename(new)
