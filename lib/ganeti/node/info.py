"""Figures of the node: boot id, storage units, hypervisors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ganeti.errors import StorageError
from ganeti.model.report import NodeFigures, NodeInfo, StorageInfo
from ganeti.node.context import NodeContext
from ganeti.node.instance import all_instances_info
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.serializer import Json
from ganeti.storage import directories

BOOT_ID = "/proc/sys/kernel/random/boot_id"
FILE_TYPES = frozenset({"file", "sharedfile", "gluster"})


@serves(calls.node_info)
def node_info(
    node: NodeContext,
    storage_units: Sequence[tuple[str, str | None, Sequence[Json]]],
    hv_specs: Sequence[tuple[str, calls.Params | None]],
) -> NodeInfo:
    return NodeInfo(
        boot_id(node),
        tuple(storage_info(node, kind, name or "") for kind, name, _ in storage_units),
        tuple(node.hypervisor(kind).node_info(params or {}) for kind, params in hv_specs),
    )


@serves(calls.node_figures)
def node_figures(
    node: NodeContext,
    storage_units: Sequence[tuple[str, str | None, Sequence[Json]]],
    hv_specs: Sequence[tuple[str, calls.Params | None]],
    hypervisor_list: Sequence[str],
    all_hvparams: Mapping[str, calls.Params],
) -> NodeFigures:
    return NodeFigures(
        node_info(node, storage_units, hv_specs),
        all_instances_info(node, hypervisor_list, all_hvparams),
    )


def boot_id(node: NodeContext) -> str:
    """The kernel's; a virtual node may have a file of its own, so that tests can reboot it."""
    own = node.paths.below(BOOT_ID)
    return (own if own.exists() else Path(BOOT_ID)).read_text().strip()


def storage_info(node: NodeContext, kind: str, name: str) -> StorageInfo:
    """Space of one unit; without figures when there is no such unit here."""
    if kind in FILE_TYPES:
        try:
            size, free = directories.space(node.paths.below(name), name)
        except StorageError:
            return StorageInfo(type=kind, name=name)
        return StorageInfo(type=kind, name=name, storage_size=size, storage_free=free)
    return StorageInfo(type=kind, name=name)
