"""OP_INSTANCE_MOVE: disks are copied to another node. Rules: facts/master.md D3.

Until the configuration names the target, every failure leaves the instance where and as it was, and
nothing at the target. From then on what is left to do is done, also after a crash.
"""

from __future__ import annotations

from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError, StorageError
from ganeti.hypervisor.registry import driver_class
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_config, instance_state, relocation
from ganeti.logic.base import INFO, Held, HookEnv, LockRequest, LogicalUnit, Undo
from ganeti.logic.hook_env import instance_env
from ganeti.logic.instance_policy import check_target
from ganeti.logic.registry import implements
from ganeti.logic.relocation import Way
from ganeti.logic.transfer import Copy, TransferPlan, carry_out
from ganeti.model.disk import Disk
from ganeti.model.inherit import fill_beparams
from ganeti.model.instance import Instance
from ganeti.opcodes.instance import OpInstanceMove
from ganeti.rpc import calls
from ganeti.serializer import Json, encode
from ganeti.storage import registry as storage
from ganeti.storage.layout import TRAITS

NO_COMPRESSION = "none"
RAW, GUEST = "raw", "guest"  # io modes of node/impexp.py


@implements(OpInstanceMove)
class InstanceMove(LogicalUnit[OpInstanceMove, Way]):
    """Take an instance and its disks to another node; it is stopped on the way."""

    config_hook = True

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        target = ask.node(config, self.op.target_node)
        nodes = dict.fromkeys((instance.primary_node, target.uuid), EXCLUSIVE)
        return LockRequest(instances={instance.name: EXCLUSIVE}, nodes=nodes, node_res=nodes)

    def check(self, config: Snapshot) -> Way:
        way = self._way(config)
        instance, target = way.instance, way.target
        ask.primary_online(config, instance)
        ask.can_take_instances(target)
        check_target(self.services, config, instance, target, ignore=self.op.ignore_ipolicy)
        if relocation.will_run(instance):
            kind = instance.hypervisor
            ask.memory(
                self.rpc,
                target,
                kind,
                ask.cluster_hvparams(config, kind),
                int(fill_beparams(config.cluster, instance.beparams)["maxmem"]),
                f"running {instance.name}",
            )
        else:
            self.feedback(
                f"{INFO}Not checking memory on the secondary node as instance will not be started"
            )
        nics = instance_config.nics_on(config, instance, target)
        instance_state.bridges(self.services, config, target, nics)
        tool = self.op.compress
        if tool != NO_COMPRESSION and tool not in config.cluster.compression_tools:
            raise OpPrereqError(f"compression tool {tool!r} is not allowed", Code.INVAL)
        self._refuse_existing(config, way)
        return way

    def _refuse_existing(self, config: Snapshot, way: Way) -> None:
        """The target has no device in a disk's place: it may be the very same (a shared directory),
        and undoing a failure would remove it."""
        target = way.target
        for index, disk in enumerate(config.disks_of(way.instance)):
            seen = disks.as_on(config, target, disk)
            outcome = self.rpc.ask(target, calls.blockdev_find, seen)
            if not outcome.ok:
                raise OpPrereqError(
                    f"node {target.name} can't tell whether it has disk {index} of"
                    f" {way.instance.name}: {outcome.error}",
                    Code.ENVIRON,
                )
            if outcome.get() is not None:
                raise OpPrereqError(
                    f"node {target.name} has something in the place of disk {index} of"
                    f" {way.instance.name}: {':'.join(str(part) for part in disk.logical_id)}",
                    Code.STATE,
                    hint="what a failed move has left goes within a minute after its node answers"
                    " again; if both nodes share the directory, use the disk template sharedfile",
                )

    def _way(self, config: Snapshot) -> Way:
        instance = ask.instance(config, self.op.instance_name)
        source, target = (
            config.nodes[instance.primary_node],
            ask.node(config, self.op.target_node),
        )
        if target.uuid == source.uuid:
            raise OpPrereqError(
                f"instance {instance.name} is on node {source.name} already", Code.STATE
            )
        for disk in config.disks_of(instance):
            traits = TRAITS[disk.dev_type]
            if traits.shared or traits.mirrored:
                raise OpPrereqError(
                    f"instance {instance.name}: disks of template {disk.dev_type} are not moved",
                    Code.STATE,
                    hint="gnt-instance migrate or failover takes it to another node",
                )
            try:
                storage.driver_class(disk.dev_type)
            except StorageError as error:
                raise OpPrereqError(str(error), Code.ENVIRON) from error
        return Way(instance, source, target)

    def hooks(self, config: Snapshot, plan: Way) -> HookEnv:
        instance = config.instances[plan.instance.uuid]
        env = instance_env(config, instance, config.disks_of(instance))
        env |= {
            "TARGET_NODE": plan.target.name,
            "SHUTDOWN_TIMEOUT": str(self.op.shutdown_timeout),
        }
        nodes = list(
            dict.fromkeys([config.cluster.master_node, plan.source.uuid, plan.target.uuid])
        )
        return HookEnv("instance-move", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: Way) -> Json:
        services, config = self.services, self.services.snapshot()
        with self.undo() as undo:
            if relocation.will_run(plan.instance):
                self._restart_when_undone(undo, config, plan)
            self._stop(config, plan)
            self._copy(undo, config, plan)
            undo.before_config("bring_back_instance", *_place_of(config, plan.instance))
            stored = instance_config.switch_primary(services, plan.instance, plan.target.uuid)
            undo.settle()
            self._remove_old(undo, config, plan)
            config = services.snapshot()
            if relocation.will_run(stored):
                self.feedback(f"{INFO}Starting instance {stored.name} on node {plan.target.name}")
                filled = ask.filled(config, stored, target=plan.target.uuid)
                instance_state.start(services, filled, reason=self.op.reason or ())
            else:
                disks.shut_down(services, config, stored)
        return None

    def _restart_when_undone(self, undo: Undo, config: Snapshot, plan: Way) -> None:
        """Without parameters of the guest OS, which no start needs and no journal should have."""
        filled = ask.filled(config, plan.instance, target=plan.source.uuid)
        plain = replace(filled, osparams={}, osparams_private={})
        undo.before(plan.source, calls.instance_start, plain, False, self.op.reason or ())

    def _stop(self, config: Snapshot, plan: Way) -> None:
        """It does not run; when that can't be known only --ignore-consistency goes on."""
        instance, source = plan.instance, plan.source
        self.info(f"Shutting down instance {instance.name} on source node {source.name}")
        outcome = self.rpc.ask(
            source,
            calls.instance_shutdown,
            ask.filled(config, instance, target=source.uuid),
            self.op.shutdown_timeout,
            self.op.reason or (),
        )
        if outcome.ok:
            return
        text = f"instance {instance.name} can't be stopped on node {source.name}: {outcome.error}"
        if not self.op.ignore_consistency:
            raise OpExecError(f"{text}; --ignore-consistency copies its disks all the same")
        self.warn(f"{text}; what it writes while its disks are copied is lost")

    def _copy(self, undo: Undo, config: Snapshot, plan: Way) -> None:
        """The target has disks with the same contents, and nothing uses them."""
        own = config.disks_of(plan.instance)
        moved = replace(plan.instance, primary_node=plan.target.uuid)
        there = [replace(disk, nodes=(plan.target.uuid,)) for disk in own]
        disks.create(self.services, config, undo, moved, there)
        todo = TransferPlan(
            source=plan.source,
            target=plan.target,
            copies=_copies(config, plan),
            compress=self.op.compress,
        )
        carry_out(self.services, undo, todo)

    def _remove_old(self, undo: Undo, config: Snapshot, plan: Way) -> None:
        """The source has no disks of it; what stays there is told. Done after a crash, too."""
        self.info("Removing the disks on the original node")
        own = config.disks_of(plan.instance)
        for directory in disks.directories(own):
            undo.before(plan.source, calls.file_storage_dir_remove, directory)
        for one in disks.on_nodes(config, plan.source.uuid, own):
            undo.before(one.node, calls.blockdev_remove, one.disk)
            self.rpc.ask(one.node, calls.blockdev_shutdown, one.disk)
        disks.remove(self.services, config, plan.instance, own)
        undo.settle()


