"""All about one instance: the result of OP_INSTANCE_QUERY_DATA (opcodes.json, result_details).

Pure: the caller asks the nodes and hands in what they told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.config.snapshot import Snapshot
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.model.report import BlockDeviceStatus
from ganeti.query.instance_row import InstanceRow, InstancesLive
from ganeti.serializer import Json, encode
from ganeti.types import AdminState, DiskTemplate


@dataclass(frozen=True, slots=True)
class InstanceFindings:
    """What nodes told. Statuses of devices are by disk uuid, those of children included.

    A device that is missing on a node, or a node that is offline, has no entry.
    """

    runs: bool
    on_primary: Mapping[str, BlockDeviceStatus] = field(default_factory=dict)
    on_secondary: Mapping[str, BlockDeviceStatus] = field(default_factory=dict)


def instance_info(
    config: Snapshot, instance: Instance, found: InstanceFindings | None
) -> dict[str, Json]:
    """One entry of the result. `found` is None when nodes were not asked (static)."""
    row = InstanceRow(config, instance, InstancesLive())
    return {
        "name": instance.name,
        "config_state": instance.admin_state.value,
        "run_state": _run_state(instance, found),
        **_place(config, row),
        "os": instance.os,
        "nics": [_nic(config, nic, params) for nic, params in zip(instance.nics, row.nicparams)],
        "disk_template": row.disk_template,
        "disks": [_disk(config, row, disk, found) for disk in row.disks],
        "hypervisor": instance.hypervisor.value,
        "network_port": instance.network_port,
        "hv_instance": encode(instance.hvparams),
        "hv_actual": encode(row.hvparams),
        "be_instance": encode(instance.beparams),
        "be_actual": encode(row.beparams),
        "os_instance": encode(instance.osparams),
        "os_actual": encode(row.osparams),
        "serial_no": instance.serial_no,
        "mtime": instance.mtime,
        "ctime": instance.ctime,
        "uuid": instance.uuid,
    }


def _run_state(instance: Instance, found: InstanceFindings | None) -> str | None:
    """An instance that does not run and should not is in the state that it is wanted in."""
    if found is None:
        return None
    if found.runs:
        return "up"
    return "down" if instance.admin_state == AdminState.UP else instance.admin_state.value


def _place(config: Snapshot, row: InstanceRow) -> dict[str, Json]:
    def group_name(node: Node) -> str:
        return config.group_of(node).name

    return {
        "pnode": row.primary.name,
        "pnode_group_uuid": row.primary.group,
        "pnode_group_name": group_name(row.primary),
        "snodes": [node.name for node in row.secondaries],
        "snodes_group_uuids": [node.group for node in row.secondaries],
        "snodes_group_names": [group_name(node) for node in row.secondaries],
    }


def _nic(config: Snapshot, nic: Nic, params: Mapping[str, Json]) -> list[Json]:
    """`[name, uuid, ip, mac, mode, link, vlan, network uuid, network]`."""
    network = config.networks.get(nic.network) if nic.network else None
    return [
        nic.name,
        nic.uuid,
        nic.ip,
        nic.mac,
        params.get("mode"),
        params.get("link"),
        params.get("vlan"),
        nic.network,
        encode(network) if network else None,
    ]


def _disk(
    config: Snapshot, row: InstanceRow, disk: Disk, found: InstanceFindings | None
) -> dict[str, Json]:
    primary = found.on_primary if found else {}
    secondary = found.on_secondary if found else {}
    return {
        "iv_name": disk.iv_name,
        "dev_type": disk.dev_type.value,
        "logical_id": encode(disk.logical_id),
        "drbd_info": _drbd(config, row, disk),
        "pstatus": _status(primary.get(disk.uuid)),
        "sstatus": _status(secondary.get(disk.uuid)),
        "children": [_disk(config, row, child, found) for child in disk.children],
        "mode": disk.mode.value,
        "size": disk.size,
        "spindles": disk.spindles,
        "name": disk.name,
        "uuid": disk.uuid,
    }


def _status(status: BlockDeviceStatus | None) -> list[Json] | None:
    """`[path, major, minor, sync percent, estimated seconds, degraded, local disk]`."""
    if status is None:
        return None
    return [
        status.dev_path,
        status.major,
        status.minor,
        status.sync_percent,
        status.estimated_time,
        status.is_degraded,
        status.ldisk_status,
    ]


def _drbd(config: Snapshot, row: InstanceRow, disk: Disk) -> dict[str, Json] | None:
    """The two ends of a DRBD disk as seen from the instance's primary node."""
    if disk.dev_type is not DiskTemplate.DRBD:
        return None
    ends = disk.drbd
    primary = row.instance.primary_node
    if primary not in (ends.node_a, ends.node_b):
        primary = ends.node_a
    peer = ends.peer_of(primary)
    return {
        "primary_node": config.nodes[primary].name,
        "primary_minor": ends.minor_on(primary),
        "secondary_node": config.nodes[peer].name,
        "secondary_minor": ends.minor_on(peer),
        "port": ends.port,
    }
