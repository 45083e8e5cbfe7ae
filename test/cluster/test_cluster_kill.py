"""Daemons and guests are killed at random moments under load; afterwards all promises must hold.

Each round kills a master daemon (also one that just starts), a node daemon or a guest: a QEMU where
it is installed, else the file that is a guest of the fake hypervisor. GANETI_KILL_ROUNDS is the
number of rounds (50), GANETI_KILL_SEED repeats a run as far as random numbers decide it.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from cluster_bed import ENDED, INIT, ClusterBed, until, virtual_cluster
from ganeti.errors import GenericError, OpExecError
from ganeti.hypervisor import kvm_process
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.instance import OpInstanceCreate, OpInstanceRemove, OpInstanceStartup
from ganeti.opcodes.tags import OpTagsSet
from ganeti.opcodes.test import OpTestDelay
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, HypervisorKind, InstanceCreateMode, TagKind
from ganeti.utils.daemons import MASTERD, NODED
from virtual_cluster import FILE_STORAGE, OS_DIRECTORY

ROUNDS = int(os.environ.get("GANETI_KILL_ROUNDS", "50"))
SEED = int(os.environ.get("GANETI_KILL_SEED") or random.randrange(1 << 32))
CLIENTS = 3
LONGEST_CALM_S = 0.5  # between two kills, besides the restart
STARTING_S = 0.6  # a master daemon that is killed while it starts has had at most that long
QEMU = "/usr/bin/qemu-system-x86_64"
QEMU_OPTION = f"-H kvm:kvm_path={QEMU},kvm_flag=disabled,kernel_path="
KVM = HypervisorKind.KVM if os.path.exists(QEMU) else HypervisorKind.FAKE
KVM_SHARE = 0.3  # of the instances: a start of QEMU costs much more than one of a fake guest
SETTLE_S = 120.0
PAUSE_S = 0.2  # of a client, on average: three of them make about 15 jobs a second
QUERY_PIECE = 500

ERROR = "- ERROR: "
MARK = b"whole"  # what an OS script leaves on the disk of an instance that it has finished
MARKING = f"""#!/bin/sh
set -e
printf {MARK.decode()} | dd of="$DISK_0_PATH" conv=notrunc 2>/dev/null
"""

pytestmark = pytest.mark.timeout(60 + 6 * ROUNDS + 2 * SETTLE_S)


@dataclass
class History:
    """What one client was told: number → what the job was to do."""

    tags: dict[int, str] = field(default_factory=dict)
    creations: dict[int, str] = field(default_factory=dict)
    removals: dict[int, str] = field(default_factory=dict)
    startups: dict[int, str] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    succeeded: set[int] = field(default_factory=set)  # seen by the client while it went on

    @property
    def numbers(self) -> list[int]:
        return [*self.tags, *self.creations, *self.removals, *self.startups, *self.others]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    with virtual_cluster(3) as bed:
        bed.add_empty_os("noop")
        bed.add_empty_os("marking")
        for node in bed.cluster.names:
            script = bed.cluster.paths(node).below(OS_DIRECTORY) / "marking/create"
            script.write_text(MARKING)
        if KVM is HypervisorKind.KVM:
            bed.ok(
                " ".join(INIT).replace("=fake", "=fake,kvm") + f" {QEMU_OPTION} cluster.example.com"
            )
            for name in bed.cluster.names[1:]:
                bed.ok(f"gnt-node add {name}")
        else:
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
        acts: list[Callable[[], None]]
        acts = [self._delay, self._tag, self._create, self._remove, self._startup]
        while not self._stopped.is_set():
            try:
                self._random.choices(acts, weights=[4, 3, 2, 2, 2])[0]()
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
        if KVM is not HypervisorKind.FAKE and self._random.random() < KVM_SHARE:
            op = a_creation(name, hypervisor=KVM, nics=[])  # it would boot from the network
        else:
            op = a_creation(name, hypervisor=HypervisorKind.FAKE, **MARKED)
        number = self._submit(op)
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

    def _startup(self) -> None:
        """As a watcher would: what was killed runs again, what runs does so already."""
        if not self._instances:
            return
        creation, name = self._random.choice(self._instances)
        op = OpInstanceStartup(instance_name=name, depends=[[creation, ["success"]]])
        self.history.startups[self._submit(op)] = name

    def _watch(self, number: int) -> None:
        rows = self._bed.call("QueryJobs", [number], ["status"])
        if rows[0] and rows[0][0] == "success":
            self.history.succeeded.add(number)


MARKED: dict[str, Json] = {
    "disk_template": DiskTemplate.FILE,
    "disks": [{"size": 1024}],
    "os_type": "marking+default",
}


def a_creation(name: str, **more: Json) -> OpInstanceCreate:
    values: dict[str, Json] = {
        "disk_template": DiskTemplate.DISKLESS,
        "disks": [],
        "os_type": "noop+default",
        "nics": [{}],
    }
    return OpInstanceCreate(
        instance_name=name,
        mode=InstanceCreateMode.CREATE,
        name_check=False,
        ip_check=False,
        **(values | more),
    )


# Killing.


class Killer:
    """Kills one thing after the other, and starts daemons again."""

    def __init__(self, bed: ClusterBed, chance: random.Random) -> None:
        self._bed = bed
        self._random = chance
        self.victims: list[str] = []

    def rounds(self, count: int) -> None:
        acts = [self._master, self._starting_master, self._noded, self._guest]
        for _ in range(count):
            threading.Event().wait(self._random.random() * LONGEST_CALM_S)
            self._random.choices(acts, weights=[4, 1, 3, 3])[0]()

    def _master(self) -> None:
        self._daemon(MASTERD, 1)

    def _noded(self) -> None:
        self._daemon(NODED, self._random.randint(1, 3))

    def _daemon(self, daemon: str, node: int) -> None:
        self.victims.append(f"{daemon} on node{node}")
        self._bed.kill(daemon, node)
        self._bed.start(daemon, node)

    def _starting_master(self) -> None:
        """Killed anew while it takes over what the last one left."""
        self.victims.append(f"{MASTERD} on node1 while it starts")
        self._bed.kill(MASTERD)
        starter = threading.Thread(target=self._try_to_start)
        starter.start()
        starter.join(self._random.random() * STARTING_S)
        pid = self._bed.pid(MASTERD)
        if pid is not None:
            with suppress(ProcessLookupError):  # the file still had the number of the last one
                os.kill(pid, signal.SIGKILL)
            until(lambda: self._bed.pid(MASTERD) != pid, f"{MASTERD} is gone")
        starter.join()
        self._bed.start(MASTERD)

    def _try_to_start(self) -> None:
        try:
            self._bed.start(MASTERD)
        except OpExecError:
            pass  # it was killed first

    def _guest(self) -> None:
        """One of those that live; a node daemon when there is none."""
        guests = sorted(living_guests(self._bed))
        if not guests:
            self._noded()
            return
        place = self._random.choice(guests)
        self.victims.append(f"guest {place.name}")
        kill_guest(place)


def living_guests(bed: ClusterBed) -> Iterator[Path]:
    """The pid file of each QEMU, or the file that is a fake guest."""
    for node in (1, 2, 3):
        paths = bed.cluster.paths(node)
        fake, kvm = paths.run / "fake-hypervisor", KvmDirectories.of(paths).pids
        for file in (kvm if KVM is HypervisorKind.KVM else fake).glob("client*"):
            if KVM is HypervisorKind.FAKE or qemu_of(file) is not None:
                yield file


def qemu_of(pid_file: Path) -> int | None:
    found = kvm_process.find(Path("/proc"), pid_file, pid_file.name)
    return None if found is None else found[0]


def kill_guest(file: Path) -> None:
    pid = qemu_of(file) if KVM is HypervisorKind.KVM else None
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    elif KVM is HypervisorKind.FAKE:
        file.unlink(missing_ok=True)


def test_promises_hold_when_daemons_are_killed(cluster: ClusterBed) -> None:
    stopped = threading.Event()
    clients = [
        LoadingClient(cluster, f"client{number}", SEED + number, stopped)
        for number in range(CLIENTS)
    ]
    killer = Killer(cluster, random.Random(SEED))
    for client in clients:
        client.start()
    began = time.monotonic()
    try:
        killer.rounds(ROUNDS)
    finally:
        stopped.set()
        for client in clients:
            client.join()
    took = time.monotonic() - began
    told = f"GANETI_KILL_SEED={SEED}, killed: {', '.join(killer.victims)}"
    histories = [client.history for client in clients]
    problems = list(broken_promises(cluster, histories))
    assert not problems, "\n".join([told, *problems])
    jobs = sum(len(history.numbers) for history in histories)
    assert jobs > ROUNDS, f"no load: {told}"
    settled = time.monotonic() - began - took
    print(f"{ROUNDS} rounds: {took / ROUNDS:.2f} s each, {jobs} jobs; checked in {settled:.1f} s")


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


def names_asked_to_go(bed: ClusterBed) -> set[str]:
    """Also by jobs of which no client was told."""
    summaries = [text for row in bed.call("QueryJobs", [], ["summary"]) for text in row[0]]
    head = "INSTANCE_REMOVE("
    return {text.removeprefix(head)[:-1] for text in summaries if text.startswith(head)}


def broken_instances(
    bed: ClusterBed, histories: list[History], found: dict[int, str]
) -> Iterator[str]:
    rows: list[list[Json]] = bed.call("QueryInstances", [], ["name", "status"], False)
    states = {str(row[0]): str(row[1]) for row in rows}
    gone = names_asked_to_go(bed)
    for history in histories:
        removed = {name: found[number] for number, name in history.removals.items()}
        for number, name in history.creations.items():
            if found[number] == "success" and name not in gone and name not in states:
                yield f"instance {name} was made by job {number}, but is lost"
            if found[number] != "success" and name in states:
                # Whole before it is started, it may stay when only that went wrong.
                if not is_whole(bed, name):
                    yield f"instance {name} is there half made: {words_of(bed, number)}"
            if removed.get(name) == "success" and name in states:
                yield f"instance {name} was removed, but is there"
    for name, state in states.items():
        if state == "running" or bed(f"gnt-instance startup {name}").rc == 0:
            continue
        if name not in gone:
            yield f"instance {name} is in state {state} and can't be started"
        elif bed(f"gnt-instance remove --force {name}").rc != 0:
            yield f"instance {name} is in state {state} and can't be removed again"


def beginning(disk: Path) -> bytes:
    with disk.open("rb") as file:
        return file.read(len(MARK))


def is_whole(bed: ClusterBed, name: str) -> bool:
    """Whether its OS is on its disk; one without disks has nothing that could be missing."""
    places = [bed.cluster.paths(node).below(FILE_STORAGE) / name for node in bed.cluster.names]
    disks = [disk for place in places if place.is_dir() for disk in place.iterdir()]
    if not disks:
        return bed.ok(f"gnt-instance list --no-headers -o disk_template {name}") == "diskless\n"
    return all(beginning(disk) == MARK for disk in disks)


def broken_by_verify(bed: ClusterBed) -> Iterator[str]:
    """Instances that should not run, or should: the cluster's own check finds them.

    What a node missed while its daemon was dead is brought to it soon after that is back.
    """
    errors: list[str] = []

    def is_clean() -> bool:
        errors[:] = [line for line in bed("gnt-cluster verify").out.splitlines() if ERROR in line]
        return not errors

    with suppress(AssertionError):
        until(is_clean, "verify finds no error", SETTLE_S)
    for line in errors:
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
