"""Variables that hooks of instance operations get (facts/hooks.json, common_instance_env).

Names are without GANETI_; values are the texts of facts/hooks.json, value_format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ganeti.config.snapshot import Snapshot
from ganeti.model.disk import Disk, template_of
from ganeti.model.fill import secondary_nodes
from ganeti.model.inherit import fill_beparams, fill_hvparams, fill_nic
from ganeti.model.instance import Instance
from ganeti.model.nic import Nic
from ganeti.types import DiskTemplate, NicMode

Variable = tuple[str, str]


def instance_env(
    config: Snapshot, instance: Instance, disks: Sequence[Disk], *, start: bool | None = None
) -> dict[str, str]:
    """The variables of an instance that need not be in the configuration (yet, or any more).

    `start` is given when the instance is being created: then its status says whether it will be
    started, and its disks have neither uuids nor kinds.
    """
    cluster, name = config.cluster, instance.name
    beparams = fill_beparams(cluster, instance.beparams)
    hvparams = fill_hvparams(cluster, instance.hypervisor, instance.os, instance.hvparams)
    others = secondary_nodes(instance.primary_node, disks)
    env = {
        "OP_TARGET": name,
        "INSTANCE_NAME": name,
        "INSTANCE_PRIMARY": config.nodes[instance.primary_node].name,
        "INSTANCE_SECONDARIES": " ".join(config.nodes[uuid].name for uuid in others),
        "INSTANCE_OS_TYPE": instance.os,
        "INSTANCE_STATUS": instance.admin_state.value if start is None else str(start),
        "INSTANCE_MEMORY": str(beparams["maxmem"]),
        "INSTANCE_MINMEM": str(beparams["minmem"]),
        "INSTANCE_MAXMEM": str(beparams["maxmem"]),
        "INSTANCE_VCPUS": str(beparams["vcpus"]),
        "INSTANCE_DISK_TEMPLATE": template_of(disks),
        "INSTANCE_HYPERVISOR": instance.hypervisor.value,
        "INSTANCE_TAGS": " ".join(instance.tags),
        "INSTANCE_NIC_COUNT": str(len(instance.nics)),
        "INSTANCE_DISK_COUNT": str(len(disks)),
    }
    for number, nic in enumerate(instance.nics):
        env |= {f"INSTANCE_NIC{number}_{key}": value for key, value in _nic(config, instance, nic)}
    for number, disk in enumerate(disks):
        variables = _disk(config, disk, planned=start is not None)
        env |= {f"INSTANCE_DISK{number}_{key}": value for key, value in variables}
    env |= {f"INSTANCE_BE_{key}": str(value) for key, value in beparams.items()}
    env |= {f"INSTANCE_HV_{key}": str(value) for key, value in hvparams.items()}
    return env


def _nic(config: Snapshot, instance: Instance, nic: Nic) -> Iterator[Variable]:
    group = config.group_of(config.nodes[instance.primary_node])
    params = fill_nic(config.cluster, nic, group)
    if nic.name:
        yield "NAME", nic.name
    yield "UUID", nic.uuid
    yield "IP", nic.ip or ""
    yield "MAC", nic.mac
    yield "MODE", str(params["mode"])
    yield "LINK", str(params["link"])
    yield "VLAN", str(params["vlan"])
    if params["mode"] in (NicMode.BRIDGED, NicMode.OPENVSWITCH):
        yield "BRIDGE", str(params["link"])
    network = config.networks.get(nic.network) if nic.network else None
    if network is None:
        return
    yield "NETWORK_NAME", network.name
    yield "NETWORK_UUID", network.uuid
    yield "NETWORK_TAGS", " ".join(network.tags)
    for key, value in (
        ("SUBNET", network.network),
        ("GATEWAY", network.gateway),
        ("SUBNET6", network.network6),
        ("GATEWAY6", network.gateway6),
        ("MAC_PREFIX", network.mac_prefix),
    ):
        if value:
            yield f"NETWORK_{key}", value


def _disk(config: Snapshot, disk: Disk, *, planned: bool) -> Iterator[Variable]:
    if disk.name:
        yield "NAME", disk.name
    yield "SIZE", str(disk.size)
    yield "MODE", disk.mode.value
    yield "UUID", "" if planned else disk.uuid
    if planned:
        return
    yield "DEV_TYPE", disk.dev_type.value
    match disk.dev_type:
        case DiskTemplate.PLAIN:
            yield from _pair(disk, "VG", "ID")
        case DiskTemplate.EXT:
            yield from _pair(disk, "PROVIDER", "ID")
        case DiskTemplate.DRBD:
            yield from _drbd(config, disk)
        case _:
            yield from _pair(disk, "DRIVER", "ID")


def _pair(disk: Disk, first: str, second: str) -> Iterator[Variable]:
    yield first, str(disk.logical_id[0])
    yield second, str(disk.logical_id[1])


def _drbd(config: Snapshot, disk: Disk) -> Iterator[Variable]:
    ids = disk.drbd
    yield "PNODE", config.nodes[ids.node_a].name
    yield "SNODE", config.nodes[ids.node_b].name
    yield "PORT", str(ids.port)
    yield "PMINOR", str(ids.minor_a)
    yield "SMINOR", str(ids.minor_b)
    for part, child in zip(("DATA", "META"), disk.children):
        yield from _pair(child, f"{part}_VG", f"{part}_ID")
