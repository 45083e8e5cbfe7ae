"""Opcodes for tests of the cluster itself."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.logic.wake_socket import is_woken, listening
from ganeti.model.node import Node
from ganeti.opcodes.test import OpTestDelay, OpTestJqueue, OpTestOsParams
from ganeti.rpc import calls
from ganeti.serializer import Json

ELOG_DELAY_TEST = "delay-test"
ELOG_JQUEUE_TEST = "jqueue-test"
JQT_MSGPREFIX = "TESTMSG="
JQUEUE_CLIENT_S = 60.0  # for the client to come


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
        elsewhere = self.op.on_nodes or self.op.on_node_uuids
        if self.op.interruptible and (elsewhere or not self.op.on_master):
            raise OpPrereqError("only a delay on the master alone can be interrupted", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        if self.op.no_locks:
            return LockRequest()
        wanted = [node.uuid for node in self._nodes(config)]
        if self.op.on_master:
            wanted.append(config.cluster.master_node)
        return LockRequest(nodes=dict.fromkeys(wanted, EXCLUSIVE))

    def _nodes(self, config: Snapshot) -> tuple[Node, ...]:
        """Each once, by name or by uuid."""
        wanted = [*self.op.on_nodes, *(self.op.on_node_uuids or ())]
        found = {node.uuid: node for node in (ask.node(config, one) for one in wanted)}
        return tuple(found.values())

    def check(self, config: Snapshot) -> DelayPlan:
        return DelayPlan(self._nodes(config))

    def execute(self, plan: DelayPlan) -> Json:
        rounds = max(self.op.repeat, 1)
        for number in range(rounds):
            if self.op.repeat:
                self.feedback(f" - INFO: Test delay iteration {number}/{rounds - 1}")
            if self.op.interruptible:
                self._sleep_or_be_woken()
            elif self.op.on_master:
                self.services.wait(max(self.op.duration, 0.0))
            outcomes = self.rpc.all(plan.nodes, calls.test_delay, self.op.duration)
            for outcome in outcomes.values():
                outcome.get("test delay")
        return None

    def _sleep_or_be_woken(self) -> None:
        with listening(self.services) as (made, path):
            self.feedback([path], ELOG_DELAY_TEST)
            if is_woken(self.services, made, self.op.duration):
                self.info("The delay was interrupted")


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Nothing to decide."""


@implements(OpTestJqueue)
class TestJqueue(LogicalUnit[OpTestJqueue, NoPlan]):
    """At each point that it names in the log it waits until the client has connected.

    Source: facts/constants.json (JQT_*, ELOG_JQUEUE_TEST).
    """

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(nodes={config.cluster.master_node: EXCLUSIVE})

    def check(self, config: Snapshot) -> NoPlan:
        if self.op.notify_waitlock:  # here locks are held already: no worker waits before that
            self._notify("expandnames", None)
        return NoPlan()

    def execute(self, plan: NoPlan) -> Json:
        if self.op.notify_exec:
            self._notify("exec", None)
        if self.op.log_messages:
            self._notify("startmsg", len(self.op.log_messages))
            for number, text in enumerate(self.op.log_messages, start=1):
                self.feedback(f"{JQT_MSGPREFIX}{text}")
                self._notify("logmsg", number)
        if self.op.fail:
            raise OpExecError("the opcode was asked to fail")
        return True

    def _notify(self, point: str, argument: Json) -> None:
        with listening(self.services) as (made, path):
            self.feedback([path, point, argument], ELOG_JQUEUE_TEST)
            if not is_woken(self.services, made, JQUEUE_CLIENT_S):
                raise OpExecError(f"no client has connected at {point} in {JQUEUE_CLIENT_S:g} s")


@implements(OpTestOsParams)
class TestOsParams(LogicalUnit[OpTestOsParams, NoPlan]):
    """What it gets must not be seen anywhere."""

    def check(self, config: Snapshot) -> NoPlan:
        if not self.op.osparams_secret:
            raise OpPrereqError("there are no secret OS parameters to test with", Code.INVAL)
        return NoPlan()

    def execute(self, plan: NoPlan) -> Json:
        names = ", ".join(sorted(self.op.osparams_secret or ()))
        self.info(f"Secret OS parameters have come in: {names}")
        return None
