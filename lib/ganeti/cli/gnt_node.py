"""gnt-node: the machines of the cluster."""

from __future__ import annotations

from ganeti.cli import info, options
from ganeti.cli.app import Argument, Program, many, one
from ganeti.cli.lists import NODES, print_page
from ganeti.cli.node_moves import add_move_commands
from ganeti.cli.run import Run
from ganeti.cli.tags import add_tag_commands
from ganeti.serializer import Json
from ganeti.types import TagKind
from ganeti.utils.text import nice_sorted

PROGRAM = Program("gnt-node", aliases={"show": "info"}, environment_defaults=("list",))

INFO_FIELDS = [
    "name", "pip", "sip", "pinst_list", "sinst_list", "master_candidate", "drained", "offline",
    "master_capable", "vm_capable", "powered", "ndparams", "custom_ndparams",
]  # fmt: skip

READD = options.switch("--readd", dest="readd", help="bring back a node that is configured already")
FORCE_JOIN = options.switch("--force-join", dest="force_join", help="has no effect any more")
MASTER_CANDIDATE = options.value(
    "-C",
    "--master-candidate",
    dest="master_candidate",
    kind="bool",
    metavar="yes|no",
    help="is a master candidate",
)
DRAINED = options.value(
    "-D", "--drained", dest="drained", kind="bool", metavar="yes|no", help="gets no new instances"
)
OFFLINE = options.value(
    "-O", "--offline", dest="offline", kind="bool", metavar="yes|no", help="is not to be talked to"
)
AUTO_PROMOTE = options.switch(
    "--auto-promote",
    dest="auto_promote",
    help="let other nodes become master candidates in its place",
)
NODE_POWERED = options.value(
    "--node-powered",
    dest="node_powered",
    kind="bool",
    metavar="yes|no",
    help="what is recorded of its power",
)
STORAGE_TYPE = options.value(
    "-t",
    "--storage-type",
    dest="user_storage_type",
    choices=("file", "lvm-pv", "lvm-vg", "sharedfile", "gluster"),
    metavar="STORAGE_TYPE",
    help="kind of storage; by default that of the first enabled disk template",
)
ALLOCATABLE = options.value(
    "--allocatable",
    dest="allocatable",
    kind="bool",
    metavar="yes|no",
    help="takes new volumes",
)
CONFIRM = options.switch("--yes", dest="confirm", help="skip the question")
IGNORE_STATUS = options.switch(
    "--ignore-status", dest="ignore_status", help="do not mark the nodes offline first"
)
DO_LOCKING = options.switch("--sync", dest="do_locking", help="lock the nodes meanwhile")
NODE_SETUP = options.switch(
    "--no-node-setup", dest="node_setup", default=True, help="has no effect any more"
)


@PROGRAM.command("list", args=many("node"), options=options.LISTING)
def list_nodes(run: Run) -> int:
    """List nodes; all, or those with the names or a filter."""
    return NODES.show(run)


@PROGRAM.command("list-fields", args=many("free"), options=options.FIELD_LISTING)
def list_fields(run: Run) -> int:
    """List the fields that nodes have."""
    return NODES.show_fields(run)


@PROGRAM.command("info", args=many("node"), options=[options.FORMAT])
def show_info(run: Run) -> None:
    """Show all that is configured about nodes."""
    rows = run.master.call("QueryNodes", run.names, INFO_FIELDS, False)
    print_page(run, [_page(dict(zip(INFO_FIELDS, row))) for row in rows])


def _page(node: dict[str, Json]) -> info.Fields:
    page = info.Fields()
    page.add("Node name", node["name"])
    page.add("primary ip", node["pip"])
    page.add("secondary ip", node["sip"])
    page.add("master candidate", node["master_candidate"])
    page.add("drained", node["drained"])
    page.add("offline", node["offline"])
    if node["powered"] is not None:
        page.add("powered", node["powered"])
    page.add("master_capable", node["master_capable"])
    page.add("vm_capable", node["vm_capable"])
    if node["vm_capable"]:
        page.add("primary for instances", nice_sorted(node["pinst_list"]))
        page.add("secondary for instances", nice_sorted(node["sinst_list"]))
    own = node["custom_ndparams"] or {}
    page.add("node parameters", info.inherited(node["ndparams"] or {}, own))
    return page


@PROGRAM.command(
    "add",
    args=one("host"),
    options=[
        options.SECONDARY_IP,
        READD,
        options.SSH_KEY_CHECK,
        FORCE_JOIN,
        NODE_SETUP,
        options.VERBOSE,
        options.NODE_GROUP,
        options.PRIORITY,
        options.MASTER_CAPABLE,
        options.VM_CAPABLE,
        options.NODE_PARAMETERS,
        options.HYPERVISOR_STATE,
        options.DISK_STATE,
    ],
)
def add(run: Run) -> None:
    """Add a node to the cluster.

    The machine gets the cluster's keys over SSH, its node daemon is started, and a job makes it a
    node. With --readd it is set up again and keeps its place.
    """
    from ganeti.cli.node_add import add_node

    add_node(run)


