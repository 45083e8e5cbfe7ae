"""OP_INSTANCE_SHUTDOWN. Checks and steps: facts/master.md D2."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_config, instance_state
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceShutdown
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import AdminState, AdminStateSource


@dataclass(frozen=True, slots=True)
class StopPlan:
    """The instance, and the node to stop it on."""

    instance: Instance
    node: Node | None  # None: the primary is offline, only the wanted state is recorded


@implements(OpInstanceShutdown)
class InstanceShutdown(LogicalUnit[OpInstanceShutdown, StopPlan]):
    """Stop an instance; one that does not run is no error.

    It is marked down before the node is asked, so that the watcher does not start it again.
    """

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        return LockRequest(instances={instance.name: EXCLUSIVE})

    def check(self, config: Snapshot) -> StopPlan:
        instance = ask.instance(config, self.op.instance_name)
        if not self.op.force:
            ask.admin_state(instance, (AdminState.UP, AdminState.DOWN), "stopping")
        elif instance.admin_state is AdminState.OFFLINE:
            self.warn(f"instance {instance.name} is marked offline and is stopped nevertheless")
        node = config.nodes[instance.primary_node]
        if node.offline:
            if not self.op.ignore_offline_nodes:
                ask.primary_online(config, instance)
            self.warn(f"primary node {node.name} is offline: only the wanted state is recorded")
        if self.op.admin_state_source is AdminStateSource.USER:
            self._check_stopped_by_user(config, instance)
        return StopPlan(instance, None if node.offline else node)

    def _check_stopped_by_user(self, config: Snapshot, instance: Instance) -> None:
        found = instance_state.info(self.rpc, config, instance)
        if not instance_state.user_has_shut_down(found):
            raise OpPrereqError(
                f"instance {instance.name} was not shut down by its user", Code.STATE
            )

    def hooks(self, config: Snapshot, plan: StopPlan) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        env["TIMEOUT"] = str(self.op.timeout)
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(instance))]
        return HookEnv("instance-stop", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: StopPlan) -> Json:
        instance = plan.instance
        if not self.op.no_remember:
            instance = self._record(plan, instance)
        if plan.node is None:
            return None
        config = self.services.snapshot()
        self.rpc.ask(
            plan.node,
            calls.instance_shutdown,
            ask.filled(config, instance, target=plan.node.uuid),
            self.op.timeout,
            self.op.reason or (),
        ).get(f"stopping instance {instance.name}")
        disks.deactivate(self.services, config, instance)
        return None

    def _record(self, plan: StopPlan, instance: Instance) -> Instance:
        """Marked down; without disks there is nothing else that has to wait for the stop."""
        return instance_config.record(
            self.services,
            instance,
            admin_state=AdminState.DOWN,
            source=self.op.admin_state_source or AdminStateSource.ADMIN,
            disks_active=False if plan.node is not None and not instance.disks else None,
        )
