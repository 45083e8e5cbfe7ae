"""gnt-cluster: the cluster as a whole."""

from __future__ import annotations

import time

from ganeti.cli import options
from ganeti.cli.app import Argument, Program, many, one
from ganeti.cli.cluster_crypto import RENEWING
from ganeti.cli.cluster_token import OPTIONS as TOKEN_OPTIONS
from ganeti.cli.failure import Refused
from ganeti.cli.lists import print_page
from ganeti.cli.options_cluster import INITIALISING, MODIFYING
from ganeti.cli.run import Run
from ganeti.cli.tags import add_tag_commands
from ganeti.cli.values import read_duration
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, GenericError, OpPrereqError
from ganeti.serializer import Json
from ganeti.types import TagKind

PROGRAM = Program("gnt-cluster", aliases={"masterfailover": "master-failover", "show": "info"})

SIMULATE_ERRORS = options.switch(
    "--debug-simulate-errors", dest="simulate_errors", help="for tests: let most checks fail"
)
ERROR_CODES = options.switch(
    "--error-codes", dest="error_codes", help="print findings for programs to read"
)
SKIP_NPLUSONE = options.switch(
    "--no-nplus1-mem", dest="skip_nplusone_mem", help="do not check memory for failovers"
)
SKIP_HVPARAMS = options.switch(
    "--no-hv-param-assessment",
    dest="skip_hvparam_assessment",
    help="do not judge hypervisor parameters",
)
VERIFY_CLUTTER = options.switch(
    "--verify-ssh-clutter", dest="verify_clutter", help="look for leftovers in authorized_keys"
)
NO_STRICT = options.switch("--no-strict", dest="no_strict", help="bear failing node groups")
FAILURE_ONLY = options.switch(
    "--failure-only", dest="failure_only", help="show only the nodes where it fails"
)
REPLICATION_NETWORK = options.switch(
    "--use-replication-network",
    dest="use_replication_network",
    help="use the nodes' secondary addresses",
)
REDIST_YES_DO_IT = options.switch("--yes-do-it", dest="yes_do_it", help="has no effect")
CONFIRM = options.switch("--yes", dest="confirm", help="skip the question")
NO_VOTING = options.switch(
    "--no-voting", dest="no_voting", help="don't ask the other nodes who the master is"
)
FAILOVER_YES_DO_IT = options.switch(
    "--yes-do-it", dest="yes_do_it", help="with --no-voting: no question"
)
IGNORE_OFFLINE_NODES = options.value(
    "--ignore-offline-nodes",
    dest="ignore_offline_nodes",
    default=True,
    help="no: offline nodes count among those that must answer",
)
ON = options.switch("--on", dest="on", help="switch the nodes on, start the instances")
GROUPS = options.switch("--groups", dest="groups", help="the names are those of node groups")
TO = options.value("--to", dest="to", help="version, as 4.1")
RESUME = options.switch("--resume", dest="resume", help="complete what was broken off")
VERIFY_CODES = tuple(
    "ECLUSTERCERT ECLUSTERCFG ECLUSTERCLIENTCERT ECLUSTERDANGLINGINST ECLUSTERDANGLINGNODES"
    " ECLUSTERFILECHECK EEXTAGS EGROUPDIFFERENTPVSIZE EINSTANCEBADNODE EINSTANCEDOWN"
    " EINSTANCEFAULTYDISK EINSTANCELAYOUT EINSTANCEMISSINGCFGPARAMETER EINSTANCEMISSINGDISK"
    " EINSTANCEPOLICY EINSTANCESPLITGROUPS EINSTANCEUNSUITABLENODE EINSTANCEWRONGNODE ENODEDRBD"
    " ENODEDRBDHELPER ENODEDRBDVERSION ENODEFILECHECK ENODEFILESTORAGEPATHS"
    " ENODEFILESTORAGEPATHUNUSABLE ENODEGLUSTERSTORAGEPATHUNUSABLE ENODEHOOKS ENODEHV ENODELVM"
    " ENODEN1 ENODENET ENODEOOBPATH ENODEORPHANINSTANCE ENODEORPHANLV ENODEOS ENODERPC ENODESETUP"
    " ENODESHAREDFILESTORAGEPATHUNUSABLE ENODESSH ENODETIME ENODEUSERSCRIPTS ENODEVERSION".split()
)
IGNORE_ERRORS = options.value(
    "-I",
    "--ignore-errors",
    dest="ignore_errors",
    choices=VERIFY_CODES,
    default=[],
    many=True,
    help="make this finding a warning; may be given again",
)


