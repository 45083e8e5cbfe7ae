"""OP_NETWORK_ADD: a new IP network with its pool of addresses. Source: facts/master.md §F."""

from __future__ import annotations

from collections.abc import Iterator

from ganeti.config.snapshot import Snapshot
from ganeti.errors import AddressPoolError, Code, OpExecError, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import network_pool as pool
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.logic.tags import check_tag
from ganeti.model.network import Network
from ganeti.opcodes.network import OpNetworkAdd
from ganeti.serializer import Json


def refuse_taken_name(config: Snapshot, name: str) -> None:
    """EXISTS when a network has the name."""
    found = config.find_network(name)
    if found is not None:
        raise OpPrereqError(
            f"there is a network {name!r} already (UUID: {found.uuid})", Code.EXISTS
        )


def addresses_in_use(config: Snapshot) -> Iterator[tuple[str, str]]:
    """(address, who has it) of the nodes and of the cluster."""
    for node in sorted(config.nodes.values(), key=lambda node: node.name):
        for ip in dict.fromkeys((node.primary_ip, node.secondary_ip)):
            yield ip, f"node {node.name}"
    yield config.cluster.master_ip, "the cluster"


@implements(OpNetworkAdd)
class NetworkAdd(LogicalUnit[OpNetworkAdd, Network]):
    """The plan is the network without its pool."""

    config_hook = True

    def arguments(self) -> None:
        for tag in self.op.tags:
            check_tag(tag)
        self._uuid = self.services.reservations.unique_id(
            self.services.snapshot(), self.services.owner
        )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        nodes = dict.fromkeys(config.nodes, SHARED) if self.op.conflicts_check else {}
        return LockRequest(nodes=nodes, networks={self._uuid: EXCLUSIVE})

    def check(self, config: Snapshot) -> Network:
        op = self.op
        refuse_taken_name(config, op.network_name)
        wanted = Network(
            uuid=self._uuid,
            name=op.network_name,
            network=op.network,
            network6=op.network6,
            gateway=op.gateway,
            gateway6=op.gateway6,
            mac_prefix=pool.read_mac_prefix(op.mac_prefix) if op.mac_prefix else None,
            tags=tuple(dict.fromkeys(op.tags)),
        )
        try:
            pool.check_subnets(wanted)
        except AddressPoolError as error:
            raise OpExecError(str(error)) from error
        return wanted

    def hooks(self, config: Snapshot, plan: Network) -> HookEnv:
        master = [config.cluster.master_node]
        return HookEnv("network-add", "NETWORK", pool.network_env(plan), master, master)

    def execute(self, plan: Network) -> Json:
        try:
            network = pool.with_pool(plan)
        except AddressPoolError as error:
            raise OpExecError(
                f"network {plan.name!r} can't have its pool of addresses: {error}"
            ) from error
        if self.op.conflicts_check:
            network = self._without_conflicts(network)
        for ip in self.op.add_reserved_ips or ():
            try:
                network = pool.reserve(network, ip)
            except AddressPoolError as error:
                raise OpExecError(f"IP address {ip} can't be reserved: {error}") from error
        self.commit(lambda draft: draft.add(network))
        return None

    def _without_conflicts(self, network: Network) -> Network:
        """Addresses of nodes and cluster are reserved, so that no instance gets them."""
        for ip, owner in addresses_in_use(self.services.snapshot()):
            if not pool.contains(network, ip):
                continue
            if pool.is_reserved(network, ip):
                self.warn(f"IP address {ip} of {owner} is reserved already")
            else:
                network = pool.reserve(network, ip)
                self.info(f"Reserved IP address {ip} of {owner}")
        return network
