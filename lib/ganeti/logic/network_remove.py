"""OP_NETWORK_REMOVE: a network that no group is connected to goes. Source: facts/master.md §F."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import ask
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.network import Network
from ganeti.opcodes.network import OpNetworkRemove
from ganeti.serializer import Json
from ganeti.utils.text import nice_sorted


def connected_groups(config: Snapshot, network: Network) -> list[str]:
    """Names of the groups that a network is connected to."""
    groups = config.groups.values()
    return nice_sorted([group.name for group in groups if network.uuid in group.networks])


@implements(OpNetworkRemove)
class NetworkRemove(LogicalUnit[OpNetworkRemove, Network]):
    """Not even force removes a network that is connected."""

    config_hook = True

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        network = ask.network(config, self.op.network_name)
        return LockRequest(
            networks={network.uuid: EXCLUSIVE}, groups=dict.fromkeys(config.groups, SHARED)
        )

    def check(self, config: Snapshot) -> Network:
        network = ask.network(config, self.op.network_name)
        groups = connected_groups(config, network)
        if groups:
            self.warn(
                f"Network {network.name!r} is connected to the following node groups:"
                f" {', '.join(groups)}"
            )
            raise OpPrereqError(
                f"network {network.name!r} is still connected",
                Code.STATE,
                hint="gnt-network disconnect first",
            )
        return network

    def hooks(self, config: Snapshot, plan: Network) -> HookEnv:
        master = [config.cluster.master_node]
        return HookEnv("network-remove", "NETWORK", {"NETWORK_NAME": plan.name}, master, master)

    def execute(self, plan: Network) -> Json:
        self.commit(lambda draft: draft.remove(plan))
        return None
