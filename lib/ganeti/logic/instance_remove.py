"""OP_INSTANCE_REMOVE: nothing is left of an instance. Steps: facts/master.md D2."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_config
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.opcodes.instance import OpInstanceRemove
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import AdminState


@dataclass(frozen=True, slots=True)
class RemovePlan:
    """What goes, as it was before."""

    instance: Instance
    disks: tuple[Disk, ...]
    nodes: tuple[str, ...]  # uuids, primary first


@implements(OpInstanceRemove)
class InstanceRemove(LogicalUnit[OpInstanceRemove, RemovePlan]):
    """Stop an instance and remove it with its disks.

    A removal that fails half-way leaves the instance in the configuration, marked down, so that it
    can be tried again and nobody starts it meanwhile.
    """

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        nodes = dict.fromkeys((node.uuid for node in config.nodes_of(instance)), EXCLUSIVE)
        return LockRequest(instances={instance.name: EXCLUSIVE}, nodes=nodes, node_res=nodes)

    def check(self, config: Snapshot) -> RemovePlan:
        instance = ask.instance(config, self.op.instance_name)
        nodes = tuple(node.uuid for node in config.nodes_of(instance))
        return RemovePlan(instance, config.disks_of(instance), nodes)

    def hooks(self, config: Snapshot, plan: RemovePlan) -> HookEnv:
        env = instance_env(config, plan.instance, plan.disks)
        env["SHUTDOWN_TIMEOUT"] = str(self.op.shutdown_timeout)
        master = config.cluster.master_node
        return HookEnv("instance-remove", "INSTANCE", env, [master], [*plan.nodes, master])

    def execute(self, plan: RemovePlan) -> Json:
        config = self.services.snapshot()
        self._stop(config, plan.instance)
        if plan.instance.admin_state is AdminState.UP and plan.disks:
            instance_config.record(self.services, plan.instance, admin_state=AdminState.DOWN)
        clean = disks.remove(self.services, config, plan.instance, plan.disks)
        if not clean and not self.op.ignore_failures:
            raise OpExecError(
                f"not all disks of instance {plan.instance.name} could be removed; repair the"
                " node and try again, or use --ignore-failures"
            )
        uuid = plan.instance.uuid
        self.commit(lambda draft: instance_config.drop(draft, draft.snapshot.instances[uuid]))
        return None

    def _stop(self, config: Snapshot, instance: Instance) -> None:
        node = config.nodes[instance.primary_node]
        outcome = self.rpc.ask(
            node,
            calls.instance_shutdown,
            ask.filled(config, instance, target=node.uuid),
            self.op.shutdown_timeout,
            self.op.reason or (),
        )
        if outcome.ok:
            return
        if not self.op.ignore_failures:
            outcome.get(f"stopping instance {instance.name}")
        self.warn(f"instance {instance.name} could not be stopped: {outcome.error}")
