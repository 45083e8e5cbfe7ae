"""Events and figures from real daemons, over HTTPS."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple
from urllib.request import urlopen

from cluster_bed import ClusterBed
from ganeti.constants import RAPI_PORT
from ganeti.utils import daemons
from prometheus_client.openmetrics.parser import text_string_to_metric_families

LIMIT_S = 30.0
METRICS_PORT = 1815


class Told(NamedTuple):
    id: str
    event: str
    data: Any


class Stream:
    """A reader of /2/events. OSError when nothing comes for LIMIT_S."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._lines = lines
        self.last = ""

    def next(self) -> Told:
        """The next event; `last` moves on with it, and with signs of life."""
        while True:
            fields: dict[str, str] = {}
            for line in iter(self._line, ""):
                name, _, value = line.partition(": ")
                fields[name] = value
            self.last = fields.get("id", self.last)
            if "event" in fields:
                return Told(self.last, fields["event"], json.loads(fields["data"]))

    def begin(self) -> Stream:
        """It has got what it had missed, or its place."""
        while not self.last:
            for line in iter(self._line, ""):
                self.last = line.removeprefix("id: ") if line.startswith("id: ") else self.last
        return self

    def _line(self) -> str:
        while True:
            line = self._lines.readline()
            if not line:
                raise EOFError("the stream has ended")
            if not line.endswith(b"\r\n"):  # others are sizes and ends of chunks
                return line.rstrip(b"\n").decode()

    def until(self, wanted: Callable[[Told], bool]) -> list[Told]:
        found = [self.next()]
        while not wanted(found[-1]):
            found.append(self.next())
        return found


def address(bed: ClusterBed, node: int = 1) -> str:
    return f"{bed.cluster.network}.{node}"


@contextmanager
def https(bed: ClusterBed, path: str, headers: str = "") -> Iterator[IO[bytes]]:
    """What is answered after the head. Leaving breaks the connection off."""
    context = ssl.create_default_context(cafile=str(bed.cluster.paths(1).rapi_pem))
    context.check_hostname = False
    with socket.create_connection((address(bed), RAPI_PORT), LIMIT_S) as plain:
        with context.wrap_socket(plain) as made:
            made.sendall(f"GET {path} HTTP/1.1\r\nHost: rapi\r\n{headers}\r\n".encode())
            lines = made.makefile("rb")
            status = lines.readline()
            assert b" 200 " in status, status
            while lines.readline().strip():
                pass
            yield lines


@contextmanager
def follow(bed: ClusterBed, query: str = "", last: str = "") -> Iterator[Stream]:
    headers = f"Last-Event-ID: {last}\r\n" if last else ""
    with https(bed, f"/2/events{query}", headers) as lines:
        stream = Stream(lines)
        yield stream if last else stream.begin()


def ends(job: int) -> Callable[[Told], bool]:
    return lambda told: (
        told.event == "job" and told.data["id"] == job and told.data["opcode"] is None
    )


def job_of(text: str) -> int:
    found = re.search(r"\d+", text)
    assert found, text
    return int(found[0])


def test_the_life_of_a_job_and_what_it_changes_are_told_in_order(cluster: ClusterBed) -> None:
    with follow(cluster) as stream:
        cluster.add_empty_os("noop")
        add = "gnt-instance add --submit -t diskless -o noop+default -n node2"
        add += " --no-name-check --no-ip-check"
        done = cluster(f"{add} web1.example.com")
        job = job_of(done.out + done.err)
        told = stream.until(ends(job))
    numbers = [int(one.id.rpartition("-")[2]) for one in told]
    assert numbers == list(range(numbers[0], numbers[0] + len(told)))
    own = [one.data["status"] for one in told if one.event == "job" and one.data["id"] == job]
    assert own[-2:] == ["running", "success"]
    changes = [one.data for one in told if one.event == "instance"]
    assert changes[0]["change"] == "added"
    assert changes[0]["primary_node"] == "node2.example.com"
    serials = [one.data["serial_no"] for one in told if one.event == "config"]
    assert serials == sorted(set(serials))


def test_a_broken_connection_loses_nothing(cluster: ClusterBed) -> None:
    """Neither that of a reader, nor that of the remote API when it is killed."""
    with follow(cluster, "?kinds=job,config") as stream:
        first = cluster.delay(0)
        stream.until(ends(first))
        last = stream.last
    missed = [cluster.delay(0) for _ in range(3)]
    cluster.ok("gnt-cluster add-tags while-nobody-looked")
    cluster.kill(daemons.RAPI)
    missed.append(cluster.delay(0))
    cluster.await_status(missed[-1])
    cluster.start(daemons.RAPI)
    with follow(cluster, "?kinds=job,config", last) as stream:
        final = cluster.delay(0)
        told = stream.until(ends(final))
    assert "reset" not in {one.event for one in told}
    ended = [one.data["id"] for one in told if one.event == "job" and one.data["opcode"] is None]
    assert set(missed) <= set(ended) and len(ended) == len(set(ended))
    assert "config" in {one.event for one in told}


def test_a_restart_of_the_master_is_told_by_a_reset(cluster: ClusterBed) -> None:
    with follow(cluster, "?kinds=job") as stream:
        stream.until(ends(cluster.delay(0)))
        cluster.kill(daemons.MASTERD)
        cluster.start(daemons.MASTERD)
        assert stream.next().event == "reset"
        assert stream.until(ends(cluster.delay(0)))


def test_a_stream_ends_in_good_order_with_its_daemon(cluster: ClusterBed) -> None:
    with https(cluster, "/2/events") as lines:
        Stream(lines).begin()
        cluster.stop(daemons.RAPI)
        assert lines.read().endswith(b"0\r\n\r\n")
    cluster.start(daemons.RAPI)


# Figures.


def scraped(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def test_the_master_shows_figures_after_jobs(cluster: ClusterBed) -> None:
    cluster.await_status(cluster.delay(0))
    with https(cluster, "/metrics", "Connection: close\r\n") as lines:
        found = scraped(lines.read())
    names = {name for name, _ in found}
    assert {"ganeti_jobs", "ganeti_rpc_seconds_bucket", "ganeti_node_memory_bytes"} <= names
    assert sum(value for (name, _), value in found.items() if name == "ganeti_jobs") > 0
    for node in cluster.cluster.names:
        key = frozenset({"node": node}.items())
        assert found["ganeti_node_answers", key] == 1
        assert found["ganeti_rpc_seconds_count", key] > 0
    assert found["ganeti_journal_write_seconds_count", frozenset({("journal", "queue")})] > 0


def test_a_node_shows_figures_when_it_is_told_to(cluster: ClusterBed) -> None:
    cluster.stop(daemons.NODED, 2)
    name, paths = cluster.cluster.full_name(2), cluster.cluster.paths(2)
    daemons.start(paths, name, daemons.NODED, ["--metrics", str(METRICS_PORT)])
    with urlopen(f"http://{address(cluster, 2)}:{METRICS_PORT}/metrics", timeout=LIMIT_S) as page:
        found = scraped(page.read())
    guest = frozenset({"instance": "web1.example.com", "hypervisor": "fake"}.items())
    assert found["ganeti_noded_guest_memory_bytes", guest] > 0
