"""Options of gnt-cluster init and modify. Source: facts/cli.json."""

from __future__ import annotations

from ganeti.cli.options import (
    BACKEND,
    DISK_STATE,
    DRY_RUN,
    FORCE,
    HYPERVISOR_STATE,
    HYPERVISORS_PARAMETERS,
    NODE_PARAMETERS,
    PRIORITY,
    SECONDARY_IP,
    SUBMITTING,
    Option,
    switch,
    value,
)

YES_NO = "yes|no"


def _keyval(flag: str, dest: str, help: str) -> Option:
    return value(flag, dest=dest, kind="keyval", default={}, help=help)


CANDIDATE_POOL_SIZE = value(
    "-C",
    "--candidate-pool-size",
    dest="candidate_pool_size",
    kind="int",
    help="wanted number of master candidates",
)
ENABLED_HYPERVISORS = value(
    "--enabled-hypervisors",
    dest="enabled_hypervisors",
    help="hypervisors, separated by commas; the first is the default",
)
ENABLED_DISK_TEMPLATES = value(
    "--enabled-disk-templates",
    dest="enabled_disk_templates",
    help="disk templates, separated by commas",
)
FILE_STORAGE_DIR = value(
    "--file-storage-dir", dest="file_storage_dir", metavar="DIR", help="where file disks lie"
)
SHARED_FILE_STORAGE_DIR = value(
    "--shared-file-storage-dir",
    dest="shared_file_storage_dir",
    metavar="SHAREDDIR",
    help="where shared file disks lie",
)
GLUSTER_STORAGE_DIR = value(
    "--gluster-storage-dir",
    dest="gluster_storage_dir",
    default="/var/run/ganeti/gluster",
    metavar="GLUSTERDIR",
    help="where Gluster volumes are mounted",
)
MAC_PREFIX = value(
    "-m", "--mac-prefix", dest="mac_prefix", metavar="PREFIX", help="first three bytes of MACs"
)
MASTER_NETDEV = value(
    "--master-netdev",
    dest="master_netdev",
    metavar="NETDEV",
    help="network device of the master address",
)
MASTER_NETMASK = value(
    "--master-netmask",
    dest="master_netmask",
    metavar="NETMASK",
    help="length of the network's prefix for the master address",
)
EXTERNAL_MASTER_IP_SCRIPT = value(
    "--use-external-mip-script",
    dest="use_external_mip_script",
    kind="bool",
    metavar=YES_NO,
    help="a script of yours manages the master address",
)
NIC_PARAMETERS = value(
    "-N",
    "--nic-parameters",
    dest="nicparams",
    kind="keyval",
    default={},
    help="default parameters of network interfaces",
)
DISK_PARAMETERS = value(
    "-D",
    "--disk-parameters",
    dest="diskparams",
    kind="identkeyval",
    default=[],
    many=True,
    help="parameters of one disk template; may be given again",
)
NO_ETC_HOSTS = switch(
    "--no-etc-hosts", dest="modify_etc_hosts", default=True, help="leave /etc/hosts alone"
)
NO_SSH_INIT = switch(
    "--no-ssh-init", dest="modify_ssh_setup", default=True, help="leave SSH keys alone"
)
VG_NAME = value(
    "--vg-name", dest="vg_name", metavar="VG", help="LVM volume group; an empty name: no LVM"
)
DRBD_HELPER = value(
    "--drbd-usermode-helper", dest="drbd_helper", help="program that DRBD calls on events"
)
NODE_HEALTH = value(
    "--maintain-node-health",
    dest="maintain_node_health",
    kind="bool",
    metavar=YES_NO,
    help="the watcher stops instances and mirrors that are where they should not be",
)
UID_POOL = value("--uid-pool", dest="uid_pool", help="user ids for guests: 1000-1099,2000")
DEFAULT_IALLOCATOR = value(
    "-I",
    "--default-iallocator",
    dest="default_iallocator",
    metavar="<NAME>",
    help="allocator that is asked when nothing else is said",
)
DEFAULT_IALLOCATOR_PARAMS = value(
    "--default-iallocator-params",
    dest="default_iallocator_params",
    kind="keyval",
    help="parameters of the default allocator",
)
PRIMARY_IP_VERSION = value(
    "--primary-ip-version",
    dest="primary_ip_version",
    default=4,
    metavar="4|6",
    help="IP version of the primary network",
)
WIPE_DISKS = value(
    "--prealloc-wipe-disks",
    dest="prealloc_wipe_disks",
    kind="bool",
    metavar=YES_NO,
    help="wipe new disks before use",
)
INSTALL_IMAGE = value("--install-image", dest="install_image", help="image for safe OS installs")
ZEROING_IMAGE = value("--zeroing-image", dest="zeroing_image", help="image for zeroing disks")
COMPRESSION_TOOLS = value(
    "--compression-tools", dest="compression_tools", help="allowed tools, separated by commas"
)
USER_SHUTDOWN = value(
    "--user-shutdown",
    dest="enabled_user_shutdown",
    kind="bool",
    help="guests may stop themselves for good",
)
SSH_KEY_BITS = value("--ssh-key-bits", dest="ssh_key_bits", kind="int", help="length of SSH keys")
SSH_KEY_TYPE = value(
    "--ssh-key-type", dest="ssh_key_type", choices=("rsa", "dsa", "ecdsa"), help="kind of SSH keys"
)

