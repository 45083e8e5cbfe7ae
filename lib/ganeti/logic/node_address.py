"""Whether a node may have another secondary address (facts/master.md §A4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ganeti import constants
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.types import AdminState, IpFamily
from ganeti.utils import net

if TYPE_CHECKING:
    from ganeti.logic.node_set_params import NodeSetParams


def mirrored_instances(config: Snapshot, node: Node) -> list[Instance]:
    """Instances that are mirrored over the network between this node and another one."""
    primaries = [one for one in config.primary_instances(node.uuid) if config.secondaries_of(one)]
    return sorted([*primaries, *config.secondary_instances(node.uuid)], key=lambda one: one.name)


def check_secondary_ip(unit: NodeSetParams, config: Snapshot, node: Node, wanted: str) -> Node:
    """The node with the address; OpPrereqError when it can't have it now."""
    if not net.is_address(wanted) or net.family_of(wanted) is not IpFamily.IPV4:
        raise OpPrereqError(f"secondary address {wanted!r} is not IPv4", Code.INVAL)
    _check_homes(unit, config, node, wanted)
    for other in config.nodes.values():
        if other.uuid != node.uuid and wanted in (other.primary_ip, other.secondary_ip):
            raise OpPrereqError(f"address {wanted} is used by node {other.name}", Code.NOTUNIQUE)
    affected = mirrored_instances(config, node)
    if node.offline and affected:
        raise OpPrereqError(
            f"node {node.name} is offline and has mirrored instances, such as {affected[0].name}",
            Code.STATE,
        )
    up = [instance.name for instance in affected if instance.admin_state is AdminState.UP]
    if up:
        raise OpPrereqError(
            f"instances mirrored by node {node.name} are up: {', '.join(up)}",
            Code.STATE,
            hint="shut them down first",
        )
    if not node.offline:
        _check_owns(unit, config, node, wanted)
    return replace(node, secondary_ip=wanted)


def _check_homes(unit: NodeSetParams, config: Snapshot, node: Node, wanted: str) -> None:
    """All nodes have a second network, or none has; only the master may differ for a while."""
    master = config.master()
    single = master.primary_ip == master.secondary_ip
    if single == (wanted == node.primary_ip):
        return
    kind = "single-homed" if single else "multi-homed"
    if not (unit.op.force and node.uuid == master.uuid):
        raise OpPrereqError(
            f"the cluster is {kind}: that changes on the master first, and with --force only",
            Code.INVAL,
        )
    unit.warn(f"the cluster is no longer {kind}; change the other nodes, too")


def _check_owns(unit: NodeSetParams, config: Snapshot, node: Node, wanted: str) -> None:
    outcome = unit.rpc.ask(node, calls.node_has_ip_address, wanted)
    if not outcome.ok:
        raise OpPrereqError(
            f"node {node.name} does not tell its addresses: {outcome.error}", Code.ENVIRON
        )
    if not outcome.get():
        raise OpPrereqError(f"node {node.name} does not have the address {wanted}", Code.ENVIRON)
    if node.uuid == config.cluster.master_node:
        return
    problem = net.connect_error(wanted, constants.NODED_PORT)
    if problem is not None:
        raise OpPrereqError(
            f"the node daemon of {node.name} does not answer at {wanted} port"
            f" {constants.NODED_PORT}: {problem}",
            Code.ENVIRON,
        )
