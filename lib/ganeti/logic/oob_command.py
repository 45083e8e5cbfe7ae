"""OP_OOB_COMMAND: power and health of nodes by their out-of-band programs.

The programs run on the master. Source: facts/master.md §A6 (OOB). A row per node:
[[0, name], [status, answer]].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.inherit import fill_ndparams
from ganeti.model.node import Node
from ganeti.opcodes.node import OpOobCommand
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import FieldStatus, OobCommand
from ganeti.utils.text import nice_sort_key

STOPPING = (OobCommand.POWER_OFF, OobCommand.POWER_CYCLE)
HEALTH = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

Cell = list[Json]


@dataclass(frozen=True, slots=True)
class OobPlan:
    """The nodes, each with its program; an empty one: it has none."""

    nodes: tuple[tuple[Node, str], ...]


def problem_of(command: OobCommand, answer: Json) -> str | None:
    """What is wrong with the shape of a program's answer."""
    if command is OobCommand.HEALTH:
        if not isinstance(answer, list):
            return f"{command}: a list is expected, not {answer!r}"
        for row in answer:
            if not (isinstance(row, list) and len(row) == 2 and row[1] in HEALTH):
                return f"{command}: [item, {'|'.join(HEALTH)}] is expected, not {row!r}"
        return None
    if command is OobCommand.POWER_STATUS:
        if isinstance(answer, dict) and isinstance(answer.get("powered"), bool):
            return None
        return f"{command}: an object with powered true or false is expected, not {answer!r}"
    return None if answer is None else f"{command}: no output is expected, not {answer!r}"


@implements(OpOobCommand)
class OobCommandUnit(LogicalUnit[OpOobCommand, OobPlan]):
    """Nodes without a program are shown as unavailable."""

    def _nodes(self, config: Snapshot) -> list[Node]:
        if self.op.node_names:
            return [ask.node(config, name) for name in dict.fromkeys(self.op.node_names)]
        nodes = sorted(config.nodes.values(), key=lambda node: nice_sort_key(node.name))
        if self.op.command in STOPPING:
            return [node for node in nodes if node.uuid != config.cluster.master_node]
        return nodes

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        nodes = self._nodes(config)
        if not self.op.node_names:
            return LockRequest(nodes=EXCLUSIVE)
        return LockRequest(nodes=dict.fromkeys([node.uuid for node in nodes], EXCLUSIVE))

    def check(self, config: Snapshot) -> OobPlan:
        found = []
        for node in self._nodes(config):
            if self.op.command in STOPPING and node.uuid == config.cluster.master_node:
                raise OpPrereqError(
                    f"node {node.name} is the master: {self.op.command} is not for it",
                    Code.INVAL,
                    hint="make another node the master first",
                )
            is_off = self.op.command is OobCommand.POWER_OFF
            if is_off and not (node.offline or self.op.ignore_status):
                raise OpPrereqError(
                    f"node {node.name} is not marked offline and is not powered off",
                    Code.STATE,
                    hint="gnt-node modify --offline=yes first, or --ignore-status",
                )
            params = fill_ndparams(config.cluster, config.group_of(node), node)
            found.append((node, str(params["oob_program"])))
        return OobPlan(tuple(found))

    def execute(self, plan: OobPlan) -> Json:
        rows = []
        for number, (node, program) in enumerate(plan.nodes, start=1):
            name: Cell = [int(FieldStatus.NORMAL), node.name]
            if not program:
                rows.append([name, [int(FieldStatus.UNAVAILABLE), None]])
                continue
            rows.append([name, self._ask(node, program)])
            if self.op.command is OobCommand.POWER_ON and number < len(plan.nodes):
                self.services.wait(self.op.power_delay)
        return rows

    def _ask(self, node: Node, program: str) -> Cell:
        master, command = self.services.snapshot().master(), self.op.command
        outcome = self.rpc.ask(
            master, calls.run_oob, program, command.value, node.name, self.op.timeout
        )
        if not outcome.ok:
            self.warn(f"out-of-band {command} of node {node.name} failed: {outcome.error}")
            return [int(FieldStatus.NO_DATA), None]
        answer = outcome.get()
        problem = problem_of(command, answer)
        if problem is not None:
            self.warn(f"answer for node {node.name} is not valid: {problem}")
            return [int(FieldStatus.NO_DATA), None]
        if command is OobCommand.HEALTH:
            for item, status in answer:
                if status in ("WARNING", "CRITICAL"):
                    self.warn(f"node {node.name}: item {item!r} is {status}")
        elif command is OobCommand.POWER_STATUS:
            if answer["powered"] != node.powered:
                self.warn(
                    f"node {node.name}: recorded as {_power(node.powered)}, it is"
                    f" {_power(answer['powered'])}"
                )
        elif command in (OobCommand.POWER_ON, OobCommand.POWER_OFF):
            self._record(node, command is OobCommand.POWER_ON)
        return [int(FieldStatus.NORMAL), answer]

    def _record(self, node: Node, powered: bool) -> None:
        def record(draft: Draft) -> None:
            draft.update(replace(draft.snapshot.nodes[node.uuid], powered=powered))

        self.commit(record)


def _power(on: bool) -> str:
    return "powered on" if on else "powered off"
