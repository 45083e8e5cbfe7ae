"""Which driver serves which kind of device. A new kind is one file and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from ganeti.errors import StorageError
from ganeti.storage.base import BlockDevice, StorageHost
from ganeti.types import DiskTemplate

DRIVERS: Final[dict[DiskTemplate, str]] = {
    DiskTemplate.FILE: "ganeti.storage.file:FileDevice",
    DiskTemplate.SHARED_FILE: "ganeti.storage.file:SharedFileDevice",
    DiskTemplate.BLOCKDEV: "ganeti.storage.blockdev:AdoptedDevice",
    DiskTemplate.EXT: "ganeti.storage.ext:ExtDevice",
}
"""module:class of each driver; loaded at first use."""


def kinds() -> list[DiskTemplate]:
    """The kinds of devices that this version can make."""
    return list(DRIVERS)


def driver_class(kind: str) -> type[BlockDevice]:
    """StorageError when there is no such kind, or no driver for it in this version."""
    try:
        template = DiskTemplate(kind)
    except ValueError:
        known = ", ".join(DiskTemplate)
        raise StorageError(f"disk template {kind!r} is not known; known are {known}") from None
    if template not in DRIVERS:
        have = ", ".join(DRIVERS)
        raise StorageError(
            f"disk template {template}: this version has no driver for it; it has {have}"
        )
    module, name = DRIVERS[template].split(":")
    found: type[BlockDevice] = getattr(import_module(module), name)
    return found


def make(kind: str, host: StorageHost) -> BlockDevice:
    return driver_class(kind)(host)
