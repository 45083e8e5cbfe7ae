"""OP_INSTANCE_CONSOLE: where an instance's console is."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.locking.names import SHARED
from ganeti.logic import ask, instance_state
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.consoles import console_of
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.opcodes.instance import OpInstanceConsole
from ganeti.serializer import Json


@implements(OpInstanceConsole)
class InstanceConsole(LogicalUnit[OpInstanceConsole, Instance]):
    """How to reach the console of a running instance (facts/opcodes.json, result_details)."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        return LockRequest(instances={instance.name: SHARED})

    def check(self, config: Snapshot) -> Instance:
        instance = ask.instance(config, self.op.instance_name)
        ask.primary_online(config, instance)
        return instance

    def execute(self, plan: Instance) -> Json:
        config = self.services.snapshot()
        node = config.nodes[plan.primary_node]
        found = instance_state.ask_info(self.rpc, config, plan).get(
            f"state of instance {plan.name}"
        )
        if not instance_state.runs(found):
            raise OpExecError(
                f"instance {plan.name} does not run on node {node.name} (it is marked"
                f" {plan.admin_state}), so it has no console"
            )
        return console_of(self.services.paths)(config, plan)
