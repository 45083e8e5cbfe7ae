"""OP_NETWORK_RENAME: a network gets another name. Sources: facts/hooks.json, facts/locks.json."""

from __future__ import annotations

from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.network_add import refuse_taken_name
from ganeti.logic.registry import implements
from ganeti.model.network import Network
from ganeti.opcodes.network import OpNetworkRename
from ganeti.serializer import Json


@implements(OpNetworkRename)
class NetworkRename(LogicalUnit[OpNetworkRename, Network]):
    """The plan is the network under its old name; the result is the new name."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(networks={ask.network(config, self.op.network_name).uuid: EXCLUSIVE})

    def check(self, config: Snapshot) -> Network:
        network = ask.network(config, self.op.network_name)
        refuse_taken_name(config, self.op.new_name)
        return network

    def hooks(self, config: Snapshot, plan: Network) -> HookEnv:
        env = {"OLD_NAME": plan.name, "NEW_NAME": self.op.new_name}
        nodes = [
            config.cluster.master_node,
            *(
                node.uuid
                for group in config.groups.values()
                if plan.uuid in group.networks
                for node in config.nodes_in(group.uuid)
            ),
        ]
        return HookEnv("network-rename", "NETWORK", env, nodes, nodes)

    def execute(self, plan: Network) -> Json:
        old, new = plan.name, self.op.new_name

        def rename(draft: Draft) -> None:
            draft.update(replace(draft.snapshot.networks[plan.uuid], name=new))
            cluster = draft.snapshot.cluster
            if cluster.instance_communication_network == old:
                draft.update_cluster(replace(cluster, instance_communication_network=new))

        self.commit(rename)
        return new
