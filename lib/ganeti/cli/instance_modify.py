"""The opcode of gnt-instance modify, from its options. Forms: facts/cli-behaviour.md §9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganeti.cli.failure import Refused
from ganeti.errors import Code, OpPrereqError, UnitParseError
from ganeti.serializer import Json
from ganeti.types import ChangeAction, DiskTemplate
from ganeti.utils.text import parse_unit

if TYPE_CHECKING:
    from ganeti.cli.run import Run
    from ganeti.opcodes.instance import OpInstanceSetParams

Item = tuple[str, Any]
Change = tuple[ChangeAction, int | str, dict[str, Json]]

ACTIONS = tuple(ChangeAction)
BARE = (ChangeAction.REMOVE, ChangeAction.DETACH)
LAST = -1
NO_VALUE = "default"  # what `-key` means: the inherited value
FILE_TEMPLATES = (DiskTemplate.FILE, DiskTemplate.SHARED_FILE, DiskTemplate.GLUSTER)

REMINDER = (
    "Please don't forget that most parameters take effect only at the next (re)start of the"
    " instance initiated by ganeti; restarting from within the instance will not be enough."
)


def changes(items: Sequence[Item], flag: str) -> list[Change]:
    """`add:…`, `N:remove`, `N:modify,…`, `N:…` as [action, which, parameters]."""
    return [_change(ident, given, flag) for ident, given in items]


def _change(ident: str, given: Any, flag: str) -> Change:
    if not isinstance(given, dict):
        raise OpPrereqError(f"{flag}: {ident!r} can't be switched off", Code.INVAL)
    params = dict(given)
    actions = [word for word in ACTIONS if params.get(word) is True]
    if ident in ACTIONS:
        actions.append(ChangeAction(ident))
    if len(actions) > 1:
        raise OpPrereqError(f"{flag} {ident}: more than one action", Code.INVAL)
    for word in actions:
        params.pop(word, None)
    action = actions[0] if actions else ChangeAction.MODIFY
    if action in BARE and params:
        raise OpPrereqError(f"{flag} {ident}: {action} takes no parameters", Code.INVAL)
    return action, LAST if ident in ACTIONS else _which(ident), params


def _which(ident: str) -> int | str:
    digits = ident.removeprefix("-")
    return int(ident) if digits.isascii() and digits.isdigit() else ident


def disk_changes(items: Sequence[Item]) -> list[Change]:
    """The same for disks: sizes in MiB; a new disk needs one, or a device that has one."""
    made = []
    for action, which, params in changes(items, "--disk"):
        if action == ChangeAction.ADD and not params.keys() & {"size", "adopt"}:
            raise OpPrereqError("--disk: a new disk needs a size", Code.INVAL)
        if "size" in params:
            params["size"] = _size(params["size"])
        if "spindles" in params:
            params["spindles"] = _number(params["spindles"])
        made.append((action, which, params))
    return made


def _size(text: Json) -> int:
    try:
        return parse_unit(str(text))
    except UnitParseError as error:
        raise OpPrereqError(f"--disk: {error}", Code.INVAL) from error


def _number(text: Json) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        raise OpPrereqError(f"--disk: {text!r} is not a number", Code.INVAL) from None


def inherited(values: Mapping[str, Json]) -> dict[str, Json]:
    """Parameters with `-key` said as the master reads it."""
    return {name: NO_VALUE if value is None else value for name, value in values.items()}


def typed_beparams(values: Mapping[str, Json]) -> dict[str, Json]:
    """Backend parameters in their types, but for those that go back to the inherited value."""
    from ganeti.cli.instance_create import typed_beparams as typed

    given = inherited(values)
    kept = {name: value for name, value in given.items() if value == NO_VALUE}
    return {**typed({k: v for k, v in given.items() if k not in kept}), **kept}


def modification(name: str, wanted: Any) -> OpInstanceSetParams:
    """The opcode; OpPrereqError INVAL for options that contradict each other."""
    from ganeti.opcodes.instance import OpInstanceSetParams

    _check(wanted)
    offline = True if wanted.offline_inst else False if wanted.online_inst else None
    template = wanted.disk_template
    return OpInstanceSetParams(
        instance_name=name,
        nics=changes(wanted.nics, "--net"),
        disks=disk_changes(wanted.disks),
        disk_template=template,
        ext_params=wanted.ext_params,
        file_driver=wanted.file_driver,
        file_storage_dir=wanted.file_storage_dir,
        remote_node=wanted.node,
        iallocator=wanted.iallocator,
        pnode=wanted.new_primary_node,
        hvparams=inherited(wanted.hvparams),
        beparams=typed_beparams(wanted.beparams),
        runtime_mem=wanted.runtime_mem,
        os_name=wanted.os,
        osparams=wanted.osparams,
        osparams_private=wanted.osparams_private or None,
        force_variant=wanted.force_variant,
        force=wanted.force,
        wait_for_sync=wanted.wait_for_sync,
        offline=offline,
        conflicts_check=wanted.conflicts_check,
        ignore_ipolicy=wanted.ignore_ipolicy,
        hotplug=wanted.hotplug and wanted.hotplug_now,
        hotplug_if_possible=wanted.hotplug and wanted.hotplug_if_possible,
        instance_communication=wanted.instance_communication,
    )


def _check(wanted: Any) -> None:
    given = (
        *(wanted.nics, wanted.disks, wanted.disk_template, wanted.hvparams, wanted.beparams),
        *(wanted.os, wanted.osparams, wanted.osparams_private, wanted.offline_inst),
        *(wanted.online_inst, wanted.runtime_mem, wanted.new_primary_node),
        wanted.instance_communication is not None,
    )
    if not any(given):
        raise Refused("Please give at least one of the parameters.")
    if wanted.offline_inst and wanted.online_inst:
        raise OpPrereqError("--offline and --online exclude each other", Code.INVAL)
    template = wanted.disk_template
    if bool(wanted.ext_params) != (template == DiskTemplate.EXT):
        raise OpPrereqError(
            "a conversion to ext needs --ext-params, and only that one does", Code.INVAL
        )
    if (wanted.file_driver or wanted.file_storage_dir) and template not in FILE_TEMPLATES:
        raise OpPrereqError(
            "--file-driver and --file-storage-dir are for a conversion to files", Code.INVAL
        )


def modify(run: Run) -> None:
    """Submit it and tell what has changed."""
    from ganeti.cli.changes import tell_changes

    (name,) = run.names
    wanted = run.options
    op = modification(name, wanted)
    if (op.hotplug or op.hotplug_if_possible) and _changes_nic(op):
        run.require(
            wanted.force,
            f"A network interface of the running instance {name} will be changed now, which may cut"
            " its connections. Continue?",
        )
    result = run.submit(op)
    tell_changes(run, f"instance {name}", result)
    if result:
        run.out(REMINDER)


def _changes_nic(op: OpInstanceSetParams) -> bool:
    return any(action == ChangeAction.MODIFY for action, _, _ in op.nics)