@PROGRAM.command("init", args=one("host"), options=INITIALISING)
def init(run: Run) -> None:
    """Create a cluster with this machine as its first node and master."""
    from ganeti.cli.cluster_init import init_request
    from ganeti.master.bootstrap import init_cluster

    request = init_request(run.names[0], run.options)
    trail = run.reason_trail()
    init_cluster(run.world.paths, run.world.hostname, request, run.err, reason=trail)


@PROGRAM.command("destroy", options=[options.YES_DO_IT])
def destroy(run: Run) -> None:
    """Destroy the cluster, which must have no instances and no other nodes."""
    if not run.options.yes_do_it:
        raise Refused("A destroyed cluster can't be brought back. If that is wanted: --yes-do-it")
    from ganeti.master.bootstrap import finalize_destroy
    from ganeti.opcodes.cluster import OpClusterDestroy

    master_uuid = run.submit(OpClusterDestroy())
    finalize_destroy(run.world.paths, run.world.hostname, str(master_uuid))


@PROGRAM.command("getmaster")
def getmaster(run: Run) -> None:
    """Print the name of the master node."""
    run.out(run.world.ssconf("master_node"))


@PROGRAM.command("master-failover", options=[NO_VOTING, FAILOVER_YES_DO_IT, IGNORE_OFFLINE_NODES])
def master_failover(run: Run) -> int:
    """Make this node, a master candidate, the master."""
    import logging

    from ganeti.master import failover

    run.world.cluster_value("master_node")
    logging.getLogger("ganeti").addHandler(logging.NullHandler())  # `say` tells what matters
    wanted = run.options
    if wanted.no_voting:
        run.require(
            wanted.yes_do_it,
            "Without voting, two nodes may be the master when the old one still lives. Go on?",
            option="--yes-do-it",
        )
    settings = failover.FailoverSettings(
        paths=run.world.paths,
        hostname=run.world.hostname,
        say=run.err,
        no_voting=wanted.no_voting,
        count_offline=str(wanted.ignore_offline_nodes).lower() in ("no", "false"),
    )
    try:
        return failover.master_failover(settings)
    except failover.Unhealthy as error:
        raise Refused(str(error)) from error


@PROGRAM.command("master-ping")
def master_ping(run: Run) -> int:
    """Tell by the exit status whether the master daemon answers."""
    try:
        run.master.call("QueryClusterInfo")
    except GenericError:
        return EXIT_FAILURE
    return EXIT_SUCCESS


@PROGRAM.command("version", options=[options.FORMAT])
def version(run: Run) -> None:
    """Print the versions of software, protocols and formats."""
    from ganeti.cli.info import Fields

    found = run.master.call("QueryClusterInfo")
    page = Fields()
    for title, key in (
        ("Software version", "software_version"),
        ("Internode protocol", "protocol_version"),
        ("Configuration format", "config_version"),
        ("OS api version", "os_api_version"),
        ("Export interface", "export_version"),
        ("VCS version", "vcs_version"),
    ):
        page.add(title, found[key])
    print_page(run, page)


@PROGRAM.command("info", options=[options.ROMAN, options.FORMAT])
def show_info(run: Run) -> None:
    """Show the configuration of the cluster."""
    from ganeti.cli.cluster_info import page

    found = run.master.call("QueryClusterInfo")
    print_page(run, page(found, run.options.roman_integers))


@PROGRAM.command(
    "verify",
    options=[
        options.VERBOSE,
        SIMULATE_ERRORS,
        ERROR_CODES,
        SKIP_NPLUSONE,
        SKIP_HVPARAMS,
        options.DRY_RUN,
        options.PRIORITY,
        options.NODE_GROUP,
        IGNORE_ERRORS,
        VERIFY_CLUTTER,
    ],
)
def verify(run: Run) -> int:
    """Check the cluster: configuration, nodes, instances, disks."""
    from ganeti.opcodes.cluster import OpClusterVerify

    wanted = run.options
    skipped = ["nplusone_mem"] if wanted.skip_nplusone_mem else []
    skipped += ["hvparam_assessment"] if wanted.skip_hvparam_assessment else []
    result = run.submit(
        OpClusterVerify(
            verbose=wanted.verbose,
            error_codes=wanted.error_codes,
            debug_simulate_errors=wanted.simulate_errors,
            skip_checks=skipped,
            ignore_errors=wanted.ignore_errors,
            group_name=wanted.nodegroup,
            verify_clutter=wanted.verify_clutter,
        )
    )
    jobs = run.job_set()
    jobs.add_submitted(result["jobs"] if result else [])
    outcomes = jobs.wait()
    clean = all(good and all(results) for good, results in outcomes)
    return EXIT_SUCCESS if clean else EXIT_FAILURE


