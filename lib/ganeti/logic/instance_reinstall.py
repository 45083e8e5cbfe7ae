"""OP_INSTANCE_REINSTALL: the guest OS is installed again. Steps: facts/master.md D2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_state
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.inherit import fill_osparams, update_osparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceReinstall
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import AdminState

OSPARAMS_CHECKS = ["parameters"]


@dataclass(frozen=True, slots=True)
class ReinstallPlan:
    """The instance, its node, and the OS with its own parameters as they will be stored."""

    instance: Instance
    node: Node
    os: str
    osparams: Mapping[str, Json]
    private: Mapping[str, Json]


@implements(OpInstanceReinstall)
class InstanceReinstall(LogicalUnit[OpInstanceReinstall, ReinstallPlan]):
    """Run the create script of the instance's OS, or of another one, on its disks."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        return LockRequest(instances={instance.name: EXCLUSIVE})

    def check(self, config: Snapshot) -> ReinstallPlan:
        op = self.op
        instance = ask.instance(config, op.instance_name)
        node = ask.primary_online(config, instance)
        if not instance.disks:
            raise OpPrereqError(
                f"instance {instance.name} has no disks, nothing can be installed", Code.INVAL
            )
        ask.admin_state(instance, (AdminState.DOWN,), "a new installation")
        instance_state.not_running(self.services, config, instance, "a new installation")
        plan = ReinstallPlan(
            instance,
            node,
            op.os_type or instance.os,
            update_osparams(instance.osparams, op.osparams or {}),
            update_osparams(instance.osparams_private, op.osparams_private or {}),
        )
        self._ask_nodes(config, plan)
        return plan

    def _ask_nodes(self, config: Snapshot, plan: ReinstallPlan) -> None:
        """The OS is on the instance's nodes and takes the parameters; OpExecError."""
        full = fill_osparams(
            config.cluster,
            plan.os,
            plan.osparams,
            private=plan.private,
            secret=self.op.osparams_secret or {},
        )
        nodes = [node for node in config.nodes_of(plan.instance) if not node.offline]
        outcomes = self.rpc.all(
            nodes, calls.os_validate, True, plan.os, OSPARAMS_CHECKS, full, self.op.force_variant
        )
        for outcome in outcomes.values():
            outcome.get(f"OS {plan.os}")

    def hooks(self, config: Snapshot, plan: ReinstallPlan) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(instance))]
        return HookEnv("instance-reinstall", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: ReinstallPlan) -> Json:
        services, uuid = self.services, plan.instance.uuid
        if self.op.os_type is not None:
            self.feedback(f"Changing OS scripts to '{plan.os}'...")

        def store(draft: Draft) -> Instance:
            return draft.update(
                replace(
                    draft.snapshot.instances[uuid],
                    os=plan.os,
                    osparams=plan.osparams,
                    osparams_private=plan.private,
                )
            )

        instance = self.commit(store)
        filled = ask.filled(
            services.snapshot(),
            instance,
            target=plan.node.uuid,
            osparams_secret=self.op.osparams_secret or {},
        )
        disks.activate(services, services.snapshot(), filled)
        try:
            self.info("Running instance OS create scripts...")
            self.rpc.ask(
                plan.node, calls.instance_os_add, filled, True, self.op.debug_level or 0
            ).get(f"installing OS {plan.os} for instance {instance.name}")
        finally:
            config = services.snapshot()
            disks.deactivate(services, config, config.instances[uuid])
        return None
