"""What every kind of device does: the contract of the storage drivers.

A device is described by a `Disk` of the configuration (params annotated, see
facts/node-rpc.json, `transport.encodings.disk`); the driver keeps no state of its own. Every
method may be called again after a failure: what is already so is no error, with the one exception
of `create`, which never takes over something that exists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ganeti.errors import BlockDeviceError
from ganeti.serializer import Json
from ganeti.types import DiskTemplate

if TYPE_CHECKING:
    from ganeti.model.disk import Disk
    from ganeti.paths import Paths
    from ganeti.utils.process import Runner

MIB = 1024 * 1024


class LocalDisk(IntEnum):
    """State of the data on this node, with the numbers of the wire; the worst is the greatest."""

    OKAY = 1
    SYNC = 2
    UNKNOWN = 3
    FAULTY = 4


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a kind of device can do; callers ask here, never for a kind's name."""

    grow: bool = False
    snapshot: bool = False
    rename: bool = False
    mirrored: bool = False  # by the device itself, on two nodes
    shared: bool = False  # every node sees the same data
    whole_tree: bool = False  # also made and assembled on the secondary node
    file_based: bool = False
    children_needed: bool = True  # False: the device lives on when children are missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A device as it is now. Times are seconds, `sync_percent` is None when nothing syncs."""

    path: Path | None
    major: int | None = None
    minor: int | None = None
    sync_percent: float | None = None
    estimated_time_s: float | None = None
    degraded: bool = False
    local: LocalDisk = LocalDisk.OKAY


@dataclass(frozen=True, slots=True)
class Attached:
    """An assembled device: where programs find it.

    `path` is None for a device that has no path on this node; `uris` maps a hypervisor to the
    address with which it opens the device itself ("kvm": "rbd:…").
    """

    path: Path | None
    uris: Mapping[str, str]

    def uri(self, hypervisor: str) -> str | None:
        return self.uris.get(hypervisor)


@dataclass(frozen=True, slots=True)
class StorageHost:
    """What a driver may touch of its node: file locations and the way to run programs."""

    paths: Paths
    run: Runner


class BlockDevice(ABC):
    """Driver of one kind of device on one node.

    Raises BlockDeviceError (or a subclass of GenericError that names the object) and leaves what
    it found, unless a method says otherwise.
    """

    kind: ClassVar[DiskTemplate]
    capabilities: ClassVar[Capabilities]

    def __init__(self, host: StorageHost) -> None:
        self.host = host

    @abstractmethod
    def create(self, disk: Disk, size_mib: int) -> None:
        """The device exists with `size_mib` MiB. Refused when something of that name exists."""

    @abstractmethod
    def remove(self, disk: Disk) -> None:
        """The device does not exist (any more)."""

    @abstractmethod
    def find(self, disk: Disk) -> Status | None:
        """The device as it is, without changing anything; None when it is not there."""

    @abstractmethod
    def assemble(self, disk: Disk) -> Attached:
        """The device can be used on this node; its data exist. No-op when it is already so."""

    def shutdown(self, disk: Disk) -> None:  # noqa: B027  a kind may have nothing to do here
        """The device is not in use on this node; its data stay."""

    def open(self, disk: Disk, *, exclusive: bool = True) -> None:  # noqa: B027
        """The device may be written here; `exclusive` False lets another node write as well."""

    def close(self, disk: Disk) -> None:  # noqa: B027
        """The device may not be written here."""

    @abstractmethod
    def dimensions(self, disk: Disk) -> tuple[int, int | None] | None:
        """Real (size in bytes, spindles or None); None when the device is not there."""

    def grow(
        self, disk: Disk, amount_mib: int, *, dry_run: bool = False, backing_store: bool = True
    ) -> None:
        """The device has `amount_mib` more; `backing_store` says which layer is meant (§6)."""
        raise BlockDeviceError(f"{self.describe(disk)}: devices of this kind can't grow")

    def rename(self, disk: Disk, logical_id: Sequence[Json]) -> None:
        """The data of `disk` are those of the device `logical_id`."""
        raise BlockDeviceError(f"{self.describe(disk)}: devices of this kind can't be renamed")

    def wipe(self, disk: Disk, offset_mib: int, size_mib: int) -> None:
        """`size_mib` MiB from `offset_mib` on read as zeroes."""
        raise BlockDeviceError(f"{self.describe(disk)}: devices of this kind can't be wiped")

    def set_info(self, disk: Disk, text: str) -> None:  # noqa: B027
        """The device bears `text`, where its kind can."""

    def describe(self, disk: Disk) -> str:
        """The device in a message."""
        return f"{self.kind} device {':'.join(str(part) for part in disk.logical_id)}"


def worst(statuses: Sequence[Status]) -> Status:
    """A device and its children as one: lowest percent, longest time, worst state.

    The first is the device itself. Source: facts/storage.md §3, status semantics.
    """
    percents = [s.sync_percent for s in statuses if s.sync_percent is not None]
    times = [s.estimated_time_s for s in statuses if s.estimated_time_s is not None]
    first = statuses[0]
    return Status(
        path=first.path,
        major=first.major,
        minor=first.minor,
        sync_percent=min(percents, default=None),
        estimated_time_s=max(times, default=None),
        degraded=any(s.degraded for s in statuses),
        local=max(s.local for s in statuses),
    )
