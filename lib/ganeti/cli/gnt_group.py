"""gnt-group: node groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganeti.cli import info, options
from ganeti.cli.app import Argument, Program, many, one
from ganeti.cli.instance_changes import EARLY_RELEASE
from ganeti.cli.instance_moves import TO_GROUP, follow_jobs
from ganeti.cli.lists import JOINED, Listing, print_page
from ganeti.cli.options_cluster import DISK_PARAMETERS, POLICY
from ganeti.cli.run import Run
from ganeti.cli.tags import add_tag_commands
from ganeti.types import QueryResource, TagKind

PROGRAM = Program("gnt-group", environment_defaults=("list",))

ALLOC_POLICY = options.value(
    "--alloc-policy",
    dest="alloc_policy",
    metavar="POLICY",
    help="whether allocators may use it: preferred, last_resort or unallocable",
)
INCLUDE_DEFAULTS = options.switch(
    "--include-defaults", dest="include_defaults", help="what is inherited, too"
)
SEQUENTIAL = options.switch("--sequential", dest="sequential", help="one instance after the other")
FORCE_FAILOVER = options.switch(
    "--force-failover", dest="force_failover", help="stop and start them, migrate none"
)
LISTING = (
    options.NO_HEADERS, options.SEPARATOR, options.OUTPUT, options.VERBOSE, options.FILTER,
    options.FORMAT,
)  # fmt: skip
CHANGING = (options.DRY_RUN, options.PRIORITY, *options.SUBMITTING)
PARAMETERS = (
    ALLOC_POLICY,
    options.NODE_PARAMETERS,
    DISK_PARAMETERS,
    options.HYPERVISOR_STATE,
    options.DISK_STATE,
    *POLICY,
)

INFO_FIELDS = [
    "name", "ndparams", "custom_ndparams", "diskparams", "custom_diskparams", "ipolicy",
    "custom_ipolicy",
]  # fmt: skip


def _parameters(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items()) or "(empty)"


GROUPS = Listing(
    QueryResource.GROUP,
    ["name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams"],
    formats={"node_list": JOINED, "pinst_list": JOINED, "ndparams": _parameters},
)


@PROGRAM.command("list", args=many("group"), options=LISTING)
def list_groups(run: Run) -> int:
    """List node groups; all, or those with the names or a filter."""
    return GROUPS.show(run)


@PROGRAM.command("list-fields", args=many("free"), options=options.FIELD_LISTING)
def list_fields(run: Run) -> int:
    """List the fields that node groups have."""
    return GROUPS.show_fields(run)


@PROGRAM.command("info", args=many("group"), options=[options.FORMAT])
def show_info(run: Run) -> None:
    """Show the parameters and the policy of node groups."""
    rows = run.master.call("QueryGroups", run.names, INFO_FIELDS, False)
    print_page(run, [_page(dict(zip(INFO_FIELDS, row))) for row in rows])


def _page(group: Mapping[str, Any]) -> info.Fields:
    made = info.Fields()
    made.add("Node group", group["name"])
    made.add("Node parameters", info.inherited(group["ndparams"], group["custom_ndparams"]))
    own = group["custom_diskparams"]
    made.add(
        "Disk parameters",
        {
            template: info.inherited(values, own.get(template, {})) if values else "default ({})"
            for template, values in group["diskparams"].items()
        },
    )
    made.add("Instance policy", _policy(group["ipolicy"], group["custom_ipolicy"]))
    return made


def _policy(full: Mapping[str, Any], own: Mapping[str, Any]) -> info.Fields:
    made = info.Fields()
    bounds = [
        info.Fields(
            (
                f"{bound}/{index}",
                info.inherited(pair[bound], pair[bound] if "minmax" in own else {}),
            )
            for bound in ("max", "min")
        )
        for index, pair in enumerate(full["minmax"])
    ]
    made.add("bounds specs", bounds)
    templates = {**full, "disk-templates": ", ".join(full["disk-templates"])}
    shown = info.inherited(templates, {key: templates[key] for key in own})
    made.add("allowed disk templates", shown["disk-templates"])
    for ratio in ("vcpu-ratio", "spindle-ratio"):
        made.add(ratio, shown[ratio])
    return made


@PROGRAM.command("add", args=one("group"), options=[*CHANGING, *PARAMETERS])
def add(run: Run) -> None:
    """Add a node group, which has no nodes yet."""
    from ganeti.opcodes.group import OpGroupAdd

    run.submit(OpGroupAdd(group_name=run.names[0], **_given(run.options)))


@PROGRAM.command("modify", args=one("group"), options=[*CHANGING, *PARAMETERS])
def modify(run: Run) -> None:
    """Change parameters of a node group; the value `default` lets the cluster's count."""
    from ganeti.cli.changes import tell_changes
    from ganeti.opcodes.group import OpGroupSetParams

    (name,) = run.names
    result = run.submit(OpGroupSetParams(group_name=name, **_given(run.options)))
    tell_changes(run, f"node group {name}", result)


