"""OP_NETWORK_CONNECT: instances of a node group may use a network. Source: facts/master.md §F."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED, Mode
from ganeti.logic import ask
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.network_pool import contains
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.nic import Nic
from ganeti.model.params import check_params
from ganeti.model.params_nic import NIC_PARAMS, check_nicparams, normalize_vlan
from ganeti.opcodes.network import OpNetworkConnect
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True)
class ConnectPlan:
    """What is connected how; nothing happens when it is already."""

    group: NodeGroup
    network: Network
    params: Mapping[str, Json]
    connected: bool


def instances_of(config: Snapshot, group: NodeGroup) -> list[Instance]:
    """Instances with a node in the group, each once."""
    found = {
        instance.uuid: instance
        for node in config.nodes_in(group.uuid)
        for side in (config.primary_instances, config.secondary_instances)
        for instance in side(node.uuid)
    }
    return sorted(found.values(), key=lambda one: one.name)


def lock_instances(config: Snapshot, group: NodeGroup) -> Mapping[str, Mode]:
    return {instance.name: SHARED for instance in instances_of(config, group)}


def interfaces(config: Snapshot, group: NodeGroup, match: Callable[[Nic], bool]) -> list[str]:
    """`INSTANCE: nicN/ADDRESS` for the interfaces of the group's instances that match."""
    found = []
    for instance in instances_of(config, group):
        nics = [f"nic{number}/{nic.ip}" for number, nic in enumerate(instance.nics) if match(nic)]
        if nics:
            found.append(f"{instance.name}: {', '.join(nics)}")
    return found


def connection_env(group: NodeGroup, params: Mapping[str, Json] | None) -> dict[str, str]:
    """Variables of the hooks of connect and disconnect; None: it is not connected."""
    env = {"GROUP_NAME": group.name}
    for name, value in (params or {}).items():
        env[f"GROUP_NETWORK_{name.upper()}"] = str(value)
    return env


def conflict(action: str, network: Network, group: NodeGroup, users: list[str]) -> str:
    return (
        f"IP addresses from network {network.name!r}, which is about to {action} node group"
        f" {group.name!r}, are in use: {'; '.join(users)}"
    )


@implements(OpNetworkConnect)
class NetworkConnect(LogicalUnit[OpNetworkConnect, ConnectPlan]):
    """Interfaces in the network take mode, link and VLAN from the connection."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        network = ask.network(config, self.op.network_name)
        group = ask.group(config, self.op.group_name)
        if not self.op.conflicts_check:
            return LockRequest(groups={group.uuid: EXCLUSIVE})
        return LockRequest(
            instances=lock_instances(config, group),
            groups={group.uuid: EXCLUSIVE},
            networks={network.uuid: SHARED},
        )

    def check(self, config: Snapshot) -> ConnectPlan:
        network = ask.network(config, self.op.network_name)
        group = ask.group(config, self.op.group_name)
        given = {
            "mode": self.op.network_mode.value,
            "link": self.op.network_link,
            "vlan": normalize_vlan(self.op.network_vlan),
        }
        params = check_params(NIC_PARAMS, given)
        check_nicparams(params)
        connected = network.uuid in group.networks
        if connected:
            self.warn(f"Network {network.name!r} is already mapped to group {group.name!r}")
        elif self.op.conflicts_check:
            self._refuse_conflicts(config, network, group)
        return ConnectPlan(group, network, params, connected)

    def _refuse_conflicts(self, config: Snapshot, network: Network, group: NodeGroup) -> None:
        users = interfaces(config, group, lambda nic: contains(network, nic.ip))
        if users:
            self.warn(conflict("connect to", network, group, users))
            raise OpPrereqError(
                f"instances of node group {group.name} have addresses of network {network.name}",
                Code.STATE,
                hint="change or remove those interfaces first",
            )

    def hooks(self, config: Snapshot, plan: ConnectPlan) -> HookEnv:
        nodes = [node.uuid for node in config.nodes_in(plan.group.uuid)]
        env = connection_env(plan.group, plan.params)
        return HookEnv("network-connect", "NETWORK", env, nodes, nodes)

    def execute(self, plan: ConnectPlan) -> Json:
        if plan.connected:
            return None

        def connect(draft: Draft) -> None:
            group = draft.snapshot.groups[plan.group.uuid]
            networks = {**group.networks, plan.network.uuid: plan.params}
            draft.update(replace(group, networks=networks))

        self.commit(connect)
        return None
