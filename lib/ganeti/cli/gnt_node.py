"""gnt-node: the machines of the cluster."""

from __future__ import annotations

from ganeti.cli import info, options
from ganeti.cli.app import Program, many, one
from ganeti.cli.lists import NODES, print_page
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


add_tag_commands(PROGRAM, TagKind.NODE)
