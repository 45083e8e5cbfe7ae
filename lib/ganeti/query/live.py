"""Live data by RPC: one bounded fan-out per question, a deadline per call (rpc/client.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from ganeti.config.snapshot import Snapshot
from ganeti.model.cluster import Cluster
from ganeti.model.inherit import cluster_hvparams, fill_ndparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import (
    ExtStorageReport,
    NodeInfo,
    OsReport,
    RunningInfo,
    StorageInfo,
)
from ganeti.query.fields import Live, Need
from ganeti.query.sources import NodeReport
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome, target_of
from ganeti.rpc.client import RpcClient
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, FieldStatus

T = TypeVar("T")

StorageUnit = tuple[str, str | None, Sequence[Json]]
"""Type, name, parameters, as node_info takes it."""

LVM_GROUP: Final = "lvm-vg"
LVM_VOLUMES: Final = "lvm-pv"


def default_storage(cluster: Cluster, exclusive_storage: bool) -> StorageUnit | None:
    """Where disks of the first enabled template with space of the cluster's own are made."""
    for template in cluster.enabled_disk_templates:
        match template:
            case DiskTemplate.PLAIN | DiskTemplate.DRBD if cluster.volume_group_name:
                return LVM_GROUP, cluster.volume_group_name, [exclusive_storage]
            case DiskTemplate.FILE:
                return "file", cluster.file_storage_dir, []
            case DiskTemplate.SHARED_FILE:
                return "sharedfile", cluster.shared_file_storage_dir, []
            case DiskTemplate.GLUSTER:
                return "gluster", cluster.gluster_storage_dir, []
    return None


def has_exclusive_storage(config: Snapshot, node: Node) -> bool:
    params = fill_ndparams(config.cluster, config.group_of(node), node)
    return bool(params.get("exclusive_storage"))


def storage_units(
    cluster: Cluster, exclusive_storage: bool, needs: frozenset[Need]
) -> list[StorageUnit]:
    """The default storage and the volume group's spindles, as far as needed and there."""
    units: list[StorageUnit] = []
    if Need.STORAGE in needs:
        storage = default_storage(cluster, exclusive_storage)
        units += [storage] if storage else []
    if Need.SPINDLES in needs and cluster.volume_group_name:
        units.append((LVM_VOLUMES, cluster.volume_group_name, [exclusive_storage]))
    return units


def read_report(info: NodeInfo) -> NodeReport:
    """The parts of an answer by what they are."""
    return NodeReport(
        boot_id=info.boot_id,
        hypervisor=info.hypervisors[0] if info.hypervisors else None,
        storage=_first(info.storage, lambda unit: unit.type != LVM_VOLUMES),
        spindles=_first(info.storage, lambda unit: unit.type == LVM_VOLUMES),
    )


def _first(
    units: Sequence[StorageInfo], wanted: Callable[[StorageInfo], bool]
) -> StorageInfo | None:
    return next((unit for unit in units if wanted(unit)), None)


def told(outcomes: Mapping[str, Outcome[T]]) -> dict[str, Live[T]]:
    """What each node answered, or the status that stands for a failure."""
    made: dict[str, Live[T]] = {}
    for uuid, outcome in outcomes.items():
        if outcome.offline:
            made[uuid] = FieldStatus.OFFLINE
        else:
            made[uuid] = outcome.get() if outcome.ok else FieldStatus.NO_DATA
    return made


class RpcLive:
    """`query.sources.LiveSource` over the RPC client.

    `console` tells how to reach an instance's console; hypervisors know it without being asked,
    so the master supplies it as a function.
    """

    def __init__(self, rpc: RpcClient, console: Callable[[Snapshot, Instance], Live[Json]]) -> None:
        self.rpc = rpc
        self.console = console

    async def running(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Mapping[str, RunningInfo]]]:
        kinds = [str(kind) for kind in config.cluster.enabled_hypervisors]
        params = {kind: cluster_hvparams(config.cluster, kind) for kind in kinds}
        outcomes = await self.rpc.all(
            [target_of(node) for node in nodes], calls.all_instances_info, kinds, params
        )
        return told(outcomes)

    async def consoles(
        self, config: Snapshot, instances: Sequence[Instance]
    ) -> Mapping[str, Live[Json]]:
        return {instance.uuid: self.console(config, instance) for instance in instances}

    async def node_reports(
        self, config: Snapshot, nodes: Sequence[Node], needs: frozenset[Need]
    ) -> Mapping[str, Live[NodeReport]]:
        specs: list[tuple[str, Mapping[str, Json] | None]] = []
        if Need.HYPERVISOR in needs:
            kind = str(config.cluster.enabled_hypervisors[0])
            specs.append((kind, cluster_hvparams(config.cluster, kind)))
        alike: dict[bool, list[Node]] = {}  # the question is the same but for this flag
        for node in nodes:
            alike.setdefault(has_exclusive_storage(config, node), []).append(node)
        asked = [
            self.rpc.all(
                [target_of(node) for node in some],
                calls.node_info,
                storage_units(config.cluster, exclusive, needs),
                specs,
            )
            for exclusive, some in alike.items()
        ]
        reports: dict[str, Live[NodeReport]] = {}
        for outcomes in await asyncio.gather(*asked):
            for uuid, answer in told(outcomes).items():
                if isinstance(answer, FieldStatus):
                    reports[uuid] = answer
                else:
                    reports[uuid] = read_report(answer)
        return reports

    async def exports(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[str]]]:
        return told(await self.rpc.all([target_of(node) for node in nodes], calls.export_list))

    async def guest_os(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[OsReport]]]:
        return told(await self.rpc.all([target_of(node) for node in nodes], calls.os_diagnose))

    async def ext_storage(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[ExtStorageReport]]]:
        targets = [target_of(node) for node in nodes]
        return told(await self.rpc.all(targets, calls.extstorage_diagnose))
