"""OP_INSTANCE_GROW_DISK: a disk becomes larger. Steps: facts/storage.md §6, Grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_state
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.hook_env import instance_env
from ganeti.logic.instance_policy import check_policy
from ganeti.logic.registry import implements
from ganeti.logic.verify_instance import spec_of
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.opcodes.disk import OpInstanceGrowDisk
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.storage.base import MIB
from ganeti.storage.layout import TRAITS


@dataclass(frozen=True, slots=True)
class GrowPlan:
    """The disk as it is, and its sizes in MiB."""

    instance: Instance
    disk: Disk
    added: int
    size: int


@implements(OpInstanceGrowDisk)
class InstanceGrowDisk(LogicalUnit[OpInstanceGrowDisk, GrowPlan]):
    """Add to a disk, on all its nodes; a running guest is told where its hypervisor can."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        nodes = dict.fromkeys((node.uuid for node in config.nodes_of(instance)), EXCLUSIVE)
        return LockRequest(instances={instance.name: EXCLUSIVE}, nodes=nodes, node_res=nodes)

    def check(self, config: Snapshot) -> GrowPlan:
        op = self.op
        instance = ask.instance(config, op.instance_name)
        for node in config.nodes_of(instance):
            ask.online(node)
        disk = self._disk(config, instance)
        if not TRAITS[disk.dev_type].growable:
            raise OpPrereqError(
                f"instance {instance.name}: disks of template {disk.dev_type} can't grow",
                Code.INVAL,
            )
        size = op.amount if op.absolute else disk.size + op.amount
        if size < disk.size:
            raise OpPrereqError(
                f"instance {instance.name}: disk {op.disk} has {disk.size} MiB, it can't shrink to"
                f" {size} MiB",
                Code.STATE,
            )
        if not op.ignore_ipolicy:
            sizes = [size if one is disk else one.size for one in config.disks_of(instance)]
            spec = replace(spec_of(config, instance), disk_sizes=tuple(sizes))
            check_policy(config, instance, spec, config.nodes[instance.primary_node])
        return GrowPlan(instance, disk, size - disk.size, size)

    def _disk(self, config: Snapshot, instance: Instance) -> Disk:
        found = config.disks_of(instance)
        if self.op.disk >= len(found):
            have = f"it has disks 0 to {len(found) - 1}" if found else "it has none"
            raise OpPrereqError(
                f"instance {instance.name}: there is no disk {self.op.disk}, {have}", Code.INVAL
            )
        return found[self.op.disk]

    def hooks(self, config: Snapshot, plan: GrowPlan) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        env |= {
            "DISK": str(self.op.disk),
            "AMOUNT": str(self.op.amount),
            "ABSOLUTE": str(self.op.absolute),
        }
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(instance))]
        return HookEnv("disk-grow", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: GrowPlan) -> Json:
        config, name = self.services.snapshot(), plan.instance.name
        work = [
            replace(one, index=self.op.disk)
            for one in disks.on_nodes(config, plan.instance.primary_node, [plan.disk])
        ]
        self.feedback(
            f"Growing disk {self.op.disk} of instance '{name}' by {plan.added}M to {plan.size}M"
        )
        self._assemble(config, plan, work)
        try:
            self._grow(config, plan, work)
            self._store(plan)
            self._release_nodes(plan)
            self._finish(plan)
        finally:
            if not plan.instance.disks_active:
                self._shut_down(work)
        self._tell_guest(plan)
        return None

    def _assemble(self, config: Snapshot, plan: GrowPlan, work: Sequence[disks.OnNode]) -> None:
        filled = ask.filled(config, plan.instance, target=plan.instance.primary_node)
        for one in work:
            self.rpc.ask(
                one.node, calls.blockdev_assemble, one.disk, filled, one.on_primary, one.index
            ).get(f"activating disk {one.index} of {filled.name}")

    def _grow(self, config: Snapshot, plan: GrowPlan, work: Sequence[disks.OnNode]) -> None:
        """Tried everywhere before it is done anywhere; the logical layer comes last."""
        rounds = [(True, True, work), (False, True, work)]
        rounds.append((False, False, [one for one in work if one.on_primary]))
        for dry_run, backing, on in rounds:
            for one in on:
                outcome = self.rpc.ask(
                    one.node,
                    calls.blockdev_grow,
                    one.disk,
                    plan.added,
                    dry_run,
                    backing,
                    disks.exclusive_storage(config, one.node),
                )
                what = "grow request" if dry_run else "growing"
                outcome.get(f"{what}: disk {one.index} of {plan.instance.name}")

    def _store(self, plan: GrowPlan) -> None:
        def store(draft: Draft) -> None:
            disk = draft.snapshot.disks[plan.disk.uuid]
            children = disk.children
            if TRAITS[disk.dev_type].mirrored:  # the first child holds the data
                children = (replace(children[0], size=plan.size), *children[1:])
            draft.update(replace(disk, size=plan.size, children=children))

        self.commit(store)

    def _release_nodes(self, plan: GrowPlan) -> None:
        node_res = self.locks(self.services.snapshot(), Held()).node_res
        self.services.release(
            LockRequest(instances={plan.instance.name: EXCLUSIVE}, node_res=node_res)
        )

    def _finish(self, plan: GrowPlan) -> None:
        """The new part is empty where that is wanted, mirrors are in sync."""
        config = self.services.snapshot()
        instance = config.instances[plan.instance.uuid]
        if config.cluster.prealloc_wipe_disks:
            disk = config.disks[plan.disk.uuid]
            disks.wipe(self.services, config, instance, [disk], from_mib=plan.disk.size)
        if self.op.wait_for_sync and not disks.wait_for_sync(self.services, config, instance):
            raise OpExecError(f"disks of instance {instance.name} are degraded")

    def _shut_down(self, work: Sequence[disks.OnNode]) -> None:
        for one in work:
            outcome = self.rpc.ask(one.node, calls.blockdev_shutdown, one.disk)
            if not outcome.ok:
                self.warn(
                    f"disk {one.index} can't be shut down on node {one.node.name}: {outcome.error}"
                )

    def _tell_guest(self, plan: GrowPlan) -> None:
        config = self.services.snapshot()
        instance = config.instances[plan.instance.uuid]
        found = instance_state.ask_info(self.rpc, config, instance)
        if not found.ok or not instance_state.runs(found.get()):
            return
        node = config.nodes[instance.primary_node]
        filled = ask.filled(config, instance, target=node.uuid)
        disk = filled.disks_info[self.op.disk]
        outcome = self.rpc.ask(node, calls.resize_disk, filled, disk, plan.size * MIB)
        if not outcome.ok:
            self.warn(
                f"the running instance {instance.name} sees the new size at its next start:"
                f" {outcome.error}"
            )
