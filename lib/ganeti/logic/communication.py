"""The network between instances and their node: what is missing of it.

Source: facts/constants.json, instance_modes (INSTANCE_COMMUNICATION_*).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.group import NodeGroup
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
