"""Versions of the software, and where they stand beside each other on a node.

Each has its own directories, LIBDIR/X.Y and DATADIR/ganeti/X.Y; two links in the configuration
directory choose the active one. Rules: facts/master.md §A6.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from ganeti.build import DATADIR, LIBDIR
from ganeti.errors import Code, OpPrereqError
from ganeti.paths import Paths
from ganeti.utils.files import sync_directory
from ganeti.version import RELEASE


class Version(NamedTuple):
    """Major and minor number: what stands beside another one on a node."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Of `4.1` or of a release such as `4.1.2~rc1`; OpPrereqError for anything else."""
        found = re.fullmatch(r"(\d+)\.(\d+)(\.\d+.*)?", text)
        if found is None:
            raise OpPrereqError(f"{text!r} is not a version like 4.1", Code.INVAL)
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def lib(self) -> Path:
        """Programs and library of this version; the same on all nodes, virtual ones too."""
        return Path(LIBDIR) / str(self)

    @property
    def share(self) -> Path:
        return Path(DATADIR) / "ganeti" / str(self)


OWN: Final = Version.parse(RELEASE)

FIRST: Final = Version(2, 10)
LAST_OF_2, FIRST_OF_3 = Version(2, 16), Version(3, 0)


def problem_of(old: Version, new: Version) -> str | None:
    """Why one can't become the other directly."""
    if min(old, new) < FIRST:
        return f"versions before {FIRST} can't be changed by this command"
    if (old, new) == (LAST_OF_2, FIRST_OF_3):
        return None
    if old.major != new.major:
        return f"{old} can't become {new}: the first number has to stay"
    if new < old and old.minor - new.minor != 1:
        return f"{old} can only go back to {old.major}.{old.minor - 1}"
    return None


def active(paths: Paths) -> Version | None:
    """The version that the node's links choose; None without links that are ours."""
    try:
        name = os.path.basename(os.readlink(paths.active_lib))
    except OSError:
        return None
    return Version.parse(name) if re.fullmatch(r"\d+\.\d+", name) else None


def activate(paths: Paths, version: Version) -> None:
    """The node's links durably choose that version; each changes at once. OSError."""
    paths.conf.mkdir(parents=True, exist_ok=True)
    for link, target in (
        (paths.active_share, version.share),
        (paths.active_lib, version.lib),
    ):
        made = link.with_name(f".{link.name}.{os.getpid()}.new")
        made.unlink(missing_ok=True)
        made.symlink_to(target)
        made.rename(link)
    sync_directory(paths.conf)