@PROGRAM.command("remove", args=one("node"), options=[options.DRY_RUN, options.PRIORITY])
def remove(run: Run) -> None:
    """Remove a node, which must have no instances any more."""
    from ganeti.opcodes.node import OpNodeRemove

    run.submit(OpNodeRemove(node_name=run.names[0]))


@PROGRAM.command(
    "modify",
    args=one("node"),
    options=[
        options.FORCE,
        *options.SUBMITTING,
        MASTER_CANDIDATE,
        DRAINED,
        OFFLINE,
        options.MASTER_CAPABLE,
        options.VM_CAPABLE,
        options.SECONDARY_IP,
        AUTO_PROMOTE,
        options.DRY_RUN,
        options.PRIORITY,
        options.NODE_PARAMETERS,
        NODE_POWERED,
        options.HYPERVISOR_STATE,
        options.DISK_STATE,
    ],
)
def modify(run: Run) -> int | None:
    """Change role, capabilities or parameters of a node."""
    from ganeti.cli.node_modify import modify_node

    return modify_node(run)


@PROGRAM.command(
    "list-storage",
    args=many("node"),
    options=[
        options.NO_HEADERS,
        options.SEPARATOR,
        options.UNITS,
        options.OUTPUT,
        STORAGE_TYPE,
        options.PRIORITY,
        options.FORMAT,
    ],
)
def list_storage(run: Run) -> None:
    """List the storage units of nodes, of one kind."""
    from ganeti.cli import node_storage

    node_storage.list_storage(run)


@PROGRAM.command(
    "volumes",
    args=many("node"),
    options=[
        options.NO_HEADERS,
        options.SEPARATOR,
        options.UNITS,
        options.OUTPUT,
        options.PRIORITY,
        options.FORMAT,
    ],
)
def volumes(run: Run) -> None:
    """List the logical volumes of nodes."""
    from ganeti.cli import node_storage

    node_storage.list_volumes(run)


@PROGRAM.command(
    "modify-storage",
    args=(*one("node"), Argument("choice", choices=("lvm-pv",)), *one("file")),
    options=[ALLOCATABLE, options.DRY_RUN, options.PRIORITY, *options.SUBMITTING],
)
def modify_storage(run: Run) -> int | None:
    """Change a storage unit of a node."""
    from ganeti.cli import node_storage

    return node_storage.modify_storage(run)


@PROGRAM.command(
    "powercycle",
    args=one("node"),
    options=[
        options.FORCE,
        CONFIRM,
        options.DRY_RUN,
        options.PRIORITY,
        *options.SUBMITTING,
    ],
)
def powercycle(run: Run) -> None:
    """Reboot a node at once, without shutting it down."""
    from ganeti.opcodes.node import OpNodePowercycle

    (name,) = run.names
    question = f"Reboot node {name} now, with all that runs there?"
    run.require(run.options.confirm, question, status=2, option="--yes")
    result = run.submit(OpNodePowercycle(node_name=name, force=run.options.force))
    if result:
        run.err(str(result))


@PROGRAM.command(
    "power",
    args=(Argument("choice", choices=("cycle", "off", "on", "status")), *many("node")),
    options=[
        *options.SUBMITTING,
        AUTO_PROMOTE,
        options.PRIORITY,
        IGNORE_STATUS,
        options.FORCE,
        options.NO_HEADERS,
        options.SEPARATOR,
        options.OOB_TIMEOUT,
        options.POWER_DELAY,
    ],
)
def power(run: Run) -> int:
    """Switch nodes on or off by their out-of-band programs, or tell their state."""
    from ganeti.cli import node_power

    return node_power.power(run)


@PROGRAM.command(
    "health",
    args=many("node"),
    options=[options.NO_HEADERS, options.SEPARATOR, options.PRIORITY, options.OOB_TIMEOUT],
)
def health(run: Run) -> int:
    """Tell the health of nodes, as their out-of-band programs see it."""
    from ganeti.cli import node_power

    return node_power.health(run)


@PROGRAM.command(
    "restricted-command",
    args=(*one("free"), *many("node")),
    options=[
        DO_LOCKING,
        options.PRIORITY,
        *options.SUBMITTING,
        options.SHOW_MACHINE_NAMES,
        options.NODE_GROUP,
    ],
    usage="<command> [<node>...]",
)
def restricted_command(run: Run) -> int:
    """Run a command that the nodes allow by name."""
    from ganeti.cli.node_restricted import run_restricted

    return run_restricted(run)


add_move_commands(PROGRAM)
add_tag_commands(PROGRAM, TagKind.NODE)
