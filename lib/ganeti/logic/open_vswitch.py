"""The switch of a node whose parameters want Open vSwitch: `ovs`, `ovs_name`, `ovs_link`."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.logic.base import NodeCalls
from ganeti.model.inherit import fill_ndparams
from ganeti.model.node import Node
from ganeti.model.params_node import ND_PARAMS
from ganeti.rpc import calls


def problem_of_set_up(rpc: NodeCalls, config: Snapshot, node: Node) -> str | None:
    """Set the switch up if there is to be one; why that failed. The node may be a coming one."""
    params = fill_ndparams(config.cluster, config.group_of(node), node)
    if not params["ovs"]:
        return None
    name = str(params["ovs_name"] or ND_PARAMS["ovs_name"].default)  # both may be `none`
    link = str(params["ovs_link"] or "") or None
    outcome = rpc.ask(node, calls.node_configure_ovs, name, link)
    if outcome.ok:
        return None
    return f"node {node.name}: setting up its Open vSwitch {name}: {outcome.error}"