@PROGRAM.command("verify-disks", options=[options.PRIORITY, options.NODE_GROUP, NO_STRICT])
def verify_disks(run: Run) -> int:
    """Find instances whose disks are not active, and activate them."""
    from ganeti.cli.verify_disks import report
    from ganeti.opcodes.cluster import OpClusterVerifyDisks

    wanted = run.options
    result = run.submit(
        OpClusterVerifyDisks(group_name=wanted.nodegroup, is_strict=not wanted.no_strict)
    )
    jobs = run.job_set()
    jobs.add_submitted(result["jobs"] if result else [])
    return report(run, jobs.wait())


@PROGRAM.command(
    "redist-conf",
    options=[*options.SUBMITTING, options.DRY_RUN, options.PRIORITY, REDIST_YES_DO_IT],
)
def redist_conf(run: Run) -> None:
    """Push the configuration and the ssconf files to all nodes."""
    from ganeti.opcodes.cluster import OpClusterRedistConf

    run.submit(OpClusterRedistConf())


@PROGRAM.command("search-tags", args=one("free"), options=[options.PRIORITY], usage="<regexp>")
def search_tags(run: Run) -> int:
    """Find tags of all objects by a regular expression."""
    from ganeti.opcodes.tags import OpTagsSearch

    found = run.submit(OpTagsSearch(pattern=run.names[0]))
    for path, tag in sorted(found or ()):
        run.out(f"{path} {tag}")
    return EXIT_SUCCESS if found else EXIT_FAILURE


@PROGRAM.command("queue", args=[Argument("choice", choices=("drain", "undrain", "info"))])
def queue(run: Run) -> None:
    """Let the job queue take no more jobs, or take them again, or tell which."""
    match run.names[0]:
        case "drain" | "undrain" as word:
            run.master.call("SetDrainFlag", word == "drain")
        case "info":
            (drained,) = run.master.call("QueryConfigValues", ["drain_flag"])
            run.out(f"The drain flag is {'set' if drained else 'unset'}")
        case word:
            raise _not_valid(word)


@PROGRAM.command(
    "watcher",
    args=[
        Argument("choice", choices=("pause", "continue", "info")),
        Argument("suggest", 0, 1, ("30m", "1h", "4h")),
    ],
)
def watcher(run: Run) -> None:
    """Pause the watcher for a time, or let it go on, or tell which."""
    match run.names:
        case ["pause", duration]:
            until = run.world.now() + read_duration(duration)
            _tell_pause(run, run.master.call("SetWatcherPause", until))
        case ["pause"]:
            raise OpPrereqError("the duration of the pause is missing", Code.INVAL)
        case ["continue", *_]:
            run.master.call("SetWatcherPause", None)
            run.out("The watcher is no longer paused.")
        case ["info", *_]:
            (until,) = run.master.call("QueryConfigValues", ["watcher_pause"])
            _tell_pause(run, until)
        case [word, *_]:
            raise _not_valid(word)


def _tell_pause(run: Run, until: Json) -> None:
    if until is None or until < run.world.now():
        run.out("The watcher is not paused.")
    else:
        run.out(f"The watcher is paused until {time.ctime(until)}.")


def _not_valid(word: str) -> OpPrereqError:
    return OpPrereqError(f"Command {word!r} is not valid.", Code.INVAL)


@PROGRAM.command(
    "command",
    args=many("command", 1),
    options=[options.NODES, options.NODE_GROUP, options.SHOW_MACHINE_NAMES, FAILURE_ONLY],
)
def run_command(run: Run) -> None:
    """Run a command on all nodes, or on some, over SSH."""
    from ganeti.cli.on_nodes import run_everywhere

    run_everywhere(run)


