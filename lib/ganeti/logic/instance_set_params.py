"""OP_INSTANCE_SET_PARAMS: an instance is changed. Rules and steps: facts/master.md D4.

What is to change is worked out in modify_params.py, modify_nics.py, modify_disks.py and
disk_conversion.py; here it is put together, and done in an order in which a failure leaves an
instance that agrees with its configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import ask, communication, disks, hotplug, instance_config, instance_state
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit, Undo
from ganeti.logic.disk_conversion import Conversion, carry_out, finish, plan_conversion
from ganeti.logic.hook_env import instance_env
from ganeti.logic.instance_policy import check_policy
from ganeti.logic.modify_disks import DiskPlan, plan_disk_changes
from ganeti.logic.modify_items import LAST, Plug, PlugStep, Row
from ganeti.logic.modify_nics import NicChange, NicPlan, Wish, plan_nics
from ganeti.logic.modify_params import ParamPlan, check_runtime_memory, plan_params
from ganeti.logic.registry import implements
from ganeti.logic.verify_instance import spec_of
from ganeti.model.disk import Disk
from ganeti.model.inherit import fill_beparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceSetParams
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.storage.layout import TRAITS
from ganeti.types import AdminState, AdminStateSource, ChangeAction

NOT_RUNNING = (AdminState.DOWN, AdminState.OFFLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyPlan:
    """The instance as it was, and all that changes."""

    instance: Instance
    params: ParamPlan
    nics: NicPlan
    disks: DiskPlan
    conversion: Conversion | None
    primary: Node | None  # another one
    admin_state: AdminState | None
    plugs: Sequence[PlugStep]  # none when the guest does not run, or can't be changed


@implements(OpInstanceSetParams)
class InstanceSetParams(LogicalUnit[OpInstanceSetParams, ModifyPlan]):
    """Change an instance. The result: [what, new value] of each change."""

    def arguments(self) -> None:
        op = self.op
        given = (
            *(op.nics, op.disks, op.beparams, op.hvparams, op.osparams, op.osparams_private),
            *(op.runtime_mem, op.disk_template, op.os_name, op.pnode, op.ext_params),
        )
        if not any(given) and op.offline is None and op.instance_communication is None:
            raise OpPrereqError("no changes are given", Code.INVAL)
        if op.disk_template is not None and op.disks:
            raise OpPrereqError(
                "the disk template and single disks can't be changed at once", Code.INVAL
            )
        if op.ext_params and op.disk_template is None:
            raise OpPrereqError("provider parameters are for a conversion of the disks", Code.INVAL)
        self._check_second_node()

    def _check_second_node(self) -> None:
        """A second node, or who chooses it, is for a conversion to mirrored disks; INVAL."""
        op = self.op
        if op.remote_node is None and op.iallocator is None:
            return
        if op.remote_node is not None and op.iallocator is not None:
            raise OpPrereqError("either a second node is named or an allocator", Code.INVAL)
        if op.disk_template is None or not TRAITS[op.disk_template].mirrored:
            raise OpPrereqError(
                "a second node, or an allocator for it, is only for a conversion to drbd",
                Code.INVAL,
                hint="--new-primary records another primary node",
            )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        own = list(config.nodes_of(instance))
        for name in (self.op.pnode, self.op.remote_node):
            if name is not None:
                own.append(ask.node(config, name))
        nodes = dict.fromkeys((node.uuid for node in own), EXCLUSIVE)
        changes_storage = self.op.disk_template is not None or bool(self.op.disks)
        return LockRequest(
            instances={instance.name: EXCLUSIVE},
            groups=dict.fromkeys((node.group for node in own), SHARED),
            nodes=nodes,
            node_res=nodes if changes_storage else {},
        )

    # Checks.

    def check(self, config: Snapshot) -> ModifyPlan:
        op = self.op
        instance = ask.instance(config, op.instance_name)
        primary = self._new_primary(config, instance)
        hot = self._can_plug(config, instance)
        conversion = None
        if op.disk_template is not None:
            conversion = plan_conversion(self.services, config, instance, op)
        params = plan_params(self.services, config, instance, op)
        if op.runtime_mem is not None:
            check_runtime_memory(
                self.services, config, params.instance, op.runtime_mem, force=op.force
            )
        nics = self._nics(config, instance)
        disk_plan = plan_disk_changes(self.services, config, instance, op)
        if disk_plan.leaving and not hot:
            instance_state.not_running(
                self.services, config, instance, "taking disks away without hotplug"
            )
        if disk_plan.added or disk_plan.attached:
            ask.primary_online(config, instance)
        state = self._admin_state(config, instance)
        self._check_policy(config, params.instance, nics, disk_plan, conversion)
        return ModifyPlan(
            instance=instance,
            params=params,
            nics=nics,
            disks=disk_plan,
            conversion=conversion,
            primary=primary,
            admin_state=state,
            plugs=[*nics.plugs, *disk_plan.plugs] if hot else [],
        )

    def _new_primary(self, config: Snapshot, instance: Instance) -> Node | None:
        """The node that is to be recorded as primary, when it is another one."""
        if self.op.pnode is None:
            return None
        node = ask.node(config, self.op.pnode)
        if node.uuid == instance.primary_node:
            return None
        if not self.op.force:
            instance_state.not_running(
                self.services, config, instance, "recording another primary node"
            )
            instance_config.nics_on(config, instance, node)
        return node

    def _can_plug(self, config: Snapshot, instance: Instance) -> bool:
        op = self.op
        if not (op.hotplug or op.hotplug_if_possible):
            return False
        if not (op.nics or op.disks) and op.instance_communication is None:
            return False
        return hotplug.is_possible(self.services, config, instance, required=op.hotplug)

    def _nics(self, config: Snapshot, instance: Instance) -> NicPlan:
        wish = Wish(
            primary=config.nodes[instance.primary_node],
            force=self.op.force,
            conflicts_check=self.op.conflicts_check,
        )
        changes = [*self.op.nics, *self._communication(config, instance)]
        return plan_nics(self.services, config, instance, changes, wish)

    def _communication(self, config: Snapshot, instance: Instance) -> Sequence[NicChange]:
        """The interface to the node comes or goes, unless it is as wanted."""
        wanted, nic = self.op.instance_communication, communication.nic_of(instance)
        if wanted and nic is None:
            new = communication.wanted_nic(config, instance.name)
            return [(ChangeAction.ADD, LAST, new)]
        if wanted is False and nic is not None:
            return [(ChangeAction.REMOVE, nic.uuid, {})]
        return []

    def _admin_state(self, config: Snapshot, instance: Instance) -> AdminState | None:
        if self.op.offline is None:
            return None
        wanted = AdminState.OFFLINE if self.op.offline else AdminState.DOWN
        doing = f"marking it {'offline' if self.op.offline else 'online (down)'}"
        if self.op.offline:
            instance_state.not_running(self.services, config, instance, doing)
        else:
            ask.admin_state(instance, NOT_RUNNING, doing)
        return wanted

    def _check_policy(
        self,
        config: Snapshot,
        instance: Instance,
        nics: NicPlan,
        plan: DiskPlan,
        conversion: Conversion | None,
    ) -> None:
        """The group's policy takes the instance with its least and its most memory; INVAL."""
        if self.op.ignore_ipolicy:
            return
        after = plan.disks if conversion is None else list(conversion.after)
        spec = replace(
            spec_of(config, instance),
            nic_count=len(nics.nics),
            disk_sizes=tuple(disk.size for disk in after),
            disk_templates=tuple(disk.dev_type.value for disk in after),
        )
        full = fill_beparams(config.cluster, instance.beparams)
        node = config.nodes[instance.primary_node]
        for name in ("maxmem", "minmem"):
            check_policy(config, instance, replace(spec, memory=int(full[name])), node)

    # Hooks.

    def hooks(self, config: Snapshot, plan: ModifyPlan) -> HookEnv:
        """Memory, processors and interfaces are the new ones in both phases (recorded)."""
        now = config.instances[plan.instance.uuid]
        with_nics = replace(now, nics=tuple(plan.nics.nics))
        env = instance_env(config, with_nics, config.disks_of(now))
        full = fill_beparams(config.cluster, plan.params.instance.beparams)
        env |= {
            "INSTANCE_MEMORY": str(full["maxmem"]),
            "INSTANCE_MAXMEM": str(full["maxmem"]),
            "INSTANCE_MINMEM": str(full["minmem"]),
            "INSTANCE_VCPUS": str(full["vcpus"]),
        }
        if self.op.disk_template is not None:
            env["NEW_DISK_TEMPLATE"] = self.op.disk_template.value
        if self.op.runtime_mem is not None:
            env["RUNTIME_MEMORY"] = str(self.op.runtime_mem)
        nodes = [config.cluster.master_node, *(node.uuid for node in config.nodes_of(now))]
        return HookEnv("instance-modify", "INSTANCE", env, nodes, nodes)

    # Execution.

    def execute(self, plan: ModifyPlan) -> Json:
        rows: list[Row] = []
        if self.op.runtime_mem is not None:
            self._balloon(plan, self.op.runtime_mem)
            rows.append(("runtime_memory", self.op.runtime_mem))
        with self.undo() as undo:
            self._make_disks(plan, undo)
            self._unplug_disks(plan)
            self._store(plan)
            self._sync(plan)
            if plan.conversion is not None:
                carry_out(self.services, plan.conversion, self.op, undo)
                rows.append(("disk_template", self.op.disk_template))
            undo.settle()
        self._plug(plan)
        self._remove_disks(plan)
        if plan.conversion is not None:
            finish(self.services, plan.conversion)
        rows += [*plan.disks.rows, *plan.nics.rows, *plan.params.rows]
        if plan.admin_state is not None:
            rows.append(("admin_state", plan.admin_state.value))
        return [list(row) for row in rows]

    def _balloon(self, plan: ModifyPlan, wanted_mib: int) -> None:
        config = self.services.snapshot()
        node = config.nodes[plan.instance.primary_node]
        filled = ask.filled(config, plan.instance, target=node.uuid)
        self.rpc.ask(node, calls.instance_balloon_memory, filled, wanted_mib).get(
            f"changing the memory of instance {filled.name}"
        )

    def _make_disks(self, plan: ModifyPlan, undo: Undo) -> None:
        """New devices are there and, where that is wanted, empty."""
        config = self.services.snapshot()
        for disk in plan.disks.added:
            self.feedback(f"* {disk.iv_name.replace('/', ' ')}, size {disk.size}M")
            more = bool(plan.instance.disks)
            disks.create(self.services, config, undo, plan.instance, [disk], more=more)
            undo.before_config("forget_disk", plan.instance.uuid, disk.uuid)
        if plan.disks.added and config.cluster.prealloc_wipe_disks:
            disks.wipe(self.services, config, plan.instance, plan.disks.added)

    def _unplug_disks(self, plan: ModifyPlan) -> None:
        """The guest has let go of the disks that leave; else nothing more is done."""
        config = self.services.snapshot()
        for step in _of_disks(plan.plugs):
            if step.action == Plug.REMOVE:
                hotplug.plug(self.services, config, plan.instance, step, required=True)

    def _store(self, plan: ModifyPlan) -> None:
        """All that is recorded, in one change."""
        services = self.services

        def change(draft: Draft) -> None:
            services.reservations.commit_addresses(draft, services.owner)
            _store_disks(draft, plan)
            stored = draft.snapshot.instances[plan.instance.uuid]
            _store_instance(draft, stored, plan)
            for nic in plan.nics.freed:
                instance_config.free_address(draft, nic)

        self.commit(change)
        if plan.primary is not None:
            instance_config.switch_primary(services, plan.instance, plan.primary.uuid)

    def _sync(self, plan: ModifyPlan) -> None:
        """New disks are whole, and not in use where the others are not."""
        config, services = self.services.snapshot(), self.services
        if not plan.disks.added:
            return
        instance = config.instances[plan.instance.uuid]
        if self.op.wait_for_sync and not disks.wait_for_sync(services, config, instance):
            raise OpExecError(f"disks of instance {instance.name} are degraded")
        if not instance.disks_active:
            for one in disks.on_nodes(config, instance.primary_node, plan.disks.added):
                outcome = self.rpc.ask(one.node, calls.blockdev_shutdown, one.disk)
                if not outcome.ok:
                    self.warn(f"disk {one.disk.iv_name} stays in use: {outcome.error}")

    def _plug(self, plan: ModifyPlan) -> None:
        """What came or changed is told to the guest; what leaves was told before."""
        config = self.services.snapshot()
        instance = config.instances[plan.instance.uuid]
        gone = [step for step in _of_disks(plan.plugs) if step.action == Plug.REMOVE]
        steps = [step for step in plan.plugs if step not in gone]
        hotplug.plug_all(self.services, config, instance, steps)

    def _remove_disks(self, plan: ModifyPlan) -> None:
        """Devices that have left the configuration; what stays behind is told."""
        config = self.services.snapshot()
        if plan.disks.removed:
            disks.remove(
                self.services,
                config,
                plan.instance,
                plan.disks.removed,
                keep=[*plan.disks.disks, *plan.disks.detached],
            )
        for one in disks.on_nodes(config, plan.instance.primary_node, plan.disks.detached):
            outcome = self.rpc.ask(one.node, calls.blockdev_shutdown, one.disk)
            if not outcome.ok:
                self.warn(f"detached disk {one.disk.uuid} stays in use: {outcome.error}")


