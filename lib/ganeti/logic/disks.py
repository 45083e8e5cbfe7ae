"""Disks of an instance on its nodes: make, activate, deactivate, remove, wait for the mirrors.

Order and tolerance of failures: facts/master.md §D ("Disk activation" and below), facts/storage.md.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError, RemoteError
from ganeti.logic import instance_config
from ganeti.logic.base import INFO, WARNING, Services, Undo
from ganeti.model.disk import Disk
from ganeti.model.fill import node_disk, nodes_of_disks
from ganeti.model.filled import FilledInstance
from ganeti.model.inherit import fill_ndparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import BlockDeviceStatus
from ganeti.rpc import calls
from ganeti.storage.layout import TRAITS

ORIGIN = "originstname+"
"""Before the instance's name in the text that devices bear (facts/storage.md §2)."""

SYNC_POLL_MAX_S = 60.0
SYNC_POLL_UNKNOWN_S = 5.0  # no estimate yet: it comes soon after the sync has begun
SYNC_FAILURES = 10  # questions in a row that a node may leave unanswered
SYNC_FAILURE_S = 6.0
SYNC_DEGRADED_ROUNDS = 10  # a mirror that has just connected is degraded for a moment
SYNC_DEGRADED_S = 1.0

Activated = tuple[str, str, str | None]
"""Node name, iv_name, path of the device there."""


@dataclass(frozen=True, slots=True)
class OnNode:
    """One disk as one of its nodes gets it."""

    node: Node
    disk: Disk
    index: int
    on_primary: bool


def on_nodes(config: Snapshot, primary: str, disks: Sequence[Disk]) -> Iterator[OnNode]:
    """Every disk on every node of it: disk by disk, the primary node last."""
    group = config.group_of(config.nodes[primary])
    for index, disk in enumerate(disks):
        for uuid in reversed(nodes_of_disks(primary, [disk])):
            made = node_disk(config.cluster, group, disk, uuid, config.nodes)
            yield OnNode(config.nodes[uuid], made, index, uuid == primary)


def as_on(config: Snapshot, node: Node, disk: Disk) -> Disk:
    """The disk as this node gets it; it need not be one of its nodes."""
    return node_disk(config.cluster, config.group_of(node), disk, node.uuid, config.nodes)


def _in_order(disk: Disk) -> Iterator[Disk]:
    """Children before what stands on them."""
    for child in disk.children:
        yield from _in_order(child)
    yield disk


def exclusive_storage(config: Snapshot, node: Node) -> bool:
    return bool(fill_ndparams(config.cluster, config.group_of(node), node)["exclusive_storage"])


# Making and removing.


def directories(disks: Sequence[Disk]) -> list[str]:
    """Directories of the instance that hold the disks' files."""
    paths = [str(disk.logical_id[1]) for disk in disks if TRAITS[disk.dev_type].file_based]
    return list(dict.fromkeys(posixpath.dirname(path) for path in paths))


def create(
    services: Services,
    config: Snapshot,
    undo: Undo,
    instance: Instance,
    disks: Sequence[Disk],
    *,
    more: bool = False,
) -> None:
    """The devices exist on all their nodes; each has its undo step. OpExecError.

    `more`: the instance has other disks, so that directories stay when this is undone.
    """
    with undo.together():
        foresee(config, undo, instance, disks, more=more)
    make(services, config, instance, disks)


def foresee(
    config: Snapshot, undo: Undo, instance: Instance, disks: Sequence[Disk], *, more: bool = False
) -> None:
    """What `make` makes has its undo steps."""
    primary = config.nodes[instance.primary_node]
    if not more:
        for directory in directories(disks):
            undo.before(primary, calls.file_storage_dir_remove, directory)
    for one in on_nodes(config, primary.uuid, disks):
        undo.before(one.node, calls.blockdev_remove, one.disk)


def make(services: Services, config: Snapshot, instance: Instance, disks: Sequence[Disk]) -> None:
    """The devices exist on all their nodes. OpExecError."""
    primary = config.nodes[instance.primary_node]
    for directory in directories(disks):
        services.rpc.ask(primary, calls.file_storage_dir_create, directory).get(
            f"making directory {directory}"
        )
    for one in on_nodes(config, primary.uuid, disks):
        for device in _in_order(one.disk):
            outcome = services.rpc.ask(
                one.node,
                calls.blockdev_create,
                device,
                device.size,
                instance.name,
                one.on_primary,
                ORIGIN + instance.name,
                exclusive_storage(config, one.node),
            )
            outcome.get(f"making disk {one.index} of {instance.name}")


