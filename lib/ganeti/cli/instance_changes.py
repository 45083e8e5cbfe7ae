"""Commands of gnt-instance that change an instance where it is: declarations, and short bodies."""

from __future__ import annotations

from typing import Any

from ganeti.cli import options
from ganeti.cli.app import Argument, Program, many, one
from ganeti.cli.run import Run
from ganeti.errors import Code, OpPrereqError, UnitParseError
from ganeti.types import ReplaceDisksMode
from ganeti.utils.text import parse_unit

SECONDARY = options.value(
    "-n", "--node", dest="node", metavar="<node>", help="secondary node for mirrored disks"
)
PLACEMENT = options.value(
    "-n",
    "--node",
    dest="node",
    metavar="<pnode>[:<snode>]",
    help="other nodes: primary[:secondary]",
)
OFFLINE = options.switch(
    "--offline", dest="offline_inst", help="mark the stopped instance: not to be started"
)
ONLINE = options.switch("--online", dest="online_inst", help="take that mark away")
RUNTIME_MEMORY = options.value(
    "-m",
    "--runtime-memory",
    dest="runtime_mem",
    kind="unit",
    metavar="<size>",
    help="memory of the running guest, from now on",
)
NEW_PRIMARY = options.value(
    "--new-primary",
    dest="new_primary_node",
    metavar="<node>",
    help="record another primary node, when the storage was moved by other means",
)
EXT_PARAMS = options.value(
    "-e",
    "--ext-params",
    dest="ext_params",
    kind="keyval",
    default={},
    help="provider and its parameters, for a conversion to ext",
)
# Up to 3.0 a running guest is changed only when that is said; later unless it is forbidden.
NO_HOTPLUG = options.switch(
    "--no-hotplug", dest="hotplug", default=True, help="do not touch the running guest"
)
HOTPLUG = options.switch("--hotplug", dest="hotplug_now", help="change the running guest as well")
HOTPLUG_IF_POSSIBLE = options.switch(
    "--hotplug-if-possible",
    dest="hotplug_if_possible",
    help="change the running guest as well, where it can be done",
)
NAME_CHECKS = (
    options.Option(("--ip-check",), "store_true", "ip_check", "probe the address", default=True),
    options.Option(("--name-check",), "store_true", "name_check", "resolve the name", default=True),
    options.switch("--no-ip-check", dest="ip_check", default=True, help="do not probe the address"),
    options.switch(
        "--no-name-check", dest="name_check", default=True, help="take the name as it is"
    ),
)
SELECT_OS = options.switch("--select-os", dest="select_os", help="choose the OS from a list")
ABSOLUTE = options.switch("--absolute", dest="absolute", help="the amount is the new size")
DISKS_TO_RECREATE = options.value(
    "--disk",
    dest="disks",
    kind="identkeyval",
    default=[],
    many=True,
    help="N[:size=SIZE,...]: only this disk; may be given again",
)
IGNORE_SIZE = options.switch(
    "--ignore-size", dest="ignore_size", help="take the sizes that the devices have"
)
WAIT_FOR_SYNC = options.switch(
    "--wait-for-sync", dest="wait_for_sync", help="return when the mirrors are in sync"
)
AUTO = options.switch("-a", "--auto", dest="auto", help="find what is broken and replace it")
DISK_LIST = options.value("--disks", dest="disks", help="only these disks: 0,2,...")
EARLY_RELEASE = options.switch(
    "--early-release", dest="early_release", help="free the locks of the old node early"
)
NEW_SECONDARY = options.value(
    "-n", "--new-secondary", dest="dst_node", metavar="NODE", help="another secondary node"
)
ON_PRIMARY = options.switch(
    "-p", "--on-primary", dest="on_primary", help="replace the disks on the primary node"
)
ON_SECONDARY = options.switch(
    "-s", "--on-secondary", dest="on_secondary", help="replace the disks on the secondary node"
)
RUNNING = (options.DRY_RUN, options.PRIORITY)


