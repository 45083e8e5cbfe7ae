"""The network in memory keeps the contract of the real one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fakes.nodes import a_node
from fakes.rpc_network import MemoryNetwork
from ganeti.rpc import calls
from ganeti.rpc.base import Target
from ganeti.rpc.client import RpcClient
from ganeti.version import CONFIG_VERSION


def test_nodes_in_memory_answer_fail_and_are_down(tmp_path: Path) -> None:
    network = MemoryNetwork()
    good = network.add(a_node(tmp_path / "a", "a"))
    bad = network.add(a_node(tmp_path / "b", "b"))
    down = network.add(a_node(tmp_path / "c", "c"))
    network.down.add("c")
    network.fail["b", "version"] = "no"
    client = RpcClient(network)
    unknown = Target("u", "u", "u")
    found = asyncio.run(client.all([good, bad, down, unknown], calls.version))
    assert found[good.uuid].value == CONFIG_VERSION
    assert found[bad.uuid].error == "no"
    assert "No route to host" in str(found[down.uuid].error)
    assert not found["u"].ok and ("a", "version") in network.calls
