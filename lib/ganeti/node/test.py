"""Calls for tests of the cluster."""

from __future__ import annotations

from ganeti.errors import OpExecError
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves


@serves(calls.test_delay)
def test_delay(node: NodeContext, duration: float) -> None:
    if duration < 0:
        raise OpExecError(f"duration {duration:g} s is below 0")
    node.clock.sleep(duration)
