"""Changes of a running guest's devices, made by its node. Source: facts/hypervisors.md, Hotplug."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.logic import ask, disks, instance_state
from ganeti.logic.base import WARNING, Services
from ganeti.logic.modify_items import PlugStep
from ganeti.model.disk import Disk
from ganeti.model.fill import filled_nic, node_disk
from ganeti.model.instance import Instance
from ganeti.rpc import calls
from ganeti.serializer import Json, encode

NIC, DISK = "nic", "disk"


def is_possible(
    services: Services, config: Snapshot, instance: Instance, *, required: bool
) -> bool:
    """Whether the guest runs and can be changed now.

    When it runs and can't be changed: STATE if that is `required`, else a warning.
    """
    node = config.nodes[instance.primary_node]
    if node.offline:
        return False
    found = instance_state.ask_info(services.rpc, config, instance)
    if not found.ok or not instance_state.runs(found.get()):
        return False
    filled = ask.filled(config, instance, target=node.uuid)
    outcome = services.rpc.ask(node, calls.hotplug_supported, filled)
    if outcome.ok:
        return True
    text = f"instance {instance.name}: hotplug is not possible: {outcome.error}"
    if required:
        raise OpPrereqError(
            text, Code.STATE, hint="without --hotplug the change is seen at the next start"
        )
    services.feedback(f"{WARNING}{text}; the change is seen at the next start")
    return False


def plug(
    services: Services, config: Snapshot, instance: Instance, step: PlugStep, *, required: bool
) -> None:
    """The guest's device is changed; OpExecError when it could not and that is `required`."""
    node = config.nodes[instance.primary_node]
    filled = ask.filled(config, instance, target=node.uuid)
    device, extra = _device(services, config, instance, step)
    kind = DISK if isinstance(step.device, Disk) else NIC
    outcome = services.rpc.ask(
        node, calls.hotplug_device, filled, step.action, kind, device, extra, step.index
    )
    if outcome.ok:
        return
    text = (
        f"instance {instance.name}: {step.action} of {kind} {step.index} on node {node.name}:"
        f" {outcome.error}"
    )
    if required:
        raise OpExecError(text)
    services.feedback(f"{WARNING}{text}; the change is seen at the next start")


def plug_all(
    services: Services, config: Snapshot, instance: Instance, steps: Sequence[PlugStep]
) -> None:
    """As `plug`; what could not be done is told."""
    for step in steps:
        plug(services, config, instance, step, required=False)


def _device(
    services: Services, config: Snapshot, instance: Instance, step: PlugStep
) -> tuple[Json, Json]:
    """The device as the node gets it, and what else it needs: of a disk its link and address."""
    group = config.group_of(config.nodes[instance.primary_node])
    if not isinstance(step.device, Disk):
        return encode(filled_nic(config.cluster, group, step.device, config.networks)), None
    (one,) = [
        one
        for one in disks.on_nodes(config, instance.primary_node, [step.device])
        if one.on_primary
    ]
    disk = node_disk(config.cluster, group, step.device, one.node.uuid, config.nodes)
    filled = ask.filled(config, instance, target=one.node.uuid)
    found = services.rpc.ask(
        one.node, calls.blockdev_assemble, one.disk, filled, True, step.index
    ).get(f"activating disk {step.index} of {instance.name}")
    return encode(disk), [found.link, found.uri]
