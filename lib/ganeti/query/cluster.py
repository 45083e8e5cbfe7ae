"""The cluster itself: its fields, the older calls about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ganeti import version
from ganeti.config.snapshot import Snapshot
from ganeti.query.fields import (
    Field,
    Need,
    flag,
    host,
    moment,
    number,
    other,
    table,
    text,
)
from ganeti.query.sources import MasterState
from ganeti.serializer import Json, encode
from ganeti.types import IpFamily
from ganeti.utils.text import told_plainly


@dataclass(frozen=True, slots=True)
class ClusterRow:
    config: Snapshot
    state: MasterState


_ROWS: Final[list[Field[ClusterRow]]] = [
    host("name", "Name", lambda row: row.config.cluster.cluster_name, "Name"),
    host("cluster_name", "Name", lambda row: row.config.cluster.cluster_name, "Name"),
    host("master_node", "Master", lambda row: row.config.master().name, "Master node"),
    text("volume_group_name", "VgName", lambda row: row.config.cluster.volume_group_name,
        "Volume group for disks"),
    moment("ctime", "CTime", lambda row: row.config.cluster.ctime, "When it was created"),
    moment("mtime", "MTime", lambda row: row.config.cluster.mtime, "When it was last changed"),
    other("tags", "Tags", lambda row: row.config.cluster.tags, "Tags"),
    other("architecture", "ArchInfo", lambda row: list(row.state.architecture),
        "Processor architecture of the master node"),
    flag("drain_flag", "QueueDrained", lambda row: row.state.drained,
        "Whether the job queue takes no jobs"),
    moment("watcher_pause", "WatcherPause", lambda row: row.state.watcher_pause_until,
        "Until when the watcher pauses"),
    text("software_version", "SoftwareVersion", lambda row: version.RELEASE, "Release"),
    text("vcs_version", "VCSVersion", lambda row: version.VCS_VERSION, "Source revision"),
    number("protocol_version", "ProtocolVersion", lambda row: version.CONFIG_VERSION,
        "Version of the protocol between nodes"),
    number("config_version", "ConfigVersion", lambda row: version.CONFIG_VERSION,
        "Version of the configuration's form"),
    number("os_api_version", "OsApiVersion", lambda row: max(version.OS_API_VERSIONS),
        "Newest version of the interface to OS definitions"),
    number("export_version", "ExportVersion", lambda row: version.EXPORT_VERSION,
        "Version of the form of exports"),
]  # fmt: skip

FIELDS: Final = table(_ROWS)


class ClusterTable:
    """One row; see `query.table.Table`."""

    fields = FIELDS
    name_field = "name"
    noun = None

    def __init__(self, config: Snapshot, state: MasterState) -> None:
        self.row = ClusterRow(config, state)

    def all(self) -> Iterable[ClusterRow]:
        return [self.row]

    def find(self, name: str) -> ClusterRow | None:
        return self.row if name == self.row.config.cluster.cluster_name else None

    def name_of(self, row: ClusterRow) -> str:
        return row.config.cluster.cluster_name

    async def fetch(
        self, rows: Sequence[ClusterRow], needs: frozenset[Need]
    ) -> Sequence[ClusterRow]:
        """Nothing here is live."""
        return rows


CONFIG_VALUES: Final[Mapping[str, Callable[[ClusterRow], Json]]] = {
    "cluster_name": lambda row: row.config.cluster.cluster_name,
    "master_node": lambda row: row.config.master().name,
    "drain_flag": lambda row: row.state.drained,
    "watcher_pause": lambda row: _whole(row.state.watcher_pause_until),
    "modify_ssh_setup": lambda row: row.config.cluster.modify_ssh_setup,
    "ssh_key_type": lambda row: row.config.cluster.ssh_key_type,
    "ssh_key_bits": lambda row: row.config.cluster.ssh_key_bits,
}
"""What QueryConfigValues knows (facts/luxi.json)."""


def config_values(config: Snapshot, state: MasterState, names: Sequence[str]) -> list[Json]:
    """One value per name; None for a name that is not known."""
    row = ClusterRow(config, state)
    return [CONFIG_VALUES[name](row) if name in CONFIG_VALUES else None for name in names]


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


_COPIED_BEFORE: Final = (
    "hvparams os_hvp beparams osparams ipolicy nicparams ndparams diskparams candidate_pool_size"
    " max_running_jobs max_tracked_jobs mac_prefix master_netdev master_netmask"
    " use_external_mip_script volume_group_name drbd_usermode_helper file_storage_dir"
    " shared_file_storage_dir gluster_storage_dir maintain_node_health ctime mtime uuid tags"
    " uid_pool default_iallocator default_iallocator_params reserved_lvs"
).split()
_COPIED_AFTER: Final = (
    "prealloc_wipe_disks hidden_os blacklisted_os enabled_disk_templates install_image"
    " instance_communication_network zeroing_image compression_tools enabled_user_shutdown"
).split()
_COPIED_LAST: Final = ("modify_ssh_setup", "ssh_key_type", "ssh_key_bits")


def cluster_info(config: Snapshot, state: MasterState) -> dict[str, Json]:
    """The answer of QueryClusterInfo and OP_CLUSTER_QUERY (rapi.json, field_lists.info)."""
    cluster = config.cluster
    hypervisors = [str(hypervisor) for hypervisor in cluster.enabled_hypervisors]

    def copied(names: Iterable[str]) -> dict[str, Json]:
        return {name: encode(getattr(cluster, name)) for name in names}

    made = {
        "software_version": version.RELEASE,
        "protocol_version": version.CONFIG_VERSION,
        "config_version": version.CONFIG_VERSION,
        "os_api_version": max(version.OS_API_VERSIONS),
        "export_version": version.EXPORT_VERSION,
        "vcs_version": version.VCS_VERSION,
        "architecture": list(state.architecture),
        "name": cluster.cluster_name,
        "master": config.master().name,
        "default_hypervisor": hypervisors[0],
        "enabled_hypervisors": hypervisors,
        **copied(_COPIED_BEFORE),
        "primary_ip_version": 4 if cluster.primary_ip_family == IpFamily.IPV4 else 6,
        **copied(_COPIED_AFTER),
        "enabled_data_collectors": {
            name: bool(collector.get("active"))
            for name, collector in cluster.data_collectors.items()
        },
        "data_collector_interval": {
            name: collector.get("interval") for name, collector in cluster.data_collectors.items()
        },
        **copied(_COPIED_LAST),
    }
    return {**made, **{name: told_plainly(made[name]) for name in ("ipolicy", "ndparams")}}
