"""Options that more than one command has, each declared once.

A command lists the options it takes; parsing, help, completion and the manual page follow from
these rows. Source: facts/cli.json. What only one command has stands beside that command.
"""

from __future__ import annotations

from typing import Any

from ganeti.types import DiskTemplate, FileDriver

Choices = tuple[str, ...]


class Option:
    """One option as data.

    `action` is store, append, count, store_true, store_false or store_const, `kind` the form of the
    value (one of `values.READERS`, or "choice"). `default` of an appending option is an empty list.
    """

    __slots__ = (
        "action", "choices", "const", "default", "dest", "flags", "help", "kind", "metavar",
    )  # fmt: skip

    def __init__(
        self,
        flags: tuple[str, ...],
        action: str,
        dest: str,
        help: str,
        *,
        kind: str = "string",
        default: Any = None,
        choices: Choices = (),
        metavar: str | None = None,
        const: Any = None,
    ) -> None:
        self.flags = flags
        self.action = action
        self.dest = dest
        self.help = help
        self.kind = kind
        self.default = default
        self.choices = choices
        self.metavar = metavar
        self.const = const


def switch(*flags: str, dest: str, help: str, default: bool | None = False) -> Option:
    """An option without a value; one whose default is true turns it off."""
    action = "store_false" if default else "store_true"
    return Option(flags, action, dest, help, default=default)


def mode(*flags: str, dest: str, const: Any, help: str) -> Option:
    """An option that chooses a value by its name; the last one given wins."""
    return Option(flags, "store_const", dest, help, const=const)


def value(
    *flags: str,
    dest: str,
    help: str,
    kind: str = "string",
    default: Any = None,
    choices: Choices = (),
    metavar: str | None = None,
    many: bool = False,
) -> Option:
    """An option with a value; `many` collects the values of all occurrences."""
    return Option(
        flags,
        "append" if many else "store",
        dest,
        help,
        kind="choice" if choices else kind,
        default=default,
        choices=tuple(map(str, choices)),  # an enumeration shows its members otherwise
        metavar=metavar,
    )


# Every command.
DEBUG = Option(
    ("-d", "--debug"), "count", "debug", "show what is done; more often, more", default=0
)
REASON = value("--reason", dest="reason", default=[], help="why, kept in the job's reason trail")

# Jobs.
FORCE = switch("-f", "--force", dest="force", help="skip the question, override soft checks")
DRY_RUN = switch("--dry-run", dest="dry_run", help="end the job after its checks")
PRIORITY = value(
    "--priority",
    dest="priority",
    choices=("low", "normal", "high"),
    metavar="low|normal|high",
    help="priority of the job in the queue",
)
SUBMIT = switch("--submit", dest="submit_only", help="print the job's number and return at once")
PRINT_JOBID = switch(
    "--print-jobid", dest="print_jobid", help="print the bare job number before anything else"
)
SUBMITTING = (SUBMIT, PRINT_JOBID)

# Lists.
NO_HEADERS = switch("--no-headers", dest="no_headers", help="no title row")
SEPARATOR = value("--separator", dest="separator", help="put this between columns, pad nothing")
UNITS = value(
    "--units",
    dest="units",
    choices=("h", "m", "g", "t"),
    help="unit of sizes: m, g, t (without suffix), or h to choose one for each",
)
OUTPUT = value(
    "-o", "--output", dest="output", metavar="FIELDS", help="columns; +A,B adds to the default ones"
)
VERBOSE = switch("-v", "--verbose", dest="verbose", help="more detail; in lists, states in words")
FILTER = switch("-F", "--filter", dest="force_filter", help="the argument is a filter expression")
ROMAN = switch("--roman", dest="roman_integers", help="print integers as roman numerals")
FORMAT = value(
    "--format",
    dest="format",
    choices=("table", "json", "csv", "yaml"),
    default="table",
    metavar="table|json|csv|yaml",
    help="print a table or a page for people, or data for programs",
)
LISTING = (NO_HEADERS, SEPARATOR, UNITS, OUTPUT, VERBOSE, FILTER, FORMAT)
FIELD_LISTING = (NO_HEADERS, SEPARATOR, FORMAT)

