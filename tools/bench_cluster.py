"""A virtual cluster under measurement: making it, its jobs, commands and processes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_machine import run, timed
from bench_synthesise import fill
from cluster_nodes import CLUSTER_NAME, OS_DIRECTORY, TOP
from ganeti.luxi.client import Client
from ganeti.paths import HOSTNAME_VARIABLE, ROOT_VARIABLE
from ganeti.serializer import dump_bytes, loads
from ganeti.utils import daemons
from virtual_cluster import FILE_STORAGE, VirtualCluster

Json = Any
NOOP = "noop"  # a guest OS whose scripts do nothing
SCRIPTS = ("create", "import", "export", "rename")
INIT = (
    *("gnt-cluster", "init", "--enabled-hypervisors=fake"),
    *("--enabled-disk-templates=diskless,file", f"--file-storage-dir={FILE_STORAGE}"),
    "--ipolicy-vcpu-ratio=100",  # fake instances need no processors
    "--ipolicy-spindle-ratio=1000",
)
ENDED = ("success", "error", "canceled")
JOBS_TIMEOUT_S = 300.0
POLL_S = 0.01
OWN_FILES = ("lock", "journal.promise")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement was not possible; the text says why."""


class Bed:
    """One virtual cluster."""

    def __init__(self, cluster: VirtualCluster) -> None:
        self.cluster = cluster
        self.paths = cluster.paths(1)
        self.environment = {
            ROOT_VARIABLE: str(self.paths.root),
            HOSTNAME_VARIABLE: cluster.full_name(1),
        }

    # Commands.

    def argv(self, program: str, *arguments: str) -> list[str]:
        """A command of this checkout, without the shell program that finds it."""
        return [str(TOP / ".venv/bin/python"), str(TOP / "scripts" / program), *arguments]

    def command_s(self, program: str, *arguments: str) -> float:
        """How long the command took; it must succeed."""
        return timed(lambda: run(self.argv(program, *arguments), self.environment))

    def init(self) -> float:
        words = [*INIT[1:], CLUSTER_NAME]
        took = self.command_s(INIT[0], *words)
        for name in self.cluster.names:
            _make_noop(self.cluster.paths(name).below(OS_DIRECTORY) / NOOP)
        return took

    def add_nodes(self) -> list[float]:
        return [self.command_s("gnt-node", "add", name) for name in self.cluster.names[1:]]

    # Jobs over LUXI.

    def client(self) -> Client:
        return Client(self.paths)

    def job_s(self, client: Client, op: Json) -> float:
        """From submission to success, as a client sees it."""
        return timed(lambda: self.finish(client, client.submit_job([op])))

    def jobs_s(self, client: Client, jobs: Sequence[Json]) -> float:
        """All at once, until the last one has succeeded."""

        def work() -> None:
            answers = client.submit_many_jobs([[op] for op in jobs])
            numbers = [int(number) for ok, number in answers if ok]
            if len(numbers) < len(jobs):
                raise BenchError(
                    f"a job was refused: {[text for ok, text in answers if not ok][0]}"
                )
            self.finish_all(client, numbers)

        return timed(work)

    def finish(self, client: Client, number: int) -> None:
        fields = ["status", "opresult"]
        previous: list[Json] | None = None
        serial: int | None = None
        while True:
            change = client.wait_for_job_change(number, fields, previous, serial)
            if change is not None:
                previous, entries = change
                serial = entries[-1][0] if entries else serial
            if previous and previous[0] in ENDED:
                return _must_be_good(number, *previous)

    def finish_all(self, client: Client, numbers: list[int]) -> None:
        """They have succeeded; the last one is waited for, then those that are not done yet."""
        end = time.monotonic() + JOBS_TIMEOUT_S
        while numbers:
            self.finish(client, numbers[-1])
            rows = client.query_jobs(numbers, ["status", "opresult"])
            for number, row in zip(numbers, rows):
                if row[0] in ENDED:
                    _must_be_good(number, *row)
            numbers = [n for n, row in zip(numbers, rows) if row[0] not in ENDED]
            if time.monotonic() > end:
                raise BenchError(f"{len(numbers)} jobs have not ended in {JOBS_TIMEOUT_S:g} s")

    # The master daemon.

    def pid(self, daemon: str = daemons.MASTERD) -> int:
        pid = daemons.running_pid(self.paths, daemon)
        if pid is None:
            raise BenchError(f"{daemon} does not run")
        return pid

    def start_master(self, *arguments: str) -> float:
        """Alone with its configuration: without the votes of other nodes."""
        name = self.cluster.full_name(1)
        alone = ("--no-voting", "--yes-do-it", *arguments)
        return timed(lambda: daemons.start(self.paths, name, daemons.MASTERD, alone))

    def stop_master(self) -> None:
        pid = self.pid()
        daemons.stop(self.paths, daemons.MASTERD)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the master daemon has ended")

    def cpu_s(self) -> float:
        """Time that the master daemon has worked so far."""
        fields = Path(f"/proc/{self.pid()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def rss_mib(self) -> float:
        return _status_kib(f"/proc/{self.pid()}/status", "VmRSS:") / 1024

    def pss_mib(self) -> float:
        """Of masterd and noded of the master, with their share of what they have in common."""
        running = self.cluster.running()[self.cluster.full_name(1)]
        pids = [running[daemon] for daemon in (daemons.MASTERD, daemons.NODED)]
        return sum(_status_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids) / 1024


def tag_job(name: str, tag: str) -> Json:
    return {"OP_ID": "OP_TAGS_SET", "kind": "instance", "name": name, "tags": [tag], "reason": []}


def trivial_job() -> Json:
    return {"OP_ID": "OP_TEST_DELAY", "duration": 0.001, "no_locks": True, "reason": []}


def add_job(name: str) -> Json:
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "mode": "create",
        "disk_template": "diskless",
        "disks": [],
        "nics": [{}],
        "os_type": NOOP,
        "name_check": False,
        "ip_check": False,
        "reason": [],
    }


