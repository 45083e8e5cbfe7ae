"""gnt-instance: the virtual machines."""

from __future__ import annotations

from ganeti.cli import options
from ganeti.cli.app import Program, many, one
from ganeti.cli.failure import Refused
from ganeti.cli.instance_changes import add_change_commands
from ganeti.cli.instance_moves import add_move_commands
from ganeti.cli.lists import INSTANCES, print_page
from ganeti.cli.run import Run
from ganeti.cli.tags import add_tag_commands
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.types import RebootType, TagKind

PROGRAM = Program(
    "gnt-instance",
    aliases={"start": "startup", "stop": "shutdown", "show": "info"},
    environment_defaults=("list",),
)

STATIC = options.switch("-s", "--static", dest="static", help="what is configured, ask no node")
SHOW_COMMAND = options.switch(
    "--show-cmd", dest="show_command", help="print the command of the console, do not run it"
)
PAUSED = options.switch("--paused", dest="startup_paused", help="start with stopped CPUs")
TIMEOUT = options.value(
    "--timeout", dest="timeout", kind="int", default=120, help="seconds for a clean stop"
)
REBOOT_TYPE = options.value(
    "-t",
    "--type",
    dest="reboot_type",
    choices=tuple(RebootType),
    default="hard",
    metavar="<REBOOT>",
    help="soft: by the guest; hard: restart, disks stay active; full: stop and start",
)
IGNORE_SECONDARIES = options.switch(
    "--ignore-secondaries", dest="ignore_secondaries", help="go on if secondary nodes fail"
)
IGNORE_FAILURES = options.switch(
    "--ignore-failures",
    dest="ignore_failures",
    help="forget the instance even if its disks can't be removed",
)
FORTHCOMING = options.switch("--forthcoming", dest="forthcoming", help="only reserve what it needs")
COMMIT = options.switch("--commit", dest="commit", help="create what was reserved before")
START = options.switch("--no-start", dest="start", default=True, help="leave it stopped")
NO_INSTALL = options.switch(
    "--no-install", dest="no_install", help="do not run the OS scripts; implies --no-start"
)
NO_NICS = options.switch("--no-nics", dest="no_nics", help="without network interfaces")
HYPERVISOR = options.value(
    "-H",
    "--hypervisor-parameters",
    dest="hypervisor",
    kind="identkeyval",
    help="hypervisor, and parameters for it",
)
PLACEMENT = options.value(
    "-n", "--node", dest="node", metavar="<pnode>[:<snode>]", help="primary and secondary node"
)
SIZE = options.value(
    "-s", "--os-size", dest="sd_size", kind="unit", metavar="<size>", help="one disk of this size"
)
OPPORTUNISTIC = options.switch(
    "--opportunistic-locking",
    dest="opportunistic_locking",
    help="choose among the nodes that are not locked now",
)
# Name and address are checked by default; up to 3.0 only the --no- forms were known.
NAME_CHECK = options.Option(
    ("--name-check",), "store_true", "name_check", "resolve the name", default=True
)
NO_NAME_CHECK = options.switch(
    "--no-name-check", dest="name_check", default=True, help="take the name as it is"
)
IP_CHECK = options.Option(
    ("--ip-check",), "store_true", "ip_check", "probe the name's address", default=True
)
NO_IP_CHECK = options.switch(
    "--no-ip-check", dest="ip_check", default=True, help="do not probe the name's address"
)
HELPER_STARTUP_TIMEOUT = options.value(
    "--helper-startup-timeout",
    dest="helper_startup_timeout",
    kind="int",
    help="seconds the helper machine has to start",
)
HELPER_SHUTDOWN_TIMEOUT = options.value(
    "--helper-shutdown-timeout",
    dest="helper_shutdown_timeout",
    kind="int",
    help="seconds the helper machine has to stop",
)
CREATING = (
    options.BACKEND,
    options.DISK,
    options.DISK_TEMPLATE,
    options.INSTANCE_FILE_STORAGE_DIR,
    options.FILE_DRIVER,
    HYPERVISOR,
    options.IALLOCATOR,
    options.NET,
    PLACEMENT,
    options.NODE_GROUP,
    IP_CHECK,
    NO_IP_CHECK,
    NAME_CHECK,
    NO_NAME_CHECK,
    options.CONFLICTS_CHECK,
    NO_NICS,
    options.WAIT_FOR_SYNC,
    options.OS_PARAMETERS,
    options.OS_PARAMETERS_PRIVATE,
    options.OS_PARAMETERS_SECRET,
    SIZE,
    OPPORTUNISTIC,
    *options.SUBMITTING,
    options.TAGS,
    options.DRY_RUN,
    options.PRIORITY,
)
"""What creation and import have in common."""


@PROGRAM.command("list", args=many("instance"), options=options.LISTING)
def list_instances(run: Run) -> int:
    """List instances; all, or those with the names or a filter."""
    return INSTANCES.show(run)


@PROGRAM.command("list-fields", args=many("free"), options=options.FIELD_LISTING)
def list_fields(run: Run) -> int:
    """List the fields that instances have."""
    return INSTANCES.show_fields(run)