def _given(wanted: Any) -> dict[str, Any]:
    """Parameters of the opcode from the options; what was not said is empty."""
    from ganeti.cli.changes import by_type_and_name
    from ganeti.cli.cluster_init import by_ident
    from ganeti.cli.group_policy import policy_of_options

    return {
        "alloc_policy": wanted.alloc_policy,
        "ndparams": wanted.ndparams,
        "diskparams": by_ident(wanted.diskparams, "-D"),
        "hv_state": by_ident(wanted.hv_state, "--hypervisor-state"),
        "disk_state": by_type_and_name(wanted.disk_state),
        "ipolicy": policy_of_options(wanted),
    }


@PROGRAM.command("remove", args=one("group"), options=CHANGING)
def remove(run: Run) -> None:
    """Remove a node group, which must have no nodes any more."""
    from ganeti.opcodes.group import OpGroupRemove

    run.submit(OpGroupRemove(group_name=run.names[0]))


@PROGRAM.command(
    "evacuate",
    args=one("group"),
    options=[
        TO_GROUP,
        options.IALLOCATOR,
        EARLY_RELEASE,
        SEQUENTIAL,
        FORCE_FAILOVER,
        *options.SUBMITTING,
    ],
)
def evacuate(run: Run) -> int:
    """Take all instances of a node group to other groups."""
    from ganeti.opcodes.group import OpGroupEvacuate

    result = run.submit(
        OpGroupEvacuate(
            group_name=run.names[0],
            target_groups=run.options.to or None,
            iallocator=run.options.iallocator,
            early_release=run.options.early_release,
            sequential=run.options.sequential,
            force_failover=run.options.force_failover,
        )
    )
    return follow_jobs(
        run,
        result,
        "All instances evacuated successfully.",
        "There were {} errors during the evacuation.",
    )


@PROGRAM.command("rename", args=(Argument("group", 2, 2),), options=CHANGING, usage="<old> <new>")
def rename(run: Run) -> None:
    """Give a node group another name."""
    from ganeti.opcodes.group import OpGroupRename

    old, new = run.names
    run.submit(OpGroupRename(group_name=old, new_name=new))


@PROGRAM.command(
    "assign-nodes", args=(*one("group"), *many("node")), options=[options.FORCE, *CHANGING]
)
def assign_nodes(run: Run) -> None:
    """Move nodes into a node group."""
    from ganeti.opcodes.group import OpGroupAssignNodes

    group, *nodes = run.names
    run.submit(OpGroupAssignNodes(group_name=group, nodes=nodes, force=run.options.force))


@PROGRAM.command("show-ispecs-cmd", args=many("group"), options=[INCLUDE_DEFAULTS])
def show_ispecs(run: Run) -> None:
    """Print the commands that would make node groups with the same policy."""
    from ganeti.cli.ipolicy_command import policy_options

    field = "ipolicy" if run.options.include_defaults else "custom_ipolicy"
    for name, ipolicy in run.master.call("QueryGroups", run.names, ["name", field], False):
        words = ["gnt-group", "add", *policy_options(ipolicy, with_std=False), name]
        run.out(" ".join(words))


add_tag_commands(PROGRAM, TagKind.NODEGROUP)
