"""Disks of another template in place of those an instance has: made anew and copied.

Rules: facts/master.md D4, disk template; steps: facts/storage.md §6, Conversions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.logic import ask, disk_checks, disks, instance_config, instance_state
from ganeti.logic.base import Services, Undo
from ganeti.logic.modify_disks import check_template, new_disks
from ganeti.model.disk import Disk, template_of
from ganeti.model.instance import Instance
from ganeti.opcodes.instance import OpInstanceSetParams
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.storage.layout import TRAITS, DiskSpec
from ganeti.types import AdminState, DiskTemplate


@dataclass(frozen=True, slots=True)
class Conversion:
    """Disk by disk: what there is, and what comes in its place."""

    instance: Instance
    before: tuple[Disk, ...]
    after: tuple[Disk, ...]


def plan_conversion(
    services: Services, config: Snapshot, instance: Instance, op: OpInstanceSetParams
) -> Conversion:
    """The plan; INVAL, STATE, ENVIRON."""
    assert op.disk_template is not None
    wanted = op.disk_template
    before = config.disks_of(instance)
    now = template_of(before)
    for template in (now, wanted):
        if template in (DiskTemplate.DISKLESS, "mixed") or (
            template is wanted and TRAITS[wanted].must_adopt
        ):
            raise OpPrereqError(
                f"instance {instance.name}: disks can't be converted from {now} to {wanted}",
                Code.INVAL,
            )
    if wanted == now:
        raise OpPrereqError(
            f"instance {instance.name} has disks of template {wanted} already", Code.INVAL
        )
    check_template(config, wanted)
    ask.primary_online(config, instance)
    ask.admin_state(instance, (AdminState.DOWN,), "converting its disks")
    instance_state.not_running(services, config, instance, "converting its disks")
    specs = [_spec(disk, op) for disk in before]
    if TRAITS[wanted].own_params:
        for index, spec in enumerate(specs):
            disk_checks.check_provider(f"disk {index}", spec.provider)
    after = new_disks(services, config, instance, op, wanted, specs)
    primary = config.nodes[instance.primary_node]
    disk_checks.check_new(services, config, primary, instance.hypervisor, dict(enumerate(after)))
    return Conversion(instance, before, after)


def _spec(disk: Disk, op: OpInstanceSetParams) -> DiskSpec:
    own: dict[str, Json] = dict(op.ext_params)
    provider = own.pop("provider", None)
    return DiskSpec(
        size_mib=disk.size,
        mode=disk.mode,
        name=disk.name,
        provider=None if provider is None else str(provider),
        params=own,
    )


def carry_out(
    services: Services, conversion: Conversion, op: OpInstanceSetParams, undo: Undo
) -> None:
    """The instance has the new disks, with the contents of the old ones, which are left alone.

    OpExecError; then it has the old ones.
    """
    config, instance = services.snapshot(), conversion.instance
    disks.create(services, config, undo, instance, conversion.after)
    primary = config.nodes[instance.primary_node]
    pairs = list(zip(*(_on_primary(config, instance, side) for side in _sides(conversion))))
    for index, (source, target) in enumerate(pairs):
        services.feedback(f"* copying disk {index}")
        services.rpc.ask(primary, calls.blockdev_convert, source, target).get(
            f"copying disk {index} of {instance.name}"
        )
    old = [disk.uuid for disk in conversion.before]
    undo.before_config("bring_back_disks", instance.uuid, old)
    services.commit(lambda draft: _swap(draft, conversion))
    config = services.snapshot()
    stored = config.instances[instance.uuid]
    whole = disks.wait_for_sync(services, config, stored, once=not op.wait_for_sync)
    if not whole and op.wait_for_sync:
        raise OpExecError(f"disks of instance {instance.name} are degraded")
    disks.shut_down(services, config, stored)


def _sides(conversion: Conversion) -> tuple[tuple[Disk, ...], tuple[Disk, ...]]:
    return conversion.before, conversion.after


def _on_primary(config: Snapshot, instance: Instance, some: tuple[Disk, ...]) -> list[Disk]:
    """As the primary node gets them; of a mirror the data it holds are meant."""
    found = [
        one.disk for one in disks.on_nodes(config, instance.primary_node, some) if one.on_primary
    ]
    return [disk.children[0] if TRAITS[disk.dev_type].mirrored else disk for disk in found]


def _swap(draft: Draft, conversion: Conversion) -> None:
    """The new disks in place of the old ones, which are forgotten when all is done."""
    instance = draft.snapshot.instances[conversion.instance.uuid]
    for disk in conversion.after:
        draft.add(disk)
    instance_config.set_disks(draft, instance, [disk.uuid for disk in conversion.after])
    for disk in conversion.before:
        draft.update(replace(draft.snapshot.disks[disk.uuid], iv_name=""))


def finish(services: Services, conversion: Conversion) -> None:
    """The old disks are not known any more, and their devices are gone; what is left is told."""

    def forget(draft: Draft) -> None:
        for disk in conversion.before:
            draft.remove(disk)
        nothing_else = replace(conversion.instance, nics=(), network_port=None)
        instance_config.free(draft, nothing_else, conversion.before)

    config = services.snapshot()
    services.commit(forget)
    disks.remove(services, config, conversion.instance, conversion.before, keep=conversion.after)
