"""Opcodes of instances."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from ganeti.constants import DEFAULT_SHUTDOWN_TIMEOUT_S
from ganeti.errors import OpPrereqError
from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import (
    ANY,
    NAME,
    OBJECT,
    Check,
    Mismatch,
    mapping,
    read_object,
    sequence,
    shape,
)
from ganeti.opcodes.types import (
    CHANGES,
    JOB_OR_ERROR,
    JOBS,
    CreateMode,
    DiskChanges,
    DiskParams,
    Hypervisor,
    JsonObject,
    Name,
    NicChanges,
    NicParams,
    NotNegative,
    Positive,
    PrivateParams,
    SecretParams,
)
from ganeti.serializer import Json
from ganeti.types import AdminStateSource, DiskTemplate, FileDriver, MigrationMode, RebootType

ALLOCATED = shape(jobs=sequence(JOB_OR_ERROR), allocatable=sequence(NAME), failed=sequence(NAME))
PAGES = mapping(ANY, OBJECT)


@opcode(summary="instance_name", result=JOBS)
class OpInstanceChangeGroup(Opcode):
    """Move an instance to another node group."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    early_release: bool = param("release the locks of the old secondary early", default=False)
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
    target_groups: Sequence[Name] | None = param(
        "groups to move to; none: all others", default=None
    )


@opcode(summary="instance_name", result=JsonObject)
class OpInstanceConsole(Opcode):
    """Describe how to reach an instance's console."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )


@opcode(summary="instance_name", result=Sequence[Name])
class OpInstanceCreate(Opcode):
    """Create an instance: empty, installed, or from an export."""

    instance_name: str = param("name of the new instance", rapi="name")
    force_variant: bool = param(
        "accept an OS variant that its definition does not list", default=False
    )
    wait_for_sync: bool = param("wait until the mirrors are in sync", default=True)
    name_check: bool = param("resolve the new name", default=True)
    ignore_ipolicy: bool = param("accept a violation of the instance policy", default=False)
    opportunistic_locking: bool = param("only consider nodes that can be locked now", default=False)
    beparams: JsonObject = param("instance parameters", default={})
    disks: Sequence[DiskParams] = param("the disks")
    disk_template: DiskTemplate | None = param("how disks are made", default=None)
    group_name: Name | None = param("node group to place the instance in", default=None)
    file_driver: FileDriver | None = param("how files are given to Xen", default=None)
    file_storage_dir: Name | None = param(
        "directory below the file storage directory", default=None
    )
    hvparams: JsonObject = param("hypervisor parameters", default={})
    hypervisor: Hypervisor | None = param(
        "hypervisor; default: the first of the cluster", default=None
    )
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
    identify_defaults: bool = param(
        "make values that equal the defaults follow them", default=False
    )
    ip_check: bool = param("check that the name's address does not answer", default=True)
    conflicts_check: bool = param("refuse addresses that lie in a known network", default=True)
    mode: CreateMode = param("where the contents come from")
    nics: Sequence[NicParams] = param("the network interfaces")
    no_install: bool | None = param("do not run the OS scripts", default=None)
    osparams: JsonObject = param("OS parameters", default={})
    osparams_private: PrivateParams | None = param("OS parameters that are not shown", default=None)
    osparams_secret: SecretParams | None = param(
        "OS parameters that are neither shown nor stored", default=None
    )
    os_type: Name | None = param("OS to install, with its variant", default=None, rapi="os")
    pnode: Name | None = param("primary node", default=None)
    pnode_uuid: Name | None = param(
        "uuid of the primary node that is meant", default=None, uuid_of="pnode"
    )
    snode: Name | None = param("secondary node", default=None)
    snode_uuid: Name | None = param(
        "uuid of the secondary node that is meant", default=None, uuid_of="snode"
    )
    source_handshake: Sequence[Json] | None = param("handshake of the source cluster", default=None)
    source_instance_name: Name | None = param(
        "name of the instance in the source cluster", default=None
    )
    source_shutdown_timeout: NotNegative = param(
        "seconds the source cluster waits for the guest OS to shut down",
        default=DEFAULT_SHUTDOWN_TIMEOUT_S,
    )
    source_x509_ca: Name | None = param("certificate of the source cluster, signed", default=None)
    src_node: Name | None = param("node that has the export", default=None)
    src_node_uuid: Name | None = param(
        "uuid of the source node that is meant", default=None, uuid_of="src_node"
    )
    src_path: Name | None = param("directory of the export", default=None)
    compress: str = param("how disk contents are packed on the way", default="none")
    start: bool = param("start the instance when it is made", default=True)
    forthcoming: bool = param("only reserve names and resources", default=False)
    commit: bool = param("make what was reserved before real", default=False)
    tags: Sequence[Name] = param("tags", default=())
    instance_communication: bool = param("connect the instance with its node", default=False)
    helper_startup_timeout: int | None = param(
        "seconds the helper machine has to start", default=None
    )
    helper_shutdown_timeout: int | None = param(
        "seconds the helper machine has to stop", default=None
    )


@opcode(summary="instance_name")
class OpInstanceFailover(Opcode):
    """Stop an instance and start it on its secondary or another node."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    shutdown_timeout: NotNegative = param(
        "seconds to wait for the guest OS to shut down", default=DEFAULT_SHUTDOWN_TIMEOUT_S
    )
    ignore_consistency: bool = param("go on with disks that are not in sync", default=False)
    target_node: Name | None = param(
        "node to move to, with an external or shared disk template", default=None
    )
    target_node_uuid: Name | None = param(
        "uuid of the target node that is meant", default=None, uuid_of="target_node"
    )
    ignore_ipolicy: bool = param("accept a violation of the instance policy", default=False)
    cleanup: bool = param("recover from an earlier move that failed", default=False)
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)


