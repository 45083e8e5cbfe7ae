"""Commands of gnt-node that take instances away from a node."""

from __future__ import annotations

from ganeti.cli import options
from ganeti.cli.app import Program, one
from ganeti.cli.failure import Refused
from ganeti.cli.instance_changes import EARLY_RELEASE, NEW_SECONDARY
from ganeti.cli.instance_moves import (
    IGNORE_CONSISTENCY,
    MIGRATION_MODE,
    NO_RUNTIME_CHANGES,
    NON_LIVE,
    TARGET,
    follow_jobs,
    mode_of,
)
from ganeti.cli.run import Run
from ganeti.constants import EXIT_CONFIRMATION, EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.types import EvacuateMode
from ganeti.utils.text import nice_sorted

FAILOVER_REFUSED = 2  # as ever; other questions have an exit code of their own

IGNORE_SOFT_ERRORS = options.switch(
    "--ignore-soft-errors",
    dest="ignore_soft_errors",
    help="tell the allocator that small violations do not matter",
)
PRIMARY_ONLY = options.switch(
    "-p", "--primary-only", dest="primary_only", help="only instances that run here"
)
SECONDARY_ONLY = options.switch(
    "-s", "--secondary-only", dest="secondary_only", help="only instances mirrored to here"
)


def add_move_commands(program: Program) -> None:
    """Register all commands of this module."""
    program.command(
        "evacuate",
        args=one("node"),
        options=[
            options.FORCE,
            options.IALLOCATOR,
            IGNORE_SOFT_ERRORS,
            NEW_SECONDARY,
            EARLY_RELEASE,
            options.PRIORITY,
            PRIMARY_ONLY,
            SECONDARY_ONLY,
            *options.SUBMITTING,
        ],
    )(evacuate)
    program.command(
        "failover",
        args=one("node"),
        options=[options.FORCE, IGNORE_CONSISTENCY, options.IALLOCATOR, options.PRIORITY],
    )(failover)
    program.command(
        "migrate",
        args=one("node"),
        options=[
            options.FORCE,
            NON_LIVE,
            MIGRATION_MODE,
            TARGET,
            options.IALLOCATOR,
            options.PRIORITY,
            options.IGNORE_IPOLICY,
            NO_RUNTIME_CHANGES,
            *options.SUBMITTING,
        ],
    )(migrate)


def _instances(run: Run, *, primary: bool, secondary: bool) -> list[str]:
    """Names of the node's instances, sorted; OpPrereqError for an unknown node."""
    fields = ["pinst_list", "sinst_list"]
    found: list[str] = []
    for first, second in run.master.call("QueryNodes", run.names, fields, False):
        found += first if primary else []
        found += second if secondary else []
    return nice_sorted(dict.fromkeys(found))


def evacuate(run: Run) -> int:
    """Take instances away from a node, as an allocator works it out.

    With -n the mirrors of instances go to the given node.
    """
    from ganeti.opcodes.node import OpNodeEvacuate

    (name,), wanted = run.names, run.options
    mode = _evacuation_mode(run)
    names = _instances(
        run,
        primary=mode is not EvacuateMode.SECONDARY,
        secondary=mode is not EvacuateMode.PRIMARY,
    )
    if not names:
        run.err(f"No instances to evacuate on node(s) {name}, exiting.")
        return EXIT_SUCCESS
    if not wanted.force and not run.confirm(
        f"Relocate instance(s) {', '.join(names)} from node(s) {name}?"
    ):
        raise Refused(status=EXIT_CONFIRMATION)
    result = run.submit(
        OpNodeEvacuate(
            node_name=name,
            mode=mode,
            remote_node=wanted.dst_node,
            iallocator=None if wanted.dst_node else wanted.iallocator,
            early_release=wanted.early_release,
            ignore_soft_errors=wanted.ignore_soft_errors,
        )
    )
    return follow_jobs(
        run,
        result,
        "All instances evacuated successfully.",
        "There were {} errors during the evacuation.",
    )


def _evacuation_mode(run: Run) -> EvacuateMode:
    wanted = run.options
    if wanted.primary_only and wanted.secondary_only:
        raise OpPrereqError("use either -p or -s", Code.INVAL)
    if wanted.dst_node is not None:
        run.err(
            "New secondary node given (disabling iallocator), hence evacuating secondary instances"
            " only."
        )
        return EvacuateMode.SECONDARY
    if wanted.primary_only:
        return EvacuateMode.PRIMARY
    return EvacuateMode.SECONDARY if wanted.secondary_only else EvacuateMode.ALL


def failover(run: Run) -> int:
    """Fail over all instances that have this node as primary."""
    from ganeti.opcodes.instance import OpInstanceFailover

    (name,), wanted = run.names, run.options
    names = _instances(run, primary=True, secondary=False)
    if not names:
        run.err(f"Node {name} has no primary instances.")
        return EXIT_SUCCESS
    if not wanted.force and not run.confirm(f"Fail over instance(s) {', '.join(names)}?"):
        raise Refused(status=FAILOVER_REFUSED)
    jobs = run.job_set()
    for one_name in names:
        jobs.add(
            one_name,
            OpInstanceFailover(
                instance_name=one_name,
                ignore_consistency=wanted.ignore_consistency,
                iallocator=wanted.iallocator,
            ),
        )
    jobs.submit()
    failed = sum(not done for done, _ in jobs.wait(tell=True))
    if failed:
        run.out("There were errors during the failover:")
        run.out(f"{failed} error(s) out of {len(names)} instance(s).")
        return EXIT_FAILURE
    run.out(f"All {len(names)} instance(s) failed over successfully.")
    return EXIT_SUCCESS


def migrate(run: Run) -> int:
    """Migrate all instances that have this node as primary."""
    from ganeti.opcodes.node import OpNodeMigrate

    (name,), wanted = run.names, run.options
    if wanted.dst_node is not None and wanted.iallocator is not None:
        raise OpPrereqError("use either -n or -I", Code.INVAL)
    mode = mode_of(wanted)
    names = _instances(run, primary=True, secondary=False)
    if not names:
        run.out(f"No primary instances on node {name}, exiting.")
        return EXIT_SUCCESS
    if not wanted.force and not run.confirm(f"Migrate instance(s) {', '.join(names)}?"):
        raise Refused(status=EXIT_CONFIRMATION)
    result = run.submit(
        OpNodeMigrate(
            node_name=name,
            mode=mode,
            target_node=wanted.dst_node,
            iallocator=wanted.iallocator,
            allow_runtime_changes=wanted.allow_runtime_chgs,
            ignore_ipolicy=wanted.ignore_ipolicy,
        )
    )
    return follow_jobs(
        run,
        result,
        "All instances migrated successfully.",
        "There were {} errors during the node migration.",
    )