def _place_of(config: Snapshot, instance: Instance) -> tuple[Json, ...]:
    """Arguments of the step that makes its place again what it is now."""
    nodes = {disk.uuid: list(disk.nodes) for disk in config.disks_of(instance)}
    nicparams = {nic.uuid: dict(nic.nicparams) for nic in instance.nics}
    return (instance.uuid, instance.primary_node, nodes, nicparams)


def _copies(config: Snapshot, plan: Way) -> list[Copy]:
    """One per disk, and one for what the hypervisor keeps beside the first disk."""
    instance, source, target = plan.instance, plan.source, plan.target
    here = ask.filled(config, instance, target=source.uuid)
    there = replace(ask.filled(config, instance, target=target.uuid), primary_node=target.uuid)

    def copy(kind: str, index: int, disk: Disk) -> Copy:
        label = "disk" if kind == RAW else kind
        return Copy(
            label=f"{label}/{index}",
            component=f"{label}{index}",
            source=(kind, [encode(disks.as_on(config, source, disk))]),
            target=(kind, [encode(disks.as_on(config, target, disk))]),
            source_instance=here,
            target_instance=there,
        )

    own = config.disks_of(instance)
    made = [copy(RAW, index, disk) for index, disk in enumerate(own)]
    if own and driver_class(instance.hypervisor).private_state(here.hvparams):
        made.append(copy(GUEST, 0, own[0]))
    return made
