"""OP_INSTANCE_ACTIVATE_DISKS. Steps: facts/master.md §D, "Disk activation"."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.opcodes.disk import OpInstanceActivateDisks
from ganeti.serializer import Json


@implements(OpInstanceActivateDisks)
class InstanceActivateDisks(LogicalUnit[OpInstanceActivateDisks, Instance]):
    """The disks can be used on the primary node. The result: [node, iv_name, path] of each."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        nodes = dict.fromkeys((node.uuid for node in config.nodes_of(instance)), EXCLUSIVE)
        return LockRequest(instances={instance.name: EXCLUSIVE}, nodes=nodes)

    def check(self, config: Snapshot) -> Instance:
        instance = ask.instance(config, self.op.instance_name)
        ask.primary_online(config, instance)
        return instance

    def execute(self, plan: Instance) -> Json:
        config = self.services.snapshot()
        filled = ask.filled(config, plan, target=plan.primary_node)
        rows = disks.activate(self.services, config, filled, ignore_size=self.op.ignore_size)
        if self.op.wait_for_sync:
            config = self.services.snapshot()
            if not disks.wait_for_sync(self.services, config, config.instances[plan.uuid]):
                raise OpExecError(f"disks of instance {plan.name} are degraded")
        return [list(row) for row in rows]
