"""Enumerations: words that cross a border. The values are the spelling on wire and disk."""

from enum import IntEnum, StrEnum


class AdminState(StrEnum):
    """What the administrator wants of an instance."""

    UP = "up"
    DOWN = "down"
    OFFLINE = "offline"


class AdminStateSource(StrEnum):
    """Who set the admin state: the administrator, or a user from inside the guest."""

    ADMIN = "admin"
    USER = "user"


class InstanceStatus(StrEnum):
    """Wanted and actual state of an instance in one word."""

    RUNNING = "running"
    ADMIN_DOWN = "ADMIN_down"
    ADMIN_OFFLINE = "ADMIN_offline"
    USER_DOWN = "USER_down"
    ERROR_DOWN = "ERROR_down"
    ERROR_UP = "ERROR_up"
    ERROR_WRONG_NODE = "ERROR_wrongnode"
    NODE_DOWN = "ERROR_nodedown"
    NODE_OFFLINE = "ERROR_nodeoffline"


class AllocPolicy(StrEnum):
    """Whether the allocator may use a node group."""

    PREFERRED = "preferred"
    LAST_RESORT = "last_resort"
    UNALLOCABLE = "unallocable"


class DiskTemplate(StrEnum):
    """How an instance's disks are made; also the kind of one device."""

    DISKLESS = "diskless"
    PLAIN = "plain"
    DRBD = "drbd"
    FILE = "file"
    SHARED_FILE = "sharedfile"
    BLOCKDEV = "blockdev"
    RBD = "rbd"
    EXT = "ext"
    GLUSTER = "gluster"


class DiskMode(StrEnum):
    """Access of the guest to a disk."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


class FileDriver(StrEnum):
    """How a file is given to Xen."""

    LOOP = "loop"
    BLKTAP = "blktap"
    BLKTAP2 = "blktap2"


class HypervisorKind(StrEnum):
    """The hypervisors."""

    KVM = "kvm"
    XEN_PVM = "xen-pvm"
    XEN_HVM = "xen-hvm"
    FAKE = "fake"
    CHROOT = "chroot"
    LXC = "lxc"


class NicMode(StrEnum):
    """How a network interface is attached."""

    BRIDGED = "bridged"
    ROUTED = "routed"
    OPENVSWITCH = "openvswitch"
    POOL = "pool"
    EXT = "ext"


class InstanceCreateMode(StrEnum):
    """Where a new instance's contents come from."""

    CREATE = "create"
    IMPORT = "import"
    REMOTE_IMPORT = "remote-import"


class RebootType(StrEnum):
    """How an instance is rebooted."""

    SOFT = "soft"
    HARD = "hard"
    FULL = "full"


class TagKind(StrEnum):
    """Kinds of objects that bear tags."""

    CLUSTER = "cluster"
    NODEGROUP = "nodegroup"
    NODE = "node"
    INSTANCE = "instance"
    NETWORK = "network"


class QueryResource(StrEnum):
    """What can be listed."""

    CLUSTER = "cluster"
    INSTANCE = "instance"
    NODE = "node"
    LOCK = "lock"
    GROUP = "group"
    OS = "os"
    JOB = "job"
    EXPORT = "export"
    NETWORK = "network"
    EXTSTORAGE = "extstorage"
    FILTER = "filter"


class FieldStatus(IntEnum):
    """What stands in one cell of an answer (facts/query_fields.json, result_status)."""

    NORMAL = 0
    UNKNOWN = 1
    NO_DATA = 2
    UNAVAILABLE = 3
    OFFLINE = 4


class EventKind(StrEnum):
    """What an event of the cluster is about; ours, not in the facts."""

    JOB = "job"
    INSTANCE = "instance"
    NODE = "node"
    CONFIG = "config"


class HooksPhase(StrEnum):
    """Before or after the change."""

    PRE = "pre"
    POST = "post"


class IpFamily(IntEnum):
    """Address family of the cluster, with the numbers of socket(7)."""

    IPV4 = 2
    IPV6 = 10


class StorageType(StrEnum):
    """Kinds of storage units of a node."""

    FILE = "file"
    SHARED_FILE = "sharedfile"
    GLUSTER = "gluster"
    LVM_PV = "lvm-pv"
    LVM_VG = "lvm-vg"
    DISKLESS = "diskless"
    BLOCKDEV = "blockdev"
    RADOS = "rados"
    EXT = "ext"


class ExportMode(StrEnum):
    """Where an instance is exported to: a node of this cluster, or another cluster."""

    LOCAL = "local"
    REMOTE = "remote"


class MigrationMode(StrEnum):
    """Whether the guest runs on while it is migrated."""

    LIVE = "live"
    NON_LIVE = "non-live"


class EvacuateMode(StrEnum):
    """Which instances leave a node: by the role the node has for them."""

    PRIMARY = "primary-only"
    SECONDARY = "secondary-only"
    ALL = "all"


class ReplaceDisksMode(StrEnum):
    """Which disks of a mirrored instance are made anew."""

    PRIMARY = "replace_on_primary"
    SECONDARY = "replace_on_secondary"
    CHANGE = "replace_new_secondary"
    AUTO = "replace_auto"


class ChangeAction(StrEnum):
    """What is done to one disk, network interface or list entry."""

    ADD = "add"
    MODIFY = "modify"
    REMOVE = "remove"
    ATTACH = "attach"
    DETACH = "detach"


class OobCommand(StrEnum):
    """Orders to a node's out-of-band helper."""

    HEALTH = "health"
    POWER_CYCLE = "power-cycle"
    POWER_OFF = "power-off"
    POWER_ON = "power-on"
    POWER_STATUS = "power-status"


class SshKeyType(StrEnum):
    """Algorithms of the cluster's SSH keys."""

    RSA = "rsa"
    DSA = "dsa"
    ECDSA = "ecdsa"


class AllocatorMode(StrEnum):
    """What an instance allocator is asked."""

    ALLOCATE = "allocate"
    RELOCATE = "relocate"
    MULTI_ALLOCATE = "multi-allocate"
    NODE_EVACUATE = "node-evacuate"
    CHANGE_GROUP = "change-group"
    ALLOCATE_SECONDARY = "allocate-secondary"


class AllocatorDirection(StrEnum):
    """What a test of an allocator shows: the request, or the answer."""

    IN = "in"
    OUT = "out"
