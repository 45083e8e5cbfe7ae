"""Parameters of disk templates, and what the devices get of them (facts/config-data.json).

An administrator sets the parameters of a template (`drbd: data-stripes`); a node gets flat ones
for each device (`stripes` of the data volume). `device_params` makes the second from the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from ganeti.errors import ProgrammerError
from ganeti.model.base import EMPTY
from ganeti.model.disk import Disk
from ganeti.model.params import Check, Kind, Param, ParamTable, at_least, one_of, table
from ganeti.serializer import Json
from ganeti.types import DiskTemplate

ACCESS_MODES: Final = ("kernelspace", "userspace")
_ACCESS = Param("access", Kind.STRING, "kernelspace", "who opens the device", one_of(*ACCESS_MODES))
_BARRIERS = Check(
    lambda value: value == "n" or (0 < len(value) == len(set(value)) and set(value) <= set("bdf")),
    "n, or some of the letters b, d and f",
)

_DRBD = table(
    Param("resync-rate", Kind.INT, 61440, "static resync rate, in KiB/s", at_least(0)),
    Param("data-stripes", Kind.INT, 1, "stripes of the data volume", at_least(1)),
    Param("meta-stripes", Kind.INT, 1, "stripes of the metadata volume", at_least(1)),
    Param(
        "disk-barriers",
        Kind.STRING,
        "n",
        "what to leave out: b barriers, f flushes, d drain",
        _BARRIERS,
    ),
    Param("meta-barriers", Kind.BOOL, False, "leave out flushes of the metadata volume"),
    Param("metavg", Kind.STRING, "xenvg", "volume group of metadata volumes"),
    Param("disk-custom", Kind.STRING, "", "further disk options of drbdsetup"),
    Param("net-custom", Kind.STRING, "", "further network options of drbdsetup"),
    Param("protocol", Kind.STRING, "C", "replication protocol", one_of("A", "B", "C")),
    Param(
        "dynamic-resync", Kind.BOOL, False, "let DRBD choose the resync rate by the c- parameters"
    ),
    Param("c-plan-ahead", Kind.INT, 20, "plan-ahead time, in tenths of a second", at_least(0)),
    Param("c-fill-target", Kind.INT, 0, "amount of data in flight, in sectors", at_least(0)),
    Param("c-delay-target", Kind.INT, 1, "delay, in tenths of a second", at_least(0)),
    Param("c-max-rate", Kind.INT, 61440, "highest resync rate, in KiB/s", at_least(0)),
    Param("c-min-rate", Kind.INT, 4096, "lowest resync rate, in KiB/s", at_least(0)),
)

DISK_PARAMS: Final[Mapping[str, ParamTable]] = MappingProxyType(
    {
        "diskless": table(),
        "plain": table(
            Param("stripes", Kind.INT, 1, "stripes of a new volume", at_least(1)),
        ),
        "drbd": _DRBD,
        "file": table(),
        "sharedfile": table(),
        "gluster": table(
            _ACCESS,
            Param("host", Kind.STRING, "127.0.0.1", "server of the volume"),
            Param("port", Kind.INT, 24007, "port of the server", at_least(1)),
            Param("volume", Kind.STRING, "gv0", "name of the volume"),
        ),
        "blockdev": table(),
        "rbd": table(_ACCESS, Param("pool", Kind.STRING, "rbd", "pool of new images")),
        "ext": table(_ACCESS),
    }
)
"""By disk template."""

_DRBD_DEVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "resync-rate": "resync-rate",
        "disabled-barriers": "disk-barriers",
        "disable-meta-flush": "meta-barriers",
        "default-metavg": "metavg",
        "disk-custom": "disk-custom",
        "net-custom": "net-custom",
        "protocol": "protocol",
        "dynamic-resync": "dynamic-resync",
        "c-plan-ahead": "c-plan-ahead",
        "c-fill-target": "c-fill-target",
        "c-delay-target": "c-delay-target",
        "c-max-rate": "c-max-rate",
        "c-min-rate": "c-min-rate",
    }
)
"""Parameter of the DRBD device: parameter of the template."""


def device_params(template: str, full: Mapping[str, Json]) -> list[dict[str, Json]]:
    """The parameters of the device, then those of its children: one entry, or three for DRBD."""
    if template == DiskTemplate.DRBD:
        return [
            {device: full[name] for device, name in _DRBD_DEVICE.items()},
            {"stripes": full["data-stripes"]},
            {"stripes": full["meta-stripes"]},
        ]
    return [dict(full)]


def annotate(disk: Disk, full: Mapping[str, Json]) -> Disk:
    """`disk` with the complete parameters of its template (`full`) in `params` of each device.

    What the disk itself has there (provider of external storage, access) wins.
    """
    own, *below = device_params(disk.dev_type, full)
    if disk.children and len(below) != len(disk.children):
        raise ProgrammerError(
            f"disk {disk.uuid}: {len(disk.children)} children of a {disk.dev_type}"
        )
    children = tuple(
        replace(child, params={**params, **(child.params or EMPTY)})
        for child, params in zip(disk.children, below)
    )
    return replace(disk, params={**own, **(disk.params or EMPTY)}, children=children)