# Objects.
TAGS_FROM = value(
    "--from", dest="tags_source", help="read tags from a file, one a line; - is standard input"
)
TAGS = value("--tags", dest="tags", help="tags of the new object, separated by commas")
NODE_GROUP = value(
    "-g", "--node-group", dest="nodegroup", metavar="<nodegroup>", help="only in this node group"
)
NODES = value(
    "-n",
    "--node",
    dest="nodes",
    default=[],
    metavar="<node>",
    many=True,
    help="only this node; may be given again",
)
SHOW_MACHINE_NAMES = switch(
    "-M", "--show-machine-names", dest="show_machine_names", help="begin each line with the node"
)
YES_DO_IT = switch(
    "--yes-do-it", "--ya-rly", dest="yes_do_it", default=None, help="yes, destroy what it destroys"
)
SHOW_ALL = switch("--all", dest="show_all", help="everything in the cluster")
SHUTDOWN_TIMEOUT = value(
    "--shutdown-timeout",
    dest="shutdown_timeout",
    kind="int",
    default=120,
    help="seconds for a clean stop",
)
OOB_TIMEOUT = value(
    "--oob-timeout",
    dest="oob_timeout",
    kind="int",
    default=60,
    help="seconds that the out-of-band program may take",
)
POWER_DELAY = value(
    "--power-delay",
    dest="power_delay",
    kind="float",
    default=2.0,
    help="seconds between switching nodes on",
)

# Instances.
IALLOCATOR = value(
    "-I",
    "--iallocator",
    dest="iallocator",
    metavar="<NAME>",
    help="allocator that chooses the nodes; . is the cluster's default",
)
IGNORE_IPOLICY = switch(
    "--ignore-ipolicy", dest="ignore_ipolicy", help="ignore the instance policy"
)
IGNORE_OFFLINE = switch(
    "--ignore-offline", dest="ignore_offline", help="go on when the instance's node is offline"
)
NO_REMEMBER = switch("--no-remember", dest="no_remember", help="do not record the new state")
BACKEND = value(
    "-B",
    "--backend-parameters",
    dest="beparams",
    kind="keyval",
    default={},
    help="memory, vcpus and other backend parameters",
)
HYPERVISOR_PARAMETERS = value(
    "-H",
    "--hypervisor-parameters",
    dest="hvparams",
    kind="keyval",
    default={},
    help="hypervisor parameters",
)
HYPERVISORS_PARAMETERS = value(
    "-H",
    "--hypervisor-parameters",
    dest="hvparams",
    kind="identkeyval",
    default=[],
    many=True,
    help="parameters of one hypervisor; may be given again",
)
OS_PARAMETERS = value(
    "-O", "--os-parameters", dest="osparams", kind="keyval", default={}, help="OS parameters"
)
OS_PARAMETERS_PRIVATE = value(
    "--os-parameters-private",
    dest="osparams_private",
    kind="keyprivateval",
    default={},
    help="OS parameters that are not shown or logged",
)
OS_PARAMETERS_SECRET = value(
    "--os-parameters-secret",
    dest="osparams_secret",
    kind="keyprivateval",
    default={},
    help="OS parameters that are not shown, logged or stored",
)
OS_TYPE = value("-o", "--os-type", dest="os", metavar="<os>", help="OS definition, or OS+VARIANT")
FORCE_VARIANT = switch(
    "--force-variant", dest="force_variant", help="accept a variant that the OS does not declare"
)
DISK = value(
    "--disk",
    dest="disks",
    kind="identkeyval",
    default=[],
    many=True,
    help="N:size=SIZE,...: one disk; may be given again",
)
NET = value(
    "--net",
    dest="nics",
    kind="identkeyval",
    default=[],
    many=True,
    help="N:ip=IP,...: one network interface; may be given again",
)
DISK_TEMPLATE = value(
    "-t",
    "--disk-template",
    dest="disk_template",
    choices=tuple(sorted(DiskTemplate)),
    metavar="TEMPL",
    help="how the disks are made",
)
FILE_DRIVER = value(
    "--file-driver",
    dest="file_driver",
    choices=tuple(FileDriver),
    metavar="<DRIVER>",
    help="driver of disks in files",
)
INSTANCE_FILE_STORAGE_DIR = value(
    "--file-storage-dir",
    dest="file_storage_dir",
    metavar="<DIR>",
    help="directory of the disks below the cluster's one",
)
CONFLICTS_CHECK = switch(
    "--no-conflicts-check",
    dest="conflicts_check",
    default=True,
    help="do not compare addresses with the defined networks",
)
WAIT_FOR_SYNC = switch(
    "--no-wait-for-sync",
    dest="wait_for_sync",
    default=True,
    help="return before the mirrors are in sync",
)
COMMUNICATION = value(
    "-c",
    "--communication",
    dest="instance_communication",
    kind="bool",
    help="give the guest an interface for talking to its node",
)

