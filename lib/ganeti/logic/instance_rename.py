"""OP_INSTANCE_RENAME: another name for a stopped instance. Steps: facts/master.md D2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_config, instance_names, instance_state
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceRename
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.utils import hosts


@dataclass(frozen=True, slots=True)
class RenamePlan:
    """The instance as it was, its node, and what it will be called.

    `directories` are pairs (as it is, as it will be) of those that hold its files.
    """

    instance: Instance
    node: Node
    new_name: str
    directories: Sequence[tuple[str, str]]


@implements(OpInstanceRename)
class InstanceRename(LogicalUnit[OpInstanceRename, RenamePlan]):
    """Rename an instance and the directory of its files; its OS is told. The result: its name.

    What the OS's script does not manage is only told: the instance has its new name.
    """

    config_hook = True

    def arguments(self) -> None:
        hosts.normalize(self.op.new_name)
        if self.op.ip_check and not self.op.name_check:
            raise OpPrereqError(
                "the IP check needs the name check",
                Code.INVAL,
                hint="skip both (--no-name-check --no-ip-check) or none",
            )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        names = (instance.name, hosts.normalize(self.op.new_name))
        return LockRequest(instances=dict.fromkeys(names, EXCLUSIVE))

    def check(self, config: Snapshot) -> RenamePlan:
        instance = ask.instance(config, self.op.instance_name)
        new_name = hosts.normalize(self.op.new_name)
        host = None
        if self.op.name_check:
            host = instance_names.resolve(self.services, config, new_name)
            new_name = host.name
        instance_names.refuse_known(config, new_name)
        if host is not None and self.op.ip_check:
            instance_names.refuse_used_address(host)
        node = ask.primary_online(config, instance)
        instance_state.not_running(self.services, config, instance, "renaming it")
        instance_names.reserve(self.services, new_name)
        old = disks.directories(config.disks_of(instance))
        pairs = [(one, instance_config.renamed_directory(one, new_name)) for one in old]
        return RenamePlan(instance, node, new_name, pairs)

    def hooks(self, config: Snapshot, plan: RenamePlan) -> HookEnv:
        now = config.instances[plan.instance.uuid]
        as_before = replace(now, name=plan.instance.name)  # also after it was renamed (recorded)
        env = instance_env(config, as_before, config.disks_of(now))
        env["INSTANCE_NEW_NAME"] = plan.new_name
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(now))]
        return HookEnv("instance-rename", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: RenamePlan) -> Json:
        uuid, old = plan.instance.uuid, plan.instance.name
        with self.undo() as undo:
            undo.before_config("rename_instance", uuid, old)
            for before, after in plan.directories:
                undo.before(plan.node, calls.file_storage_dir_rename, after, before)
                self.rpc.ask(plan.node, calls.file_storage_dir_rename, before, after).get(
                    f"renaming directory {before}"
                )
            self.commit(lambda draft: instance_config.rename(draft, uuid, plan.new_name))
            undo.settle()
        self._tell_guest(plan)
        return plan.new_name

    def _tell_guest(self, plan: RenamePlan) -> None:
        """Devices bear the new name, the OS's script has run."""
        services, config = self.services, self.services.snapshot()
        instance = config.instances[plan.instance.uuid]
        if not instance.disks:
            return
        disks.activate(services, config, ask.filled(config, instance, target=plan.node.uuid))
        config = services.snapshot()
        try:
            self._name_devices(config, instance)
            outcome = self.rpc.ask(
                plan.node,
                calls.instance_run_rename,
                ask.filled(config, instance, target=plan.node.uuid),
                plan.instance.name,
                self.op.debug_level or 0,
            )
            if not outcome.ok:
                self.warn(
                    f"the OS of instance {instance.name} was not renamed on node"
                    f" {plan.node.name}: {outcome.error}"
                )
        finally:
            disks.deactivate(services, services.snapshot(), config.instances[instance.uuid])

    def _name_devices(self, config: Snapshot, instance: Instance) -> None:
        for one in disks.on_nodes(config, instance.primary_node, config.disks_of(instance)):
            text = disks.ORIGIN + instance.name
            outcome = self.rpc.ask(one.node, calls.blockdev_setinfo, one.disk, text)
            if not outcome.ok:
                self.warn(f"disk {one.index} on node {one.node.name} keeps its old text:"
                          f" {outcome.error}")  # fmt: skip