def wipe(
    services: Services,
    config: Snapshot,
    instance: Instance,
    disks: Sequence[Disk],
    *,
    from_mib: int = 0,
) -> None:
    """The disks read as zeroes, from this offset on. OpExecError; facts/storage.md, Wipe."""
    for one in on_nodes(config, instance.primary_node, disks):
        if not one.on_primary:
            continue
        services.feedback(f"* Wiping disk {one.index}")
        chunk = max(1, min(1024, one.disk.size // 10))
        for offset in range(from_mib, one.disk.size, chunk):
            size = min(chunk, one.disk.size - offset)
            services.rpc.ask(one.node, calls.blockdev_wipe, one.disk, offset, size).get(
                f"wiping disk {one.index} of {instance.name}"
            )


def remove(
    services: Services,
    config: Snapshot,
    instance: Instance,
    disks: Sequence[Disk],
    *,
    keep: Sequence[Disk] = (),
) -> bool:
    """Whether no device is left; what failed is told. An offline secondary does not count.

    Directories go with their last file: those of the disks to `keep` stay.
    """
    clean = True
    for one in on_nodes(config, instance.primary_node, disks):
        outcome = services.rpc.ask(one.node, calls.blockdev_remove, one.disk)
        if outcome.ok:
            continue
        services.feedback(
            f"{WARNING}disk {one.index} stays behind on node {one.node.name}: {outcome.error}"
        )
        clean &= outcome.offline and not one.on_primary
    primary = config.nodes[instance.primary_node]
    for directory in sorted(set(directories(disks)) - set(directories(keep))):
        removed = services.rpc.ask(primary, calls.file_storage_dir_remove, directory)
        if not removed.ok:
            services.feedback(
                f"{WARNING}directory {directory} stays behind on node {primary.name}:"
                f" {removed.error}"
            )
            clean &= removed.offline
    return clean


# Activating and deactivating.


def activate(
    services: Services,
    config: Snapshot,
    instance: FilledInstance,
    *,
    ignore_secondaries: bool = False,
    ignore_size: bool = False,
) -> list[Activated]:
    """The disks can be used on the primary node, and are recorded as active.

    After OpExecError they are recorded as inactive. `ignore_size`: a mirror takes the size that
    its devices have.
    """
    stored = instance_config.record(services, instance, disks_active=True)
    disks = config.disks_of(stored)
    if ignore_size:
        disks = tuple(replace(disk, size=0) for disk in disks)
    work = list(on_nodes(config, stored.primary_node, disks))
    try:
        ready = _assemble_as_secondary(services, instance, work, ignore_secondaries)
        rows: list[Activated] = []
        for one in work:
            if one.on_primary:
                ready &= _assemble_on_primary(services, instance, one, rows)
        if not ready:
            raise OpExecError(f"disks of instance {instance.name} can't be activated")
    except BaseException:
        instance_config.record(services, stored, disks_active=False)
        raise
    return rows


def _assemble_as_secondary(
    services: Services, instance: FilledInstance, work: Sequence[OnNode], ignore: bool
) -> bool:
    """The first pass. A disk on one node only has no other side that must be ready before."""
    ready = True
    mirrored = {one.index for one in work if not one.on_primary}
    for one in work:
        if one.index not in mirrored:
            continue
        outcome = services.rpc.ask(
            one.node, calls.blockdev_assemble, one.disk, instance, False, one.index
        )
        if not outcome.ok:
            _tell_unprepared(services, one, str(outcome.error), 1)
            ready &= not one.on_primary and (ignore or outcome.offline)
    return ready


def _assemble_on_primary(
    services: Services, instance: FilledInstance, one: OnNode, rows: list[Activated]
) -> bool:
    outcome = services.rpc.ask(
        one.node, calls.blockdev_assemble, one.disk, instance, True, one.index
    )
    if not outcome.ok:
        _tell_unprepared(services, one, str(outcome.error), 2)
        return False
    path = outcome.get().dev_path
    rows.append((one.node.name, one.disk.iv_name, path if isinstance(path, str) else None))
    return True


def _tell_unprepared(services: Services, one: OnNode, error: str, turn: int) -> None:
    role = "primary" if turn == 2 else "secondary"
    services.feedback(
        f"{WARNING}disk {one.index} can't be prepared on node {one.node.name} as {role}: {error}"
    )


def deactivate(
    services: Services, config: Snapshot, instance: Instance, *, ignore_primary: bool = False
) -> None:
    """The disks are recorded as inactive and not in use on any node.

    OpExecError when a node could not do it, unless it is an offline secondary (or the primary,
    with `ignore_primary`).
    """
    stored = instance_config.record(services, instance, disks_active=False)
    clean = shut_down(services, config, stored, ignore_primary=ignore_primary)
    if not clean:
        raise OpExecError(f"disks of instance {instance.name} can't be deactivated")


def shut_down(
    services: Services, config: Snapshot, instance: Instance, *, ignore_primary: bool = False
) -> bool:
    """The nodes' part of `deactivate`: whether all did it."""
    clean = True
    for one in on_nodes(config, instance.primary_node, config.disks_of(instance)):
        outcome = services.rpc.ask(one.node, calls.blockdev_shutdown, one.disk)
        if not outcome.ok:
            services.feedback(
                f"{WARNING}disk {one.index} can't be shut down on node {one.node.name}:"
                f" {outcome.error}"
            )
            clean &= ignore_primary if one.on_primary else outcome.offline
    return clean


# Waiting for mirrors.


def wait_for_sync(
    services: Services, config: Snapshot, instance: Instance, *, once: bool = False
) -> bool:
    """Whether the disks are whole, asked when no mirror is syncing any more.

    `once`: asked now, whatever is syncing. RemoteError when the node does not tell.
    """
    primary = instance.primary_node
    disks = config.disks_of(instance)
    if not disks:
        return True
    if not once:
        services.feedback(f"{INFO}Waiting for instance {instance.name} to sync disks")
    on_primary = [one.disk for one in on_nodes(config, primary, disks) if one.on_primary]
    patience = SYNC_DEGRADED_ROUNDS
    while True:
        statuses = _mirror_status(services, config.nodes[primary], on_primary)
        syncing = [status for status in statuses if status.sync_percent is not None]
        degraded = any(one.is_degraded and one.sync_percent is None for one in statuses)
        if degraded and not syncing and patience > 0:
            patience -= 1
            services.wait(SYNC_DEGRADED_S)
        elif once or not syncing:
            break
        else:
            _tell_progress(services, on_primary, statuses)
            services.wait(_pause(syncing))
    if not degraded and not once:
        services.feedback(f"{INFO}Instance {instance.name}'s disks are in sync")
    return not degraded


def _mirror_status(
    services: Services, node: Node, disks: Sequence[Disk]
) -> Sequence[BlockDeviceStatus]:
    for attempt in range(1, SYNC_FAILURES + 1):
        outcome = services.rpc.ask(node, calls.blockdev_getmirrorstatus, disks)
        if outcome.ok:
            return outcome.get()
        services.feedback(f"{WARNING}node {node.name}: state of the disks: {outcome.error}")
        if attempt < SYNC_FAILURES:
            services.wait(SYNC_FAILURE_S)
    raise RemoteError(f"node {node.name} does not tell the state of the disks: {outcome.error}")


def _tell_progress(
    services: Services, disks: Sequence[Disk], statuses: Sequence[BlockDeviceStatus]
) -> None:
    for disk, status in zip(disks, statuses):
        if status.sync_percent is not None:
            left = status.estimated_time
            rest = "no time estimate" if left is None else f"{left:.0f} s remaining (estimated)"
            services.feedback(f"- device {disk.iv_name}: {status.sync_percent:5.2f}% done, {rest}")


def _pause(syncing: Sequence[BlockDeviceStatus]) -> float:
    times = [status.estimated_time for status in syncing if status.estimated_time is not None]
    return min(SYNC_POLL_MAX_S, max(times, default=SYNC_POLL_UNKNOWN_S))
