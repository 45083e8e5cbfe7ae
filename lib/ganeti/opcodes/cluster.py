"""Opcodes of the cluster as a whole."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import distinct, words
from ganeti.opcodes.types import (
    JOBS,
    JOBS_OR_NULL,
    Hypervisor,
    JsonObject,
    ListChange,
    Name,
    NicParams,
    NotNegative,
    Positive,
    PrivateParams,
)
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, SshKeyType

VERIFY_CODES = """
    ECLUSTERCERT ECLUSTERCFG ECLUSTERCLIENTCERT ECLUSTERDANGLINGINST ECLUSTERDANGLINGNODES
    ECLUSTERFILECHECK EEXTAGS EGROUPDIFFERENTPVSIZE EINSTANCEBADNODE EINSTANCEDOWN
    EINSTANCEFAULTYDISK EINSTANCELAYOUT EINSTANCEMISSINGCFGPARAMETER EINSTANCEMISSINGDISK
    EINSTANCEPOLICY EINSTANCESPLITGROUPS EINSTANCEUNSUITABLENODE EINSTANCEWRONGNODE ENODEDRBD
    ENODEDRBDHELPER ENODEDRBDVERSION ENODEFILECHECK ENODEFILESTORAGEPATHS
    ENODEFILESTORAGEPATHUNUSABLE ENODEGLUSTERSTORAGEPATHUNUSABLE ENODEHOOKS ENODEHV ENODELVM
    ENODEN1 ENODENET ENODEOOBPATH ENODEORPHANINSTANCE ENODEORPHANLV ENODEOS ENODERPC ENODESETUP
    ENODESHAREDFILESTORAGEPATHUNUSABLE ENODESSH ENODETIME ENODEUSERSCRIPTS ENODEVERSION
""".split()
"""What verification can find; the words are what `--error-codes` prints."""

VerifyCodes: TypeAlias = Annotated[Sequence[str], distinct(words("CVErrorCode", VERIFY_CODES))]
SkippedChecks: TypeAlias = Annotated[
    Sequence[str], distinct(words("VerifyOptionalChecks", ("nplusone_mem", "hvparam_assessment")))
]


@opcode()
class OpClusterActivateMasterIp(Opcode):
    """Set up the master's address on the master node."""


@opcode(result=Sequence[Json])
class OpClusterConfigQuery(Opcode):
    """Read values of the cluster: its name, the master, the drain flag and the like."""

    output_fields: Sequence[Name] = param("names of the values to read")


@opcode()
class OpClusterDeactivateMasterIp(Opcode):
    """Take down the master's address on the master node."""


@opcode(result=Name)
class OpClusterDestroy(Opcode):
    """Destroy the cluster; it must be empty but for the master node."""


@opcode(result=bool)
class OpClusterPostInit(Opcode):
    """Run the hooks that follow the creation of the cluster."""


@opcode(result=JsonObject)
class OpClusterQuery(Opcode):
    """Read the description of the cluster."""


@opcode()
class OpClusterRedistConf(Opcode):
    """Push the configuration and the common files to all nodes."""


@opcode(summary="name", result=Name)
class OpClusterRename(Opcode):
    """Give the cluster another name, and with it another address."""

    name: Name = param("new name of the cluster")


@opcode()
class OpClusterRenewCrypto(Opcode):
    """Make new node certificates or SSH keys."""

    node_certificates: bool = param("make new certificates for all nodes", default=False)
    renew_ssh_keys: bool = param("make new SSH keys for all nodes", default=False)
    ssh_key_type: SshKeyType | None = param("algorithm of the new SSH keys", default=None)
    ssh_key_bits: Positive | None = param("length of the new SSH keys", default=None)
    verbose: bool = param("report more of what is done", default=False)
    debug: bool = param("log for debugging", default=False)


@opcode(result=Sequence[tuple[Name, NotNegative, Name, NotNegative]])
class OpClusterRepairDiskSizes(Opcode):
    """Correct the recorded sizes of disks to what the nodes have."""

    instances: Sequence[Name] = param("instances to look at; none: all", default=())


