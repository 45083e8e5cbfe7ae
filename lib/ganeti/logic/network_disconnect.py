"""OP_NETWORK_DISCONNECT: a node group loses a network. Source: facts/master.md §F."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic import network_connect as connect
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.model.network import Network
from ganeti.opcodes.network import OpNetworkDisconnect
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True)
class DisconnectPlan:
    """Nothing happens when it is not connected."""

    group: NodeGroup
    network: Network

    @property
    def connected(self) -> bool:
        return self.network.uuid in self.group.networks


@implements(OpNetworkDisconnect)
class NetworkDisconnect(LogicalUnit[OpNetworkDisconnect, DisconnectPlan]):
    """Refused while an instance of the group has an interface in the network."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        ask.network(config, self.op.network_name)
        group = ask.group(config, self.op.group_name)
        return LockRequest(
            instances=connect.lock_instances(config, group), groups={group.uuid: EXCLUSIVE}
        )

    def check(self, config: Snapshot) -> DisconnectPlan:
        network = ask.network(config, self.op.network_name)
        group = ask.group(config, self.op.group_name)
        plan = DisconnectPlan(group, network)
        if not plan.connected:
            self.warn(f"Network {network.name!r} is not mapped to group {group.name!r}")
            return plan
        users = connect.interfaces(config, group, lambda nic: nic.network == network.uuid)
        if users:
            self.warn(connect.conflict("disconnect from", network, group, users))
            raise OpPrereqError(
                f"instances of node group {group.name} have interfaces in network {network.name}",
                Code.STATE,
                hint="change or remove those interfaces first",
            )
        return plan

    def hooks(self, config: Snapshot, plan: DisconnectPlan) -> HookEnv:
        nodes = [node.uuid for node in config.nodes_in(plan.group.uuid)]
        env = connect.connection_env(plan.group, plan.group.networks.get(plan.network.uuid))
        return HookEnv("network-disconnect", "NETWORK", env, nodes, nodes)

    def execute(self, plan: DisconnectPlan) -> Json:
        if not plan.connected:
            return None

        def disconnect(draft: Draft) -> None:
            group = draft.snapshot.groups[plan.group.uuid]
            left = {uuid: one for uuid, one in group.networks.items() if uuid != plan.network.uuid}
            draft.update(replace(group, networks=left))

        self.commit(disconnect)
        return None
