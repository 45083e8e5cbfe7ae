"""Opcodes of exports."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from ganeti.constants import DEFAULT_SHUTDOWN_TIMEOUT_S
from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import ANY, NAME, either, sequence
from ganeti.opcodes.types import JsonObject, Name, NotNegative
from ganeti.serializer import Json
from ganeti.types import ExportMode

ExportTarget: TypeAlias = Annotated[
    str | Sequence[Json], either(NAME, sequence(ANY), notation="nonempty string or list")
]


@opcode(summary="instance_name", result=tuple[bool, Sequence[bool]])
class OpBackupExport(Opcode):
    """Export an instance to a node, or to another cluster."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    compress: str = param("how disk contents are packed on the way", default="none")
    shutdown_timeout: NotNegative = param(
        "seconds to wait for the guest OS to shut down", default=DEFAULT_SHUTDOWN_TIMEOUT_S
    )
    target_node: ExportTarget = param(
        "node that takes the export, or where each disk goes in the other cluster",
        rapi="destination",
    )
    target_node_uuid: Name | None = param(
        "uuid of the target node that is meant", default=None, uuid_of="target_node"
    )
    shutdown: bool = param("stop the instance while its disks are read", default=True)
    remove_instance: bool = param("remove the instance when the export is complete", default=False)
    ignore_remove_failures: bool = param(
        "go on when a removed instance leaves something behind", default=False
    )
    mode: ExportMode = param(
        "to a node of this cluster (local) or to another cluster (remote)", default=ExportMode.LOCAL
    )
    x509_key_name: Sequence[Json] | None = param(
        "name of the key for the encrypted transfer, signed", default=None
    )
    destination_x509_ca: Name | None = param(
        "certificate of the other cluster, signed", default=None
    )
    zero_free_space: bool = param(
        "zero unused blocks first, so that the export becomes small", default=False
    )
    zeroing_timeout_fixed: int | None = param(
        "seconds allowed for zeroing, whatever the size", default=None
    )
    zeroing_timeout_per_mib: float | None = param(
        "further seconds allowed for zeroing per MiB", default=None
    )
    long_sleep: bool = param("leave the instance down until the export is complete", default=False)


@opcode(summary="instance_name", result=JsonObject | None)
class OpBackupPrepare(Opcode):
    """Make what an export to another cluster needs: keys, and a handshake."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
    mode: ExportMode = param("to a node of this cluster (local) or to another cluster (remote)")


@opcode(summary="instance_name")
class OpBackupRemove(Opcode):
    """Remove all exports of an instance."""

    instance_name: str = param("name of the instance")
    instance_uuid: Name | None = param(
        "uuid of the instance that is meant", default=None, uuid_of="instance_name"
    )
