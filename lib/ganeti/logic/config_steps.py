"""Undo steps on the configuration: named, so that a restarted master can carry them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ganeti.config.transaction import Draft
from ganeti.logic import instance_config

CONFIG_STEPS: dict[str, Callable[..., None]] = {}


def config_step(function: Callable[..., None]) -> Callable[..., None]:
    """Register `function(draft, …)`; its arguments are plain JSON values."""
    CONFIG_STEPS[function.__name__] = function
    return function


@config_step
def forget_instance(draft: Draft, uuid: str) -> None:
    """Remove the instance and its disks, if they are there; its ports and addresses are free."""
    instance = draft.snapshot.instances.get(uuid)
    if instance is not None:
        instance_config.drop(draft, instance)


@config_step
def forget_disk(draft: Draft, instance: str, disk: str) -> None:
    """The instance has no such disk (uuids), and nobody else has it."""
    owner = draft.snapshot.instances.get(instance)
    found = draft.snapshot.disks.get(disk)
    if owner is not None and disk in owner.disks:
        instance_config.set_disks(draft, owner, [one for one in owner.disks if one != disk])
    if found is not None:
        draft.remove(found)


@config_step
def bring_back_disks(draft: Draft, instance: str, disks: list[str]) -> None:
    """The instance has these disks (uuids) and no others, as far as they are known."""
    owner = draft.snapshot.instances.get(instance)
    if owner is None or list(owner.disks) == disks:
        return
    known = [uuid for uuid in disks if uuid in draft.snapshot.disks]
    others = [uuid for uuid in owner.disks if uuid not in known]
    instance_config.set_disks(draft, owner, known)
    for uuid in others:
        draft.remove(draft.snapshot.disks[uuid])


@config_step
def bring_back_instance(
    draft: Draft,
    uuid: str,
    primary: str,
    nodes: dict[str, list[str]],
    nicparams: dict[str, dict[str, Any]],
) -> None:
    """The instance is on this node (again), with its disks (uuid: nodes) and interfaces."""
    instance = draft.snapshot.instances.get(uuid)
    if instance is None or instance.primary_node == primary:
        return
    for disk in draft.snapshot.disks_of(instance):
        draft.update(replace(disk, nodes=tuple(nodes.get(disk.uuid, disk.nodes))))
    nics = tuple(
        replace(nic, nicparams=nicparams.get(nic.uuid, nic.nicparams)) for nic in instance.nics
    )
    draft.update(replace(instance, primary_node=primary, nics=nics))


@config_step
def rename_instance(draft: Draft, uuid: str, name: str) -> None:
    """The instance has this name (again), if it is there."""
    instance = draft.snapshot.instances.get(uuid)
    if instance is not None and instance.name != name:
        instance_config.rename(draft, uuid, name)


@config_step
def forget_node(draft: Draft, uuid: str) -> None:
    """Remove the node and its right to be a candidate, if it is there and holds no instance."""
    snapshot = draft.snapshot
    node = snapshot.nodes.get(uuid)
    if node is None or snapshot.primary_instances(uuid) or snapshot.secondary_instances(uuid):
        return
    draft.remove(node)
    certs = {one: digest for one, digest in snapshot.cluster.candidate_certs.items() if one != uuid}
    if certs != snapshot.cluster.candidate_certs:
        draft.update_cluster(replace(snapshot.cluster, candidate_certs=certs))


def run_config_step(name: str, arguments: tuple[Any, ...]) -> Callable[[Draft], None]:
    """The transaction of one step."""
    return lambda draft: CONFIG_STEPS[name](draft, *arguments)