# The instance policy; the split form and the whole form exclude each other.
POLICY_STD = value(
    "--ipolicy-std-specs",
    dest="ipolicy_std_specs",
    kind="keyval",
    help="standard sizes: memory-size=..,cpu-count=..,disk-size=..,disk-count=..,nic-count=..,"
    "spindle-use=..",
)
POLICY_BOUNDS = value(
    "--ipolicy-bounds-specs",
    dest="ipolicy_bounds_specs",
    kind="multilistidentkeyval",
    help="limits: min:KEY=..,.../max:KEY=..,...; further pairs after //",
)
POLICY_TEMPLATES = value(
    "--ipolicy-disk-templates",
    dest="ipolicy_disk_templates",
    kind="list",
    help="allowed disk templates",
)
POLICY_VCPUS = value(
    "--ipolicy-vcpu-ratio",
    dest="ipolicy_vcpu_ratio",
    kind="maybefloat",
    help="most virtual CPUs for each CPU",
)
POLICY_SPINDLES = value(
    "--ipolicy-spindle-ratio",
    dest="ipolicy_spindle_ratio",
    kind="maybefloat",
    help="most instances for each spindle",
)
POLICY = (POLICY_BOUNDS, POLICY_TEMPLATES, POLICY_VCPUS, POLICY_SPINDLES)
SPLIT_POLICY = tuple(
    _keyval(f"--specs-{name}", f"ispecs_{name.replace('-', '_')}", f"min=,max=,std= of {of}")
    for name, of in (
        ("cpu-count", "virtual CPUs"),
        ("disk-count", "numbers of disks"),
        ("disk-size", "disk sizes"),
        ("mem-size", "memory sizes"),
        ("nic-count", "numbers of interfaces"),
    )
)

INITIALISING = (
    BACKEND,
    CANDIDATE_POOL_SIZE,
    ENABLED_HYPERVISORS,
    FILE_STORAGE_DIR,
    HYPERVISORS_PARAMETERS,
    MAC_PREFIX,
    MASTER_NETDEV,
    MASTER_NETMASK,
    NIC_PARAMETERS,
    NO_ETC_HOSTS,
    NO_SSH_INIT,
    SECONDARY_IP,
    VG_NAME,
    NODE_HEALTH,
    UID_POOL,
    DRBD_HELPER,
    DEFAULT_IALLOCATOR,
    DEFAULT_IALLOCATOR_PARAMS,
    PRIMARY_IP_VERSION,
    WIPE_DISKS,
    NODE_PARAMETERS,
    SHARED_FILE_STORAGE_DIR,
    EXTERNAL_MASTER_IP_SCRIPT,
    DISK_PARAMETERS,
    HYPERVISOR_STATE,
    DISK_STATE,
    ENABLED_DISK_TEMPLATES,
    POLICY_STD,
    GLUSTER_STORAGE_DIR,
    INSTALL_IMAGE,
    ZEROING_IMAGE,
    COMPRESSION_TOOLS,
    USER_SHUTDOWN,
    SSH_KEY_BITS,
    SSH_KEY_TYPE,
    *POLICY,
    *SPLIT_POLICY,
)

# Of modify only.
MAX_RUNNING_JOBS = value(
    "--max-running-jobs", dest="max_running_jobs", kind="int", help="so many jobs run at once"
)
MAX_TRACKED_JOBS = value(
    "--max-tracked-jobs",
    dest="max_tracked_jobs",
    kind="int",
    help="so many running jobs are watched for changes",
)
COMMUNICATION_NETWORK = value(
    "--instance-communication-network",
    dest="instance_communication_network",
    help="network between instances and their nodes; an empty name: none",
)
ADD_UIDS = value("--add-uids", dest="add_uids", help="ranges to add to the pool of user ids")
REMOVE_UIDS = value(
    "--remove-uids", dest="remove_uids", help="ranges to take out of the pool of user ids"
)
RESERVED_LVS = value(
    "--reserved-lvs",
    dest="reserved_lvs",
    help="regular expressions of volumes that are not ours, separated by commas; empty: none",
)
MODIFY_ETC_HOSTS = value(
    "--modify-etc-hosts",
    dest="modify_etc_hosts",
    kind="bool",
    metavar=YES_NO,
    help="keep the nodes in /etc/hosts",
)
DATA_COLLECTORS = _keyval(
    "--enabled-data-collectors", "enabled_data_collectors", "NAME=yes|no,... for data collectors"
)
COLLECTOR_INTERVAL = _keyval(
    "--data-collector-interval", "data_collector_interval", "NAME=SECONDS,... for data collectors"
)

MODIFYING = (
    FORCE,
    BACKEND,
    CANDIDATE_POOL_SIZE,
    MAX_RUNNING_JOBS,
    MAX_TRACKED_JOBS,
    INSTALL_IMAGE,
    COMMUNICATION_NETWORK,
    ENABLED_HYPERVISORS,
    HYPERVISORS_PARAMETERS,
    MAC_PREFIX,
    MASTER_NETDEV,
    MASTER_NETMASK,
    NIC_PARAMETERS,
    VG_NAME,
    NODE_HEALTH,
    UID_POOL,
    ADD_UIDS,
    REMOVE_UIDS,
    DRBD_HELPER,
    DEFAULT_IALLOCATOR,
    DEFAULT_IALLOCATOR_PARAMS,
    RESERVED_LVS,
    DRY_RUN,
    PRIORITY,
    WIPE_DISKS,
    NODE_PARAMETERS,
    EXTERNAL_MASTER_IP_SCRIPT,
    DISK_PARAMETERS,
    HYPERVISOR_STATE,
    DISK_STATE,
    *SUBMITTING,
    ENABLED_DISK_TEMPLATES,
    POLICY_STD,
    MODIFY_ETC_HOSTS,
    USER_SHUTDOWN,
    *POLICY,
    FILE_STORAGE_DIR,
    SHARED_FILE_STORAGE_DIR,
    ZEROING_IMAGE,
    COMPRESSION_TOOLS,
    DATA_COLLECTORS,
    COLLECTOR_INTERVAL,
)