# Choosing several instances; the last one given wins.
FORCE_MULTIPLE = switch(
    "--force-multiple", dest="force_multi", help="do not ask when several match"
)


def _selecting(flag: str, const: str, help: str) -> Option:
    return mode(flag, dest="multi_mode", const=const, help=help)


SELECTING = (
    _selecting("--all", "cluster", "all instances of the cluster"),
    _selecting("--instance", "instances", "the arguments are instances (as by default)"),
    _selecting("--node", "nodes", "instances of the nodes that are named"),
    _selecting("--primary", "nodes-pri", "instances whose primary node is named"),
    _selecting("--secondary", "nodes-sec", "instances whose secondary node is named"),
    _selecting("--tags", "instances-by-tags", "instances with one of the tags"),
    _selecting("--node-tags", "nodes-by-tags", "instances of nodes with one of the tags"),
    _selecting("--pri-node-tags", "nodes-pri-by-tags", "the same, primary nodes only"),
    _selecting("--sec-node-tags", "nodes-sec-by-tags", "the same, secondary nodes only"),
)

# Choosing jobs by their state.
PENDING = mode(
    "--pending",
    dest="status_filter",
    const=["canceling", "queued", "waiting"],
    help="jobs that have not begun",
)
QUEUED = mode("--queued", dest="status_filter", const=["queued"], help="queued jobs")
WAITING = mode("--waiting", dest="status_filter", const=["waiting"], help="jobs waiting for locks")

# Nodes.
SECONDARY_IP = value(
    "-s",
    "--secondary-ip",
    dest="secondary_ip",
    metavar="ADDRESS",
    help="address in the replication network",
)
SSH_KEY_CHECK = switch(
    "--no-ssh-key-check", dest="ssh_key_check", default=True, help="accept unknown host keys"
)
MASTER_CAPABLE = value(
    "--master-capable",
    dest="master_capable",
    kind="bool",
    metavar="yes|no",
    help="may become master candidate",
)
VM_CAPABLE = value(
    "--vm-capable", dest="vm_capable", kind="bool", metavar="yes|no", help="may have instances"
)
NODE_PARAMETERS = value("--node-parameters", dest="ndparams", kind="keyval", help="node parameters")
HYPERVISOR_STATE = value(
    "--hypervisor-state",
    dest="hv_state",
    kind="identkeyval",
    default=[],
    many=True,
    help="figures for one hypervisor (not used)",
)
DISK_STATE = value(
    "--disk-state",
    dest="disk_state",
    kind="identkeyval",
    default=[],
    many=True,
    help="figures for one kind of storage (not used)",
)
