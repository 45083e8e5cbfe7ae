"""Figures of the master daemon for monitoring: what is counted as it happens, and what is looked
up when somebody asks. Names and meanings: `FAMILIES`; the remote API shows them at /metrics.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.config.store import ConfigStore
from ganeti.errors import GenericError
from ganeti.jobs.job import Job, join_time
from ganeti.jobs.queue import JobQueue
from ganeti.master.locks import JobLocks
from ganeti.query.answer import give_way
from ganeti.query.engine import QueryEngine
from ganeti.query.node import role_of
from ganeti.rpc.base import Target
from ganeti.rpc.replicate import ReplicatedJournal
from ganeti.serializer import Json
from ganeti.types import QueryResource
from ganeti.utils.openmetrics import Family, Histogram, Sample
from ganeti.version import RELEASE

logger = logging.getLogger(__name__)

ASK_NODES_S = 30.0  # what nodes told is shown for so long
WAIT_FOR_NODES_S = 5.0  # a scrape waits no longer; then it shows what they told before
STEP_JOBS = 300  # looked at before others on the loop get a chance: half a millisecond
MIB = 1024 * 1024
AGES: Final = ((60.0, "1m"), (600.0, "10m"), (3600.0, "1h"), (86400.0, "1d"))
OLDER = "older"

INFO = Family("ganeti_master", "info", "Version of the master daemon, and its cluster and node")
SERIAL = Family("ganeti_config_serial", "gauge", "Serial number of the configuration")
JOBS = Family(
    "ganeti_jobs",
    "gauge",
    "Jobs that are not archived, by status, and age: since the end, else start, else submission",
)
OLDEST = Family(
    "ganeti_jobs_oldest_seconds", "gauge", "Age of the oldest job that has not ended, by status"
)
SUBMITTED = Family("ganeti_jobs_submitted", "counter", "Jobs that were ever submitted")
RUNNING_MAX = Family("ganeti_jobs_running_max", "gauge", "Most jobs that may run at a time")
DRAINED = Family("ganeti_queue_drained", "gauge", "1 when the queue takes no new jobs")
LOCK_WAITING = Family("ganeti_lock_waiting", "gauge", "Jobs that wait for locks now")
LOCK_WAIT = Family(
    "ganeti_lock_wait_seconds", "histogram", "How long locks were waited for that were not free"
)
RPC = Family("ganeti_rpc_seconds", "histogram", "How long calls to nodes took, per node")
RPC_FAILURES = Family(
    "ganeti_rpc_failures",
    "counter",
    "Calls to nodes without an answer (no_answer) or answered with an error (error)",
)
WRITE = Family(
    "ganeti_journal_write_seconds",
    "histogram",
    "How long an append to a journal took, until it was synced to the master's disk",
)
BYTES = Family("ganeti_journal_bytes", "gauge", "Size of a journal")
DEGRADED = Family(
    "ganeti_journal_degraded", "gauge", "1 when no majority of the candidates has all of a journal"
)
INSTANCES = Family("ganeti_instances", "gauge", "Instances by the state the administrator wants")
ROLE = Family("ganeti_node_role", "gauge", "1 for the role that a node has: M, C, R, D or O")
NODE_INSTANCES = Family(
    "ganeti_node_instances", "gauge", "Instances of a node, by its relation to them"
)
ANSWERS = Family("ganeti_node_answers", "gauge", "1 when an online node told its capacity")
MEMORY = Family(
    "ganeti_node_memory_bytes", "gauge", "Memory of a node: total, used by itself (node), free"
)
STORAGE = Family("ganeti_node_storage_bytes", "gauge", "Storage of a node for disks: total, free")
CPUS = Family("ganeti_node_cpus", "gauge", "Logical processors of a node")

FAMILIES: Final = (
    *(INFO, SERIAL, JOBS, OLDEST, SUBMITTED, RUNNING_MAX, DRAINED, LOCK_WAITING, LOCK_WAIT),
    *(RPC, RPC_FAILURES, WRITE, BYTES, DEGRADED, INSTANCES, ROLE, NODE_INSTANCES),
    *(ANSWERS, MEMORY, STORAGE, CPUS),
)

CAPACITY_FIELDS: Final = (
    "name",
    "offline",
    "mtotal",
    "mnode",
    "mfree",
    "dtotal",
    "dfree",
    "ctotal",
)
Capacity = Mapping[str, tuple[Json, ...]]
"""Node name → values of the other fields; None for what a node did not tell."""


class RpcFigures:
    """An observer of `RpcClient`."""

    def __init__(self) -> None:
        self.seconds: dict[str, Histogram] = {}
        self.failures: Counter[tuple[str, str]] = Counter()

    def __call__(self, node: Target, took_s: float, failure: str) -> None:
        histogram = self.seconds.get(node.name)
        if histogram is None:
            histogram = self.seconds[node.name] = Histogram()
        histogram.observe(took_s)
        if failure:
            self.failures[node.name, failure] += 1

    def forget_all_but(self, names: Iterable[str]) -> None:
        known = set(names)
        for name in self.seconds.keys() - known:
            del self.seconds[name]
        for key in [key for key in self.failures if key[0] not in known]:
            del self.failures[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where figures are looked up. `now`: Unix seconds."""

    store: ConfigStore
    queue: JobQueue
    queue_journal: ReplicatedJournal
    engine: QueryEngine
    locks: JobLocks
    rpc: RpcFigures
    now: Callable[[], float]