@contextmanager
def new_cluster(nodes: int) -> Iterator[Bed]:
    """Directories of a cluster; afterwards nothing of it runs or is left."""
    directory = Path(tempfile.mkdtemp(prefix="gnt-", dir="/tmp"))
    cluster = VirtualCluster.create(directory, nodes)
    try:
        yield Bed(cluster)
    finally:
        cluster.stop()
        wait_until(lambda: not cluster.leftovers(), "all processes have ended")
        cluster.remove()


@contextmanager
def synthesised(instances: int, nodes: int) -> Iterator[tuple[Bed, float]]:
    """A cluster with so many instances and offline nodes, and how long its master took to start."""
    with new_cluster(1) as bed:
        bed.init()
        bed.stop_master()
        path = bed.paths.config_data
        document = fill(loads(path.read_bytes(), str(path)), instances, nodes)
        path.write_bytes(dump_bytes(document))
        bed.paths.config_journal.unlink()
        del document
        yield bed, bed.start_master()


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise BenchError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)


def differing_files(bed: Bed) -> tuple[int, list[str]]:
    """How many of the master's files every candidate must have, and those where they differ.

    Promises are each node's own.
    """
    top = bed.paths.data
    queue = [p for p in bed.paths.queue.rglob("*") if p.is_file() and p.name not in OWN_FILES]
    wanted = [bed.paths.config_data, bed.paths.config_journal, *queue]
    names = sorted(path.relative_to(top) for path in wanted if not path.name.startswith("."))
    differing = []
    for other in bed.cluster.names[1:]:
        place = bed.cluster.paths(other).data
        for name in names:
            if _bytes(top / name) != _bytes(place / name):
                differing.append(f"{other}: {name}")
    return len(names), differing


def compare_files(bed: Bed) -> tuple[int, list[str]]:
    """The same, once they had time to become equal."""
    end = time.monotonic() + 30.0
    while (found := differing_files(bed))[1] and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _make_noop(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "ganeti_api_version").write_text("10\n")
    for name in SCRIPTS:
        script = directory / name
        script.write_text("#!/bin/sh\nexit 0\n")
        script.chmod(0o755)


def _must_be_good(number: int, status: str, result: Json) -> None:
    if status != "success":
        raise BenchError(f"job {number} ended as {status}: {result}")


def _status_kib(path: str, key: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise BenchError(f"{path} does not tell {key}")


def has_strace() -> bool:
    return shutil.which("strace") is not None