@opcode(summary="instance_name")
class OpInstanceMigrate(Opcode):
    """Move an instance to its secondary or another node while it runs."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    mode: MigrationMode | None = param(
        "live or non-live; default: as the hypervisor is set", default=None
    )
    live: bool | None = param("older form of the mode: true for live", default=None)
    target_node: Name | None = param(
        "node to move to, with an external or shared disk template", default=None
    )
    target_node_uuid: Name | None = param(
        "uuid of the target node that is meant", default=None, uuid_of="target_node"
    )
    allow_runtime_changes: bool = param(
        "take memory from the instance if the target has too little", default=True
    )
    ignore_ipolicy: bool = param("accept a violation of the instance policy", default=False)
    cleanup: bool = param("recover from an earlier move that failed", default=False)
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
    allow_failover: bool = param("fail over when migration is not possible", default=False)
    ignore_hvversions: bool = param(
        "migrate between different versions of the hypervisor", default=False
    )


@opcode(summary="instance_name")
class OpInstanceMove(Opcode):
    """Move a stopped instance to another node by copying its disks."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    shutdown_timeout: NotNegative = param(
        "seconds to wait for the guest OS to shut down", default=DEFAULT_SHUTDOWN_TIMEOUT_S
    )
    ignore_ipolicy: bool = param("accept a violation of the instance policy", default=False)
    target_node: Name = param("node to move to")
    target_node_uuid: Name | None = param(
        "uuid of the target node that is meant", default=None, uuid_of="target_node"
    )
    compress: str = param("how disk contents are packed on the way", default="none")
    ignore_consistency: bool = param("go on with disks that are not in sync", default=False)


def _read_creation(value: Json) -> OpInstanceCreate:
    """An instance to create, as opcode or in its JSON form."""
    if isinstance(value, OpInstanceCreate):
        return value
    try:
        return OpInstanceCreate.from_json(read_object(value))
    except OpPrereqError as error:
        raise Mismatch(str(error)) from error


InstanceCreations: TypeAlias = Annotated[
    Sequence[OpInstanceCreate],
    sequence(Check("OP_INSTANCE_CREATE objects (with OP_ID)", _read_creation)),
]


@opcode(result=ALLOCATED)
class OpInstanceMultiAlloc(Opcode):
    """Let an allocator place several instances at once and create them."""

    opportunistic_locking: bool = param("only consider nodes that can be locked now", default=False)
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
    instances: InstanceCreations = param("instances to create", default=())


@opcode(result=PAGES)
class OpInstanceQueryData(Opcode):
    """Read all about instances, down to each device."""

    use_locking: bool = param("take locks while looking", default=False)
    instances: Sequence[Name] = param("instances to show; none: all", default=())
    static: bool = param("only what is configured, without asking nodes", default=False)


@opcode(summary="instance_name")
class OpInstanceReboot(Opcode):
    """Reboot an instance."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    shutdown_timeout: NotNegative = param(
        "seconds to wait for the guest OS to shut down", default=DEFAULT_SHUTDOWN_TIMEOUT_S
    )
    ignore_secondaries: bool = param(
        "go on when the secondary node can not be reached", default=False
    )
    reboot_type: RebootType = param(
        "soft (by the guest), hard (by the hypervisor) or full (stop and start)", rapi="type"
    )


@opcode(summary="instance_name")
class OpInstanceReinstall(Opcode):
    """Install the guest OS of a stopped instance again."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    force_variant: bool = param(
        "accept an OS variant that its definition does not list", default=False
    )
    os_type: Name | None = param("another OS to install", default=None)
    osparams: JsonObject | None = param("OS parameters", default=None)
    osparams_private: PrivateParams | None = param("OS parameters that are not shown", default=None)
    osparams_secret: SecretParams | None = param(
        "OS parameters that are neither shown nor stored", default=None
    )


