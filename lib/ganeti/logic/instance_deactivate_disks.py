"""OP_INSTANCE_DEACTIVATE_DISKS. Steps: facts/master.md §D, "Disk shutdown"."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_state
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.opcodes.disk import OpInstanceDeactivateDisks
from ganeti.serializer import Json


@implements(OpInstanceDeactivateDisks)
class InstanceDeactivateDisks(LogicalUnit[OpInstanceDeactivateDisks, Instance]):
    """The disks are not in use on any node."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        nodes = dict.fromkeys((node.uuid for node in config.nodes_of(instance)), EXCLUSIVE)
        return LockRequest(instances={instance.name: EXCLUSIVE}, nodes=nodes)

    def check(self, config: Snapshot) -> Instance:
        instance = ask.instance(config, self.op.instance_name)
        if not self.op.force:
            instance_state.not_running(self.services, config, instance, "deactivating its disks")
        return instance

    def execute(self, plan: Instance) -> Json:
        disks.deactivate(self.services, self.services.snapshot(), plan)
        return None
