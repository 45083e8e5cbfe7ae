"""Questions about new disks that only a node or its hypervisor can answer.

Rules: facts/master.md D1 (19, 20), facts/storage.md §6 (Adoption, Access mode).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ganeti.config.reserve import Kind
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError, ReservationError
from ganeti.hypervisor import registry as hypervisors
from ganeti.logic import disks
from ganeti.logic.base import Services
from ganeti.model.disk import Disk
from ganeti.model.inherit import annotate_disk
from ganeti.model.node import Node
from ganeti.model.params_disk import ACCESS_MODES
from ganeti.model.report import BlockDeviceStatus
from ganeti.rpc import calls
from ganeti.storage.ext_find import NAME
from ganeti.storage.layout import BLOCKDEV_DRIVER, TRAITS, DiskSpec
from ganeti.types import DiskTemplate, HypervisorKind

ADOPTABLE: Final = "/dev/disk/"  # facts/constants.json, ADOPTABLE_BLOCKDEV_ROOT
USERSPACE: Final = ACCESS_MODES[1]


def check_provider(what: str, provider: str | None) -> None:
    """It may be the name of a provider; INVAL."""
    if provider is not None and NAME.fullmatch(provider) is None:
        raise OpPrereqError(
            f"{what}: {provider!r} is no name for a provider of external storage; it has letters,"
            " digits, _ and - only",
            Code.INVAL,
            hint="gnt-storage info shows those there are",
        )


# What a provider and a hypervisor take.


def check_parameters(
    services: Services, config: Snapshot, node: Node, made: Mapping[int, Disk]
) -> None:
    """The providers of external storage take these disks (by index) on this node; INVAL."""
    for index, disk in made.items():
        if not TRAITS[disk.dev_type].own_params:
            continue
        outcome = services.rpc.ask(node, calls.blockdev_verify, disks.as_on(config, node, disk))
        if not outcome.ok:
            raise OpPrereqError(
                f"disk {index}, on node {node.name}: {outcome.error}",
                Code.INVAL,
                hint="gnt-storage info shows providers and parameters, gnt-storage diagnose faults",
            )


def check_access(
    config: Snapshot,
    node: Node,
    hypervisor: HypervisorKind,
    made: Mapping[int, Disk],
) -> None:
    """The disks' way of access is known, and fits the hypervisor; INVAL, STATE."""
    group = config.group_of(node)
    for index, disk in made.items():
        if not TRAITS[disk.dev_type].access:
            continue
        params = annotate_disk(config.cluster, group, disk).params or {}
        access = params.get("access")
        if access not in ACCESS_MODES:
            raise OpPrereqError(
                f"disk {index}: access {access!r} is neither {' nor '.join(ACCESS_MODES)}",
                Code.INVAL,
            )
        if access == USERSPACE and not hypervisors.driver_class(hypervisor).capabilities.uris:
            raise OpPrereqError(
                f"disk {index}: hypervisor {hypervisor} opens no storage by itself"
                f" (access={USERSPACE})",
                Code.STATE,
                hint=f"use access={ACCESS_MODES[0]}",
            )


def check_new(
    services: Services,
    config: Snapshot,
    node: Node,
    hypervisor: HypervisorKind,
    made: Mapping[int, Disk],
) -> None:
    """Disks that are new, or have new parameters, can be used on this node; INVAL, STATE."""
    check_access(config, node, hypervisor, made)
    check_parameters(services, config, node, made)


# Adoption.


def adopt(
    services: Services,
    config: Snapshot,
    node: Node,
    template: DiskTemplate,
    specs: Sequence[DiskSpec],
) -> tuple[DiskSpec, ...]:
    """The disks with the sizes of the devices that they adopt; INVAL, NOTUNIQUE, ENVIRON."""
    paths = [spec.adopt for spec in specs if spec.adopt is not None]
    if not paths or template is not DiskTemplate.BLOCKDEV:
        return tuple(specs)
    _check_paths(services, config, paths)
    outcome = services.rpc.ask(node, calls.bdev_sizes, paths)
    if not outcome.ok:
        raise OpPrereqError(
            f"node {node.name} can't tell the sizes of the devices: {outcome.error}", Code.ENVIRON
        )
    sizes = outcome.get()
    missing = [path for path in paths if path not in sizes]
    if missing:
        raise OpPrereqError(
            f"node {node.name} has no block device {', '.join(missing)} to adopt", Code.INVAL
        )
    _check_aliases(services, config, node, paths)
    return tuple(
        spec if spec.adopt is None else replace(spec, size_mib=sizes[spec.adopt]) for spec in specs
    )


def _check_paths(services: Services, config: Snapshot, paths: Sequence[str]) -> None:
    for path in paths:
        if posixpath.normpath(path) != path or not path.startswith(ADOPTABLE):
            raise OpPrereqError(
                f"device {path} can't be adopted: only names below {ADOPTABLE} stay the same",
                Code.INVAL,
            )
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise OpPrereqError(f"device {twice[0]} is to be adopted twice", Code.INVAL)
    owners = {str(disk.logical_id[1]): disk for disk in _adopted(config)}
    for path in paths:
        if path in owners:
            raise OpPrereqError(
                f"device {path} is used already, by {_user(config, owners[path])}", Code.NOTUNIQUE
            )
        try:
            services.reservations.reserve(services.owner, Kind.NAME, ("device", path))
        except ReservationError as error:
            raise OpPrereqError(f"device {path}: {error}", Code.NOTUNIQUE) from error


def _adopted(config: Snapshot) -> Iterator[Disk]:
    return (disk for disk in config.disks.values() if disk.dev_type is DiskTemplate.BLOCKDEV)


def _user(config: Snapshot, disk: Disk) -> str:
    owner = config.owner_of(disk.uuid)
    return f"disk {disk.uuid}" if owner is None else f"instance {owner.name}"


def _check_aliases(services: Services, config: Snapshot, node: Node, paths: Sequence[str]) -> None:
    """No two names lead to the same device, as far as this node sees it; INVAL, NOTUNIQUE."""
    used = list(_adopted(config))
    if len(paths) + len(used) < 2:
        return
    asked = [*used, *(_disk_at(path) for path in paths)]
    outcome = services.rpc.ask(node, calls.blockdev_getmirrorstatus_multi, asked)
    if not outcome.ok:
        raise OpPrereqError(
            f"node {node.name} can't tell what the devices are: {outcome.error}", Code.ENVIRON
        )
    seen: dict[tuple[int | None, int | None], Disk] = {}
    for disk, row in zip(asked, outcome.get()):
        if not isinstance(row.status, BlockDeviceStatus) or row.status.major is None:
            continue  # used on other nodes only
        numbers = (row.status.major, row.status.minor)
        first = seen.setdefault(numbers, disk)
        if first is disk or disk in used:
            continue
        path, same = str(disk.logical_id[1]), str(first.logical_id[1])
        if first in used:
            raise OpPrereqError(
                f"device {path} is the same as {same}, which is used by {_user(config, first)}",
                Code.NOTUNIQUE,
            )
        raise OpPrereqError(f"devices {same} and {path} are the same", Code.INVAL)


def _disk_at(path: str) -> Disk:
    return Disk(uuid="", dev_type=DiskTemplate.BLOCKDEV, logical_id=(BLOCKDEV_DRIVER, path), size=0)
