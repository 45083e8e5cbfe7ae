"""Opcodes of nodes."""

from collections.abc import Sequence

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import ANY, member, row, sequence
from ganeti.opcodes.types import CHANGES, JOBS, ROWS, Evacuation, JsonObject, Name
from ganeti.serializer import Json
from ganeti.types import FieldStatus, MigrationMode, OobCommand, StorageType

# Per node: first the node itself, then the answer of its helper.
OOB_ANSWERS = sequence(sequence(row(member(FieldStatus, "QueryResultCode"), ANY)))


@opcode(summary="node_name")
class OpNodeAdd(Opcode):
    """Add a node to the cluster."""

    node_name: Name = param("name of the node")
    hv_state: JsonObject | None = param(
        "memory, disk and CPUs that the hypervisor has, where it is not asked", default=None
    )
    disk_state: JsonObject | None = param(
        "disk space that there is, where nodes are not asked", default=None
    )
    primary_ip: Name | None = param(
        "primary address; default: what the name resolves to", default=None
    )
    secondary_ip: Name | None = param("address for replication", default=None)
    readd: bool = param("the node was in the cluster before", default=False)
    group: Name | None = param("node group", default=None)
    master_capable: bool | None = param("may become master", default=None)
    vm_capable: bool | None = param("may have instances", default=None)
    ndparams: JsonObject | None = param("node parameters", default=None)
    node_setup: bool = param("spread the SSH key of the node", default=False)


@opcode(summary="node_name", result=JOBS)
class OpNodeEvacuate(Opcode):
    """Move the instances away from a node."""

    early_release: bool = param("release the locks of the old secondary early", default=False)
    node_name: Name = param("name of the node")
    node_uuid: Name | None = param(
        "uuid of the node that is meant", default=None, uuid_of="node_name"
    )
    remote_node: Name | None = param("new secondary node", default=None)
    remote_node_uuid: Name | None = param(
        "uuid of the new secondary node that is meant", default=None, uuid_of="remote_node"
    )
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
    mode: Evacuation = param("which instances leave")
    ignore_soft_errors: bool | None = param(
        "go on when the allocator only found minor problems", default=None
    )


@opcode(summary="node_name", result=JOBS)
class OpNodeMigrate(Opcode):
    """Migrate all primary instances away from a node."""

    node_name: Name = param("name of the node")
    node_uuid: Name | None = param(
        "uuid of the node that is meant", default=None, uuid_of="node_name"
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
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)


@opcode(summary="node_name")
class OpNodeModifyStorage(Opcode):
    """Change a storage unit of a node."""

    node_name: Name = param("name of the node")
    node_uuid: Name | None = param(
        "uuid of the node that is meant", default=None, uuid_of="node_name"
    )
    storage_type: StorageType = param("kind of storage")
    name: Name | None = param("name of the storage unit", default=None)
    changes: JsonObject = param("values to set")


@opcode(summary="node_name", result=Name | None)
class OpNodePowercycle(Opcode):
    """Power-cycle a node at once, through its hypervisor."""

    node_name: Name = param("name of the node")
    node_uuid: Name | None = param(
        "uuid of the node that is meant", default=None, uuid_of="node_name"
    )
    force: bool = param("also when it is the master node", default=False)


@opcode(result=Sequence[Json])
class OpNodeQueryvols(Opcode):
    """List the logical volumes of nodes."""

    output_fields: Sequence[Name] = param("fields to show")
    nodes: Sequence[Name] = param("nodes to ask; none: all", default=())


@opcode(result=ROWS)
class OpNodeQueryStorage(Opcode):
    """List the storage units of nodes."""

    output_fields: Sequence[Name] = param("fields to show")
    storage_type: StorageType | None = param("kind of storage", default=None)
    nodes: Sequence[Name] = param("nodes to ask; none: all", default=())
    name: Name | None = param("only the unit of this name", default=None)


@opcode(summary="node_name")
class OpNodeRemove(Opcode):
    """Remove an empty node from the cluster."""

    node_name: Name = param("name of the node")
    node_uuid: Name | None = param(
        "uuid of the node that is meant", default=None, uuid_of="node_name"
    )


@opcode(summary="node_name", result=CHANGES)
class OpNodeSetParams(Opcode):
    """Change role, capabilities and parameters of a node."""

    node_name: Name = param("name of the node")
    node_uuid: Name | None = param(
        "uuid of the node that is meant", default=None, uuid_of="node_name"
    )
    force: bool = param("do it in spite of warnings", default=False)
    hv_state: JsonObject | None = param(
        "memory, disk and CPUs that the hypervisor has, where it is not asked", default=None
    )
    disk_state: JsonObject | None = param(
        "disk space that there is, where nodes are not asked", default=None
    )
    master_candidate: bool | None = param("is a master candidate", default=None)
    offline: bool | None = param("is offline", default=None)
    drained: bool | None = param("gets no new instances", default=None)
    auto_promote: bool = param("make other nodes master candidates as needed", default=False)
    master_capable: bool | None = param("may become master", default=None)
    vm_capable: bool | None = param("may have instances", default=None)
    secondary_ip: Name | None = param("address for replication", default=None)
    ndparams: JsonObject | None = param("node parameters", default=None)
    powered: bool | None = param("is powered on", default=None)


@opcode(result=OOB_ANSWERS)
class OpOobCommand(Opcode):
    """Give an order to the out-of-band helper of nodes."""

    node_names: Sequence[Name] = param("names of the nodes; none: all", default=())
    node_uuids: Sequence[Name] | None = param(
        "uuids of the nodes that are meant", default=None, uuid_of="node_names"
    )
    command: OobCommand = param("the order")
    timeout: int = param("seconds the helper may take", default=60)
    ignore_status: bool = param("power off nodes that are not offline", default=False)
    power_delay: float = param("seconds between two nodes being powered on", default=2.0)


@opcode(summary="node_name")
class OpRepairNodeStorage(Opcode):
    """Repair a storage unit of a node."""

    node_name: Name = param("name of the node")
    node_uuid: Name | None = param(
        "uuid of the node that is meant", default=None, uuid_of="node_name"
    )
    storage_type: StorageType = param("kind of storage")
    name: Name | None = param("name of the storage unit", default=None)
    ignore_consistency: bool = param("go on with disks that are not in sync", default=False)


@opcode(result=Sequence[tuple[bool, str]])
class OpRestrictedCommand(Opcode):
    """Run a restricted command on nodes."""

    use_locking: bool = param("take locks while looking", default=False)
    nodes: Sequence[Name] = param("nodes to run it on")
    node_uuids: Sequence[Name] | None = param(
        "uuids of the nodes that are meant", default=None, uuid_of="nodes"
    )
    command: Name = param("name of the command")
