"""The opcode of a new instance, from the options of gnt-instance add.

Source: facts/cli-behaviour.md §9 and §12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganeti.cli.values import read_placement
from ganeti.errors import Code, OpPrereqError, UnitParseError
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, InstanceCreateMode
from ganeti.utils.text import parse_unit

if TYPE_CHECKING:
    from ganeti.model.params import ParamTable
    from ganeti.opcodes.instance import OpInstanceCreate

Indexed = Sequence[tuple[str, Any]]
"""Values of --disk and --net: (index, parameters), in any order."""


def creation(name: str, wanted: Any) -> OpInstanceCreate:
    """The opcode; OpPrereqError INVAL for options that contradict each other."""
    from ganeti.opcodes.instance import OpInstanceCreate

    if wanted.forthcoming and wanted.commit:
        raise OpPrereqError("--forthcoming and --commit exclude each other", Code.INVAL)
    primary, secondary = read_placement(wanted.node) if wanted.node else (None, None)
    hypervisor, hvparams = wanted.hypervisor or (None, {})
    if not isinstance(hvparams, dict):
        raise OpPrereqError(f"-H: parameters of {hypervisor} can't be switched off", Code.INVAL)
    return OpInstanceCreate(
        instance_name=name,
        mode=InstanceCreateMode.CREATE,
        disks=disks_of(wanted),
        disk_template=wanted.disk_template,
        nics=nics_of(wanted),
        beparams=typed_beparams(wanted.beparams),
        hypervisor=hypervisor,
        hvparams=typed_hvparams(hypervisor, hvparams),
        os_type=wanted.os,
        osparams=wanted.osparams,
        osparams_private=wanted.osparams_private,
        osparams_secret=wanted.osparams_secret,
        force_variant=wanted.force_variant,
        no_install=wanted.no_install,
        start=wanted.start,
        pnode=primary,
        snode=secondary,
        iallocator=wanted.iallocator,
        group_name=wanted.nodegroup,
        opportunistic_locking=wanted.opportunistic_locking,
        file_storage_dir=wanted.file_storage_dir,
        file_driver=wanted.file_driver,
        name_check=wanted.name_check,
        ip_check=wanted.ip_check,
        conflicts_check=wanted.conflicts_check,
        wait_for_sync=wanted.wait_for_sync,
        ignore_ipolicy=wanted.ignore_ipolicy,
        forthcoming=wanted.forthcoming,
        commit=wanted.commit,
        tags=wanted.tags.split(",") if wanted.tags else [],
        instance_communication=bool(wanted.instance_communication),
        helper_startup_timeout=wanted.helper_startup_timeout,
        helper_shutdown_timeout=wanted.helper_shutdown_timeout,
    )


def nics_of(wanted: Any) -> list[Json]:
    """The interfaces of --net: one with defaults when nothing is said, none with --no-nics."""
    if wanted.no_nics:
        if wanted.nics:
            raise OpPrereqError("--net and --no-nics exclude each other", Code.INVAL)
        return []
    given = by_index(wanted.nics, "--net")
    return [given.get(index, {}) for index in range(max(given, default=0) + 1)]


def disks_of(wanted: Any) -> list[Json]:
    """The disks of --disk or -s."""
    if wanted.disk_template == DiskTemplate.DISKLESS:
        if wanted.disks or wanted.sd_size is not None:
            raise OpPrereqError(
                "a diskless instance has no disks: leave out --disk, -s", Code.INVAL
            )
        return []
    if wanted.disks and wanted.sd_size is not None:
        raise OpPrereqError("use either --disk or -s", Code.INVAL)
    if wanted.sd_size is not None:
        return [{"size": wanted.sd_size}]
    if not wanted.disks:
        raise OpPrereqError("No disk information specified; give --disk or -s", Code.INVAL)
    given = by_index(wanted.disks, "--disk")
    return [_disk(index, given.get(index, {})) for index in range(max(given) + 1)]


def _disk(index: int, params: Mapping[str, Json]) -> Json:
    """One disk: exactly one of size and adopt, sizes in MiB."""
    disk = dict(params)
    if ("size" in disk) == ("adopt" in disk):
        raise OpPrereqError(f"disk {index}: exactly one of size and adopt is wanted", Code.INVAL)
    if "adopt" in disk:
        disk["size"] = 0
    else:
        disk["size"] = _size(index, disk["size"])
    if "spindles" in disk:
        disk["spindles"] = _whole(index, disk["spindles"])
    return disk


def _size(index: int, text: Json) -> int:
    try:
        return parse_unit(str(text))
    except UnitParseError as error:
        raise OpPrereqError(f"disk {index}: {error}", Code.INVAL) from error


def _whole(index: int, text: Json) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        raise OpPrereqError(f"disk {index}: {text!r} is not a number", Code.INVAL) from None


def by_index(items: Indexed, flag: str) -> dict[int, dict[str, Json]]:
    """Parameters by index; OpPrereqError INVAL for what is no index, or comes twice."""
    found: dict[int, dict[str, Json]] = {}
    for ident, params in items:
        if not (ident.isascii() and ident.isdigit()) or not isinstance(params, dict):
            raise OpPrereqError(f"{flag}: {ident!r} is not an index like 0 or 1", Code.INVAL)
        index = int(ident)
        if index in found:
            raise OpPrereqError(f"{flag}: index {index} is given twice", Code.INVAL)
        found[index] = params
    return found


def typed_beparams(values: Mapping[str, Json]) -> dict[str, Json]:
    """Backend parameters in their types; `memory` stands for minimum and maximum."""
    if not values:
        return {}
    from ganeti.model.params_be import BE_PARAMS

    return _typed({**BE_PARAMS, "memory": BE_PARAMS["maxmem"]}, values)


def typed_hvparams(hypervisor: str | None, values: Mapping[str, Json]) -> dict[str, Json]:
    if not values:
        return {}
    from ganeti.model.params_hv import HV_PARAMS

    known = {str(kind): table for kind, table in HV_PARAMS.items()}
    return _typed(known.get(str(hypervisor), {}), values)


def _typed(table: ParamTable, values: Mapping[str, Json]) -> dict[str, Json]:
    """Known parameters in their types; names that are not known are left to the master."""
    from ganeti.model.params import convert

    return {
        name: convert(table[name].kind, value, name) if name in table else value
        for name, value in values.items()
    }