def _of_disks(steps: Sequence[PlugStep]) -> list[PlugStep]:
    return [step for step in steps if isinstance(step.device, Disk)]


def _store_disks(draft: Draft, plan: ModifyPlan) -> None:
    """The instance has the planned disks, in their order; removed ones are not known any more."""
    if plan.conversion is not None:
        return
    instance = draft.snapshot.instances[plan.instance.uuid]
    left = replace(instance, disks=tuple(disk.uuid for disk in plan.disks.disks))
    for disk in plan.disks.disks:
        if disk.uuid in draft.snapshot.disks:
            draft.update(disk)
        else:
            draft.add(disk)
    instance_config.set_disks(draft, instance, left.disks)
    for disk in plan.disks.detached:
        draft.update(replace(draft.snapshot.disks[disk.uuid], iv_name=""))
    for disk in plan.disks.removed:
        draft.remove(disk)
        instance_config.free(draft, replace(instance, nics=(), network_port=None), [disk])


def _store_instance(draft: Draft, stored: Instance, plan: ModifyPlan) -> None:
    new = plan.params.instance
    made = replace(
        stored,
        os=new.os,
        hvparams=new.hvparams,
        beparams=new.beparams,
        osparams=new.osparams,
        osparams_private=new.osparams_private,
        nics=tuple(plan.nics.nics),
    )
    if plan.admin_state is not None:
        made = replace(
            made, admin_state=plan.admin_state, admin_state_source=AdminStateSource.ADMIN
        )
    draft.update(made)