@PROGRAM.command(
    "info",
    args=many("instance"),
    options=[STATIC, options.SHOW_ALL, options.ROMAN, options.PRIORITY, options.FORMAT],
    usage="[-s] {--all | <instance>...}",
)
def show_info(run: Run) -> int:
    """Show all about instances, down to each device."""
    from ganeti.cli.instance_info import page
    from ganeti.opcodes.instance import OpInstanceQueryData

    if bool(run.names) == bool(run.options.show_all):
        if run.names:
            raise Refused("Give either names of instances or --all")
        raise Refused(
            "No instance is named. --all shows all of them,\nwhich takes long in a big cluster."
        )
    found = run.submit(
        OpInstanceQueryData(
            instances=run.names, static=run.options.static, use_locking=not run.options.static
        )
    )
    if not found and run.options.format == "table":
        run.out("No instances.")
        return EXIT_FAILURE
    print_page(run, [page(one, run.options.roman_integers) for one in found.values()])
    return EXIT_SUCCESS


@PROGRAM.command(
    "add",
    args=one("host"),
    options=[
        *CREATING,
        FORTHCOMING,
        COMMIT,
        START,
        options.OS_TYPE,
        options.FORCE_VARIANT,
        NO_INSTALL,
        options.IGNORE_IPOLICY,
        options.COMMUNICATION,
        HELPER_STARTUP_TIMEOUT,
        HELPER_SHUTDOWN_TIMEOUT,
    ],
    usage="[...] -t <template> -n <node>[:<secondary>] -o <os> <name>",
)
def add(run: Run) -> None:
    """Create an instance, install it and start it."""
    from ganeti.cli.instance_create import creation

    run.submit(creation(run.names[0], run.options))


@PROGRAM.command(
    "remove",
    args=one("instance"),
    options=[
        options.FORCE,
        options.SHUTDOWN_TIMEOUT,
        IGNORE_FAILURES,
        *options.SUBMITTING,
        options.DRY_RUN,
        options.PRIORITY,
    ],
)
def remove(run: Run) -> None:
    """Stop an instance and remove it with its disks."""
    from ganeti.opcodes.instance import OpInstanceRemove

    name = run.names[0]
    run.require(
        run.options.force,
        f"Instance {name} will be removed with all its disks, mirrors included. Its data will be"
        " lost. Continue?",
    )
    run.submit(
        OpInstanceRemove(
            instance_name=name,
            shutdown_timeout=run.options.shutdown_timeout,
            ignore_failures=run.options.ignore_failures,
        )
    )


@PROGRAM.command(
    "startup",
    args=many("instance"),
    options=[
        options.FORCE,
        options.FORCE_MULTIPLE,
        *options.SELECTING,
        *options.SUBMITTING,
        options.HYPERVISOR_PARAMETERS,
        options.BACKEND,
        options.DRY_RUN,
        options.PRIORITY,
        options.IGNORE_OFFLINE,
        options.NO_REMEMBER,
        PAUSED,
    ],
)
def startup(run: Run) -> int:
    """Start one or more instances."""
    from ganeti.cli.instance_create import typed_beparams
    from ganeti.cli.selected import for_selected
    from ganeti.opcodes.instance import OpInstanceStartup

    wanted = run.options
    beparams = typed_beparams(wanted.beparams)
    return for_selected(
        run,
        "startup",
        lambda name: OpInstanceStartup(
            instance_name=name,
            force=wanted.force,
            ignore_offline_nodes=wanted.ignore_offline,
            no_remember=wanted.no_remember,
            startup_paused=wanted.startup_paused,
            hvparams=wanted.hvparams,
            beparams=beparams,
        ),
    )


@PROGRAM.command(
    "shutdown",
    args=many("instance"),
    options=[
        options.FORCE,
        *options.SELECTING,
        options.FORCE_MULTIPLE,
        TIMEOUT,
        *options.SUBMITTING,
        options.DRY_RUN,
        options.PRIORITY,
        options.IGNORE_OFFLINE,
        options.NO_REMEMBER,
    ],
)
def shutdown(run: Run) -> int:
    """Stop one or more instances."""
    from ganeti.cli.selected import for_selected
    from ganeti.opcodes.instance import OpInstanceShutdown

    wanted = run.options
    return for_selected(
        run,
        "shutdown",
        lambda name: OpInstanceShutdown(
            instance_name=name,
            force=wanted.force,
            timeout=wanted.timeout,
            ignore_offline_nodes=wanted.ignore_offline,
            no_remember=wanted.no_remember,
        ),
    )


@PROGRAM.command(
    "reboot",
    args=many("instance"),
    options=[
        options.FORCE_MULTIPLE,
        REBOOT_TYPE,
        IGNORE_SECONDARIES,
        *options.SELECTING,
        *options.SUBMITTING,
        options.SHUTDOWN_TIMEOUT,
        options.DRY_RUN,
        options.PRIORITY,
    ],
)
def reboot(run: Run) -> int:
    """Restart one or more instances."""
    from ganeti.cli.selected import for_selected
    from ganeti.opcodes.instance import OpInstanceReboot

    wanted = run.options
    return for_selected(
        run,
        "reboot",
        lambda name: OpInstanceReboot(
            instance_name=name,
            reboot_type=RebootType(wanted.reboot_type),
            ignore_secondaries=wanted.ignore_secondaries,
            shutdown_timeout=wanted.shutdown_timeout,
        ),
    )


@PROGRAM.command("console", args=one("instance"), options=[SHOW_COMMAND, options.PRIORITY])
def console(run: Run) -> int:
    """Open the console of an instance, or tell where it is."""
    from ganeti.cli.console import open_console

    return open_console(run, run.names[0], show=run.options.show_command)


add_change_commands(PROGRAM)
add_move_commands(PROGRAM)
add_tag_commands(PROGRAM, TagKind.INSTANCE)
