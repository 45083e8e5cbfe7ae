"""After a migration or failover that was cut off: where does the instance run, really?

Nothing is assumed: all nodes that can be reached are asked. Source: facts/storage.md §6, Cleanup.
"""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.logic import ask, disks, instance_config, relocation
from ganeti.logic.base import WARNING, Services
from ganeti.logic.relocation import MoveOp, Way
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.storage.layout import TRAITS
from ganeti.types import AdminState

COMPLETED = "completed"


def plan_cleanup(services: Services, config: Snapshot, op: MoveOp) -> Way:
    """The instance, and the node it was to go to as far as that is known.

    No allocator is asked unless one is named: the instance is where it is.
    """
    instance = ask.instance(config, op.instance_name)
    relocation.check_disks(config, instance, "cleanup of a migration")
    source = config.nodes[instance.primary_node]
    if op.target_node is not None or op.iallocator is not None:
        return relocation.find_way(services, config, op, "cleanup of a migration")
    others = config.nodes_of(instance)[1:]
    return Way(instance, source, others[0] if others else source)


def clean_up(services: Services, instance: Instance) -> None:
    """The instance is recorded where it runs, and nothing of it is left elsewhere. OpExecError."""
    services.feedback(f"Migrating instance {instance.name}")
    services.feedback(
        "* checking where the instance actually runs (if this hangs, the hypervisor might be in a"
        " bad state)"
    )
    config = services.snapshot()
    found = _places(services, config, instance)
    services.feedback(f"* instance running on: {', '.join(node.name for node in found)}")
    if not found:
        _refuse_stopped(instance)
    if len(found) > 2:
        raise OpExecError(
            f"instance {instance.name} runs on {len(found)} nodes; stop all but one by hand"
        )
    (first, *rest) = found
    if rest:
        first = _decide(services, config, instance, found)
    elif first.uuid != instance.primary_node:
        services.feedback(f"* instance is running on node {first.name}, which becomes its primary")
        _take_over(services, instance, first)
    else:
        services.feedback("* instance confirmed to be running on its primary node")
        _close_elsewhere(services, config, instance)
    services.feedback(f"* done: instance {instance.name} runs on node {first.name}")


def _refuse_stopped(instance: Instance) -> None:
    if instance.admin_state is AdminState.UP:
        raise OpExecError(
            f"instance {instance.name} does not run anywhere; gnt-instance stop makes sure that its"
            " disks are not in use, then start it again"
        )
    raise OpExecError(f"instance {instance.name} does not run and is not meant to")


def _places(services: Services, config: Snapshot, instance: Instance) -> list[Node]:
    """Nodes where the hypervisor has it. OpExecError when one of its own nodes can't tell."""
    kind = instance.hypervisor.value
    nodes = [node for node in config.online_nodes() if node.vm_capable]
    hvparams = {kind: ask.cluster_hvparams(config, instance.hypervisor)}
    answers = services.rpc.all(nodes, calls.instance_list, [kind], hvparams)
    found = []
    for node in nodes:
        outcome = answers[node.uuid]
        if outcome.ok:
            if instance.name in outcome.get():
                found.append(node)
            continue
        text = f"node {node.name} can't tell what it runs: {outcome.error}"
        raise OpExecError(
            f"{text}; bring it back, or mark it offline when it is dead, and try again"
        )
    return found


def _decide(services: Services, config: Snapshot, instance: Instance, found: list[Node]) -> Node:
    """Both sides have it: the migration has ended or is given up. Returns where it runs now."""
    sources = [node for node in found if node.uuid == instance.primary_node]
    if not sources:
        raise OpExecError(
            f"instance {instance.name} runs on nodes {' and '.join(one.name for one in found)},"
            " and neither is its primary; stop one by hand"
        )
    (source,) = sources
    (target,) = [node for node in found if node is not source]
    filled = ask.filled(config, instance, target=source.uuid)
    outcome = services.rpc.ask(source, calls.instance_get_migration_status, filled)
    if not outcome.ok:
        raise OpExecError(
            f"instance {instance.name} runs on nodes {source.name} and {target.name}, and is not"
            f" being migrated ({outcome.error}); stop one by hand"
        )
    there = ask.filled(config, instance, target=target.uuid)
    if outcome.get().status == COMPLETED:
        services.feedback(f"* the migration to node {target.name} has ended, finishing it")
        services.rpc.ask(target, calls.instance_finalize_migration_dst, there, "", True).get(
            f"finishing the migration of {instance.name}"
        )
        _take_over(services, instance, target)
        services.rpc.ask(source, calls.instance_finalize_migration_src, filled, True, True).get(
            f"instance {instance.name} runs on node {target.name}; ending what is left of it"
        )
        return target
    services.feedback(f"* the migration to node {target.name} has not ended, giving it up")
    services.rpc.ask(target, calls.instance_finalize_migration_dst, there, "", False).get(
        f"giving up the migration of {instance.name}"
    )
    services.rpc.ask(source, calls.instance_finalize_migration_src, filled, False, True).get(
        f"going on with instance {instance.name}"
    )
    return source


def _take_over(services: Services, instance: Instance, node: Node) -> None:
    """It is recorded there, and its disks are in use nowhere else."""
    stored = instance_config.switch_primary(services, instance, node.uuid)
    instance_config.record(services, stored, disks_active=True)
    config = services.snapshot()
    own = [disks.as_on(config, node, disk) for disk in config.disks_of(stored)]
    if own:
        services.rpc.ask(node, calls.blockdev_open, stored.name, own, True).get(
            f"instance {stored.name} runs on node {node.name}; opening its disks"
        )
    _close_elsewhere(services, config, stored, also=[config.nodes[instance.primary_node]])


def _close_elsewhere(
    services: Services, config: Snapshot, instance: Instance, also: list[Node] | None = None
) -> None:
    """The disks may not be written on the other nodes that had them."""
    nodes = {node.uuid: node for node in [*config.nodes_of(instance)[1:], *(also or [])]}
    for node in nodes.values():
        own = [disks.as_on(config, node, disk) for disk in config.disks_of(instance)]
        if node.uuid == instance.primary_node or not own or node.offline:
            continue
        outcome = services.rpc.ask(node, calls.blockdev_close, instance.name, own)
        if not outcome.ok:
            services.feedback(
                f"{WARNING}disks of {instance.name} on node {node.name}: {outcome.error}"
            )
            continue
        for disk in own:
            if TRAITS[disk.dev_type].shared:
                outcome = services.rpc.ask(node, calls.blockdev_shutdown, disk)
                if not outcome.ok:
                    services.feedback(
                        f"{WARNING}disk {disk.iv_name} on node {node.name}: {outcome.error}"
                    )
