"""Instances on this node: their state and their life. Source: facts/hypervisors.md, Common."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganeti.errors import GenericError, HotplugError, HypervisorError, ParseError
from ganeti.hypervisor.base import GuestDisk, Hypervisor
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.nic import Nic
from ganeti.model.report import MigrationStatus, RunningInfo
from ganeti.node.context import NodeContext
from ganeti.node.disk import assemble, guest_disks, link_of, make_link, remove_links
from ganeti.node.kvm_daemon import watch_guest
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.serializer import Json, decode, dump_bytes
from ganeti.types import RebootType

log = logging.getLogger(__name__)


# What runs.


@serves(calls.instance_info)
def instance_info(
    node: NodeContext, instance: str, hname: str, hvparams: calls.Params
) -> RunningInfo | None:
    return node.hypervisor(hname).info(instance)


@serves(calls.all_instances_info)
def all_instances_info(
    node: NodeContext, hypervisor_list: Sequence[str], all_hvparams: Mapping[str, calls.Params]
) -> dict[str, RunningInfo]:
    """Fails when one name runs under two hypervisors, and these do not tell the same."""
    found: dict[str, RunningInfo] = {}
    for kind in hypervisor_list:
        for name, info in node.hypervisor(kind).all_info().items():
            other = found.get(name)
            if other and (other.memory, other.vcpus) != (info.memory, info.vcpus):
                raise HypervisorError(
                    f"instance {name}: runs under {kind} and another hypervisor at the same time"
                )
            found[name] = info
    return found


@serves(calls.instance_list)
def instance_list(
    node: NodeContext, hypervisor_list: Sequence[str], hvparams: calls.Params
) -> list[str]:
    return [name for kind in hypervisor_list for name in node.hypervisor(kind).running()]


@serves(calls.hypervisor_validate_params)
def hypervisor_validate_params(node: NodeContext, hvname: str, hvfull: calls.Params) -> None:
    node.hypervisor(hvname).validate_params(hvfull)


# Their life.


@serves(calls.instance_start)
def instance_start(
    node: NodeContext,
    instance_hvp_bep: FilledInstance,
    startup_paused: bool,
    reason: calls.ReasonTrail,
) -> None:
    """Starts on links that are made here; after a failure there are none."""
    instance = instance_hvp_bep
    hypervisor = node.hypervisor(instance.hypervisor)
    if hypervisor.is_alive(instance.name):
        log.info("instance %s: runs already", instance.name)
        return
    watch_guest(node, instance)
    try:
        disks = guest_disks(node, instance)
        hypervisor.start(instance, disks, paused=startup_paused)
    except (GenericError, OSError):
        remove_links(node, instance.name, len(instance.disks_info))
        raise
    store_reason(node, instance.name, reason)
    log.info("instance %s: started", instance.name)


@serves(calls.instance_shutdown)
def instance_shutdown(
    node: NodeContext, instance: FilledInstance, timeout: int, reason: calls.ReasonTrail
) -> None:
    """The instance does not run, and its links are gone; its disks stay active."""
    hypervisor = node.hypervisor(instance.hypervisor)
    if hypervisor.is_alive(instance.name):
        hypervisor.stop(instance, timeout_s=float(timeout))
        store_reason(node, instance.name, reason)
        log.info("instance %s: stopped", instance.name)
    else:
        hypervisor.cleanup(instance.name)
        log.info("instance %s: does not run", instance.name)
    remove_links(node, instance.name, len(instance.disks_info))


@serves(calls.instance_reboot)
def instance_reboot(
    node: NodeContext,
    inst: FilledInstance,
    reboot_type: str,
    shutdown_timeout: int,
    reason: calls.ReasonTrail,
) -> None:
    hypervisor = node.hypervisor(inst.hypervisor)
    if not hypervisor.is_alive(inst.name):
        raise HypervisorError(f"instance {inst.name}: does not run, it can't be rebooted")
    if reboot_type == RebootType.SOFT:
        hypervisor.reboot(inst)
        store_reason(node, inst.name, reason)
    elif reboot_type == RebootType.HARD:
        instance_shutdown(node, inst, shutdown_timeout, reason)
        instance_start(node, inst, False, reason)
    else:
        raise HypervisorError(
            f"instance {inst.name}: reboot {reboot_type!r} is none of a node's (soft, hard)"
        )


@serves(calls.instance_balloon_memory)
def instance_balloon_memory(node: NodeContext, instance: FilledInstance, memory: int) -> None:
    hypervisor = node.hypervisor(instance.hypervisor)
    if not hypervisor.is_alive(instance.name):
        log.info("instance %s: does not run, its memory stays", instance.name)
        return
    hypervisor.balloon(instance, memory)


def store_reason(node: NodeContext, instance_name: str, reason: calls.ReasonTrail) -> None:
    """Why the state changed last, for whoever asks on the node.

    The state has changed already, so that a note which can't be written is no failure of the call.
    """
    place = node.paths.run / "instance-reason" / instance_name
    try:
        node.files.mkdir(place.parent, mode=0o755)
        node.files.replace(place, dump_bytes([list(step) for step in reason]))
    except OSError as error:
        log.warning("instance %s: its reason can't be written: %s", instance_name, error)


# Devices of a running instance.


@serves(calls.hotplug_supported)
def hotplug_supported(node: NodeContext, instance: FilledInstance) -> None:
    node.hypervisor(instance.hypervisor).check_hotplug(instance)


@serves(calls.hotplug_device)
def hotplug_device(
    node: NodeContext,
    instance: FilledInstance,
    action: str,
    dev_type: str,
    device: calls.Params,
    extra: Json,
    seq: int,
) -> Json:
    """hvinfo of a removed device, else None. Source: facts/hypervisors.md, Hotplug."""
    hypervisor = node.hypervisor(instance.hypervisor)
    found = _device(instance, dev_type, device, extra)
    answer: Mapping[str, Json] | None = None
    match action:
        case "hotadd":
            hypervisor.hot_add(instance, found, seq)
        case "hotremove":
            answer = hypervisor.hot_remove(instance, found)
        case "hotmod":
            hypervisor.hot_modify(instance, found, seq)
        case _:
            raise HotplugError(f"hotplug action {action!r} is none of hotadd, hotremove, hotmod")
    if isinstance(found, GuestDisk):
        _move_links(node, instance, hypervisor)
    log.info("instance %s: %s of %s %d", instance.name, action, dev_type, seq)
    return None if answer is None else dict(answer)


def _device(
    instance: FilledInstance, dev_type: str, device: calls.Params, extra: Json
) -> GuestDisk | Nic:
    """What the call is about, in types; HotplugError when it is nothing we know."""
    where = f"hotplug of instance {instance.name}"
    try:
        match dev_type, extra:
            case "nic", _:
                return decode(Nic, dict(device), where)
            case "disk", [str(link), None | str(), *_]:
                return GuestDisk(decode(Disk, dict(device), where), Path(link), extra[1])
    except ParseError as error:
        raise HotplugError(str(error)) from error
    raise HotplugError(f"{where}: a nic, or a disk with its link and address, is expected")


def _move_links(node: NodeContext, instance: FilledInstance, hypervisor: Hypervisor) -> None:
    """Links have the indexes of the disks again, for those who know only these.

    A disk that came or went in the middle has shifted the others.
    """
    guests = hypervisor.disks_of_guest(instance)
    moved = {}
    for index, guest in enumerate(guests):
        attached = assemble(node, guest.disk, on_primary=True)
        if attached is not None and attached.path is not None:
            moved[guest.disk.uuid] = make_link(node, instance.name, index, attached.path)
    if any(guest.link != moved.get(guest.disk.uuid, guest.link) for guest in guests):
        hypervisor.links_moved(instance, moved)
    link_of(node, instance.name, len(guests)).unlink(missing_ok=True)


@serves(calls.resize_disk)
def resize_disk(node: NodeContext, instance: FilledInstance, disk: Disk, new_size: int) -> None:
    node.hypervisor(instance.hypervisor).resize_disk(instance, disk, new_size)


# Migration.


@serves(calls.instance_migratable)
def instance_migratable(node: NodeContext, instance: FilledInstance) -> None:
    hypervisor = node.hypervisor(instance.hypervisor)
    if not hypervisor.capabilities.migrate:
        raise HypervisorError(f"instance {instance.name}: {instance.hypervisor} can't migrate")
    if not hypervisor.is_alive(instance.name):
        raise HypervisorError(f"instance {instance.name}: does not run on {node.hostname}")


@serves(calls.migration_info)
def migration_info(node: NodeContext, instance: FilledInstance) -> Json:
    return node.hypervisor(instance.hypervisor).migration_info(instance)


@serves(calls.accept_instance)
def accept_instance(node: NodeContext, instance: FilledInstance, info: str, target: str) -> None:
    hypervisor = node.hypervisor(instance.hypervisor)
    watch_guest(node, instance)
    try:
        hypervisor.accept(instance, info, target, guest_disks(node, instance))
    except (GenericError, OSError):
        remove_links(node, instance.name, len(instance.disks_info))
        raise


@serves(calls.instance_migrate)
def instance_migrate(
    node: NodeContext, cluster_name: str, instance: FilledInstance, target: str, live: bool
) -> None:
    node.hypervisor(instance.hypervisor).migrate(cluster_name, instance, target, live)


@serves(calls.instance_get_migration_status)
def instance_get_migration_status(node: NodeContext, instance: FilledInstance) -> MigrationStatus:
    return node.hypervisor(instance.hypervisor).migration_status(instance)


@serves(calls.instance_finalize_migration_src)
def instance_finalize_migration_src(
    node: NodeContext, instance: FilledInstance, success: bool, live: bool
) -> None:
    node.hypervisor(instance.hypervisor).finalize_source(instance, success, live)


@serves(calls.instance_finalize_migration_dst)
def instance_finalize_migration_dst(
    node: NodeContext, instance: FilledInstance, info: str, success: bool
) -> None:
    node.hypervisor(instance.hypervisor).finalize_target(instance, info, success)
