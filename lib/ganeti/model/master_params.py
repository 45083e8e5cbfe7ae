"""What nodes need to put the master address up or down."""

from __future__ import annotations

from ganeti.model.cluster import Cluster
from ganeti.serializer import Json


def master_params(cluster: Cluster) -> dict[str, Json]:
    """facts/node-rpc.json, node_activate_master_ip; `uuid` is the master node's."""
    return {
        "uuid": cluster.master_node,
        "ip": cluster.master_ip,
        "netmask": cluster.master_netmask,
        "netdev": cluster.master_netdev,
        "ip_family": cluster.primary_ip_family,
    }
