"""Consistency of the configuration: facts/config-data.md §6, as sentences.

A transaction asks about the objects it changed; loading and `gnt-cluster verify` ask about all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ganeti.config import index
from ganeti.config.index import Clash
from ganeti.errors import GenericError
from ganeti.model.cluster import Cluster
from ganeti.model.disk import Disk
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.params import ParamTable, check_types
from ganeti.model.params_be import BE_PARAMS
from ganeti.model.params_nic import NIC_PARAMS
from ganeti.model.params_node import ND_PARAMS
from ganeti.serializer import Json
from ganeti.types import DiskTemplate

if TYPE_CHECKING:
    from ganeti.config.snapshot import Snapshot

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NODE_CLUSTER_ONLY: Final = tuple(name for name, row in ND_PARAMS.items() if row.cluster_only)


def check_document(config: Snapshot) -> list[str]:
    """Every problem of the whole configuration; empty when it is sound.

    Takes time in proportion to the configuration.
    """
    problems = list(problems_of(config, config.cluster))
    problems += _candidate_pool(config)
    for things in (config.nodes, config.groups, config.instances, config.disks, config.networks):
        for uuid, thing in sorted(things.items()):
            if thing.uuid != uuid:
                problems.append(f"object {thing.uuid} stands under the key {uuid}")
            problems += problems_of(config, thing)
    problems += [describe_clash(config, clash) for clash in index.clashes(config.index)]
    return problems


def problems_of(config: Snapshot, thing: object) -> Iterator[str]:
    """What is wrong with one object as it stands in `config`, clashes with others left out."""
    if isinstance(thing, Cluster):
        yield from _cluster(config, thing)
    elif isinstance(thing, Node):
        yield from _node(config, thing)
    elif isinstance(thing, NodeGroup):
        yield from _group(config, thing)
    elif isinstance(thing, Instance):
        yield from _instance(config, thing)
    elif isinstance(thing, Disk):
        yield from _disk(config, thing)


def problems_of_removal(config: Snapshot, thing: object) -> Iterator[str]:
    """What still needs an object that is no more in `config`."""
    if isinstance(thing, Node):
        if config.cluster.master_node == thing.uuid:
            yield f"node {thing.name} is the master"
        for name, users in (
            ("primary", config.primary_instances(thing.uuid)),
            ("secondary", config.secondary_instances(thing.uuid)),
        ):
            if users:
                yield f"node {thing.name} is the {name} node of instance {users[0].name}"
    elif isinstance(thing, NodeGroup):
        for node in config.nodes_in(thing.uuid)[:1]:
            yield f"node group {thing.name} still has node {node.name}"
    elif isinstance(thing, Disk):
        owner = config.owner_of(thing.uuid)
        if owner is not None:
            yield f"disk {thing.uuid} is attached to instance {owner.name}"
    else:
        for claimant in list(config.index.by_network.get(getattr(thing, "uuid", ""), ()))[:1]:
            yield f"network {_name(thing)} is used by {_claimant(config, claimant)}"


def describe_clash(config: Snapshot, clash: Clash) -> str:
    """The sentence for a key that several objects claim."""
    owners = " and ".join(_claimant(config, owner) for owner in clash.owners)
    if clash.table in index.NAMES:
        kind = clash.table.removesuffix("_names").replace("group", "node group")
        return f"{kind} name {clash.key} is used twice: {owners}"
    key = clash.key
    if clash.table == "minors" and isinstance(key, tuple):
        node = config.nodes.get(key[0])
        key = f"{key[1]} on node {node.name if node else key[0]}"
    elif clash.table == "ips" and isinstance(key, tuple):
        key = f"{key[1]} ({key[0]})" if key[0] else key[1]
    elif clash.table == "logical_ids" and isinstance(key, tuple):
        key = "/".join(str(part) for part in key[: 3 if key[0] != DiskTemplate.DRBD else 4])
    return f"{index.UNIQUE[clash.table]} {key} is used twice: by {owners}"


def _claimant(config: Snapshot, owner: str) -> str:
    uuid, _, part = owner.partition("/")
    where = f" {part}" if part else ""
    if uuid == config.cluster.uuid:
        return "the cluster"
    for kind, things in (
        ("node", config.nodes),
        ("instance", config.instances),
        ("node group", config.groups),
        ("network", config.networks),
    ):
        if uuid in things:
            return f"{kind} {_name(things[uuid])}{where}"
    user = config.owner_of(uuid)
    return f"disk {uuid}{where}" + (f" of instance {user.name}" if user else "")


def _name(thing: Any) -> str:
    return str(getattr(thing, "name", None) or getattr(thing, "uuid", thing))


def _types(what: str, table: ParamTable, values: Mapping[str, Json]) -> Iterator[str]:
    try:
        check_types(table, values)
    except GenericError as error:
        yield f"{what}: {error}"


def _cluster(config: Snapshot, cluster: Cluster) -> Iterator[str]:
    if not cluster.enabled_hypervisors:
        yield "the cluster has no enabled hypervisor"
    for kind in cluster.enabled_hypervisors:
        if kind not in cluster.hvparams:
            yield f"hypervisor {kind} is enabled and has no parameters in the cluster"
    if not cluster.enabled_disk_templates:
        yield "the cluster has no enabled disk template"
    if cluster.master_node not in config.nodes:
        yield f"master node {cluster.master_node} is not a known node"
    yield from _types("cluster beparams", BE_PARAMS, cluster.beparams.get("default", {}))
    yield from _types("cluster nicparams", NIC_PARAMS, cluster.nicparams.get("default", {}))
    yield from _types("cluster ndparams", ND_PARAMS, cluster.ndparams)
    pool = cluster.tcpudp_port_pool
    if len(set(pool)) != len(pool):
        yield "the pool of free ports holds a port twice"
    for port in pool:
        if port > cluster.highest_used_port:
            yield f"free port {port} is above the highest used port {cluster.highest_used_port}"
        if port in config.index.ports:
            users = " and ".join(_claimant(config, one) for one in config.index.ports[port])
            yield f"port {port} is in the pool of free ports and used by {users}"


def _candidate_pool(config: Snapshot) -> Iterator[str]:
    master = config.nodes.get(config.cluster.master_node)
    if master is not None and not master.master_candidate:
        yield f"master node {master.name} is not a master candidate"
    possible = sum(
        not node.offline and not node.drained and node.master_capable
        for node in config.nodes.values()
    )
    wanted = min(possible, config.cluster.candidate_pool_size)
    if len(config.index.candidates) < wanted:
        yield f"{len(config.index.candidates)} master candidates, {wanted} are wanted"


def _node(config: Snapshot, node: Node) -> Iterator[str]:
    states = [
        word
        for word, is_set in (
            ("master candidate", node.master_candidate),
            ("drained", node.drained),
            ("offline", node.offline),
        )
        if is_set
    ]
    if len(states) > 1:
        yield f"node {node.name} is {' and '.join(states)}"
    if node.group not in config.groups:
        yield f"node {node.name}: its group {node.group} does not exist"
    yield from _types(f"node {node.name}: ndparams", ND_PARAMS, node.ndparams)
    for name in NODE_CLUSTER_ONLY:
        if name in node.ndparams:
            yield f"node {node.name}: parameter {name} can't be set for a single node"


def _group(config: Snapshot, group: NodeGroup) -> Iterator[str]:
    if UUID.fullmatch(group.name):
        yield f"node group {group.uuid}: its name {group.name} looks like a uuid"
    yield from _types(f"node group {group.name}: ndparams", ND_PARAMS, group.ndparams)
    for uuid, values in group.networks.items():
        if uuid not in config.networks:
            yield f"node group {group.name}: network {uuid} does not exist"
        yield from _types(f"node group {group.name}: network {uuid}", NIC_PARAMS, values)


def _instance(config: Snapshot, instance: Instance) -> Iterator[str]:
    what = f"instance {instance.name}"
    if instance.primary_node not in config.nodes:
        yield f"{what}: primary node {instance.primary_node} does not exist"
    for uuid in config.secondaries_of(instance):
        if uuid not in config.nodes:
            yield f"{what}: secondary node {uuid} does not exist"
    for number, uuid in enumerate(instance.disks):
        disk = config.disks.get(uuid)
        if disk is None:
            yield f"{what}: disk {uuid} does not exist"
        elif disk.iv_name != f"disk/{number}":
            yield f"{what}: disk {number} is named {disk.iv_name!r}, not 'disk/{number}'"
    yield from _types(f"{what}: beparams", BE_PARAMS, instance.beparams)
    for number, nic in enumerate(instance.nics):
        yield from _types(f"{what}: nic {number}", NIC_PARAMS, nic.nicparams)
        if nic.network is not None and nic.network not in config.networks:
            yield f"{what}: network {nic.network} of nic {number} does not exist"
    if instance.network_port is not None:
        yield from _port(config, instance.network_port, what)


def _disk(config: Snapshot, disk: Disk) -> Iterator[str]:
    what = f"disk {disk.uuid}"
    for uuid in index.disk_nodes(disk):
        if uuid not in config.nodes:
            yield f"{what}: node {uuid} does not exist"
    if disk.dev_type is DiskTemplate.DRBD:
        if len(disk.logical_id) != 6:
            yield f"{what}: {len(disk.logical_id)} parts in the logical id, DRBD needs 6"
        else:
            yield from _port(config, disk.drbd.port, what)


def _port(config: Snapshot, port: int, what: str) -> Iterator[str]:
    highest = config.cluster.highest_used_port
    if port > highest:
        yield f"{what}: port {port} is above the highest used port {highest}"
    if port in config.cluster.tcpudp_port_pool:
        yield f"{what}: port {port} is in the pool of free ports"
