"""What the engine asks others for: nodes, the job queue, the locks, the master itself.

Every answer about nodes has one entry per node asked: what the node told, or the `FieldStatus`
that says why not. Nothing here raises because a node is away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ganeti.config.snapshot import Snapshot
from ganeti.jobs.job import Job
from ganeti.locking.manager import LockInfo
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import (
    ExtStorageReport,
    HypervisorNodeInfo,
    OsReport,
    RunningInfo,
    StorageInfo,
)
from ganeti.query.fields import Live, Need
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one node told about itself; parts that were not asked for are None."""

    boot_id: str
    hypervisor: HypervisorNodeInfo | None = None
    storage: StorageInfo | None = None  # the cluster's default storage
    spindles: StorageInfo | None = None


class LiveSource(Protocol):
    """Questions to nodes; each is one bounded fan-out."""

    async def running(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Mapping[str, RunningInfo]]]:
        """Per node uuid: the instances that run there, by name."""

    async def consoles(
        self, config: Snapshot, instances: Sequence[Instance]
    ) -> Mapping[str, Live[Json]]:
        """Per instance uuid: how to reach the console (opcodes.json, OP_INSTANCE_CONSOLE)."""

    async def node_reports(
        self, config: Snapshot, nodes: Sequence[Node], needs: frozenset[Need]
    ) -> Mapping[str, Live[NodeReport]]:
        """Per node uuid: memory, processors, storage, as far as `needs` asks for them."""

    async def exports(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[str]]]:
        """Per node uuid: names of the exports kept there."""

    async def guest_os(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[OsReport]]]:
        """Per node uuid: the OS definitions found there."""

    async def ext_storage(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[ExtStorageReport]]]:
        """Per node uuid: the external storage providers found there."""


class JobSource(Protocol):
    """The job queue."""

    async def find_jobs(self, ids: Sequence[int]) -> Mapping[int, Job]:
        """The jobs of these numbers, archived ones too; those that don't exist are left out."""

    async def all_jobs(self, archived: bool) -> Sequence[Job]:
        """All jobs; with the archived ones if `archived`."""


class LockSource(Protocol):
    """The lock manager (locking/manager.py)."""

    def describe(self) -> Sequence[LockInfo]: ...


class MasterState(Protocol):
    """What the master knows besides configuration and jobs."""

    @property
    def drained(self) -> bool:
        """The queue takes no jobs."""

    @property
    def watcher_pause_until(self) -> float | None:
        """Unix seconds; None when the watcher is not paused (or no longer)."""

    @property
    def architecture(self) -> tuple[str, str]:
        """Of the master node: ("64bits", "x86_64")."""