class MasterMetrics:
    """Answers `QueryMetrics`, on the loop."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self._journals: dict[str, tuple[ReplicatedJournal, Histogram]] = {}
        for name, journal in (
            ("config", sources.store.journal),
            ("queue", sources.queue_journal),
        ):
            histogram = Histogram()
            journal.on_write = histogram.observe
            self._journals[name] = (journal, histogram)
        self._capacity: Capacity = {}
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def collect(self) -> list[Json]:
        """All families with their samples, as `utils.openmetrics.render` takes them."""
        await self._ask_nodes()
        jobs = await self._jobs()
        config = self._from.store.snapshot
        self._from.rpc.forget_all_but(node.name for node in config.nodes.values())
        found: dict[Family, list[Sample]] = {**jobs, **self._counted(), **self._of_config(config)}
        found |= self._of_nodes(config)
        return [family.shown(found.get(family, ())) for family in FAMILIES]

    def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    # Jobs.

    async def _jobs(self) -> dict[Family, list[Sample]]:
        queue, now = self._from.queue, self._from.now()
        counts: Counter[tuple[str, str]] = Counter()
        oldest: dict[str, float] = {}
        for number, job in enumerate(list(queue.jobs.values()), start=1):
            status, age = job.status.value, age_of(job, now)
            counts[status, age_class(age)] += 1
            if not job.is_final:
                oldest[status] = max(age, oldest.get(status, 0.0))
            if number % STEP_JOBS == 0:
                await give_way()
        return {
            JOBS: [("", {"status": one[0], "age": one[1]}, n) for one, n in counts.items()],
            OLDEST: [("", {"status": status}, age) for status, age in oldest.items()],
            SUBMITTED: [("_total", {}, queue.serial)],
            DRAINED: [("", {}, int(queue.drained))],
        }

    # What was counted.

    def _counted(self) -> dict[Family, list[Sample]]:
        rpc, locks = self._from.rpc, self._from.locks
        journals = self._journals.items()
        return {
            LOCK_WAITING: [("", {}, locks.waiting)],
            LOCK_WAIT: locks.waits.samples(),
            RPC: [
                one for name, seen in rpc.seconds.items() for one in seen.samples({"node": name})
            ],
            RPC_FAILURES: [
                ("_total", {"node": node, "kind": kind}, count)
                for (node, kind), count in rpc.failures.items()
            ],
            WRITE: [one for name, (_, seen) in journals for one in seen.samples({"journal": name})],
            BYTES: [("", {"journal": name}, journal.size) for name, (journal, _) in journals],
            DEGRADED: [
                ("", {"journal": name}, int(journal.degraded)) for name, (journal, _) in journals
            ],
        }

    # The configuration.

    def _of_config(self, config: Snapshot) -> dict[Family, list[Sample]]:
        states = Counter(one.admin_state.value for one in config.instances.values())
        info = {
            "version": RELEASE,
            "cluster": config.cluster.cluster_name,
            "node": config.master().name,
        }
        relations = (("primary", config.index.by_primary), ("secondary", config.index.by_secondary))
        return {
            INFO: [("_info", info, 1)],
            SERIAL: [("", {}, config.serial_no)],
            RUNNING_MAX: [("", {}, config.cluster.max_running_jobs)],
            INSTANCES: [
                ("", {"admin_state": state}, states[state]) for state in ("up", "down", "offline")
            ],
            ROLE: [
                ("", {"node": node.name, "role": role_of(config, node)}, 1)
                for node in config.nodes.values()
            ],
            NODE_INSTANCES: [
                ("", {"node": node.name, "relation": word}, len(claims.get(node.uuid, ())))
                for node in config.nodes.values()
                for word, claims in relations
            ],
        }

    # What nodes tell.

    def _of_nodes(self, config: Snapshot) -> dict[Family, list[Sample]]:
        found: dict[Family, list[Sample]] = {ANSWERS: [], MEMORY: [], STORAGE: [], CPUS: []}
        for name, (offline, total, own, free, disk, disk_free, cpus) in self._capacity.items():
            node = {"node": name}
            if not offline:
                found[ANSWERS].append(("", node, int(total is not None)))
            memory = (("total", total), ("node", own), ("free", free))
            for family, values in (
                (MEMORY, memory),
                (STORAGE, (("total", disk), ("free", disk_free))),
            ):
                found[family] += [
                    ("", {**node, "kind": kind}, value * MIB)
                    for kind, value in values
                    if value is not None
                ]
            if cpus is not None:
                found[CPUS].append(("", node, cpus))
        return found

    async def _ask_nodes(self) -> None:
        """What nodes told is not old, or they have had their time to answer."""
        loop = asyncio.get_running_loop()
        is_new = self._asked_at is not None and loop.time() < self._asked_at + ASK_NODES_S
        if self._asking is None and not is_new:
            self._asking = loop.create_task(self._ask())
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=WAIT_FOR_NODES_S)

    async def _ask(self) -> None:
        try:
            answer = await self._from.engine.query(QueryResource.NODE, CAPACITY_FIELDS, None)
            rows: list[list[tuple[int, Json]]] = answer.plain()["data"]
            self._capacity = {str(row[0][1]): tuple(value for _, value in row[1:]) for row in rows}
        except GenericError as error:
            logger.warning("the capacity of nodes can't be told: %s", error)
        finally:
            self._asked_at = asyncio.get_running_loop().time()
            self._asking = None


def age_of(job: Job, now: float) -> float:
    """Seconds since it ended, else began, else came."""
    return max(0.0, now - join_time(job.age_timestamp))


def age_class(age_s: float) -> str:
    return next((word for limit, word in AGES if age_s < limit), OLDER)
