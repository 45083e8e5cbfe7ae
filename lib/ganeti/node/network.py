"""Addresses and bridges of the node."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.errors import OpExecError
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.utils import net


@serves(calls.node_has_ip_address)
def node_has_ip_address(node: NodeContext, address: str) -> bool:
    return net.is_own_address(address)


@serves(calls.bridges_exist)
def bridges_exist(node: NodeContext, bridges_list: Sequence[str]) -> None:
    missing = missing_bridges(node, bridges_list)
    if missing:
        raise OpExecError(f"missing bridges: {', '.join(missing)}")


def missing_bridges(node: NodeContext, names: Sequence[str]) -> list[str]:
    """Those that the kernel does not know as a bridge. A virtual node is said to have all."""
    if node.is_virtual:
        return []
    network = node.paths.below("/sys/class/net")
    return [name for name in names if "/" in name or not ((network / name / "bridge").exists())]