def add_change_commands(program: Program) -> None:
    """Register all commands of this module."""
    _add_modify(program)
    program.command(
        "rename",
        args=(*one("instance"), *one("host")),
        options=[*NAME_CHECKS, options.FORCE, *options.SUBMITTING, *RUNNING],
    )(rename)
    program.command(
        "reinstall",
        args=many("instance"),
        options=[
            options.FORCE,
            options.OS_TYPE,
            options.FORCE_VARIANT,
            options.FORCE_MULTIPLE,
            *options.SELECTING,
            SELECT_OS,
            *options.SUBMITTING,
            *RUNNING,
            options.OS_PARAMETERS,
            options.OS_PARAMETERS_PRIVATE,
            options.OS_PARAMETERS_SECRET,
        ],
    )(reinstall)
    program.command(
        "grow-disk",
        args=(*one("instance"), Argument("free"), Argument("free")),
        options=[
            *options.SUBMITTING,
            options.WAIT_FOR_SYNC,
            *RUNNING,
            ABSOLUTE,
            options.IGNORE_IPOLICY,
        ],
        usage="<instance> <disk> <amount>",
    )(grow_disk)
    _add_disk_commands(program)


def _add_modify(program: Program) -> None:
    program.command(
        "modify",
        args=one("instance"),
        options=[
            options.BACKEND,
            options.DISK,
            options.FORCE,
            options.HYPERVISOR_PARAMETERS,
            options.NET,
            *options.SUBMITTING,
            options.DISK_TEMPLATE,
            SECONDARY,
            options.IALLOCATOR,
            options.OS_TYPE,
            options.FORCE_VARIANT,
            options.OS_PARAMETERS,
            options.OS_PARAMETERS_PRIVATE,
            *RUNNING,
            options.WAIT_FOR_SYNC,
            OFFLINE,
            ONLINE,
            options.IGNORE_IPOLICY,
            RUNTIME_MEMORY,
            options.CONFLICTS_CHECK,
            NEW_PRIMARY,
            NO_HOTPLUG,
            HOTPLUG,
            HOTPLUG_IF_POSSIBLE,
            options.COMMUNICATION,
            EXT_PARAMS,
            options.FILE_DRIVER,
            options.INSTANCE_FILE_STORAGE_DIR,
        ],
    )(modify)


def _add_disk_commands(program: Program) -> None:
    program.command(
        "recreate-disks",
        args=one("instance"),
        options=[
            *options.SUBMITTING,
            DISKS_TO_RECREATE,
            PLACEMENT,
            *RUNNING,
            options.IALLOCATOR,
        ],
    )(recreate_disks)
    program.command(
        "replace-disks",
        args=one("instance"),
        options=[
            AUTO,
            DISK_LIST,
            options.IALLOCATOR,
            EARLY_RELEASE,
            NEW_SECONDARY,
            ON_PRIMARY,
            ON_SECONDARY,
            *options.SUBMITTING,
            *RUNNING,
            options.IGNORE_IPOLICY,
        ],
    )(replace_disks)
    program.command(
        "activate-disks",
        args=one("instance"),
        options=[*options.SUBMITTING, IGNORE_SIZE, options.PRIORITY, WAIT_FOR_SYNC],
    )(activate_disks)
    program.command(
        "deactivate-disks",
        args=one("instance"),
        options=[options.FORCE, *options.SUBMITTING, *RUNNING],
    )(deactivate_disks)


def modify(run: Run) -> None:
    """Change parameters, disks and network interfaces of an instance.

    --net and --disk take add[:KEY=VALUE,...], remove, N:remove, and N:KEY=VALUE,... for what is
    there already; N is an index, a name or a uuid.
    """
    from ganeti.cli import instance_modify

    instance_modify.modify(run)


def rename(run: Run) -> None:
    """Give a stopped instance another name."""
    from ganeti.opcodes.instance import OpInstanceRename

    old, new = run.names
    if not run.options.name_check:
        run.require(
            run.options.force,
            f"The new name {new} will be taken as it is, whether it resolves or not. Continue?",
        )
    result = run.submit(
        OpInstanceRename(
            instance_name=old,
            new_name=new,
            name_check=run.options.name_check,
            ip_check=run.options.ip_check,
        )
    )
    if result:
        run.out(f"Instance '{old}' renamed to '{result}'")


