"""What every kind of device does: the contract of the storage drivers.

A device is described by a `Disk` of the configuration (params annotated, see
facts/node-rpc.json, `transport.encodings.disk`); the driver keeps no state of its own. Every
method may be called again after a failure: what is already so is no error, with the one exception
of `create`, which never takes over something that exists.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ganeti.errors import BlockDeviceError
from ganeti.model.report import BlockDeviceStatus, Dimensions
from ganeti.serializer import Json
from ganeti.storage import stream
from ganeti.types import DiskTemplate

if TYPE_CHECKING:
    from ganeti.model.disk import Disk
    from ganeti.paths import Paths
    from ganeti.utils.process import Runner

MIB = 1024 * 1024


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRun:
    """A program that changes a device and may take long. `name`: only one at a time may have it.

    What the program says goes to `log`. It gets `environment` on top of that of the daemon.
    """

    name: str
    disk: str  # uuid
    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    log: Path
    timeout_s: float


@dataclass(frozen=True, slots=True)
class StorageHost:
    """What a driver may touch of its node: file locations and the way to run programs.

    `execute` runs what may take long and says why it did not go well ("": it did); None: such
    programs run like others. `now` is the clock, for names of log files.
    """

    paths: Paths
    run: Runner
    execute: Callable[[LongRun], str] | None = None
    now: Callable[[], float] = time.time


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
    def find(self, disk: Disk) -> BlockDeviceStatus | None:
        """The device as it is, without changing anything; None when it is not there."""

    @abstractmethod
    def assemble(self, disk: Disk) -> Attached:
        """The device can be used on this node; its data exist. No-op when it is already so."""

    def shutdown(self, disk: Disk) -> None:  # noqa: B027  a kind may have nothing to do here
        """The device is not in use on this node; its data stay."""

    def open(self, disk: Disk, *, exclusive: bool = True) -> None:  # noqa: B027  nothing, for most kinds
        """The device may be written here; `exclusive` False lets another node write as well."""

    def close(self, disk: Disk) -> None:  # noqa: B027  nothing, for most kinds
        """The device may not be written here."""

    @abstractmethod
    def dimensions(self, disk: Disk) -> Dimensions | None:
        """Real size in bytes, and spindles; None when the device is not there."""

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

    def dump_argv(self, disk: Disk) -> list[str]:
        """Command that writes the contents to its standard output; the device is assembled."""
        path = self._path(disk)
        return stream.dump_argv(path, disk.size, direct=stream.takes_direct(path))

    def load_argv(self, disk: Disk) -> list[str]:
        """Command that fills the device from its standard input; the device is assembled."""
        path = self._path(disk)
        return stream.load_argv(
            path, direct=stream.takes_direct(path), sparse=stream.is_unwritten(path)
        )

    def _path(self, disk: Disk) -> Path:
        attached = self.assemble(disk)
        if attached.path is None:
            raise BlockDeviceError(f"{self.describe(disk)}: has no path on this node")
        return attached.path

    def set_info(self, disk: Disk, text: str) -> None:  # noqa: B027  nothing, for most kinds
        """The device bears `text`, where its kind can."""

    def verify(self, disk: Disk) -> None:  # noqa: B027  nothing, for most kinds
        """The disk's own parameters are such that it can be made on this node."""

    def snapshot(
        self, disk: Disk, name: str | None = None, size_mib: int | None = None
    ) -> tuple[Json, ...]:
        """The logical id of a new device that holds what `disk` holds now."""
        raise BlockDeviceError(f"{self.describe(disk)}: devices of this kind have no snapshots")

    def describe(self, disk: Disk) -> str:
        """The device in a message."""
        return f"{self.kind} device {':'.join(str(part) for part in disk.logical_id)}"


def worst(statuses: Sequence[BlockDeviceStatus]) -> BlockDeviceStatus:
    """A device and its children as one: lowest percent, longest time, worst state.

    The first is the device itself. Source: facts/storage.md §3, status semantics.
    """
    percents = [s.sync_percent for s in statuses if s.sync_percent is not None]
    times = [s.estimated_time for s in statuses if s.estimated_time is not None]
    return replace(
        statuses[0],
        sync_percent=min(percents, default=None),
        estimated_time=max(times, default=None),
        is_degraded=any(s.is_degraded for s in statuses),
        ldisk_status=max(s.ldisk_status for s in statuses),
    )
