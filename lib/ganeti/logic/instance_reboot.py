"""OP_INSTANCE_REBOOT. Checks and steps: facts/master.md D2."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_config, instance_state
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.filled import FilledInstance
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceReboot
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import AdminState, RebootType


@dataclass(frozen=True, slots=True)
class RebootPlan:
    """The instance and its primary node."""

    instance: Instance
    node: Node


@implements(OpInstanceReboot)
class InstanceReboot(LogicalUnit[OpInstanceReboot, RebootPlan]):
    """Reboot a running instance, by the guest or the hypervisor; else stop and start it.

    It is marked up in the end.
    """

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        return LockRequest(instances={instance.name: EXCLUSIVE})

    def check(self, config: Snapshot) -> RebootPlan:
        instance = ask.instance(config, self.op.instance_name)
        ask.admin_state(instance, (AdminState.UP, AdminState.DOWN), "a reboot")
        node = ask.primary_online(config, instance)
        instance_state.bridges(self.services, config, node, instance.nics)
        return RebootPlan(instance, node)

    def hooks(self, config: Snapshot, plan: RebootPlan) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        env |= {
            "IGNORE_SECONDARIES": str(self.op.ignore_secondaries),
            "REBOOT_TYPE": self.op.reboot_type.value,
            "SHUTDOWN_TIMEOUT": str(self.op.shutdown_timeout),
        }
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(instance))]
        return HookEnv("instance-reboot", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: RebootPlan) -> Json:
        config = self.services.snapshot()
        filled = ask.filled(config, plan.instance, target=plan.node.uuid)
        found = instance_state.ask_info(self.rpc, config, plan.instance).get(
            f"state of instance {filled.name}"
        )
        if instance_state.runs(found) and self.op.reboot_type is not RebootType.FULL:
            self.rpc.ask(
                plan.node,
                calls.instance_reboot,
                filled,
                self.op.reboot_type.value,
                self.op.shutdown_timeout,
                self.op.reason or (),
            ).get(f"rebooting instance {filled.name}")
        else:
            self._stop_and_start(plan, filled)
        instance_config.record(self.services, plan.instance, admin_state=AdminState.UP)
        return None

    def _stop_and_start(self, plan: RebootPlan, filled: FilledInstance) -> None:
        services, reason = self.services, self.op.reason or ()
        self.rpc.ask(
            plan.node, calls.instance_shutdown, filled, self.op.shutdown_timeout, reason
        ).get(f"stopping instance {filled.name}")
        disks.deactivate(services, services.snapshot(), plan.instance)
        instance_state.start(
            services, filled, reason=reason, ignore_secondaries=self.op.ignore_secondaries
        )
