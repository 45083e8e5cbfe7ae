"""Disks of an instance, changed. Rules: facts/master.md D4; steps: facts/storage.md §6."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError, StorageError
from ganeti.logic import create_nics, disk_checks
from ganeti.logic.base import Services
from ganeti.logic.create_request import (
    DISK_KEYS,
    MAX_DISKS,
    check_adoption,
    read_disk,
    storage_directory,
)
from ganeti.logic.disks import directories
from ganeti.logic.modify_items import Plug, PlugStep, Row, find, find_gap
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.opcodes.instance import OpInstanceSetParams
from ganeti.storage import registry as storage
from ganeti.storage.layout import (
    DEFAULT_FILE_DRIVER,
    TRAITS,
    DiskSpec,
    Place,
    file_directory,
    plan_disks,
)
from ganeti.types import ChangeAction, DiskMode, DiskTemplate

Given = Mapping[str, str | int]
WHAT = "disk"


@dataclass(slots=True)
class DiskPlan:
    """The disks as they will be, in order, and what has to be done for it."""

    disks: list[Disk]
    added: list[Disk] = field(default_factory=list)  # to be made
    removed: list[Disk] = field(default_factory=list)
    detached: list[Disk] = field(default_factory=list)
    attached: list[Disk] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    plugs: list[PlugStep] = field(default_factory=list)

    @property
    def leaving(self) -> list[Disk]:
        return [*self.removed, *self.detached]


def check_template(config: Snapshot, template: DiskTemplate) -> None:
    """The template is enabled, and this release can make such disks; STATE, ENVIRON."""
    enabled = config.cluster.enabled_disk_templates
    if template not in enabled:
        raise OpPrereqError(
            f"disk template {template} is not enabled in the cluster; enabled are"
            f" {', '.join(enabled)}",
            Code.STATE,
            hint="gnt-cluster modify --enabled-disk-templates enables others",
        )
    try:
        storage.driver_class(template)
    except StorageError as error:
        raise OpPrereqError(str(error), Code.ENVIRON) from error


def plan_disk_changes(
    services: Services, config: Snapshot, instance: Instance, op: OpInstanceSetParams
) -> DiskPlan:
    """The plan; OpPrereqError, OpExecError. Whether the guest may run is for the caller."""
    plan = DiskPlan(list(config.disks_of(instance)))
    for action, which, given in op.disks:
        match action:
            case ChangeAction.ADD:
                _add(services, config, instance, op, plan, which, given)
            case ChangeAction.MODIFY:
                _modify(services, config, instance, plan, which, given)
            case ChangeAction.REMOVE | ChangeAction.DETACH:
                _take_away(plan, action, which, given)
            case ChangeAction.ATTACH:
                _attach(config, instance, plan, which, given)
    if len(plan.disks) > MAX_DISKS:
        raise OpPrereqError(
            f"instance {instance.name}: {len(plan.disks)} disks, at most {MAX_DISKS} can be",
            Code.STATE,
        )
    create_nics.check_device_names(config, WHAT, [disk.name for disk in plan.disks])
    if plan.added and not op.wait_for_sync and not instance.disks_active:
        raise OpPrereqError(
            f"instance {instance.name} does not use its disks now: new ones have to get in sync"
            " at once",
            Code.INVAL,
            hint="leave out --no-wait-for-sync, or activate the disks before",
        )
    return plan


def _add(
    services: Services,
    config: Snapshot,
    instance: Instance,
    op: OpInstanceSetParams,
    plan: DiskPlan,
    which: int | str,
    given: Given,
) -> None:
    index = find_gap(plan.disks, which, WHAT)
    template = _template_of_new(plan, index, given)
    check_template(config, template)
    spec = read_disk(index, given, template)
    check_adoption([spec], template)
    primary = config.nodes[instance.primary_node]
    (spec,) = disk_checks.adopt(services, config, primary, template, [spec])
    (disk,) = new_disks(
        services, config, instance, op, template, [spec], first=index, like=plan.disks
    )
    plan.disks.insert(index, disk)
    plan.added.append(disk)
    disk_checks.check_new(services, config, primary, instance.hypervisor, {index: disk})
    plan.rows.append((f"disk/{index}", f"add:size={disk.size},mode={disk.mode}"))
    plan.plugs.append(PlugStep(Plug.ADD, disk, index))


def _template_of_new(plan: DiskPlan, index: int, given: Given) -> DiskTemplate:
    """As it is said, else that of the disks there are; INVAL for neither."""
    if "dev_type" in given:
        try:
            return DiskTemplate(str(given["dev_type"]))
        except ValueError:
            raise OpPrereqError(
                f"{WHAT} {index}: {given['dev_type']!r} is no disk template", Code.INVAL
            ) from None
    kinds = {disk.dev_type for disk in plan.disks}
    if len(kinds) != 1:
        raise OpPrereqError(
            f"{WHAT} {index}: of which template has it to be?",
            Code.INVAL,
            hint="say dev_type=TEMPLATE",
        )
    return kinds.pop()


def new_disks(
    services: Services,
    config: Snapshot,
    instance: Instance,
    op: OpInstanceSetParams,
    template: DiskTemplate,
    specs: Sequence[DiskSpec],
    *,
    first: int = 0,
    like: Sequence[Disk] = (),
) -> tuple[Disk, ...]:
    """Disks of the instance that can be made; files go where its other files of the kind are."""
    reservations, owner = services.reservations, services.owner
    ids = services.commit(
        lambda draft: [reservations.unique_id(draft.snapshot, owner) for _ in range(4 * len(specs))]
    )
    supply = iter(ids)
    neighbours = [disk for disk in like if disk.dev_type is template]
    driver, folder = _files(config, instance, op, template, neighbours)
    place = Place(
        instance_uuid=instance.uuid,
        nodes=[node.uuid for node in config.nodes_of(instance)],
        vg=config.cluster.volume_group_name or "",
        file_directory=folder,
        file_driver=driver,
        first_index=first,
    )
    return plan_disks(template, specs, place, lambda: next(supply))


def _files(
    config: Snapshot,
    instance: Instance,
    op: OpInstanceSetParams,
    template: DiskTemplate,
    neighbours: Sequence[Disk],
) -> tuple[str, str]:
    """(driver, directory) of new files."""
    if not TRAITS[template].file_based:
        return op.file_driver or DEFAULT_FILE_DRIVER, ""
    if neighbours and op.file_storage_dir is None:
        return op.file_driver or str(neighbours[0].logical_id[0]), directories(neighbours)[0]
    top = storage_directory(config.cluster, template)
    if not top:
        raise OpPrereqError(
            f"the cluster has no directory for disks of template {template}",
            Code.STATE,
            hint="gnt-cluster modify sets one",
        )
    folder = file_directory(top, op.file_storage_dir, instance.name)
    return op.file_driver or DEFAULT_FILE_DRIVER, posixpath.normpath(folder)


def _modify(
    services: Services,
    config: Snapshot,
    instance: Instance,
    plan: DiskPlan,
    which: int | str,
    given: Given,
) -> None:
    index = find(plan.disks, which, WHAT)
    disk = plan.disks[index]
    own = {key: value for key, value in given.items() if key not in ("mode", "name")}
    fixed = own.keys() & (DISK_KEYS - {"access"})
    if own and not TRAITS[disk.dev_type].own_params or fixed:
        raise OpPrereqError(
            f"{WHAT} {index}: {sorted(fixed or own)[0]} can't be changed, only mode and name can",
            Code.INVAL,
            hint="gnt-instance grow-disk changes the size" if "size" in own else "",
        )
    made = disk
    if "name" in given:
        name = str(given["name"])
        made = replace(made, name=None if name.lower() == "none" else name)
        plan.rows.append((f"disk.name/{index}", made.name))
    if "mode" in given:
        made = replace(made, mode=_mode(index, str(given["mode"])))
        plan.rows.append((f"disk.mode/{index}", made.mode.value))
    if own:
        made = replace(made, params={**(disk.params or {}), **own})
        primary = config.nodes[instance.primary_node]
        disk_checks.check_new(services, config, primary, instance.hypervisor, {index: made})
        plan.rows += [(f"disk.params:{key}/{index}", value) for key, value in sorted(own.items())]
    plan.disks[index] = made


def _mode(index: int, text: str) -> DiskMode:
    try:
        return DiskMode(text)
    except ValueError:
        raise OpPrereqError(
            f"{WHAT} {index}: mode {text!r} is neither {' nor '.join(DiskMode)}", Code.INVAL
        ) from None


def _take_away(plan: DiskPlan, action: ChangeAction, which: int | str, given: Given) -> None:
    if given:
        raise OpPrereqError(f"{action} of a disk takes no parameters", Code.INVAL)
    index = find(plan.disks, which, WHAT)
    disk = plan.disks.pop(index)
    if disk in plan.added:
        raise OpPrereqError(f"{WHAT} {index} is added and taken away at once", Code.INVAL)
    (plan.removed if action is ChangeAction.REMOVE else plan.detached).append(disk)
    plan.rows.append((f"disk/{index}", action.value))
    plan.plugs.append(PlugStep(Plug.REMOVE, disk, index))


def _attach(
    config: Snapshot, instance: Instance, plan: DiskPlan, which: int | str, given: Given
) -> None:
    """A disk that belongs to no instance; NOENT, INVAL."""
    if len(given) != 1 or not given.keys() <= {"uuid", "name"}:
        raise OpPrereqError("a disk to attach is named by either uuid or name", Code.INVAL)
    ((key, value),) = given.items()
    found = [disk for disk in config.disks.values() if getattr(disk, key) == value]
    if len(found) != 1:
        raise OpPrereqError(f"there are {len(found)} disks of {key} {value!r}", Code.NOENT)
    (disk,) = found
    owner = config.owner_of(disk.uuid)
    if owner is not None and disk not in plan.detached:
        raise OpPrereqError(f"disk {value!r} belongs to instance {owner.name}", Code.INVAL)
    check_template(config, disk.dev_type)
    if plan.disks and disk.dev_type is not plan.disks[0].dev_type:
        raise OpPrereqError(
            f"disk {value!r} is of template {disk.dev_type}, those of {instance.name} are not",
            Code.INVAL,
        )
    if disk.nodes and instance.primary_node not in disk.nodes:
        raise OpPrereqError(f"disk {value!r} is not on the node of {instance.name}", Code.INVAL)
    index = find_gap(plan.disks, which, WHAT)
    plan.disks.insert(index, disk)
    plan.attached.append(disk)
    plan.rows.append((f"disk/{index}", f"attach:size={disk.size},mode={disk.mode}"))
    plan.plugs.append(PlugStep(Plug.ADD, disk, index))
