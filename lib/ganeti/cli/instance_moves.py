"""Commands of gnt-instance that take instances to other nodes, and make many at once."""

from __future__ import annotations

from typing import Any

from ganeti.cli import options
from ganeti.cli.app import Program, one
from ganeti.cli.failure import Refused
from ganeti.cli.instance_changes import EARLY_RELEASE
from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.serializer import Json
from ganeti.types import MigrationMode

IGNORE_CONSISTENCY = options.switch(
    "--ignore-consistency",
    dest="ignore_consistency",
    help="go on when disks are degraded, or the old node does not answer",
)
TARGET = options.value("-n", "--target-node", dest="dst_node", metavar="NODE", help="node to go to")
CLEANUP = options.switch(
    "--cleanup", dest="cleanup", help="only put right what an interrupted migration has left"
)
NON_LIVE = options.switch("--non-live", dest="live", default=True, help="stop the guest meanwhile")
MIGRATION_MODE = options.value(
    "--migration-mode",
    dest="migration_mode",
    choices=tuple(MigrationMode),
    help="live: the guest runs on meanwhile; non-live: it does not",
)
ALLOW_FAILOVER = options.switch(
    "--allow-failover", dest="allow_failover", help="fail over when it can't be migrated"
)
IGNORE_VERSIONS = options.switch(
    "--ignore-hvversions",
    dest="ignore_hvversions",
    help="accept different versions of the hypervisor",
)
NO_RUNTIME_CHANGES = options.switch(
    "--no-runtime-changes",
    dest="allow_runtime_chgs",
    default=True,
    help="do not shrink the guest's memory to what the new node has",
)
MOVE_TARGET = options.value("-n", "--node", dest="node", metavar="<node>", help="node to go to")
COMPRESS = options.value(
    "--compress", dest="compress", default="none", help="tool that compresses what is sent"
)
TO_GROUP = options.value(
    "--to", dest="to", metavar="<group>", many=True, help="node group; may be given again"
)


def add_move_commands(program: Program) -> None:
    """Register all commands of this module."""
    running = (options.DRY_RUN, options.PRIORITY)
    program.command(
        "failover",
        args=one("instance"),
        options=[
            options.FORCE,
            IGNORE_CONSISTENCY,
            *options.SUBMITTING,
            options.SHUTDOWN_TIMEOUT,
            *running,
            TARGET,
            options.IALLOCATOR,
            options.IGNORE_IPOLICY,
            CLEANUP,
        ],
    )(failover)
    program.command(
        "migrate",
        args=one("instance"),
        options=[
            options.FORCE,
            NON_LIVE,
            MIGRATION_MODE,
            CLEANUP,
            *running,
            TARGET,
            options.IALLOCATOR,
            ALLOW_FAILOVER,
            options.IGNORE_IPOLICY,
            IGNORE_VERSIONS,
            NO_RUNTIME_CHANGES,
            *options.SUBMITTING,
        ],
    )(migrate)
    program.command(
        "move",
        args=one("instance"),
        options=[
            options.FORCE,
            *options.SUBMITTING,
            MOVE_TARGET,
            COMPRESS,
            options.SHUTDOWN_TIMEOUT,
            *running,
            IGNORE_CONSISTENCY,
            options.IGNORE_IPOLICY,
        ],
    )(move)
    _add_allocating(program)


def _add_allocating(program: Program) -> None:
    """Those for which an allocator chooses the nodes."""
    program.command(
        "change-group",
        args=one("instance"),
        options=[
            TO_GROUP,
            options.IALLOCATOR,
            EARLY_RELEASE,
            options.PRIORITY,
            *options.SUBMITTING,
        ],
    )(change_group)
    program.command(
        "batch-create",
        args=one("file"),
        options=[options.DRY_RUN, options.PRIORITY, options.IALLOCATOR, *options.SUBMITTING],
    )(batch_create)


def check_choice(wanted: Any) -> None:
    if wanted.dst_node is not None and wanted.iallocator is not None:
        raise OpPrereqError("use either -n or -I", Code.INVAL)


def mode_of(wanted: Any) -> MigrationMode | None:
    """As --migration-mode or --non-live say; OpPrereqError INVAL for both."""
    if wanted.migration_mode is not None:
        if not wanted.live:
            raise OpPrereqError("use either --non-live or --migration-mode", Code.INVAL)
        return MigrationMode(wanted.migration_mode)
    return None if wanted.live else MigrationMode.NON_LIVE


def failover(run: Run) -> None:
    """Stop an instance and start it on another node.

    Its disks have to be mirrored there or to be seen from there.
    """
    from ganeti.opcodes.instance import OpInstanceFailover

    (name,), wanted = run.names, run.options
    check_choice(wanted)
    if not wanted.force:
        _ensure_known(run, name)
        run.require(False, f"Instance {name} will be stopped and started elsewhere. Continue?")
    if wanted.ignore_consistency:
        run.require(
            False,
            "Ignoring consistency may lose the last changes, and the instance may run twice if the"
            " old node is still alive. Is that node really off?",
            option="",
        )
    run.submit(
        OpInstanceFailover(
            instance_name=name,
            ignore_consistency=wanted.ignore_consistency,
            shutdown_timeout=wanted.shutdown_timeout,
            target_node=wanted.dst_node,
            iallocator=wanted.iallocator,
            ignore_ipolicy=wanted.ignore_ipolicy,
            cleanup=wanted.cleanup,
        )
    )


