"""Questions that several units ask. Each raises when the answer is no.

Order and codes of the answers: facts/master.md §D, "Shared checks".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import SHARED
from ganeti.logic.base import LockRequest, NodeCalls
from ganeti.model.base import EMPTY
from ganeti.model.fill import filled_instance
from ganeti.model.filled import FilledInstance
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import fill_hvparams
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import AdminState, HypervisorKind
from ganeti.utils.text import nice_sort_key

# Finding objects by what people type.


def _unknown(what: str, name: str, alike: Sequence[str] = ()) -> OpPrereqError:
    """`alike`: what a shortened name may mean. Options behind names are taken for names, too."""
    if alike:
        fact = f"{what} {name!r} is ambiguous: {', '.join(alike)}"
        return OpPrereqError(fact, Code.NOENT, hint="give the full name, or the uuid")
    usual = f"gnt-{what.removeprefix('node ')} list shows all"
    way_out = "options come before names" if name.startswith("-") else usual
    return OpPrereqError(f"{what} {name!r} is not known", Code.NOENT, hint=way_out)


def instance(config: Snapshot, name: str) -> Instance:
    found = config.find_instance(name)
    if found is None:
        raise _unknown("instance", name, config.instances_like(name))
    return found


def nodes(config: Snapshot, names: Sequence[str]) -> list[Node]:
    """The named ones, each once, or all of them by name."""
    if names:
        return [node(config, name) for name in dict.fromkeys(names)]
    return sorted(config.nodes.values(), key=lambda one: nice_sort_key(one.name))


def lock_to_read(config: Snapshot, names: Sequence[str]) -> LockRequest:
    """For a question to `nodes`."""
    if not names:
        return LockRequest(nodes=SHARED)
    return LockRequest(nodes=dict.fromkeys([one.uuid for one in nodes(config, names)], SHARED))


def node(config: Snapshot, name: str) -> Node:
    found = config.find_node(name)
    if found is None:
        raise _unknown("node", name, config.nodes_like(name))
    return found


def group(config: Snapshot, name: str) -> NodeGroup:
    found = config.find_group(name)
    if found is None:
        raise _unknown("node group", name)
    return found


def network(config: Snapshot, name: str) -> Network:
    found = config.find_network(name)
    if found is None:
        raise _unknown("network", name)
    return found


# States of nodes.


def connection(config: Snapshot, one: Network, target: Node) -> dict[str, Json]:
    """Mode, link and VLAN that interfaces in the network have on the node; INVAL."""
    group = config.group_of(target)
    given = group.networks.get(one.uuid)
    if given is None:
        raise OpPrereqError(
            f"network {one.name} is not connected to node group {group.name} of node {target.name}",
            Code.INVAL,
            hint="gnt-network connect connects it",
        )
    return dict(given)


def online(one: Node) -> None:
    if one.offline:
        raise OpPrereqError(
            f"node {one.name} is marked offline",
            Code.STATE,
            hint="use another node, or bring it back with gnt-node modify --offline=no",
        )


def not_drained(one: Node) -> None:
    if one.drained:
        raise OpPrereqError(
            f"node {one.name} is drained and takes no instances",
            Code.STATE,
            hint="use another node, or gnt-node modify --drained=no",
        )


def vm_capable(one: Node) -> None:
    if not one.vm_capable:
        raise OpPrereqError(
            f"node {one.name} can't hold instances (vm_capable is off)",
            Code.STATE,
            hint="use another node",
        )


def can_take_instances(one: Node) -> None:
    online(one)
    not_drained(one)
    vm_capable(one)


def memory(
    rpc: NodeCalls,
    one: Node,
    hypervisor: HypervisorKind,
    hvparams: Mapping[str, Json],
    needed_mib: int,
    reason: str,
) -> int:
    """The node's free memory in MiB; NORES when it is less than needed."""
    outcome = rpc.ask(one, calls.node_info, [], [(str(hypervisor), hvparams)])
    if not outcome.ok:
        raise OpPrereqError(
            f"node {one.name} can't tell its free memory: {outcome.error}", Code.ENVIRON
        )
    free = outcome.get().hypervisors[0].memory_free
    if not isinstance(free, int):
        raise OpPrereqError(
            f"node {one.name}: hypervisor {hypervisor} tells no free memory", Code.ENVIRON
        )
    if free < needed_mib:
        raise OpPrereqError(
            f"node {one.name}: {free} MiB free, {needed_mib} MiB needed for {reason}",
            Code.NORES,
            hint="use another node, or stop instances there",
        )
    return free


# States of instances.


def admin_state(one: Instance, allowed: Collection[AdminState], doing: str) -> None:
    if one.admin_state not in allowed:
        words = " or ".join(sorted(allowed))
        raise OpPrereqError(
            f"instance {one.name} is marked {one.admin_state}, must be {words} for {doing}",
            Code.STATE,
        )


def primary_online(config: Snapshot, one: Instance) -> Node:
    primary = config.nodes[one.primary_node]
    if primary.offline:
        raise OpPrereqError(
            f"primary node {primary.name} of instance {one.name} is offline",
            Code.STATE,
            hint="fail the instance over, or bring the node back",
        )
    return primary


# What nodes get.


def filled(
    config: Snapshot,
    one: Instance,
    *,
    target: str | None = None,
    hvparams: Mapping[str, Json] = EMPTY,
    beparams: Mapping[str, Json] = EMPTY,
    osparams: Mapping[str, Json] = EMPTY,
    osparams_secret: Mapping[str, Json] = EMPTY,
) -> FilledInstance:
    """The instance as nodes get it, with one-off parameters on top."""
    return filled_instance(
        config.cluster,
        config.group_of(config.nodes[one.primary_node]),
        one,
        config.disks_of(one),
        config.networks,
        target=target,
        nodes=config.nodes,
        hvparams=hvparams,
        beparams=beparams,
        osparams=osparams,
        osparams_secret=osparams_secret,
    )


def cluster_hvparams(config: Snapshot, hypervisor: HypervisorKind) -> dict[str, Json]:
    """The hypervisor's parameters as they hold for the whole cluster."""
    return fill_hvparams(config.cluster, hypervisor, None, EMPTY)
