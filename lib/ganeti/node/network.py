"""Addresses and bridges of the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ganeti.errors import OpExecError
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.utils import net

OVS_S: Final = 30.0  # for the switch's daemon, which may be starting


@serves(calls.node_has_ip_address)
def node_has_ip_address(node: NodeContext, address: str) -> bool:
    return net.is_own_address(address)


@serves(calls.bridges_exist)
def bridges_exist(node: NodeContext, bridges_list: Sequence[str]) -> None:
    missing = missing_bridges(node, bridges_list)
    if missing:
        raise OpExecError(f"missing bridges: {', '.join(missing)}")


@serves(calls.node_configure_ovs)
def node_configure_ovs(node: NodeContext, ovs_name: str, ovs_link: str | None) -> None:
    """The switch, with a port of the node: facts/node-behaviour.md. A virtual node has none."""
    if node.is_virtual:
        return
    argv = ["ovs-vsctl", "--may-exist"]
    node.run([*argv, "add-br", ovs_name], timeout_s=OVS_S).check(f"adding switch {ovs_name}")
    if ovs_link:
        made = node.run([*argv, "add-port", ovs_name, ovs_link], timeout_s=OVS_S)
        made.check(f"connecting {ovs_link} to switch {ovs_name}")


def missing_bridges(node: NodeContext, names: Sequence[str]) -> list[str]:
    """Those that the kernel does not know as a bridge. A virtual node is said to have all."""
    if node.is_virtual:
        return []
    network = node.paths.below("/sys/class/net")
    return [name for name in names if "/" in name or not ((network / name / "bridge").exists())]
