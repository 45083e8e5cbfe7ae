"""Make the instance that a node gets from the configuration's objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Final

from ganeti.errors import ConfigurationError
from ganeti.model.base import EMPTY
from ganeti.model.cluster import Cluster
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import (
    annotate_disk,
    fill_beparams,
    fill_hvparams,
    fill_nic,
    fill_osparams,
)
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.serializer import Json, encode
from ganeti.types import DiskTemplate

_INSTANCE_FIELDS: Final = tuple(field.name for field in fields(Instance))


def filled_instance(
    cluster: Cluster,
    group: NodeGroup,
    instance: Instance,
    disks: Sequence[Disk],
    networks: Mapping[str, Network],
    *,
    target: str | None = None,
    nodes: Mapping[str, Node] = EMPTY,
    hvparams: Mapping[str, Json] = EMPTY,
    beparams: Mapping[str, Json] = EMPTY,
    osparams: Mapping[str, Json] = EMPTY,
    osparams_secret: Mapping[str, Json] = EMPTY,
) -> FilledInstance:
    """The instance with everything merged (facts/node-rpc.json, transport.encodings.instance).

    `group` is the primary node's. The last four are one-off values, above everything else; secret
    OS parameters come from the job only. With `target` (a node's uuid) and `nodes` the disks get
    the DRBD addresses for that node.
    """
    own = {name: getattr(instance, name) for name in _INSTANCE_FIELDS}
    hypervisor, os_name = instance.hypervisor, instance.os
    own["hvparams"] = {
        **fill_hvparams(cluster, hypervisor, os_name, instance.hvparams), **hvparams
    }  # fmt: skip
    own["beparams"] = {**fill_beparams(cluster, instance.beparams), **beparams}
    own["osparams"] = {
        **fill_osparams(
            cluster,
            os_name,
            instance.osparams,
            private=instance.osparams_private,
            secret=osparams_secret,
        ),
        **osparams,
    }
    own["nics"] = tuple(filled_nic(cluster, group, nic, networks) for nic in instance.nics)
    return FilledInstance(
        **own,
        disks_info=tuple(node_disk(cluster, group, disk, target, nodes) for disk in disks),
        secondary_nodes=secondary_nodes(instance.primary_node, disks),
    )


def filled_nic(
    cluster: Cluster, group: NodeGroup, nic: Nic, networks: Mapping[str, Network]
) -> Nic:
    """The interface with complete parameters, and its network's object as `netinfo`."""
    network = networks.get(nic.network) if nic.network is not None else None
    netinfo = None if network is None else encode(without_pool(network))
    return replace(nic, nicparams=fill_nic(cluster, nic, group), netinfo=netinfo)


def without_pool(network: Network) -> Network:
    """What scripts on nodes are told of; the pool of a /16 has 128 KiB."""
    return replace(network, reservations=None, ext_reservations=None, ext_reservations6=())


def node_disk(
    cluster: Cluster,
    group: NodeGroup | None,
    disk: Disk,
    target: str | None = None,
    nodes: Mapping[str, Node] = EMPTY,
) -> Disk:
    """The disk as a node gets it: with parameters, and for `target` with DRBD addresses."""
    made = annotate_disk(cluster, group, disk)
    return made if target is None else with_addresses(made, target, nodes)


def with_addresses(disk: Disk, target: str, nodes: Mapping[str, Node]) -> Disk:
    """Put the addresses and minors that node `target` needs into DRBD devices of the tree.

    A node that is not one of the two gets none. ConfigurationError when a node is unknown.
    """
    children = tuple(with_addresses(child, target, nodes) for child in disk.children)
    if disk.dev_type is not DiskTemplate.DRBD:
        return replace(disk, children=children) if children else disk
    ids = disk.drbd
    if target not in (ids.node_a, ids.node_b):
        return replace(disk, children=children)
    peer = ids.peer_of(target)
    missing = [uuid for uuid in (target, peer) if uuid not in nodes]
    if missing:
        raise ConfigurationError(f"disk {disk.uuid} is on node {missing[0]}, which is unknown")
    dynamic = {
        "local-ip": nodes[target].secondary_ip,
        "remote-ip": nodes[peer].secondary_ip,
        "local-minor": ids.minor_on(target),
        "remote-minor": ids.minor_on(peer),
    }
    return replace(disk, children=children, dynamic_params=dynamic)


def nodes_of_disks(primary: str, disks: Sequence[Disk]) -> tuple[str, ...]:
    """Uuids of all nodes of an instance, primary first."""
    seen: dict[str, None] = {primary: None}  # a dictionary keeps the order
    for disk in disks:
        for device in disk.walk():
            if device.dev_type is DiskTemplate.DRBD:
                seen.setdefault(device.drbd.node_a)
                seen.setdefault(device.drbd.node_b)
    return tuple(seen)


def secondary_nodes(primary: str, disks: Sequence[Disk]) -> tuple[str, ...]:
    """Uuids of the nodes that mirror the disks, without the primary."""
    return nodes_of_disks(primary, disks)[1:]
