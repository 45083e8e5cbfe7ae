"""What nodes answer (facts/node-rpc.json). Field names are the keys on the wire.

A NamedTuple is a list on the wire, a dataclass an object. Sizes are MiB unless a name says bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ganeti.model.base import OMIT_NONE, empty_map
from ganeti.serializer import Json

RUNNING: Final = 0
SHUT_DOWN: Final = 1
"""Values of RunningInfo.state: the guest runs, or its user has shut it down from inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningInfo:
    """An instance that the hypervisor knows: answer of instance_info, all_instances_info."""

    memory: int = 0
    vcpus: int | None = field(default=None, metadata=OMIT_NONE)
    state: int | str = RUNNING
    time: float = 0.0  # CPU seconds
    unknown: Mapping[str, Json] = field(default_factory=empty_map)


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervisorNodeInfo:
    """Memory and processors of a node as one hypervisor sees them. None: it can't tell."""

    memory_total: int | None = field(default=None, metadata=OMIT_NONE)
    memory_free: int | None = field(default=None, metadata=OMIT_NONE)
    memory_dom0: int | None = field(default=None, metadata=OMIT_NONE)  # the node itself
    memory_hv: int | None = field(default=None, metadata=OMIT_NONE)  # the hypervisor
    cpu_total: int | None = field(default=None, metadata=OMIT_NONE)
    cpu_nodes: int | None = field(default=None, metadata=OMIT_NONE)  # NUMA nodes
    cpu_sockets: int | None = field(default=None, metadata=OMIT_NONE)
    cpu_dom0: int | None = field(default=None, metadata=OMIT_NONE)
    hv_version: Json = field(default=None, metadata=OMIT_NONE)
    unknown: Mapping[str, Json] = field(default_factory=empty_map)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageInfo:
    """Space of one storage unit; sizes are None when the unit is missing."""

    type: str  # lvm-vg, lvm-pv, file, sharedfile, gluster, rados …
    name: str
    storage_free: int | None = None
    storage_size: int | None = None
    unknown: Mapping[str, Json] = field(default_factory=empty_map)


class NodeInfo(NamedTuple):
    """Answer of node_info; `hypervisors` in the order of the question."""

    boot_id: str
    storage: tuple[StorageInfo, ...]
    hypervisors: tuple[HypervisorNodeInfo, ...]


class NodeFigures(NamedTuple):
    """What an allocator has to know of a node: answer of node_figures."""

    info: NodeInfo
    running: dict[str, RunningInfo]  # instances by name


class OsReport(NamedTuple):
    """One OS definition found on a node: a row of os_diagnose."""

    name: str
    path: str
    ok: bool
    diagnose: str
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()  # name, help
    api_versions: tuple[int, ...] = ()
    trusted: bool = True


class ExtStorageReport(NamedTuple):
    """One external storage provider found on a node: a row of extstorage_diagnose."""

    name: str
    path: str
    ok: bool
    diagnose: str
    parameters: tuple[tuple[str, str], ...] = ()


LDISK_OKAY: Final = 1
LDISK_SYNC: Final = 2
LDISK_UNKNOWN: Final = 3
LDISK_FAULTY: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDeviceStatus:
    """State of an active device: blockdev_find, blockdev_getmirrorstatus."""

    dev_path: str
    major: int | None = field(default=None, metadata=OMIT_NONE)
    minor: int | None = field(default=None, metadata=OMIT_NONE)
    sync_percent: float | None = field(default=None, metadata=OMIT_NONE)  # None: in sync
    estimated_time: float | None = field(default=None, metadata=OMIT_NONE)  # seconds
    is_degraded: bool | None = False
    ldisk_status: int = LDISK_OKAY


class MirrorOutcome(NamedTuple):
    """A row of blockdev_getmirrorstatus_multi: (true, status) or (false, error text)."""

    ok: bool
    status: BlockDeviceStatus | str


class AssembledDevice(NamedTuple):
    """Answer of blockdev_assemble.

    (device, link, uri or None) on the primary node, (device, None, None) elsewhere, and
    (True, True) for a device that is not needed on a secondary.
    """

    dev_path: str | bool
    link: str | bool | None
    uri: str | None = None


class Dimensions(NamedTuple):
    """One entry of blockdev_getdimensions."""

    size_bytes: int
    spindles: int | None


class SyncProgress(NamedTuple):
    """Answer of drbd_wait_sync: all in sync, and the lowest percentage."""

    done: bool
    percent: float | None


class LvInfo(NamedTuple):
    """One volume of lv_list, keyed `vg/lv`. The size is MiB as a text, like lvs(8) gives it."""

    size: str
    inactive: bool
    online: bool  # open


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVolume:
    """A row of node_volumes: a logical volume on one physical volume."""

    name: str
    size: str  # MiB as a text
    dev: str
    vg: str


class SyncPause(NamedTuple):
    """One entry of blockdev_pause_resume_sync: done, and why not."""

    ok: bool
    error: str | None


class FileInfo(NamedTuple):
    """Answer of get_file_info: there is a file, and `{"size": bytes}`."""

    exists: bool
    info: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """Answer of instance_get_migration_status; RAM counts in bytes."""

    status: str  # active, completed, failed, cancelled, postcopy-active …
    transferred_ram: int | None = field(default=None, metadata=OMIT_NONE)
    total_ram: int | None = field(default=None, metadata=OMIT_NONE)
    postcopy_status: str | None = field(default=None, metadata=OMIT_NONE)
    unknown: Mapping[str, Json] = field(default_factory=empty_map)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportExportStatus:
    """One entry of impexp_status; times are Unix seconds."""

    recent_output: tuple[str, ...] = ()
    listen_port: int | None = None
    connected: bool = False
    progress_mbytes: float | None = None
    progress_throughput: float | None = None  # MiB/s
    progress_eta: float | None = None  # seconds
    progress_percent: float | None = None
    exit_status: int | None = None
    error_message: str | None = None
    ctime: float | None = None
    mtime: float | None = None
    unknown: Mapping[str, Json] = field(default_factory=empty_map)


HOOK_SKIPPED: Final = 0
HOOK_FAILED: Final = 1
HOOK_SUCCEEDED: Final = 2


class HookResult(NamedTuple):
    """A row of hooks_runner."""

    script: str  # path relative to the hooks directory
    status: int
    output: str
