"""OP_INSTANCE_RECREATE_DISKS: lost disks are made anew, empty. Rules: facts/master.md D2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ganeti.alloc import protocol
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError, StorageError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import ask, disks, instance_state, placement
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.create_request import read_disk
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.disk import Disk, template_of
from ganeti.model.inherit import fill_beparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.disk import OpInstanceRecreateDisks
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.storage import registry as storage
from ganeti.storage.layout import TRAITS
from ganeti.types import DiskTemplate

CHANGEABLE = frozenset({"size", "mode", "spindles"})
Changes = Mapping[int, Mapping[str, str | int]]


@dataclass(frozen=True, slots=True)
class RecreatePlan:
    """The disks as they will be recorded and made, and the primary node if it is another one."""

    instance: Instance
    disks: tuple[Disk, ...]
    primary: Node
    moves: bool


@implements(OpInstanceRecreateDisks)
class InstanceRecreateDisks(LogicalUnit[OpInstanceRecreateDisks, RecreatePlan]):
    """Make disks of an instance anew, in their places or on other nodes.

    A device that is still there is never touched: then nothing is done at all.
    """

    config_hook = True

    def arguments(self) -> None:
        op = self.op
        if op.nodes and op.iallocator is not None:
            raise OpPrereqError("give either nodes or an allocator", Code.INVAL)
        indices = [entry if isinstance(entry, int) else entry[0] for entry in op.disks]
        if len(set(indices)) != len(indices):
            raise OpPrereqError("a disk is named twice", Code.INVAL)
        for index, given in self._changes().items():
            unknown = sorted(given.keys() - CHANGEABLE)
            if unknown:
                raise OpPrereqError(
                    f"disk {index}: {unknown[0]} can't be changed here; what can:"
                    f" {', '.join(sorted(CHANGEABLE))}",
                    Code.INVAL,
                )

    def _changes(self) -> Changes:
        """What is to be other than before, by index; empty when all disks are meant."""
        return {
            entry if isinstance(entry, int) else entry[0]: {}
            if isinstance(entry, int)
            else entry[1]
            for entry in self.op.disks
        }

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        own = {instance.name: EXCLUSIVE}
        if self.op.iallocator is not None:
            group = config.group_of(config.nodes[instance.primary_node])
            nodes = dict.fromkeys((node.uuid for node in config.nodes_in(group.uuid)), EXCLUSIVE)
            return LockRequest(
                instances=own, groups={group.uuid: SHARED}, nodes=nodes, node_res=nodes
            )
        found = [ask.node(config, name) for name in self.op.nodes] or config.nodes_of(instance)
        nodes = dict.fromkeys((node.uuid for node in found), EXCLUSIVE)
        return LockRequest(instances=own, nodes=nodes, node_res=nodes)

    def check(self, config: Snapshot) -> RecreatePlan:
        op = self.op
        instance = ask.instance(config, op.instance_name)
        own = config.disks_of(instance)
        before = config.nodes_of(instance)
        moves = bool(op.nodes) or op.iallocator is not None
        given = [ask.node(config, name) for name in op.nodes]
        if given and len(given) != len(before):
            raise OpPrereqError(
                f"instance {instance.name} is on {len(before)} nodes, {len(given)} are given",
                Code.INVAL,
            )
        if not moves:
            ask.primary_online(config, instance)
        if not own:
            raise OpPrereqError(f"instance {instance.name} has no disks", Code.INVAL)
        self._check_drivers(own)
        if not (moves and before[0].offline):
            instance_state.not_running(self.services, config, instance, "making its disks anew")
        changes = self._changes()
        wrong = [index for index in changes if index >= len(own)]
        if wrong:
            raise OpPrereqError(
                f"instance {instance.name}: there is no disk {wrong[0]}", Code.INVAL
            )
        if moves and changes and len(changes) != len(own):
            raise OpPrereqError("other nodes are for all disks of an instance at once", Code.INVAL)
        nodes = given or (self._chosen(config, instance, own) if moves else list(before))
        for node in nodes if moves else []:
            ask.can_take_instances(node)
        made = tuple(
            _changed(index, disk, changes.get(index, {}), nodes)
            for index, disk in enumerate(own)
            if not changes or index in changes
        )
        return RecreatePlan(instance, made, nodes[0], moves)

    def _check_drivers(self, own: tuple[Disk, ...]) -> None:
        for disk in own:
            try:
                storage.driver_class(disk.dev_type)
            except StorageError as error:
                raise OpPrereqError(str(error), Code.ENVIRON) from error

    def _chosen(self, config: Snapshot, instance: Instance, own: tuple[Disk, ...]) -> list[Node]:
        """Nodes as for a new instance of this kind, in the group where it is."""
        template = DiskTemplate(template_of(own))
        beparams = fill_beparams(config.cluster, instance.beparams)
        group = config.group_of(config.nodes[instance.primary_node])
        question = placement.Question(
            allocator=placement.allocator_of(config.cluster, self.op.iallocator),
            hypervisor=instance.hypervisor,
            template=template,
            request=protocol.allocate_request(
                name=instance.name,
                disk_template=template.value,
                os=instance.os,
                vcpus=int(beparams["vcpus"]),
                memory=int(beparams["maxmem"]),
                spindle_use=int(beparams["spindle_use"]),
                disks=[{"size": disk.size, "mode": disk.mode.value} for disk in own],
                nics=[],
                hypervisor=instance.hypervisor.value,
                tags=instance.tags,
                group_name=group.name,
            ),
        )
        return list(placement.choose_nodes(self.services, config, question))

    def hooks(self, config: Snapshot, plan: RecreatePlan) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(instance))]
        return HookEnv("instance-recreate-disks", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: RecreatePlan) -> Json:
        services, config = self.services, self.services.snapshot()
        moved = replace(plan.instance, primary_node=plan.primary.uuid)
        unsure = self._refuse_existing(config, moved, plan)
        with self.undo() as undo:
            others = len(plan.disks) < len(plan.instance.disks)
            sure = [disk for disk in plan.disks if disk not in unsure]
            disks.create(services, config, undo, moved, sure, more=others)
            for disk in unsure:  # only what was made here can be removed again
                disks.make(services, config, moved, [disk])
                disks.foresee(config, undo, moved, [disk], more=True)
            if config.cluster.prealloc_wipe_disks:
                disks.wipe(services, config, moved, plan.disks)
            self.commit(lambda draft: _store(draft, plan))
            undo.settle()
        config = services.snapshot()
        instance = config.instances[plan.instance.uuid]
        if not instance.disks_active:
            disks.shut_down(services, config, instance)
        return None

    def _refuse_existing(self, config: Snapshot, moved: Instance, plan: RecreatePlan) -> list[Disk]:
        """OpExecError when a device is there, or when that can't be seen; else what is unsure.

        A volume that its provider can't attach may be lost, or the storage out of reach: its
        script `create` decides, which leaves alone what exists.
        """
        unsure = []
        for one in disks.on_nodes(config, moved.primary_node, plan.disks):
            what = f"instance {moved.name}: disk {one.disk.iv_name.removeprefix('disk/')}"
            outcome = self.rpc.ask(one.node, calls.blockdev_find, one.disk)
            if not outcome.ok and TRAITS[one.disk.dev_type].own_params:
                self.warn(f"{what}: not known whether it exists, its provider decides:"
                          f" {outcome.error}")  # fmt: skip
                unsure.append(plan.disks[one.index])
            elif outcome.get(what) is not None:
                raise OpExecError(
                    f"{what} exists on node {one.node.name}; only what is lost is made anew"
                )
        return unsure


def _changed(index: int, disk: Disk, given: Mapping[str, str | int], nodes: list[Node]) -> Disk:
    """The disk with what was given, on these nodes; INVAL."""
    made = disk
    if not TRAITS[disk.dev_type].shared:
        made = replace(made, nodes=tuple(node.uuid for node in nodes))
    if not given:
        return made
    whole = {"size": disk.size, "mode": disk.mode.value, **given}
    if TRAITS[disk.dev_type].own_params:
        whole["provider"] = str(disk.logical_id[0])
    spec = read_disk(index, whole, disk.dev_type)
    return replace(
        made,
        size=spec.size_mib,
        mode=spec.mode,
        spindles=spec.spindles if "spindles" in given else disk.spindles,
    )


def _store(draft: Draft, plan: RecreatePlan) -> None:
    for disk in plan.disks:
        draft.update(disk)
    instance = draft.snapshot.instances[plan.instance.uuid]
    draft.update(replace(instance, primary_node=plan.primary.uuid))
