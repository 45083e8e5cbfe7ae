"""The simple configuration: small files on every node (facts/config-data.md §9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ganeti.constants import SSCONF_MAX_BYTES
from ganeti.errors import ConfigurationError
from ganeti.model.cluster import Cluster
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import cluster_hvparams, fill_ndparams
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.model.params_hv import HV_PARAMS
from ganeti.utils.text import nice_sort_key

HVPARAMS_PREFIX: Final = "hvparams_"

KEYS: Final = (
    "cluster_name",
    "cluster_tags",
    "enabled_user_shutdown",
    "file_storage_dir",
    "gluster_storage_dir",
    "hypervisor_list",
    "instance_list",
    "maintain_node_health",
    "master_candidates",
    "master_candidates_certs",
    "master_candidates_ips",
    "master_ip",
    "master_netdev",
    "master_netmask",
    "master_node",
    "networks",
    "node_list",
    "node_primary_ips",
    "node_secondary_ips",
    "node_vm_capable",
    "nodegroups",
    "offline_nodes",
    "online_nodes",
    "primary_ip_family",
    "release_version",
    "shared_file_storage_dir",
    "ssh_ports",
    "uid_pool",
    *(HVPARAMS_PREFIX + hypervisor for hypervisor in HV_PARAMS),
)
"""Every key there is; nodes refuse others."""


def ssconf_values(
    cluster: Cluster,
    nodes: Iterable[Node],
    groups: Iterable[NodeGroup],
    instances: Iterable[Instance],
    networks: Iterable[Network],
    *,
    release: str,
) -> dict[str, str]:
    """The whole set, key → text without the final newline.

    ConfigurationError when the master node is unknown, or a value is longer than a file may be.
    """
    members = sorted(nodes, key=lambda node: nice_sort_key(node.name))
    by_uuid = {group.uuid: group for group in groups}
    values = {
        **_of_cluster(cluster),
        **_of_nodes(cluster, members),
        "ssh_ports": _lines(
            f"{node.name}={fill_ndparams(cluster, by_uuid.get(node.group), node)['ssh_port']}"
            for node in members
        ),
        "nodegroups": _uuids_and_names(by_uuid.values()),
        "networks": _uuids_and_names(networks),
        "instance_list": _lines(
            sorted((instance.name for instance in instances), key=nice_sort_key)
        ),
        "release_version": release,
    }
    for key, value in values.items():
        if len(value.encode()) > SSCONF_MAX_BYTES:
            raise ConfigurationError(
                f"ssconf value {key} has {len(value.encode())} bytes, more than {SSCONF_MAX_BYTES}"
            )
    return values


def file_content(value: str) -> str:
    """What stands in the file: a value that is not empty ends with a newline."""
    return value if not value or value.endswith("\n") else value + "\n"


def _of_cluster(cluster: Cluster) -> dict[str, str]:
    hvparams = {
        HVPARAMS_PREFIX + hypervisor: _lines(
            f"{name}={value}"
            for name, value in sorted(cluster_hvparams(cluster, hypervisor).items())
        )
        for hypervisor in HV_PARAMS
    }
    return {
        **hvparams,
        "cluster_name": cluster.cluster_name,
        "cluster_tags": _lines(sorted(cluster.tags)),
        "enabled_user_shutdown": str(cluster.enabled_user_shutdown),
        "file_storage_dir": cluster.file_storage_dir,
        "shared_file_storage_dir": cluster.shared_file_storage_dir,
        "gluster_storage_dir": cluster.gluster_storage_dir,
        "hypervisor_list": _lines(kind.value for kind in cluster.enabled_hypervisors),
        "maintain_node_health": str(cluster.maintain_node_health),
        "master_candidates_certs": _lines(
            f"{uuid}={digest}" for uuid, digest in sorted(cluster.candidate_certs.items())
        ),
        "master_ip": cluster.master_ip,
        "master_netdev": cluster.master_netdev,
        "master_netmask": str(cluster.master_netmask),
        "primary_ip_family": str(cluster.primary_ip_family),
        "uid_pool": _lines(
            str(low) if low == high else f"{low}-{high}" for low, high in cluster.uid_pool
        ),
    }


def _of_nodes(cluster: Cluster, nodes: list[Node]) -> dict[str, str]:
    """Values about the nodes, which come sorted by name."""
    master = [node for node in nodes if node.uuid == cluster.master_node]
    if not master:
        raise ConfigurationError(f"master node {cluster.master_node} is unknown")
    candidates = [
        node for node in nodes if node.master_candidate or node.uuid == cluster.master_node
    ]
    return {
        "master_node": master[0].name,
        "master_candidates": _lines(node.name for node in candidates),
        "master_candidates_ips": _lines(node.primary_ip for node in candidates),
        "node_list": _lines(node.name for node in nodes),
        "online_nodes": _lines(node.name for node in nodes if not node.offline),
        "offline_nodes": _lines(node.name for node in nodes if node.offline),
        "node_primary_ips": _lines(f"{node.name} {node.primary_ip}" for node in nodes),
        "node_secondary_ips": _lines(f"{node.name} {node.secondary_ip}" for node in nodes),
        "node_vm_capable": _lines(f"{node.name}={node.vm_capable}" for node in nodes),
    }


def _uuids_and_names(things: Iterable[NodeGroup | Network]) -> str:
    ordered = sorted(things, key=lambda thing: nice_sort_key(thing.name))
    return _lines(f"{thing.uuid} {thing.name}" for thing in ordered)


def _lines(items: Iterable[str]) -> str:
    return "\n".join(items)
