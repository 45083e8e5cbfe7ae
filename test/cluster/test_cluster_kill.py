"""Daemons are killed at random moments under load; afterwards all promises must hold.

GANETI_KILL_ROUNDS is the number of kills (10; 50 before a release), GANETI_KILL_SEED repeats a run
as far as random numbers decide it.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from cluster_bed import ENDED, ClusterBed, until, virtual_cluster
from ganeti.errors import GenericError
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.instance import OpInstanceCreate, OpInstanceRemove
from ganeti.opcodes.tags import OpTagsSet
from ganeti.opcodes.test import OpTestDelay
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, InstanceCreateMode, TagKind
from ganeti.utils.daemons import MASTERD, NODED

ROUNDS = int(os.environ.get("GANETI_KILL_ROUNDS", "10"))
SEED = int(os.environ.get("GANETI_KILL_SEED") or random.randrange(1 << 32))
CLIENTS = 3
LONGEST_CALM_S = 0.8  # between two kills, besides the restart
SETTLE_S = 120.0
PAUSE_S = 0.1  # of a client, on average: three of them make about 30 jobs a second
QUERY_PIECE = 500

pytestmark = pytest.mark.timeout(60 + 10 * ROUNDS + 2 * SETTLE_S)


@dataclass
class History:
    """What one client was told: number → what the job was to do."""

    tags: dict[int, str] = field(default_factory=dict)
    creations: dict[int, str] = field(default_factory=dict)
    removals: dict[int, str] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    succeeded: set[int] = field(default_factory=set)  # seen by the client while it went on

    @property
    def numbers(self) -> list[int]:
        return [*self.tags, *self.creations, *self.removals, *self.others]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    with virtual_cluster(3) as bed:
        bed.add_empty_os("noop")
        bed.init_all()
        yield bed


class LoadingClient(threading.Thread):
    """Submits jobs until it is told to stop, and notes the numbers that it gets."""

    def __init__(self, bed: ClusterBed, name: str, seed: int, stopped: threading.Event) -> None:
        super().__init__(name=name)
        self.history = History()
        self._bed = bed
        self._random = random.Random(seed)
        self._stopped = stopped
        self._count = 0
        self._instances: list[tuple[int, str]] = []

    def run(self) -> None:
        acts: list[Callable[[], None]] = [self._delay, self._tag, self._create, self._remove]
        while not self._stopped.is_set():
            try:
                self._random.choices(acts, weights=[4, 3, 2, 2])[0]()
            except (GenericError, OSError):
                pass  # the master is away; whether it took the job is open
            self._stopped.wait(self._random.random() * 2 * PAUSE_S)

    def _submit(self, *ops: Opcode) -> int:
        self._count += 1
        return int(self._bed.call("SubmitJob", [op.to_json() for op in ops]))

    def _delay(self) -> None:
        op = OpTestDelay(
            duration=self._random.random() / 4,
            no_locks=self._random.random() < 0.5,
            on_master=False,
            on_nodes=[self._random.choice(self._bed.cluster.names)],
        )
        number = self._submit(op, OpTestDelay(duration=0.0))
        self.history.others.append(number)

    def _tag(self) -> None:
        tag = f"{self.name}-{self._count}"
        number = self._submit(OpTagsSet(kind=TagKind.CLUSTER, tags=[tag], name=None))
        self.history.tags[number] = tag
        self._watch(number)

    def _create(self) -> None:
        name = f"{self.name}-{self._count}.example.com"
        number = self._submit(a_creation(name))
        self.history.creations[number] = name
        self._instances.append((number, name))

    def _remove(self) -> None:
        if not self._instances:
            return
        creation, name = self._instances.pop(0)
        op = OpInstanceRemove(
            instance_name=name, depends=[[creation, ["success"]]], shutdown_timeout=1
        )
        self.history.removals[self._submit(op)] = name

    def _watch(self, number: int) -> None:
        rows = self._bed.call("QueryJobs", [number], ["status"])
        if rows[0] and rows[0][0] == "success":
            self.history.succeeded.add(number)


def a_creation(name: str, **more: Json) -> OpInstanceCreate:
    return OpInstanceCreate(
        instance_name=name,
        mode=InstanceCreateMode.CREATE,
        disk_template=DiskTemplate.DISKLESS,
        disks=[],
        nics=[{}],
        os_type="noop+default",
        name_check=False,
        ip_check=False,
        **more,
    )


def kill_in_rounds(bed: ClusterBed, chance: random.Random, calm: threading.Event) -> list[str]:
    """Kill and restart a daemon ROUNDS times; what was killed."""
    victims = []
    for _ in range(ROUNDS):
        calm.wait(chance.random() * LONGEST_CALM_S)
        daemon, node = chance.choice([(MASTERD, 1), (MASTERD, 1), (NODED, chance.randint(1, 3))])
        victims.append(f"{daemon} on node{node}")
        bed.kill(daemon, node)
        bed.start(daemon, node)
    return victims


def test_promises_hold_when_daemons_are_killed(cluster: ClusterBed) -> None:
    stopped = threading.Event()
    clients = [
        LoadingClient(cluster, f"client{number}", SEED + number, stopped)
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        victims = kill_in_rounds(cluster, random.Random(SEED), threading.Event())
    finally:
        stopped.set()
        for client in clients:
            client.join()
    told = f"GANETI_KILL_SEED={SEED}, killed: {', '.join(victims)}"
    histories = [client.history for client in clients]
    problems = list(broken_promises(cluster, histories))
    assert not problems, "\n".join([told, *problems])
    assert sum(len(history.numbers) for history in histories) > ROUNDS, f"no load: {told}"


def broken_promises(bed: ClusterBed, histories: list[History]) -> Iterator[str]:
    """Sentences about what does not hold."""
    numbers = sorted(number for history in histories for number in history.numbers)
    if len(set(numbers)) != len(numbers):
        yield "a number was given out twice"
    # Also jobs of which no client was told: the daemon died between taking one and answering.
    until(
        lambda: all(row[0] in ENDED for row in bed.call("QueryJobs", [], ["status"])),
        "every job has ended",
        SETTLE_S,
    )
    found = dict(zip(numbers, all_statuses(bed, numbers), strict=True))
    for number in numbers:
        if found[number] == "unknown":
            yield f"job {number} is lost"
    for history in histories:
        for number in history.succeeded:
            if found[number] != "success":
                yield f"job {number} had succeeded and now is in state {found[number]}"
    yield from broken_tags(bed, histories, found)
    yield from broken_instances(bed, histories, found)
    rows = bed.ok("gnt-debug locks --no-headers --separator=: -o name,mode,owner,pending")
    for row in rows.splitlines():
        if not row.endswith(":-:-:-"):
            yield f"a lock is held or wanted: {row}"
    yield from broken_by_verify(bed)
    yield from kept_reservations(bed, histories, found)
    for name in ("config_journal", "queue_journal"):
        until(partial(are_equal, bed, name), f"all nodes have the same {name}")


def are_equal(bed: ClusterBed, name: str) -> bool:
    return len({getattr(bed.cluster.paths(node), name).read_bytes() for node in (1, 2, 3)}) == 1


def words_of(bed: ClusterBed, number: int) -> str:
    """Results and log of a job, for the person who looks into it."""
    row = bed.call("QueryJobs", [number], ["opresult", "oplog"])[0]
    return f"job {number}: {row}"


def all_statuses(bed: ClusterBed, numbers: list[int]) -> list[str]:
    made = []
    for first in range(0, len(numbers), QUERY_PIECE):
        made += bed.statuses(numbers[first : first + QUERY_PIECE])
    return made


def broken_tags(bed: ClusterBed, histories: list[History], found: dict[int, str]) -> Iterator[str]:
    tags = set(bed.ok("gnt-cluster list-tags").split())
    for history in histories:
        for number, tag in history.tags.items():
            if found[number] == "success" and tag not in tags:
                yield f"job {number} succeeded, but its tag {tag} is lost"


def broken_instances(
    bed: ClusterBed, histories: list[History], found: dict[int, str]
) -> Iterator[str]:
    rows: list[list[Json]] = bed.call("QueryInstances", [], ["name", "status"], False)
    states = {str(row[0]): str(row[1]) for row in rows}
    for history in histories:
        removed = {name: found[number] for number, name in history.removals.items()}
        for number, name in history.creations.items():
            if found[number] == "success" and name not in removed and name not in states:
                yield f"instance {name} was made by job {number}, but is lost"
            if found[number] != "success" and name in states:
                # Whole before it is started, it may stay when only that went wrong.
                words = words_of(bed, number)
                if "starting instance" not in words:
                    yield f"instance {name} is there, but {words}"
            if removed.get(name) == "success" and name in states:
                yield f"instance {name} was removed, but is there"
    for name, state in states.items():
        if state != "running" and bed(f"gnt-instance startup {name}").rc != 0:
            yield f"instance {name} is in state {state} and can't be started"


def broken_by_verify(bed: ClusterBed) -> Iterator[str]:
    """Instances that should not run, or should: the cluster's own check finds them."""
    done = bed("gnt-cluster verify")
    for line in done.out.splitlines():
        if "- ERROR: " in line:
            yield f"verify: {line}"


def kept_reservations(
    bed: ClusterBed, histories: list[History], found: dict[int, str]
) -> Iterator[str]:
    """The name of an instance that was not made can be used."""
    there = set(bed.ok("gnt-instance list --no-headers -o name").split())
    failed = [
        name
        for history in histories
        for number, name in history.creations.items()
        if found[number] == "error" and name not in there
    ]
    for name in failed[:3]:
        again = a_creation(name, pnode="node1", ignore_ipolicy=True)
        number = int(bed.call("SubmitJob", [again.to_json()]))
        if bed.await_status(number) != "success":
            yield f"instance {name} can't be made after a failed try: {words_of(bed, number)}"
