"""Commands that write the contents of a device to a pipe, or a pipe's to a device.

Source: facts/storage.md §4, Generic stream; dd(1). Beyond it: whole blocks are collected from the
pipe (else dd gives up O_DIRECT at the first short read), and data are on the device when it ends.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

BLOCK: Final = 1048576


def dump_argv(device: Path, size_mib: int, *, direct: bool = True) -> list[str]:
    """Command that writes the first `size_mib` MiB of the device to its standard output."""
    flags = "direct,fullblock" if direct else "fullblock"
    what = ["dd", f"if={device}", f"bs={BLOCK}", f"count={size_mib}"]
    return [*what, f"iflag={flags}", "status=none"]


def load_argv(device: Path, *, direct: bool = True, sparse: bool = False) -> list[str]:
    """Command that writes its standard input to the device, which keeps its size.

    `sparse`: the device reads as zeroes, so that blocks of zeroes need not be written.
    """
    flags = ["oflag=direct"] if direct else []
    conversions: Sequence[str] = ("notrunc", "sparse", "fsync") if sparse else ("notrunc", "fsync")
    return [
        *("dd", f"of={device}", f"bs={BLOCK}", "iflag=fullblock", *flags),
        *(f"conv={','.join(conversions)}", "status=none"),
    ]


def takes_direct(device: Path) -> bool:
    """Whether it can be read and written around the page cache; tmpfs and others refuse."""
    if not (device.is_file() or device.is_block_device()):
        return False
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


def is_unwritten(file: Path) -> bool:
    """Whether the file has no block on disk yet: all of it reads as zeroes."""
    return file.is_file() and file.stat().st_blocks == 0
