"""The network between instances and their node: what is missing of it, and an instance's interface.

Source: facts/constants.json, instance_modes (INSTANCE_COMMUNICATION_*), facts/node-behaviour.md
(instance communication NIC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.nic import COMMUNICATION_PREFIX, NODE_ADDRESS, Nic
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.network import OpNetworkAdd, OpNetworkConnect
from ganeti.types import NicMode
from ganeti.utils.text import nice_sort_key

MAC_PREFIX: Final = "52:54:00"
NETWORK4: Final = "169.254.0.0/16"
NETWORK6: Final = "fe80::/10"
LINK: Final = "communication_rt"
MODE: Final = NicMode.ROUTED


def missing_connections(config: Snapshot) -> list[Opcode]:
    """Opcodes of one job that makes the cluster's communication network complete."""
    name = config.cluster.instance_communication_network
    if not name:
        return []
    network = config.find_network(name)
    groups = sorted(config.groups.values(), key=lambda group: nice_sort_key(group.name))
    if network is not None:
        return connections(name, [one for one in groups if network.uuid not in one.networks])
    add = OpNetworkAdd(
        network_name=name,
        network=NETWORK4,
        network6=NETWORK6,
        mac_prefix=MAC_PREFIX,
        add_reserved_ips=[NODE_ADDRESS],
        conflicts_check=False,
    )
    return [add, *connections(name, groups)]


def connections(network: str, groups: Sequence[NodeGroup]) -> list[Opcode]:
    return [
        OpNetworkConnect(
            group_name=group.uuid,
            network_name=network,
            network_mode=MODE,
            network_link=LINK,
            network_vlan="",
            conflicts_check=False,
        )
        for group in groups
    ]


def name_of_nic(instance_name: str) -> str:
    return COMMUNICATION_PREFIX + instance_name


def wanted_nic(config: Snapshot, instance_name: str) -> Mapping[str, str | None]:
    """What is asked for when an instance shall reach its node; INVAL when there is no network."""
    network = config.cluster.instance_communication_network
    if not network:
        raise OpPrereqError(
            f"instance {instance_name}: the cluster has no network for communication with nodes",
            Code.INVAL,
            hint="gnt-cluster modify --instance-communication-network=NAME makes one",
        )
    return {"network": network, "ip": "pool", "name": name_of_nic(instance_name)}


def nic_of(instance: Instance) -> Nic | None:
    """The instance's interface to its node."""
    return next((nic for nic in instance.nics if nic.is_communication), None)
