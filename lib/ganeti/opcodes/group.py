"""Opcodes of node groups."""

from collections.abc import Mapping, Sequence

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import STRING, mapping, row, sequence
from ganeti.opcodes.types import CHANGES, JOBS, JOBS_OR_NULL, JsonObject, Name
from ganeti.types import AllocPolicy, DiskTemplate

# Nodes that did not answer → error; instances to activate; instance → its missing volumes as
# [node, volume].
DISK_STATES = row(
    mapping(STRING, STRING), sequence(STRING), mapping(STRING, sequence(sequence(STRING)))
)


@opcode(summary="group_name", result=JOBS_OR_NULL)
class OpGroupAdd(Opcode):
    """Add a node group."""

    group_name: Name = param("name of the node group", rapi="name")
    alloc_policy: AllocPolicy | None = param(
        "whether new instances may be placed here", default=None
    )
    ndparams: JsonObject | None = param("node parameters", default=None)
    diskparams: Mapping[DiskTemplate, JsonObject] | None = param(
        "parameters per disk template", default=None
    )
    hv_state: JsonObject | None = param(
        "memory, disk and CPUs that the hypervisor has, where it is not asked", default=None
    )
    disk_state: JsonObject | None = param(
        "disk space that there is, where nodes are not asked", default=None
    )
    ipolicy: JsonObject | None = param("limits for instances", default=None)


@opcode(summary="group_name")
class OpGroupAssignNodes(Opcode):
    """Move nodes into a node group."""

    group_name: Name = param("name of the node group")
    force: bool = param("also when instances become split between groups", default=False)
    nodes: Sequence[Name] = param("nodes to move into the group")
    node_uuids: Sequence[Name] | None = param(
        "uuids of the nodes that are meant", default=None, uuid_of="nodes"
    )


@opcode(summary="group_name", result=JOBS)
class OpGroupEvacuate(Opcode):
    """Move all instances of a node group to other groups."""

    group_name: Name = param("name of the node group")
    early_release: bool = param("release the locks of the old secondary early", default=False)
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
    target_groups: Sequence[Name] | None = param(
        "groups to move to; none: all others", default=None
    )
    sequential: bool = param("evacuate one instance after the other", default=False)
    force_failover: bool = param("fail over where migration is possible", default=False)


@opcode(summary="group_name")
class OpGroupRemove(Opcode):
    """Remove an empty node group."""

    group_name: Name = param("name of the node group")


@opcode(result=Name)
class OpGroupRename(Opcode):
    """Give a node group another name."""

    group_name: Name = param("name of the node group")
    new_name: Name = param("new name of the node group")


@opcode(summary="group_name", result=CHANGES)
class OpGroupSetParams(Opcode):
    """Change parameters of a node group."""

    group_name: Name = param("name of the node group")
    alloc_policy: AllocPolicy | None = param(
        "whether new instances may be placed here", default=None
    )
    ndparams: JsonObject | None = param("node parameters", default=None, rapi="custom_ndparams")
    diskparams: Mapping[DiskTemplate, JsonObject] | None = param(
        "parameters per disk template", default=None, rapi="custom_diskparams"
    )
    hv_state: JsonObject | None = param(
        "memory, disk and CPUs that the hypervisor has, where it is not asked", default=None
    )
    disk_state: JsonObject | None = param(
        "disk space that there is, where nodes are not asked", default=None
    )
    ipolicy: JsonObject | None = param("limits for instances", default=None, rapi="custom_ipolicy")


@opcode(summary="group_name", result=DISK_STATES)
class OpGroupVerifyDisks(Opcode):
    """Find the broken and missing disks of one node group."""

    group_name: Name = param("name of the node group")
    is_strict: bool = param("also report what the node could not tell", default=True)