def _ensure_known(run: Run, name: str) -> None:
    """Nobody is asked about an instance that is not there."""
    run.master.call("QueryInstances", [name], ["name"], False)


def migrate(run: Run) -> None:
    """Take a running instance to another node without stopping it.

    After an interrupted migration --cleanup finds out where the instance runs.
    """
    from ganeti.opcodes.instance import OpInstanceMigrate

    (name,), wanted = run.names, run.options
    check_choice(wanted)
    mode = mode_of(wanted)
    if not wanted.force:
        _ensure_known(run, name)
        what = (
            f"It will be looked where instance {name} runs, and that will be recorded."
            if wanted.cleanup
            else f"Instance {name} will be migrated. It may stop working if its OS does not bear"
            " that."
        )
        run.require(False, f"{what} Continue?")
    run.submit(
        OpInstanceMigrate(
            instance_name=name,
            mode=mode,
            cleanup=wanted.cleanup,
            target_node=wanted.dst_node,
            iallocator=wanted.iallocator,
            allow_failover=wanted.allow_failover,
            ignore_ipolicy=wanted.ignore_ipolicy,
            ignore_hvversions=wanted.ignore_hvversions,
            allow_runtime_changes=wanted.allow_runtime_chgs,
        )
    )


def move(run: Run) -> None:
    """Copy the disks of an instance to another node, and take it there."""
    from ganeti.opcodes.instance import OpInstanceMove

    (name,), wanted = run.names, run.options
    run.require(
        wanted.force,
        f"Instance {name} will be stopped while its disks are copied to another node. Continue?",
    )
    if not wanted.node:
        raise OpPrereqError("-n NODE is missing: where is it to go?", Code.INVAL)
    run.submit(
        OpInstanceMove(
            instance_name=name,
            target_node=wanted.node,
            shutdown_timeout=wanted.shutdown_timeout,
            ignore_consistency=wanted.ignore_consistency,
            ignore_ipolicy=wanted.ignore_ipolicy,
            compress=wanted.compress,
        )
    )


def follow_jobs(run: Run, result: Any, good: str, bad: str) -> int:
    """Wait for the jobs of an opcode's result; `bad` has a place for the number of errors."""
    if not result:
        return EXIT_SUCCESS
    jobs = run.job_set()
    jobs.add_submitted(result["jobs"])
    outcomes = jobs.wait(tell=True)
    failed = sum(not done for done, _ in outcomes)
    run.out(bad.format(failed) if failed else good)
    return EXIT_FAILURE if failed else EXIT_SUCCESS


def change_group(run: Run) -> int:
    """Take an instance to another node group."""
    from ganeti.opcodes.instance import OpInstanceChangeGroup

    (name,) = run.names
    result = run.submit(
        OpInstanceChangeGroup(
            instance_name=name,
            target_groups=run.options.to or None,
            iallocator=run.options.iallocator,
            early_release=run.options.early_release,
        )
    )
    return follow_jobs(
        run,
        result,
        f"Instance '{name}' changed group successfully.",
        "There were {} errors while changing group of instance '" + name + "'.",
    )


def batch_create(run: Run) -> int:
    """Create the instances that a file describes, placed by one question to the allocator.

    The file holds a JSON list of opcodes as gnt-debug submit-job takes them, OP_INSTANCE_CREATE.
    """
    from ganeti.opcodes.instance import OpInstanceMultiAlloc

    result = run.submit(
        OpInstanceMultiAlloc(
            instances=[_creation(one) for one in _read_batch(run.names[0])],
            iallocator=run.options.iallocator,
        )
    )
    if result and result["failed"]:
        run.err(f"No place was found for: {', '.join(result['failed'])}")
    status = follow_jobs(
        run,
        result,
        "All instances created successfully.",
        "There were {} errors during the creation.",
    )
    return EXIT_FAILURE if result and result["failed"] else status


def _read_batch(name: str) -> list[Json]:
    from pathlib import Path

    from ganeti.errors import ParseError
    from ganeti.serializer import loads

    try:
        value = loads(Path(name).read_bytes(), name)
    except (OSError, ParseError) as error:
        raise Refused(f"Can't parse the instance definition file: {error}") from None
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Refused("Can't parse the instance definition file: a list of instances is expected")
    return value


def _creation(given: Json) -> Any:
    """An opcode; what the file leaves out is as for gnt-instance add. OpPrereqError INVAL."""
    from ganeti import opcodes

    return opcodes.load({"OP_ID": "OP_INSTANCE_CREATE", "mode": "create", **given})
