"""Opcodes of an instance's disks."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import either, row, sequence, whole
from ganeti.opcodes.types import DISK_PARAMS, DiskIndex, Name, NotNegative
from ganeti.types import ReplaceDisksMode

_CHANGED = row(whole(0, notation="int>=0 disk index"), DISK_PARAMS)

DisksToRecreate: TypeAlias = Annotated[
    Sequence[int] | Sequence[tuple[int, Mapping[str, str | int]]],
    either(sequence(whole(0)), sequence(_CHANGED)),
]


@opcode(summary="instance_name", result=Sequence[tuple[Name, Name, Name | None]])
class OpInstanceActivateDisks(Opcode):
    """Activate the disks of an instance on its primary node."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    ignore_size: bool = param(
        "use the sizes that the nodes tell, not the recorded ones", default=False
    )
    wait_for_sync: bool = param("wait until the mirrors are in sync", default=False)


@opcode(summary="instance_name")
class OpInstanceDeactivateDisks(Opcode):
    """Deactivate the disks of a stopped instance."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    force: bool = param("also when the instance runs", default=False)


@opcode(summary="instance_name")
class OpInstanceGrowDisk(Opcode):
    """Make a disk of an instance larger."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    wait_for_sync: bool = param("wait until the mirrors are in sync", default=True)
    disk: DiskIndex = param("index of the disk")
    amount: NotNegative = param("MiB to add, or new size")
    absolute: bool = param("the amount is the new size", default=False)
    ignore_ipolicy: bool = param("accept a violation of the instance policy", default=False)


@opcode(summary="instance_name")
class OpInstanceRecreateDisks(Opcode):
    """Make the disks of a stopped instance anew; what they held is lost."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    disks: DisksToRecreate = param(
        "indices of the disks, or pairs of index and changes; none: all", default=()
    )
    nodes: Sequence[Name] = param("other nodes to make them on", default=())
    node_uuids: Sequence[Name] | None = param(
        "uuids of the nodes that are meant", default=None, uuid_of="nodes"
    )
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)


@opcode(summary="instance_name")
class OpInstanceReplaceDisks(Opcode):
    """Make mirror halves of an instance anew, in place or on another node."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    early_release: bool = param("release the locks of the old secondary early", default=False)
    ignore_ipolicy: bool = param("accept a violation of the instance policy", default=False)
    mode: ReplaceDisksMode = param("which side is made anew")
    disks: Sequence[DiskIndex] = param("indices of the disks; none: all", default=())
    remote_node: Name | None = param("new secondary node", default=None)
    remote_node_uuid: Name | None = param(
        "uuid of the new secondary node that is meant", default=None, uuid_of="remote_node"
    )
    iallocator: Name | None = param("allocator that chooses the nodes", default=None)