@opcode(result=JOBS_OR_NULL)
class OpClusterSetParams(Opcode):
    """Change parameters of the cluster."""

    force: bool = param("do it in spite of warnings", default=False)
    hv_state: JsonObject | None = param(
        "memory, disk and CPUs that the hypervisor has, where it is not asked", default=None
    )
    disk_state: JsonObject | None = param(
        "disk space that there is, where nodes are not asked", default=None
    )
    vg_name: str | None = param("volume group of the instances; empty: no LVM", default=None)
    enabled_hypervisors: Sequence[Hypervisor] | None = param(
        "hypervisors of the cluster, the default first", default=None
    )
    hvparams: Mapping[str, JsonObject] | None = param(
        "hypervisor parameters, per hypervisor", default=None
    )
    beparams: JsonObject | None = param("default instance parameters", default=None)
    os_hvp: Mapping[str, JsonObject] | None = param(
        "hypervisor parameters per OS and hypervisor", default=None
    )
    osparams: Mapping[str, JsonObject] | None = param("OS parameters, per OS", default=None)
    osparams_private_cluster: Mapping[str, PrivateParams] | None = param(
        "private OS parameters, per OS", default=None
    )
    diskparams: Mapping[DiskTemplate, JsonObject] | None = param(
        "parameters per disk template", default=None
    )
    candidate_pool_size: Positive | None = param(
        "how many master candidates there should be", default=None
    )
    max_running_jobs: Positive | None = param("how many jobs may run at once", default=None)
    max_tracked_jobs: Positive | None = param(
        "how many running jobs are watched for changes", default=None
    )
    uid_pool: Sequence[tuple[int, int]] | None = param(
        "user ids for instance processes, as ranges", default=None
    )
    add_uids: Sequence[tuple[int, int]] | None = param(
        "ranges to add to the user id pool", default=None
    )
    remove_uids: Sequence[tuple[int, int]] | None = param(
        "ranges to take out of the user id pool", default=None
    )
    maintain_node_health: bool | None = param(
        "let the watcher stop what runs on offline nodes", default=None
    )
    prealloc_wipe_disks: bool | None = param(
        "wipe disks before an instance gets them", default=None
    )
    nicparams: NicParams | None = param("default network interface parameters", default=None)
    ndparams: JsonObject | None = param("node parameters", default=None)
    ipolicy: JsonObject | None = param("limits for instances", default=None)
    drbd_helper: str | None = param("path of the DRBD user helper; empty: no DRBD", default=None)
    default_iallocator: str | None = param("allocator to use when none is named", default=None)
    default_iallocator_params: JsonObject | None = param(
        "parameters of the default allocator", default=None
    )
    mac_prefix: Name | None = param("first three bytes of new MAC addresses", default=None)
    master_netdev: str | None = param("device for the master's address", default=None)
    master_netmask: NotNegative | None = param(
        "netmask of the master's address, in bits", default=None
    )
    reserved_lvs: Sequence[Name] | None = param(
        "patterns of logical volumes that are not ours", default=None
    )
    hidden_os: Sequence[ListChange] | None = param(
        "changes to the list of hidden OS names", default=None
    )
    blacklisted_os: Sequence[ListChange] | None = param(
        "changes to the list of OS names that may not be used", default=None
    )
    use_external_mip_script: bool | None = param(
        "set up the master's address with a script of the site", default=None
    )
    enabled_disk_templates: Sequence[DiskTemplate] | None = param(
        "disk templates of the cluster, the default first", default=None
    )
    modify_etc_hosts: bool | None = param("keep the nodes in /etc/hosts", default=None)
    file_storage_dir: str | None = param("where file disks lie", default=None)
    shared_file_storage_dir: str | None = param("where shared file disks lie", default=None)
    gluster_storage_dir: str | None = param("where gluster volumes are mounted", default=None)
    install_image: str | None = param("image for installations in a helper machine", default=None)
    instance_communication_network: str | None = param(
        "network between instances and their node", default=None
    )
    zeroing_image: str | None = param("image of the helper machine that zeroes disks", default=None)
    compression_tools: Sequence[Name] | None = param("programs that may pack exports", default=None)
    enabled_user_shutdown: bool | None = param(
        "a guest OS may shut down its instance for good", default=None
    )
    enabled_data_collectors: Mapping[str, bool] | None = param(
        "which data collectors run", default=None
    )
    data_collector_interval: Mapping[str, int] | None = param(
        "microseconds between two runs, per data collector", default=None
    )


@opcode(result=JOBS)
class OpClusterVerify(Opcode):
    """Verify the cluster: submits one job for the configuration and one per node group."""

    debug_simulate_errors: bool = param(
        "report every error that can be found, for tests", default=False
    )
    error_codes: bool = param("print messages for programs, with error codes", default=False)
    skip_checks: SkippedChecks = param("checks to leave out", default=())
    ignore_errors: VerifyCodes = param("error codes to treat as warnings", default=())
    verbose: bool = param("report more of what is looked at", default=False)
    group_name: Name | None = param("only this node group", default=None)
    verify_clutter: bool = param("look for files that do not belong here", default=False)


@opcode(result=bool)
class OpClusterVerifyConfig(Opcode):
    """Verify the configuration and the certificates."""

    debug_simulate_errors: bool = param(
        "report every error that can be found, for tests", default=False
    )
    error_codes: bool = param("print messages for programs, with error codes", default=False)
    ignore_errors: VerifyCodes = param("error codes to treat as warnings", default=())
    verbose: bool = param("report more of what is looked at", default=False)


@opcode(result=JOBS)
class OpClusterVerifyDisks(Opcode):
    """Verify the disks of all node groups: submits one job per group."""

    group_name: Name | None = param("only this node group", default=None)
    is_strict: bool = param("also report what the node could not tell", default=True)


@opcode(summary="group_name", result=bool)
class OpClusterVerifyGroup(Opcode):
    """Verify the nodes and instances of one node group."""

    group_name: Name = param("name of the node group")
    debug_simulate_errors: bool = param(
        "report every error that can be found, for tests", default=False
    )
    error_codes: bool = param("print messages for programs, with error codes", default=False)
    skip_checks: SkippedChecks = param("checks to leave out", default=())
    ignore_errors: VerifyCodes = param("error codes to treat as warnings", default=())
    verbose: bool = param("report more of what is looked at", default=False)
    verify_clutter: bool = param("look for files that do not belong here", default=False)
