"""OP_INSTANCE_CREATE: a new instance, installed and started.

Order of checks and steps: facts/master.md D1. What was asked for is read in create_request.py and
create_nics.py, nodes are chosen in placement.py, create_plan.py says what will be stored, disks.py
makes the disks.

Whatever fails before the instance is finished (disks made, OS installed), nothing is left of it,
also when the master dies then: each step has its undo step, the instance is forgotten, its ports
and addresses are free again. One without disks needs no such steps: the change of the configuration
that brings it finishes it. A finished one stays, whatever happens: one that does not start is
marked up, and so is one whose master dies during its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import (
    Code,
    OpExecError,
    OpPrereqError,
)
from ganeti.locking.names import EXCLUSIVE, SHARED, Level, Mode
from ganeti.logic import (
    ask,
    create_nics,
    disk_checks,
    disks,
    instance_config,
    instance_names,
    instance_state,
    placement,
)
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit, Undo
from ganeti.logic.create_plan import CreatePlan, check_policy, make_plan, uuids_needed
from ganeti.logic.create_request import InstanceRequest, read_request
from ganeti.logic.hook_env import instance_env
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceCreate
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.storage.layout import TRAITS
from ganeti.types import AdminState, InstanceCreateMode
from ganeti.utils import hosts


@implements(OpInstanceCreate)
class InstanceCreate(LogicalUnit[OpInstanceCreate, CreatePlan]):
    """Make an instance. The result: names of its nodes; of a dry run: their uuids."""

    _obtained: tuple[str, ...] = ()  # nodes that were free, with opportunistic locking

    def arguments(self) -> None:
        op = self.op
        if op.forthcoming and op.commit:
            raise OpPrereqError("forthcoming and commit exclude each other", Code.INVAL)
        if op.ip_check and not op.name_check:
            raise OpPrereqError(
                "the IP check needs the name check",
                Code.INVAL,
                hint="skip both (--no-name-check --no-ip-check) or none",
            )
        hosts.normalize(op.instance_name)
        if op.iallocator is not None and op.pnode is not None:
            raise OpPrereqError("give either an allocator or a primary node", Code.INVAL)
        if op.opportunistic_locking and op.pnode is not None:
            raise OpPrereqError(
                "opportunistic locking is for allocators, not for given nodes", Code.INVAL
            )
        if op.pnode is None and any("adopt" in disk for disk in op.disks):
            raise OpPrereqError("disks can only be adopted on a given node", Code.INVAL)
        self._refuse_what_is_missing()

    def _refuse_what_is_missing(self) -> None:
        """What the opcode can mean and this release can't do."""
        op = self.op
        for wanted, what in (
            (op.mode is not InstanceCreateMode.CREATE, f"mode {op.mode}"),
            (op.forthcoming or op.commit, "a forthcoming instance"),
        ):
            if wanted:
                raise OpPrereqError(
                    f"instance {op.instance_name}: {what} is not possible in this release",
                    Code.ENVIRON,
                )

    # Locks.

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        name = hosts.normalize(self.op.instance_name)
        instance_names.refuse_known(config, name)
        instances = {name: EXCLUSIVE}
        if self.op.pnode is not None:
            given = self._given_nodes(config)
            nodes = dict.fromkeys((node.uuid for node in given), EXCLUSIVE)
            groups = dict.fromkeys((node.group for node in given), SHARED)
            return LockRequest(instances=instances, groups=groups, nodes=nodes, node_res=nodes)
        if not self.op.opportunistic_locking:
            return LockRequest(
                instances=instances, groups=SHARED, nodes=EXCLUSIVE, node_res=EXCLUSIVE
            )
        wanted = dict.fromkeys(config.nodes, EXCLUSIVE)
        obtained = held.of(Level.NODE)
        if not isinstance(obtained, Mode) and obtained:
            self._obtained = tuple(obtained)
        return LockRequest(
            instances=instances,
            groups=SHARED,
            nodes=wanted,
            node_res=obtained or wanted,
            opportunistic={Level.NODE: self._required_nodes(config)},
        )

    def _required_nodes(self, config: Snapshot) -> int:
        template = self.op.disk_template or config.cluster.enabled_disk_templates[0]
        return 2 if TRAITS[template].mirrored else 1

    def _given_nodes(self, config: Snapshot) -> tuple[Node, ...]:
        """The named nodes; a secondary only where the disks need one."""
        op = self.op
        assert op.pnode is not None
        primary = ask.node(config, op.pnode)
        if self._required_nodes(config) == 1:
            return (primary,)
        if op.snode is None:
            raise OpPrereqError("mirrored disks need a secondary node", Code.INVAL)
        return (primary, ask.node(config, op.snode))

    # Checks.

    def check(self, config: Snapshot) -> CreatePlan:
        host = self._host(config)
        name = host.name if host else hosts.normalize(self.op.instance_name)
        instance_names.refuse_known(config, name)
        request = read_request(config, self.op, name, host.ip if host else None)
        self._check_compression(config)
        if self.op.ip_check and host:
            instance_names.refuse_used_address(host)
        nics, uuids = create_nics.reserve_macs(self.services, request.nics, uuids_needed(request))
        nodes = self._nodes(config, request, nics)
        self._check_nodes(nodes)
        request = self._with_adopted(config, request, nodes[0])
        nics = create_nics.reserve_addresses(
            self.services, request.nics, nics, nodes[0], conflicts_check=self.op.conflicts_check
        )
        check_policy(config, request, nodes[0], ignore=self.op.ignore_ipolicy)
        plan = make_plan(config, self.op, request, nics, nodes, uuids)
        if not plan.install:
            self.info("No-installation mode selected, disabling startup")
        self._ask_nodes(config, request, plan)
        return plan

    def _with_adopted(
        self, config: Snapshot, request: InstanceRequest, primary: Node
    ) -> InstanceRequest:
        """What is adopted has the size that it has."""
        made = disk_checks.adopt(self.services, config, primary, request.template, request.disks)
        return replace(request, disks=made)

    def _host(self, config: Snapshot) -> hosts.Host | None:
        """What the name resolves to, unless that is not wanted.

        Only the given name is locked: when it is a shorter one, the full one is reserved.
        """
        if not self.op.name_check:
            return None
        host = instance_names.resolve(self.services, config, self.op.instance_name)
        if host.name != hosts.normalize(self.op.instance_name):
            instance_names.reserve(self.services, host.name)
        return host

    def _check_compression(self, config: Snapshot) -> None:
        tool = self.op.compress
        if tool != "none" and tool not in config.cluster.compression_tools:
            raise OpPrereqError(f"compression tool {tool!r} is not allowed", Code.INVAL)

    def _nodes(
        self, config: Snapshot, request: InstanceRequest, nics: tuple[Nic, ...]
    ) -> tuple[Node, ...]:
        """The given nodes, or those that an allocator chooses; only they stay locked."""
        op = self.op
        if op.pnode is not None:
            nodes = self._given_nodes(config)
            if op.snode is not None and len(nodes) == 1:
                self.warn(f"secondary node {op.snode} is not needed for {request.template} disks")
            return nodes
        if op.group_name is not None:
            ask.group(config, op.group_name)
        restrict = [config.nodes[uuid].name for uuid in self._obtained]
        question = placement.Question(
            allocator=placement.allocator_of(config.cluster, op.iallocator),
            hypervisor=request.hypervisor,
            template=request.template,
            request=placement.allocate_request(
                request,
                nics,
                group_name=op.group_name,
                restrict_to=restrict if op.opportunistic_locking else None,
            ),
            opportunistic=op.opportunistic_locking,
        )
        nodes = placement.choose_nodes(self.services, config, question)
        chosen = dict.fromkeys((node.uuid for node in nodes), EXCLUSIVE)
        self.services.release(
            LockRequest(
                instances=self._own_lock(),
                groups=dict.fromkeys((node.group for node in nodes), SHARED),
                nodes=chosen,
                node_res=chosen,
            )
        )
        return nodes

    def _own_lock(self) -> Mapping[str, Mode]:
        return {hosts.normalize(self.op.instance_name): EXCLUSIVE}

    def _check_nodes(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            ask.can_take_instances(node)
        if len({node.uuid for node in nodes}) != len(nodes):
            raise OpPrereqError(
                f"node {nodes[0].name} can't be primary and secondary node", Code.INVAL
            )
        if len({node.group for node in nodes}) > 1:
            self.warn("primary and secondary node are in different node groups")

    def _ask_nodes(self, config: Snapshot, request: InstanceRequest, plan: CreatePlan) -> None:
        """The nodes can run it: disks, hypervisor, OS, bridges, memory."""
        hypervisor = request.hypervisor
        disk_checks.check_new(
            self.services, config, plan.nodes[0], hypervisor, dict(enumerate(plan.disks))
        )
        for outcome in self.rpc.all(
            plan.nodes, calls.hypervisor_validate_params, hypervisor.value, request.filled_hvparams
        ).values():
            outcome.get("hypervisor parameters")
        for checked in self.rpc.all(
            plan.nodes,
            calls.os_validate,
            True,
            request.os,
            ["parameters"],
            request.filled_osparams,
            self.op.force_variant,
        ).values():
            checked.get(f"OS {request.os}")
        primary = plan.nodes[0]
        instance_state.bridges(self.services, config, primary, plan.instance.nics)
        if plan.start:
            ask.memory(
                self.rpc,
                primary,
                hypervisor,
                ask.cluster_hvparams(config, hypervisor),
                request.memory_mib,
                f"starting {request.name}",
            )

    # Hooks and results.

    def hooks(self, config: Snapshot, plan: CreatePlan) -> HookEnv:
        env = instance_env(config, plan.instance, plan.disks, start=plan.start)
        env["ADD_MODE"] = self.op.mode.value
        nodes = [config.cluster.master_node, *(node.uuid for node in plan.nodes)]
        return HookEnv("instance-add", "INSTANCE", env, nodes, nodes)

    def dry_run_result(self, plan: CreatePlan) -> Json:
        return [node.uuid for node in plan.nodes]

    # Execution.

    def execute(self, plan: CreatePlan) -> Json:
        for index, disk in enumerate(plan.disks):
            self.feedback(f"* disk {index}, size {disk.size}M")
        self.feedback("* creating instance disks...")
        if plan.disks:
            with self.undo() as undo:
                instance = self._with_disks(plan, undo)
                undo.settle()
        else:  # finished as soon as it is stored
            state = AdminState.UP if plan.start else AdminState.DOWN
            instance = self._store(
                plan, replace(plan.instance, admin_state=state, disks_active=plan.start)
            )
            self._release_nodes()
        if plan.start:
            self._start(plan.nodes[0], instance)
        return [node.name for node in plan.nodes]

    def _with_disks(self, plan: CreatePlan, undo: Undo) -> Instance:
        """The instance is stored and finished: disks are made, the OS is installed, as wanted."""
        services, config = self.services, self.services.snapshot()
        with undo.together():
            disks.foresee(config, undo, plan.instance, plan.disks)
            undo.before_config("forget_instance", plan.instance.uuid)
        disks.make(services, config, plan.instance, plan.disks)
        instance = self._store(plan, plan.instance)
        self._release_nodes(storage_of=plan.nodes)
        self._finish_disks(plan, instance)
        self._release_nodes()
        if plan.install:
            self._install(plan, instance)
        if plan.start:
            return instance_config.record(
                services, instance, admin_state=AdminState.UP, disks_active=True
            )
        # What can't be shut down is told, the instance is good nevertheless.
        disks.shut_down(services, services.snapshot(), instance)
        return instance

    def _store(self, plan: CreatePlan, instance: Instance) -> Instance:
        """Instance, disks, port and addresses in one change."""
        services = self.services
        self.feedback(f"adding instance {instance.name} to cluster config")

        def add(draft: Draft) -> Instance:
            services.reservations.commit_addresses(draft, services.owner)
            return instance_config.add(draft, instance, plan.disks, with_port=plan.wants_port)

        return self.commit(add)

    def _release_nodes(self, *, storage_of: Sequence[Node] = ()) -> None:
        """The nodes are free for others; some keep their storage until the disks are done."""
        busy = {node.uuid: EXCLUSIVE for node in storage_of}
        self.services.release(LockRequest(instances=self._own_lock(), node_res=busy))

    def _finish_disks(self, plan: CreatePlan, instance: Instance) -> None:
        """The disks are empty and whole; OpExecError."""
        services, config = self.services, self.services.snapshot()
        mirrored = any(TRAITS[disk.dev_type].mirrored for disk in plan.disks)
        if config.cluster.prealloc_wipe_disks and not plan.adopts:
            disks.wipe(services, config, instance, plan.disks)
        if not self.op.wait_for_sync and not mirrored:
            return
        once = not self.op.wait_for_sync
        if not disks.wait_for_sync(services, config, instance, once=once):
            raise OpExecError(f"disks of instance {instance.name} are degraded")

    def _install(self, plan: CreatePlan, instance: Instance) -> None:
        if plan.adopts:
            self.feedback("* not running the instance OS create scripts: the disks are adopted")
            return
        self.feedback("* running the instance OS create scripts...")
        filled = ask.filled(
            self.services.snapshot(),
            instance,
            target=instance.primary_node,
            osparams_secret=self.op.osparams_secret or {},
        )
        outcome = self.rpc.ask(
            plan.nodes[0], calls.instance_os_add, filled, False, self.op.debug_level or 0
        )
        outcome.get(f"installing OS {instance.os} for instance {instance.name}")

    def _start(self, primary: Node, instance: Instance) -> None:
        filled = ask.filled(self.services.snapshot(), instance, target=primary.uuid)
        self.feedback("* starting instance...")
        outcome = self.rpc.ask(primary, calls.instance_start, filled, False, self.op.reason or ())
        outcome.get(f"starting instance {filled.name}")
