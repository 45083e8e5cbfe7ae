"""Opcodes for tests of the cluster itself."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.node import Node
from ganeti.opcodes.test import OpTestDelay
from ganeti.rpc import calls
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True)
class DelayPlan:
    """Where to sleep."""

    nodes: tuple[Node, ...]


@implements(OpTestDelay)
class TestDelay(LogicalUnit[OpTestDelay, DelayPlan]):
    """Sleep on the master, then on nodes; once, or as often as asked for."""

    def arguments(self) -> None:
        if self.op.duration < 0:
            raise OpPrereqError(f"a delay can't last {self.op.duration:g} seconds", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        if self.op.no_locks:
            return LockRequest()
        wanted = [node.uuid for node in self._nodes(config)]
        if self.op.on_master:
            wanted.append(config.cluster.master_node)
        return LockRequest(nodes=dict.fromkeys(wanted, EXCLUSIVE))

    def _nodes(self, config: Snapshot) -> tuple[Node, ...]:
        return tuple(ask.node(config, name) for name in self.op.on_nodes)

    def check(self, config: Snapshot) -> DelayPlan:
        return DelayPlan(self._nodes(config))

    def execute(self, plan: DelayPlan) -> Json:
        rounds = max(self.op.repeat, 1)
        for number in range(rounds):
            if self.op.repeat:
                self.feedback(f" - INFO: Test delay iteration {number}/{rounds - 1}")
            if self.op.on_master:
                self.services.wait(max(self.op.duration, 0.0))
            outcomes = self.rpc.all(plan.nodes, calls.test_delay, self.op.duration)
            for outcome in outcomes.values():
                outcome.get("test delay")
        return None