def reinstall(run: Run) -> int:
    """Install the guest OS of stopped instances again; their data are lost."""
    from ganeti.cli.instance_reinstall import reinstall_selected

    return reinstall_selected(run)


def grow_disk(run: Run) -> None:
    """Make a disk of an instance larger."""
    from ganeti.opcodes.disk import OpInstanceGrowDisk

    name, index, amount = run.names
    run.submit(
        OpInstanceGrowDisk(
            instance_name=name,
            disk=_index(index),
            amount=_amount(amount),
            wait_for_sync=run.options.wait_for_sync,
            absolute=run.options.absolute,
            ignore_ipolicy=run.options.ignore_ipolicy,
        )
    )


def _index(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise OpPrereqError(f"disk {text!r} is not an index like 0 or 1", Code.INVAL)
    return int(text)


def _amount(text: str) -> int:
    try:
        return parse_unit(text)
    except UnitParseError as error:
        raise OpPrereqError(f"amount {text!r}: {error}", Code.INVAL) from error


def recreate_disks(run: Run) -> None:
    """Make lost disks of a stopped instance anew; they are empty."""
    from ganeti.opcodes.disk import OpInstanceRecreateDisks

    wanted = run.options
    if wanted.node and wanted.iallocator:
        raise OpPrereqError("use either -n or -I", Code.INVAL)
    disks = []
    for ident, given in wanted.disks:
        params = dict(given) if isinstance(given, dict) else {}
        if "size" in params:
            params["size"] = _amount(str(params["size"]))
        if "spindles" in params:
            params["spindles"] = _index(str(params["spindles"]))
        disks.append((_index(ident), params))
    run.submit(
        OpInstanceRecreateDisks(
            instance_name=run.names[0],
            disks=disks,
            nodes=[name for name in (wanted.node or "").split(":") if name],
            iallocator=wanted.iallocator,
        )
    )


def replace_disks(run: Run) -> None:
    """Replace halves of mirrored disks, in place or on another node."""
    from ganeti.opcodes.disk import OpInstanceReplaceDisks

    wanted = run.options
    chosen = {
        ReplaceDisksMode.PRIMARY: wanted.on_primary,
        ReplaceDisksMode.SECONDARY: wanted.on_secondary,
        ReplaceDisksMode.AUTO: wanted.auto,
    }
    modes = [mode for mode, said in chosen.items() if said]
    modes += [ReplaceDisksMode.CHANGE] * (bool(wanted.dst_node) + bool(wanted.iallocator))
    if len(modes) != 1:
        raise OpPrereqError("exactly one of -p, -s, -a, -n and -I is wanted", Code.INVAL)
    if wanted.auto and wanted.disks:
        raise OpPrereqError("-a looks at all disks, --disks can't be given with it", Code.INVAL)
    run.submit(
        OpInstanceReplaceDisks(
            instance_name=run.names[0],
            mode=modes[0],
            disks=[_index(text) for text in wanted.disks.split(",")] if wanted.disks else [],
            remote_node=wanted.dst_node,
            iallocator=wanted.iallocator,
            early_release=wanted.early_release,
            ignore_ipolicy=wanted.ignore_ipolicy,
        )
    )


def activate_disks(run: Run) -> None:
    """Make the disks of an instance usable on its node, and tell where they are."""
    from ganeti.opcodes.disk import OpInstanceActivateDisks

    rows: Any = run.submit(
        OpInstanceActivateDisks(
            instance_name=run.names[0],
            ignore_size=run.options.ignore_size,
            wait_for_sync=run.options.wait_for_sync,
        )
    )
    for node, name, path in rows or ():
        run.out(f"{node}:{name}:{path}")


def deactivate_disks(run: Run) -> None:
    """Let go of the disks of a stopped instance."""
    from ganeti.opcodes.disk import OpInstanceDeactivateDisks

    run.submit(OpInstanceDeactivateDisks(instance_name=run.names[0], force=run.options.force))
