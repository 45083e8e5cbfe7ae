"""OP_INSTANCE_STARTUP. Checks and steps: facts/master.md D2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, instance_config, instance_state
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.inherit import fill_beparams, fill_hvparams, update_params
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.params import check_params
from ganeti.model.params_be import BE_PARAMS, split_memory
from ganeti.model.params_hv import check_hvparams, check_own_hvparams
from ganeti.opcodes.instance import OpInstanceStartup
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import AdminState


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What `execute` will do; complete before the first change."""

    instance: Instance
    node: Node | None  # None: the primary is offline, only the wanted state is recorded
    hvparams: Mapping[str, Json]  # for this run only
    beparams: Mapping[str, Json]
    clean_up: bool = False  # the guest was shut down from inside, the hypervisor still holds it


@implements(OpInstanceStartup)
class InstanceStartup(LogicalUnit[OpInstanceStartup, StartPlan]):
    """Start an instance; one that runs already is no error. When the start fails, it stays
    marked up."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        return LockRequest(instances={instance.name: EXCLUSIVE})

    def check(self, config: Snapshot) -> StartPlan:
        instance = ask.instance(config, self.op.instance_name)
        hvparams = self._hvparams(config, instance)
        given = split_memory(self.op.beparams)
        beparams = update_params({}, check_params(BE_PARAMS, given, allow_default=True))
        ask.admin_state(instance, (AdminState.UP, AdminState.DOWN), "starting")
        node = config.nodes[instance.primary_node]
        if node.offline:
            if not self.op.ignore_offline_nodes:
                ask.primary_online(config, instance)
            self.warn(f"primary node {node.name} is offline: only the wanted state is recorded")
            return StartPlan(instance, None, hvparams, beparams)
        instance_state.bridges(self.services, config, node, instance.nics)
        found = instance_state.info(self.rpc, config, instance)
        if not instance_state.runs(found):
            needed = fill_beparams(config.cluster, {**instance.beparams, **beparams})["minmem"]
            ask.memory(
                self.rpc,
                node,
                instance.hypervisor,
                ask.cluster_hvparams(config, instance.hypervisor),
                int(needed),
                f"starting {instance.name}",
            )
        clean_up = instance_state.user_has_shut_down(found)
        return StartPlan(instance, node, hvparams, beparams, clean_up)

    def _hvparams(self, config: Snapshot, instance: Instance) -> dict[str, Json]:
        """One-off parameters, right by themselves and together with the others."""
        kind = instance.hypervisor
        own = update_params({}, check_own_hvparams(kind, self.op.hvparams, allow_default=True))
        if own:
            full = fill_hvparams(config.cluster, kind, instance.os, {**instance.hvparams, **own})
            check_hvparams(kind, full)
        return own

    def hooks(self, config: Snapshot, plan: StartPlan) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        env["FORCE"] = str(self.op.force)
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(instance))]
        return HookEnv("instance-start", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: StartPlan) -> Json:
        instance = plan.instance
        if not self.op.no_remember:
            instance = instance_config.record(
                self.services,
                instance,
                admin_state=AdminState.UP,
                disks_active=None if plan.node is None else True,
            )
        if plan.node is not None:
            self._start(plan, instance, plan.node)
        return None

    def _start(self, plan: StartPlan, instance: Instance, node: Node) -> None:
        reason = self.op.reason or ()
        filled = ask.filled(
            self.services.snapshot(),
            instance,
            target=node.uuid,
            hvparams=plan.hvparams,
            beparams=plan.beparams,
        )
        if plan.clean_up:
            self.rpc.ask(
                node, calls.instance_shutdown, filled, self.op.shutdown_timeout, reason
            ).get(f"cleaning up instance {instance.name}")
        instance_state.start(
            self.services,
            filled,
            reason=reason,
            ignore_secondaries=self.op.force,
            paused=self.op.startup_paused,
        )