@opcode(summary="instance_name")
class OpInstanceRemove(Opcode):
    """Remove an instance and its disks."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    shutdown_timeout: NotNegative = param(
        "seconds to wait for the guest OS to shut down", default=DEFAULT_SHUTDOWN_TIMEOUT_S
    )
    ignore_failures: bool = param(
        "remove the instance even if something stays behind", default=False
    )


@opcode(result=Name)
class OpInstanceRename(Opcode):
    """Give a stopped instance another name."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    new_name: Name = param("new name of the instance")
    name_check: bool = param("resolve the new name", default=True)
    ip_check: bool = param("check that the name's address does not answer", default=True)


@opcode(summary="instance_name", result=CHANGES)
class OpInstanceSetParams(Opcode):
    """Change parameters, disks and network interfaces of an instance."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    force: bool = param("do it in spite of warnings", default=False)
    force_variant: bool = param(
        "accept an OS variant that its definition does not list", default=False
    )
    ignore_ipolicy: bool = param("accept a violation of the instance policy", default=False)
    nics: NicChanges = param("changes to the network interfaces", default=())
    disks: DiskChanges = param("changes to the disks", default=())
    beparams: JsonObject = param("instance parameters", default={}, rapi="custom_beparams")
    runtime_mem: Positive | None = param("MiB of memory of the running instance", default=None)
    hvparams: JsonObject = param("hypervisor parameters", default={}, rapi="custom_hvparams")
    disk_template: DiskTemplate | None = param("disk template to convert to", default=None)
    ext_params: JsonObject = param("parameters of the external storage provider", default={})
    file_driver: FileDriver | None = param("how files are given to Xen", default=None)
    file_storage_dir: Name | None = param(
        "directory below the file storage directory", default=None
    )
    pnode: Name | None = param("new primary node", default=None)
    pnode_uuid: Name | None = param(
        "uuid of the primary node that is meant", default=None, uuid_of="pnode"
    )
    remote_node: Name | None = param("new secondary node", default=None)
    remote_node_uuid: Name | None = param(
        "uuid of the new secondary node that is meant", default=None, uuid_of="remote_node"
    )
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
    os_name: Name | None = param("OS to record, without installing it", default=None)
    osparams: JsonObject = param("OS parameters", default={})
    osparams_private: PrivateParams | None = param("OS parameters that are not shown", default=None)
    wait_for_sync: bool = param("wait until the mirrors are in sync", default=True)
    offline: bool | None = param("mark the instance as offline, or as down again", default=None)
    conflicts_check: bool = param("refuse addresses that lie in a known network", default=True)
    hotplug: bool = param("change the running instance as well", default=False)
    hotplug_if_possible: bool = param(
        "change the running instance as well, where it can be done", default=False
    )
    instance_communication: bool | None = param("connect the instance with its node", default=None)


@opcode(summary="instance_name")
class OpInstanceShutdown(Opcode):
    """Stop an instance."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    force: bool = param("also when it is marked as offline", default=False)
    ignore_offline_nodes: bool = param(
        "only record the wanted state when the primary node is offline", default=False
    )
    timeout: NotNegative = param(
        "seconds to wait for the guest OS to shut down", default=DEFAULT_SHUTDOWN_TIMEOUT_S
    )
    no_remember: bool = param("do not record the wanted state", default=False)
    admin_state_source: AdminStateSource | None = param(
        "who wants it: the administrator or the guest", default=None
    )


@opcode(summary="instance_name")
class OpInstanceStartup(Opcode):
    """Start an instance on its primary node."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    force: bool = param("start even if some disks are degraded", default=False)
    ignore_offline_nodes: bool = param(
        "only record the wanted state when the primary node is offline", default=False
    )
    hvparams: JsonObject = param("hypervisor parameters for this run only", default={})
    beparams: JsonObject = param("instance parameters for this run only", default={})
    no_remember: bool = param("do not record the wanted state", default=False)
    startup_paused: bool = param("start with the CPUs halted", default=False)
    shutdown_timeout: NotNegative = param(
        "seconds to wait for the guest OS to shut down", default=DEFAULT_SHUTDOWN_TIMEOUT_S
    )
