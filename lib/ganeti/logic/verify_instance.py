"""What is wrong with instances: pure checks of `gnt-cluster verify`. Codes: facts/master.md §A7."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.logic.verify_report import Finding
from ganeti.model.inherit import fill_beparams, fill_ipolicy
from ganeti.model.instance import Instance
from ganeti.model.ipolicy import InstanceSpec, violations
from ganeti.model.report import LDISK_FAULTY, MirrorOutcome
from ganeti.storage.layout import TRAITS
from ganeti.types import AdminState


@dataclass(frozen=True, slots=True)
class Seen:
    """What the nodes told. `running`: node uuid → names of instances; only nodes that answered."""

    running: Mapping[str, Collection[str]]
    disks: Mapping[str, MirrorOutcome]  # disk uuid → state on the primary node


def instance_findings(config: Snapshot, instance: Instance, seen: Seen) -> Iterator[Finding]:
    """Everything about one instance."""
    yield from _policy(config, instance)
    yield from _nodes(config, instance)
    yield from _state(config, instance, seen)
    yield from _disks(config, instance, seen)


def spec_of(config: Snapshot, instance: Instance) -> InstanceSpec:
    """The sizes that an instance policy looks at."""
    disks = config.disks_of(instance)
    beparams = fill_beparams(config.cluster, instance.beparams)
    return InstanceSpec(
        memory=int(beparams["maxmem"]),
        vcpus=int(beparams["vcpus"]),
        disk_sizes=tuple(disk.size for disk in disks),
        disk_templates=tuple(disk.dev_type.value for disk in disks),
        nic_count=len(instance.nics),
        spindle_use=int(beparams["spindle_use"]),
    )


def _policy(config: Snapshot, instance: Instance) -> Iterator[Finding]:
    group = config.group_of(config.nodes[instance.primary_node])
    policy = fill_ipolicy(config.cluster, group)
    for text in violations(policy, spec_of(config, instance)):
        yield Finding("EINSTANCEPOLICY", instance.name, text, is_warning=True)


def _nodes(config: Snapshot, instance: Instance) -> Iterator[Finding]:
    primary = config.nodes[instance.primary_node]
    if primary.offline and instance.admin_state is AdminState.UP:
        text = f"instance is marked as running and lives on offline node {primary.name}"
        yield Finding("EINSTANCEBADNODE", instance.name, text)
    for uuid in config.secondaries_of(instance):
        if uuid not in config.nodes:
            text = f"instance has secondary node {uuid}, which does not exist"
            yield Finding("EINSTANCEBADNODE", instance.name, text)
    for node in config.nodes_of(instance)[1:]:
        if node.offline:
            text = f"instance has offline secondary node {node.name}"
            yield Finding("EINSTANCEBADNODE", instance.name, text)
    for node in config.nodes_of(instance):
        if not node.vm_capable:
            text = f"instance is on node {node.name}, which is not vm_capable"
            yield Finding("EINSTANCEBADNODE", instance.name, text)
    secondaries = config.nodes_of(instance)[1:]
    if len(secondaries) > 1:
        text = f"instance has {len(secondaries)} secondary nodes"
        yield Finding("EINSTANCELAYOUT", instance.name, text, is_warning=True)
    groups = {node.group for node in config.nodes_of(instance)}
    if len(groups) > 1:
        text = "instance has primary and secondary nodes in different groups"
        yield Finding("EINSTANCESPLITGROUPS", instance.name, text, is_warning=True)


def _state(config: Snapshot, instance: Instance, seen: Seen) -> Iterator[Finding]:
    primary = config.nodes[instance.primary_node]
    if instance.admin_state is AdminState.UP and not primary.offline:
        running = seen.running.get(primary.uuid)
        if running is not None and instance.name not in running:
            text = f"instance not running on its primary node {primary.name}"
            yield Finding("EINSTANCEDOWN", instance.name, text)
    for uuid, names in seen.running.items():
        if uuid != primary.uuid and instance.name in names:
            text = f"instance should not run on node {config.nodes[uuid].name}"
            yield Finding("EINSTANCEWRONGNODE", instance.name, text)


def _disks(config: Snapshot, instance: Instance, seen: Seen) -> Iterator[Finding]:
    if not instance.disks_active:
        return
    for number, disk in enumerate(config.disks_of(instance)):
        outcome = seen.disks.get(disk.uuid)
        if outcome is None:
            continue
        if isinstance(outcome.status, str):
            text = f"disk/{number} on its primary node: {outcome.status}"
            yield Finding("EINSTANCEFAULTYDISK", instance.name, text)
        elif outcome.status.is_degraded:
            text = f"disk/{number} is degraded"
            is_faulty = outcome.status.ldisk_status == LDISK_FAULTY
            yield Finding("EINSTANCEFAULTYDISK", instance.name, text, is_warning=not is_faulty)


def notices(config: Snapshot, instances: Collection[Instance]) -> Iterator[str]:
    """Counts that an administrator should know of."""
    lone = [one for one in instances if not _is_redundant(config, one)]
    if lone:
        yield f"{len(lone)} non-redundant instance(s) found."
    manual = [
        one for one in instances if not fill_beparams(config.cluster, one.beparams)["auto_balance"]
    ]
    if manual:
        yield f"{len(manual)} non-auto-balanced instance(s) found."


def _is_redundant(config: Snapshot, instance: Instance) -> bool:
    """Whether its data survives the loss of its primary node."""
    disks = config.disks_of(instance)
    return all(TRAITS[disk.dev_type].mirrored or TRAITS[disk.dev_type].shared for disk in disks)
