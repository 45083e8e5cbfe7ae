"""OP_RESTRICTED_COMMAND: run one of the commands that nodes allow. Rows of [success, text]."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.node import Node
from ganeti.opcodes.node import OpRestrictedCommand
from ganeti.rpc import calls
from ganeti.serializer import Json


@implements(OpRestrictedCommand)
class RestrictedCommand(LogicalUnit[OpRestrictedCommand, tuple[Node, ...]]):
    """The plan is the nodes; a node that fails does not keep others from running it."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        mode = EXCLUSIVE if self.op.use_locking else SHARED
        return LockRequest(nodes=dict.fromkeys([node.uuid for node in self.check(config)], mode))

    def check(self, config: Snapshot) -> tuple[Node, ...]:
        return tuple(ask.node(config, name) for name in dict.fromkeys(self.op.nodes))

    def execute(self, plan: tuple[Node, ...]) -> Json:
        outcomes = self.rpc.all(plan, calls.restricted_command, self.op.command)
        rows: list[Json] = []
        for node in plan:
            outcome = outcomes[node.uuid]
            if outcome.ok:
                rows.append([True, outcome.get()])
            else:
                rows.append(
                    [
                        False,
                        f"Command {self.op.command!r} on node {node.name!r} failed:"
                        f" {outcome.error}",
                    ]
                )
        return rows