@PROGRAM.command(
    "copyfile",
    args=one("file"),
    options=[options.NODES, REPLICATION_NETWORK, options.NODE_GROUP],
)
def copyfile(run: Run) -> int:
    """Copy a file to all nodes, or to some, over SSH."""
    from ganeti.cli.on_nodes import copy_everywhere

    return copy_everywhere(run)


@PROGRAM.command("modify", options=MODIFYING)
def modify(run: Run) -> int | None:
    """Change parameters of the cluster; the value `default` brings back that of the software."""
    from ganeti.cli.cluster_modify import modify_cluster

    return modify_cluster(run)


@PROGRAM.command("rename", args=one("host"), options=[options.FORCE, options.DRY_RUN])
def rename(run: Run) -> None:
    """Give the cluster another name, and with it another address."""
    from ganeti.opcodes.cluster import OpClusterRename

    (name,) = run.names
    (old,) = run.master.call("QueryConfigValues", ["cluster_name"])
    question = (
        f"Cluster {old} becomes {name}, and the master address changes with it; a connection that"
        " uses that address is cut. Rename it?"
    )
    run.require(run.options.force, question)
    result = run.submit(OpClusterRename(name=name))
    if result:
        run.out(f"Cluster renamed from '{old}' to '{result}'")


@PROGRAM.command("activate-master-ip")
def activate_master_ip(run: Run) -> None:
    """Put the master's address up on the master node."""
    from ganeti.opcodes.cluster import OpClusterActivateMasterIp

    run.submit(OpClusterActivateMasterIp())


@PROGRAM.command("deactivate-master-ip", options=[CONFIRM])
def deactivate_master_ip(run: Run) -> None:
    """Take the master's address down on the master node."""
    from ganeti.opcodes.cluster import OpClusterDeactivateMasterIp

    question = "Connections to the master's address are cut, and RAPI is gone. Take it down?"
    run.require(run.options.confirm, question, option="--yes")
    run.submit(OpClusterDeactivateMasterIp())


@PROGRAM.command(
    "repair-disk-sizes", args=many("instance"), options=[options.DRY_RUN, options.PRIORITY]
)
def repair_disk_sizes(run: Run) -> None:
    """Record the sizes that disks really have; of all instances, or of the named ones."""
    from ganeti.opcodes.cluster import OpClusterRepairDiskSizes

    run.submit(OpClusterRepairDiskSizes(instances=run.names))


@PROGRAM.command("renew-crypto", options=RENEWING)
def renew_crypto(run: Run) -> None:
    """Make new certificates, secrets and SSH keys."""
    from ganeti.cli import cluster_crypto

    cluster_crypto.renew_crypto(run)


@PROGRAM.command(
    "epo",
    args=many("free"),
    options=[
        options.FORCE,
        ON,
        GROUPS,
        options.SHOW_ALL,
        options.OOB_TIMEOUT,
        options.SHUTDOWN_TIMEOUT,
        options.POWER_DELAY,
    ],
    usage="[--on] {--all | --groups <group>... | <node>...}",
)
def epo(run: Run) -> int:
    """Emergency power off: stop instances and switch nodes off; --on: the reverse."""
    from ganeti.cli import cluster_epo

    return cluster_epo.epo(run)


@PROGRAM.command(
    "token",
    args=[
        Argument("choice", choices=("add", "list", "revoke", "permissions")),
        *many("suggest"),
    ],
    options=TOKEN_OPTIONS,
    usage="{add | list | revoke <id>... | permissions}",
    mixed=True,
)
def token(run: Run) -> int:
    """Make, list and revoke tokens for the remote API."""
    from ganeti.cli import cluster_token

    return cluster_token.token(run)


@PROGRAM.command("upgrade", options=[TO, RESUME])
def upgrade(run: Run) -> int:
    """Change to another installed version of the software, on all nodes."""
    from ganeti.cli import cluster_upgrade

    return cluster_upgrade.upgrade(run)


@PROGRAM.command("show-ispecs-cmd")
def show_ispecs(run: Run) -> None:
    """Print the command that would make a cluster with the same instance policy."""
    from ganeti.cli.ipolicy_command import policy_options

    found = run.master.call("QueryClusterInfo")
    words = policy_options(found["ipolicy"], with_std=True)
    run.out(" ".join(["gnt-cluster", "init", *words, found["name"]]))


add_tag_commands(PROGRAM, TagKind.CLUSTER)
