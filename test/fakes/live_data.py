"""Nodes, queue, locks and master as a query engine sees them, with answers set by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ganeti.config.snapshot import Snapshot
from ganeti.jobs.job import Job
from ganeti.locking.manager import LockInfo
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import ExtStorageReport, OsReport, RunningInfo
from ganeti.query.engine import QueryEngine
from ganeti.query.fields import Live, Need
from ganeti.query.sources import NodeReport
from ganeti.serializer import Json
from ganeti.types import FieldStatus

T = TypeVar("T")


@dataclass
class FakeNodes:
    """Answers by node name; a node without an entry does not answer.

    `asked` lists the questions: what, and the names of the nodes (of the instances for consoles).
    """

    instances: dict[str, dict[str, RunningInfo]] = field(default_factory=dict)
    reports: dict[str, NodeReport] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)
    systems: dict[str, list[OsReport]] = field(default_factory=dict)
    providers: dict[str, list[ExtStorageReport]] = field(default_factory=dict)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    needed: list[frozenset[Need]] = field(default_factory=list)

    def _tell(
        self, what: str, nodes: Sequence[Node], answers: Mapping[str, T]
    ) -> Mapping[str, Live[T]]:
        self.asked.append((what, sorted(node.name for node in nodes)))
        told: dict[str, Live[T]] = {}
        for node in nodes:
            if node.offline:
                told[node.uuid] = FieldStatus.OFFLINE
            else:
                told[node.uuid] = answers.get(node.name, FieldStatus.NO_DATA)
        return told

    async def running(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Mapping[str, RunningInfo]]]:
        return self._tell("running", nodes, self.instances)

    async def consoles(
        self, config: Snapshot, instances: Sequence[Instance]
    ) -> Mapping[str, Live[Json]]:
        self.asked.append(("consoles", sorted(one.name for one in instances)))
        return {
            one.uuid: {
                "instance": one.name,
                "kind": "msg",
                "message": f"Console not available for {one.hypervisor} hypervisor",
            }
            for one in instances
        }

    async def node_reports(
        self, config: Snapshot, nodes: Sequence[Node], needs: frozenset[Need]
    ) -> Mapping[str, Live[NodeReport]]:
        self.needed.append(needs)
        return self._tell("reports", nodes, self.reports)

    async def exports(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[str]]]:
        return self._tell("exports", nodes, self.kept)

    async def guest_os(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[OsReport]]]:
        return self._tell("systems", nodes, self.systems)

    async def ext_storage(
        self, config: Snapshot, nodes: Sequence[Node]
    ) -> Mapping[str, Live[Sequence[ExtStorageReport]]]:
        return self._tell("providers", nodes, self.providers)


@dataclass
class FakeQueue:
    """Jobs in memory."""

    jobs: list[Job] = field(default_factory=list)

    async def find_jobs(self, ids: Sequence[int]) -> Mapping[int, Job]:
        return {job.id: job for job in self.jobs if job.id in ids}

    async def all_jobs(self, archived: bool) -> Sequence[Job]:
        return [job for job in self.jobs if archived or not job.archived]


@dataclass
class FakeLocks:
    """Locks as they are described."""

    locks: list[LockInfo] = field(default_factory=list)

    def describe(self) -> Sequence[LockInfo]:
        return self.locks


@dataclass
class FakeMaster:
    drained: bool = False
    watcher_pause_until: float | None = None
    architecture: tuple[str, str] = ("64bits", "x86_64")


@dataclass
class FakeCluster:
    """All that an engine asks, and the engine."""

    config: Snapshot
    nodes: FakeNodes = field(default_factory=FakeNodes)
    queue: FakeQueue = field(default_factory=FakeQueue)
    locks: FakeLocks = field(default_factory=FakeLocks)
    master: FakeMaster = field(default_factory=FakeMaster)

    @property
    def engine(self) -> QueryEngine:
        return QueryEngine(lambda: self.config, self.nodes, self.queue, self.locks, self.master)

    def change_node(self, name: str, **values: object) -> None:
        node = self.config.find_node(name)
        assert node is not None
        changed = replace(node, **values)  # type: ignore[arg-type]
        nodes = self.config.nodes.set(node.uuid, changed)
        self.config = replace(self.config, nodes=nodes)
