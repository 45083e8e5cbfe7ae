"""The measurements: groups of figures that share a cluster."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import bench_full
from bench_cluster import (
    NOOP,
    Bed,
    BenchError,
    add_job,
    compare_files,
    new_cluster,
    synthesised,
    tag_job,
    trivial_job,
)
from bench_count import count, wait_for_rest
from bench_figures import Values
from bench_machine import median, peak_mib, timed
from bench_synthesise import NODES_PER_INSTANCE, instance_name
from cluster_nodes import NodesError
from ganeti.errors import GenericError

Json = Any
SMALL_INSTANCES = 50
CLIENTS = 4
LARGEST = 10_000
CONFIG_FIELDS = "name,hypervisor,os,pnode,snodes,admin_state,be/maxmem,be/vcpus,disk_template,tags"
# Lists all instances over and over, in a process of its own.
BUSY = """
from ganeti.luxi.client import Client
from ganeti.paths import Paths
client = Client(Paths.from_environment())
while True:
    answer = client.query("instance", ["name", "pnode", "admin_state", "be/maxmem"])
    print(len(answer["data"]), flush=True)
"""


@dataclass(slots=True)
class Extent:
    """How often things are repeated."""

    latencies: int = 100
    jobs: int = 500
    tag_jobs: int = 400
    growth_jobs: int = 200
    commands: int = 7
    sizes: tuple[int, ...] = (100, 1000, LARGEST)

    @classmethod
    def quick(cls) -> Extent:
        return cls(50, 200, 100, 60, 3)


@dataclass(slots=True)
class Found:
    """What one run has found."""

    figures: Values = field(default_factory=dict)
    per_job: dict[str, Values] = field(default_factory=dict)
    growth: dict[str, Values] = field(default_factory=dict)
    files: dict[str, Json] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


Group = Callable[[Bed, Extent, Found], None]


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of them don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# Groups on the cluster of three nodes, in their order.


def jobs(bed: Bed, extent: Extent, found: Found) -> None:
    with bed.client() as client:
        bed.job_s(client, trivial_job())
        latencies = [bed.job_s(client, trivial_job()) for _ in range(extent.latencies)]
        found.figures["job_latency_p50_s"] = statistics.median(latencies)
        found.figures["job_latency_p99_s"] = percentile(latencies, 0.99)
        took = bed.jobs_s(client, [trivial_job()] * extent.jobs)
        found.figures["jobs_per_s"] = extent.jobs / took


def instances(bed: Bed, extent: Extent, found: Found) -> None:
    with bed.client() as client:
        ops = [add_job(instance_name(number)) for number in range(1, SMALL_INSTANCES + 1)]
        found.figures["instances_add_per_s"] = SMALL_INSTANCES / bed.jobs_s(client, ops)


def commands(bed: Bed, extent: Extent, found: Found) -> None:
    def seconds(*words: str) -> float:
        return median(lambda: bed.command_s(*words), extent.commands)

    found.figures["cli_version_s"] = seconds("gnt-cluster", "--version")
    found.figures["cli_instance_list_s"] = seconds("gnt-instance", "list")
    configuration = ("gnt-instance", "list", "-o", CONFIG_FIELDS)
    found.figures["cli_instance_list_config_s"] = seconds(*configuration)
    peaks = [peak_mib(bed.argv(*words), bed.environment) for words in (("gnt-instance", "list"),)]
    found.figures["cli_rss_mib"] = max(peaks)


def config_jobs(bed: Bed, extent: Extent, found: Found) -> None:
    each = extent.tag_jobs // CLIENTS
    problems: list[str] = []

    def work(number: int) -> None:
        try:
            with bed.client() as client:
                for turn in range(each):
                    name = instance_name(1 + (turn * CLIENTS + number) % SMALL_INSTANCES)
                    bed.job_s(client, tag_job(name, f"client{number}-{turn}"))
        except (BenchError, GenericError, OSError) as error:
            problems.append(str(error))

    def all_of_them() -> None:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    took = timed(all_of_them)
    if problems:
        raise BenchError(problems[0])
    found.figures["config_jobs_per_s"] = each * CLIENTS / took


def verify(bed: Bed, extent: Extent, found: Found) -> None:
    found.figures["verify_s"] = median(lambda: bed.command_s("gnt-cluster", "verify"), 3)


def instance_add(bed: Bed, extent: Extent, found: Found) -> None:
    def add(number: int) -> float:
        words = ["add", "-t", "diskless", "-o", NOOP, "--no-name-check", "--no-ip-check"]
        return bed.command_s("gnt-instance", *words, instance_name(number))

    times = [add(1000 + number) for number in range(extent.commands)]
    found.figures["instance_add_s"] = statistics.median(times)


def full(bed: Bed, extent: Extent, found: Found) -> None:
    found.figures |= bench_full.measure(bed, extent.commands)


def memory(bed: Bed, extent: Extent, found: Found) -> None:
    found.figures["master_daemons_pss_mib"] = bed.pss_mib()


def counts(bed: Bed, extent: Extent, found: Found) -> None:
    compared, differing = compare_files(bed)
    found.files = {"files": compared, "differing": differing}
    bed.stop_master()
    bed.start_master("--debug")
    with bed.client() as client:
        bed.job_s(client, trivial_job())
        wait_for_rest(bed)  # a new master brings the candidates all job files
        trivial = count(bed, extent.jobs, lambda: bed.jobs_s(client, [trivial_job()] * extent.jobs))
        single = count(bed, 50, lambda: [bed.job_s(client, trivial_job()) for _ in range(50)])
        tags = [tag_job(instance_name(1 + n % SMALL_INSTANCES), f"counted-{n}") for n in range(100)]
        tagging = count(bed, 100, lambda: [bed.job_s(client, op) for op in tags])
        more = [add_job(instance_name(2000 + number)) for number in range(20)]
        adding = count(bed, 20, lambda: bed.jobs_s(client, more))
    for key, counted in (
        ("jobs_per_s", trivial),
        ("job_latency_p50_s", single),
        ("config_jobs_per_s", tagging),
        ("instances_add_per_s", adding),
    ):
        found.per_job[key] = {
            "fsyncs": counted.fsyncs,
            "bytes_written": counted.bytes_written,
            "rpcs": counted.rpcs,
        }
    for name in ("fsyncs", "bytes_written", "rpcs"):
        found.figures[f"{name}_per_job"] = found.per_job["jobs_per_s"][name]


GROUPS: dict[Group, tuple[str, ...]] = {
    jobs: ("job_latency_p50_s", "job_latency_p99_s", "jobs_per_s"),
    instances: ("instances_add_per_s",),
    commands: (
        "cli_version_s",
        "cli_instance_list_s",
        "cli_instance_list_config_s",
        "cli_rss_mib",
    ),
    config_jobs: ("config_jobs_per_s",),
    verify: ("verify_s",),
    instance_add: ("instance_add_s",),
    memory: ("master_daemons_pss_mib",),
    full: bench_full.KEYS,
    counts: ("fsyncs_per_job", "bytes_written_per_job", "rpcs_per_job"),
}
MAKING = ("cluster_init_s", "node_add_s")
NEED_INSTANCES = (commands, config_jobs, verify, counts)


def small(extent: Extent, wanted: set[str], say: Callable[[str], None], found: Found) -> None:
    """Everything that is measured on three nodes."""
    groups = [group for group, keys in GROUPS.items() if wanted & set(keys)]
    if instances not in groups and set(groups) & set(NEED_INSTANCES):
        groups.insert(0, instances)
    if not groups and not wanted & set(MAKING):
        return
    say("3 nodes")
    attempt("3 nodes", partial(_on_three_nodes, groups, extent, say, found), found)


def _on_three_nodes(
    groups: list[Group], extent: Extent, say: Callable[[str], None], found: Found
) -> None:
    with new_cluster(3) as bed:
        found.figures["cluster_init_s"] = bed.init()
        found.figures["node_add_s"] = statistics.median(bed.add_nodes())
        for group in groups:
            say(group.__name__)
            attempt(group.__name__, partial(group, bed, extent, found), found)


def attempt(name: str, work: Callable[[], None], found: Found) -> None:
    """A group that fails does not keep others from being measured."""
    try:
        work()
    except (BenchError, NodesError, GenericError, OSError) as error:
        found.problems.append(f"{name}: {error}")
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        found.problems.append(f"{name}: {' '.join(error.cmd[1:])}: {' | '.join(words)}")


# Large clusters.

LARGE = ("list_10000_s", "tag_job_10000_s", "masterd_10000_rss_mib")
BUSY_KEY = "job_latency_busy_p99_s"
GROWTH_KEY = "job_cost_growth_10000_to_100"


def large(extent: Extent, wanted: set[str], say: Callable[[str], None], found: Found) -> None:
    """Everything that is measured on synthesised clusters."""
    if not wanted & {*LARGE, BUSY_KEY, GROWTH_KEY}:
        return
    for size in extent.sizes:
        say(f"{size:,} instances")
        attempt(f"{size:,} instances", partial(_one_size, size, extent, found), found)
    values = found.growth.get(str(LARGEST), {})
    found.figures["list_10000_s"] = values.get("list_s")
    found.figures["tag_job_10000_s"] = values.get("tag_job_s")
    found.figures["masterd_10000_rss_mib"] = values.get("masterd_rss_mib")
    found.figures[BUSY_KEY] = values.get("job_latency_busy_p99_s")
    few, many = (found.growth.get(str(n), {}).get("tag_job_cpu_s") for n in (100, LARGEST))
    found.figures[GROWTH_KEY] = many / few if few and many else None


def _one_size(size: int, extent: Extent, found: Found) -> None:
    with synthesised(size, int(size * NODES_PER_INSTANCE) if size > 100 else 10) as (bed, started):
        values: Values = {"start_s": started}
        found.growth[str(size)] = values
        values["config_data_mib"] = bed.paths.config_data.stat().st_size / 2**20
        with bed.client() as client:
            bed.job_s(client, tag_job(instance_name(1), "first"))
            before = bed.cpu_s()
            times = [
                bed.job_s(client, tag_job(instance_name(1 + number % size), f"tag{number}"))
                for number in range(extent.growth_jobs)
            ]
            values["tag_job_cpu_s"] = (bed.cpu_s() - before) / extent.growth_jobs
            values["tag_job_s"] = statistics.median(times)
            latencies = [bed.job_s(client, trivial_job()) for _ in range(extent.latencies)]
            values["job_latency_p99_s"] = percentile(latencies, 0.99)
            with _busy(bed):
                latencies = [bed.job_s(client, trivial_job()) for _ in range(extent.latencies)]
            values["job_latency_busy_p50_s"] = statistics.median(latencies)
            values["job_latency_busy_p99_s"] = percentile(latencies, 0.99)
        words = ("gnt-instance", "list", "-o", CONFIG_FIELDS)
        values["list_s"] = median(lambda: bed.command_s(*words), extent.commands)
        values["masterd_rss_mib"] = bed.rss_mib()


@contextmanager
def _busy(bed: Bed) -> Iterator[None]:
    """Inside, another client lists all instances without pause."""
    environment = {**bed.environment, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    other = subprocess.Popen(
        [sys.executable, "-c", BUSY], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        if not other.stdout.readline().strip():
            raise BenchError("the client that lists instances has ended")
        yield
        if other.poll() is not None:
            raise BenchError("the client that lists instances has ended")
    finally:
        other.kill()
        other.communicate()
