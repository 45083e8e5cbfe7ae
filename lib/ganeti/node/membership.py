"""What a node knows of its cluster, and how it leaves it."""

from __future__ import annotations

from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.version import CONFIG_VERSION


@serves(calls.version)
def version(node: NodeContext) -> int:
    return CONFIG_VERSION


@serves(calls.master_node_name)
def master_node_name(node: NodeContext) -> str:
    return node.ssconf("master_node")
