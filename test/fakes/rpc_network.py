"""A network of node daemons in memory: real dispatchers, no sockets."""

from __future__ import annotations

import asyncio
from typing import Any

from ganeti.http.client import HttpAnswer, Unreachable
from ganeti.node.context import NodeContext
from ganeti.node.daemon import load_served
from ganeti.rpc.base import CALLS, SERVED, Target
from ganeti.rpc.dispatch import Dispatcher


class MemoryNetwork:
    """A `rpc.client.Transport`. Calls are answered at once, in the loop's thread.

    `down` holds names of nodes that do not answer; `fail` maps (node name, call) to an error text
    that the node answers; `calls` is what was asked, as (node name, call).
    """

    def __init__(self, *nodes: NodeContext) -> None:
        load_served()
        self.down: set[str] = set()
        self.fail: dict[tuple[str, str], str] = {}
        self.calls: list[tuple[str, str]] = []
        self._nodes: dict[str, Dispatcher[Any]] = {}
        for node in nodes:
            self.add(node)

    def add(self, node: NodeContext) -> Target:
        """The node answers; the target is how it is called."""
        self._nodes[node.hostname] = Dispatcher(node, CALLS, SERVED)
        return Target(f"uuid of {node.hostname}", node.hostname, "memory")

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        await asyncio.sleep(0)  # a real network lets others run
        self.calls.append((node.name, call))
        if node.name in self.down or node.name not in self._nodes:
            raise Unreachable(f"can't connect to {node.name}: No route to host", sent=False)
        error = self.fail.get((node.name, call))
        if error is not None:
            return HttpAnswer(200, b'[false, "%s"]' % error.encode())
        return HttpAnswer(200, self._nodes[node.name].answer(call, body))

    async def close(self) -> None:
        pass
