"""What the kinds of devices that are just a path have in common: what is there, size, zeroes.

Source: facts/storage.md §2 (real size) and §4 (wipe).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import BlockDeviceError, CommandError
from ganeti.model.report import BlockDeviceStatus

if TYPE_CHECKING:
    from ganeti.utils.process import Runner

DEVICES: Final = "/dev/"
SIZE_TIMEOUT_S: Final = 30.0
WIPE_TIMEOUT_S: Final = 3600.0  # as long as the call that waits for it


@dataclass(frozen=True, slots=True)
class Raw:
    """A block device or, with `numbers` None, a regular file."""

    path: Path
    numbers: tuple[int, int] | None  # major, minor

    @property
    def is_block(self) -> bool:
        return self.numbers is not None

    @property
    def status(self) -> BlockDeviceStatus:
        major, minor = self.numbers or (None, None)
        return BlockDeviceStatus(dev_path=str(self.path), major=major, minor=minor)


def look(path: Path, what: str, *, files_too: bool = False) -> Raw | None:
    """What lies there; None when nothing does. BlockDeviceError for anything else.

    A block device must really lie below /dev, whatever links lead to it.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BlockDeviceError(f"{what}: {path}: {error.strerror}") from error
    if stat.S_ISBLK(found.st_mode):
        real = os.path.realpath(path)
        if not real.startswith(DEVICES):
            raise BlockDeviceError(f"{what}: {path} is really {real}, which is not below {DEVICES}")
        return Raw(path, (os.major(found.st_rdev), os.minor(found.st_rdev)))
    if files_too and stat.S_ISREG(found.st_mode):
        return Raw(path, None)
    raise BlockDeviceError(f"{what}: {path} is no block device")


def size_bytes(run: Runner, raw: Raw, what: str) -> int:
    """How large it really is."""
    if not raw.is_block:
        return raw.path.stat().st_size
    argv = ["blockdev", "--getsize64", str(raw.path)]
    try:
        text = run(argv, timeout_s=SIZE_TIMEOUT_S).check(what).stdout
    except CommandError as error:
        raise BlockDeviceError(str(error)) from error
    if not text.strip().isdigit():
        raise BlockDeviceError(f"{what}: blockdev tells no size: {text!r}")
    return int(text)


def wipe_argv(raw: Raw, offset_mib: int, size_mib: int) -> list[str]:
    """The command that writes zeroes; see dd(1). notrunc: a file keeps what comes behind."""
    way = "oflag=direct" if raw.is_block else "conv=notrunc,fdatasync"
    return [
        *("dd", "if=/dev/zero", f"seek={offset_mib}", "bs=1048576", way),
        *(f"of={raw.path}", f"count={size_mib}"),
    ]


def wipe(run: Runner, raw: Raw, offset_mib: int, size_mib: int, what: str) -> None:
    try:
        run(wipe_argv(raw, offset_mib, size_mib), timeout_s=WIPE_TIMEOUT_S).check(what)
    except CommandError as error:
        raise BlockDeviceError(str(error)) from error
