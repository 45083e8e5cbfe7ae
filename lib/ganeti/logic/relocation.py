"""Taking an instance to another node: which one, and whether it may go there.

Rules: facts/master.md D3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ganeti.alloc import protocol
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError, StorageError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, disks, instance_config, instance_state, placement
from ganeti.logic.base import INFO, LockRequest, Services
from ganeti.logic.instance_policy import check_target
from ganeti.model.disk import template_of
from ganeti.model.inherit import fill_beparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.storage import registry as storage
from ganeti.storage.layout import TRAITS, total_space_mib
from ganeti.types import AdminState, DiskTemplate


class MoveOp(Protocol):
    """What the opcodes that take an instance to another node have in common."""

    @property
    def instance_name(self) -> str: ...

    @property
    def target_node(self) -> str | None: ...

    @property
    def iallocator(self) -> str | None: ...

    @property
    def ignore_ipolicy(self) -> bool: ...

    @property
    def cleanup(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where."""

    instance: Instance
    source: Node
    target: Node


def is_mirrored(config: Snapshot, instance: Instance) -> bool:
    """Whether its disks are on two nodes, so that it can only go to the other one."""
    return any(TRAITS[disk.dev_type].mirrored for disk in config.disks_of(instance))


def check_disks(config: Snapshot, instance: Instance, doing: str) -> None:
    """Another node has or sees all its disks; STATE, ENVIRON."""
    for disk in config.disks_of(instance):
        traits = TRAITS[disk.dev_type]
        if not (traits.mirrored or traits.shared):
            raise OpPrereqError(
                f"instance {instance.name}: disks of template {disk.dev_type} allow no {doing},"
                " other nodes have no copy of them",
                Code.STATE,
                hint="gnt-instance move copies them",
            )
        try:
            storage.driver_class(disk.dev_type)
        except StorageError as error:
            raise OpPrereqError(str(error), Code.ENVIRON) from error


def check_choice(op: MoveOp) -> None:
    """INVAL for an allocator and a node at once."""
    if op.iallocator is not None and op.target_node is not None:
        raise OpPrereqError("give either an allocator or a target node", Code.INVAL)


def locks(config: Snapshot, op: MoveOp) -> LockRequest:
    """The instance and its nodes; without a target all nodes, one of which will be chosen."""
    instance = ask.instance(config, op.instance_name)
    own = {instance.name: EXCLUSIVE}
    nodes = [node.uuid for node in config.nodes_of(instance)]
    if not is_mirrored(config, instance):
        if op.target_node is None:
            return LockRequest(instances=own, nodes=EXCLUSIVE, node_res=EXCLUSIVE)
        nodes.append(ask.node(config, op.target_node).uuid)
    wanted = dict.fromkeys(nodes, EXCLUSIVE)
    return LockRequest(instances=own, nodes=wanted, node_res=wanted)


def find_way(services: Services, config: Snapshot, op: MoveOp, doing: str) -> Way:
    """The way; the nodes that are not on it are free again. Before anything is asked: STATE."""
    instance = ask.instance(config, op.instance_name)
    check_disks(config, instance, doing)
    source = config.nodes[instance.primary_node]
    if is_mirrored(config, instance):
        return Way(instance, source, _peer(config, instance, op))
    if op.target_node is not None:
        target = ask.node(config, op.target_node)
    else:
        target = _chosen(services, config, instance, op)
        nodes = dict.fromkeys((source.uuid, target.uuid), EXCLUSIVE)
        services.release(
            LockRequest(instances={instance.name: EXCLUSIVE}, nodes=nodes, node_res=nodes)
        )
    if target.uuid == source.uuid:
        raise OpPrereqError(
            f"instance {instance.name} is on node {source.name} already", Code.STATE
        )
    return Way(instance, source, target)


def _peer(config: Snapshot, instance: Instance, op: MoveOp) -> Node:
    """The secondary node, which is the only one that can be meant."""
    _, *others = config.nodes_of(instance)
    if len(others) != 1:
        raise OpPrereqError(
            f"instance {instance.name} has {len(others)} secondary nodes, one is expected",
            Code.FAULT,
        )
    wanted = op.target_node and ask.node(config, op.target_node).uuid
    if op.iallocator is not None or wanted not in (None, others[0].uuid):
        raise OpPrereqError(
            f"instance {instance.name} can only go to its secondary node {others[0].name}",
            Code.INVAL,
            hint="gnt-instance replace-disks gives it another one",
        )
    return others[0]


def _chosen(services: Services, config: Snapshot, instance: Instance, op: MoveOp) -> Node:
    own = config.disks_of(instance)
    template = DiskTemplate(template_of(own))
    space = total_space_mib(template, [disk.size for disk in own])
    leaving = [config.nodes[instance.primary_node].name]
    question = placement.Question(
        allocator=placement.allocator_of(config.cluster, op.iallocator),
        hypervisor=instance.hypervisor,
        template=template,
        request=protocol.relocate_request(instance.name, space, leaving),
    )
    (node,) = placement.choose_nodes(services, config, question)
    group = config.group_of(config.nodes[instance.primary_node])
    if node.group != group.uuid:
        raise OpExecError(
            f"allocator {question.allocator} has chosen node {node.name}, which is not in group"
            f" {group.name} of instance {instance.name}"
        )
    return node


def check_way(
    services: Services, config: Snapshot, way: Way, *, ignore_ipolicy: bool, starts: bool
) -> None:
    """The target may and can take it: policy, memory (when it will run), bridges, role."""
    instance, target = way.instance, way.target
    check_target(services, config, instance, target, ignore=ignore_ipolicy)
    ask.online(target)
    if starts:
        ask.memory(
            services.rpc,
            target,
            instance.hypervisor,
            ask.cluster_hvparams(config, instance.hypervisor),
            int(fill_beparams(config.cluster, instance.beparams)["minmem"]),
            f"running {instance.name}",
        )
    else:
        services.feedback(
            f"{INFO}Not checking memory on the secondary node as instance will not be started"
        )
    nics = instance_config.nics_on(config, instance, target)
    instance_state.bridges(services, config, target, nics)
    ask.not_drained(target)
    ask.vm_capable(target)


def will_run(instance: Instance) -> bool:
    return instance.admin_state is AdminState.UP


def check_consistency(services: Services, config: Snapshot, way: Way) -> list[str]:
    """What is wrong with the disks as the target sees them, in sentences."""
    problems = []
    for index, disk in enumerate(config.disks_of(way.instance)):
        seen = disks.as_on(config, way.target, disk)
        outcome = services.rpc.ask(way.target, calls.blockdev_find, seen)
        if not outcome.ok:
            problems.append(f"disk {index} on node {way.target.name}: {outcome.error}")
            continue
        status = outcome.get()
        if status is None:
            problems.append(f"disk {index} is not there on node {way.target.name}")
        elif status.is_degraded:
            problems.append(f"disk {index} is degraded on node {way.target.name}")
    return problems


def refuse_inconsistent(services: Services, config: Snapshot, way: Way) -> None:
    """OpExecError when the target does not have good disks."""
    problems = check_consistency(services, config, way)
    if problems:
        raise OpExecError(f"instance {way.instance.name}: {'; '.join(problems)}")
