"""A virtual cluster with real daemons, and what tests do with it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fakes.short_root import short_root
from ganeti.luxi.client import Client
from ganeti.serializer import Json
from ganeti.utils import daemons
from virtual_cluster import FILE_STORAGE, OS_DIRECTORY, Done, VirtualCluster

T = TypeVar("T")

WAIT_S = 60.0
POLL_S = 0.02
KEPT_COMMANDS = 15
LOG_LINES = 40
ENDED = ("success", "error", "canceled")
INIT = (
    *("gnt-cluster", "init", "--enabled-hypervisors=fake"),
    *("--enabled-disk-templates=diskless,file", f"--file-storage-dir={FILE_STORAGE}"),
)


def until(condition: Callable[[], T], what: str, timeout_s: float = WAIT_S) -> T:
    """The first true value of the condition; AssertionError when it does not become true."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        time.sleep(POLL_S)
    return value


class ClusterBed:
    """One virtual cluster; called like a shell: `bed("gnt-job list")`, `bed("env", node=2)`."""

    def __init__(self, cluster: VirtualCluster) -> None:
        self.cluster = cluster
        self.commands: list[str] = []

    def __call__(self, line: str, *more: str, node: str | int = 1, input: str = "") -> Done:
        """Run the command, split like a shell would, `more` as it is; on node 1 or another."""
        argv = (*shlex.split(line), *more)
        began = time.monotonic()
        done = self.cluster.run(node, *argv, input=input)
        took = time.monotonic() - began
        text = f"[{node}] {shlex.join(argv)}\n    rc {done.rc} after {took:.2f} s"
        for name, output in (("out", done.out), ("err", done.err)):
            text += "".join(f"\n    {name}| {part}" for part in output.splitlines()[-30:])
        self.commands = [*self.commands[1 - KEPT_COMMANDS :], text]
        return done

    def ok(self, line: str, *more: str, node: str | int = 1, input: str = "") -> str:
        """The output of a command that must succeed."""
        done = self(line, *more, node=node, input=input)
        assert done.rc == 0, f"{line}: exit code {done.rc}: {done.err or done.out}"
        return done.out

    # Making and changing.

    def add_empty_os(self, name: str) -> None:
        """An OS definition whose scripts do nothing, on every node."""
        for node in self.cluster.names:
            place = self.cluster.paths(node).below(OS_DIRECTORY) / name
            place.mkdir()
            (place / "ganeti_api_version").write_text("20\n")
            (place / "parameters.list").write_text("")
            (place / "variants.list").write_text("default\n")
            for script in ("create", "import", "export", "rename", "verify"):
                (place / script).write_text("#!/bin/sh\nexit 0\n")
                (place / script).chmod(0o755)

    def init(self, *options: str) -> Done:
        return self(shlex.join([*INIT, *options, "cluster.example.com"]))

    def init_all(self) -> None:
        """All nodes are in the cluster."""
        done = self.init()
        assert done.rc == 0, done.err
        for name in self.cluster.names[1:]:
            self.ok(f"gnt-node add {name}")

    def call(self, method: str, *args: Json) -> Json:
        """One LUXI call to node 1, which does not wait long for a master that is away."""
        with Client(self.cluster.paths(1), sleep=lambda _: time.sleep(POLL_S)) as client:
            return client.call(method, *args)

    def pid(self, daemon: str, node: str | int = 1) -> int | None:
        return daemons.running_pid(self.cluster.paths(node), daemon)

    def kill(self, daemon: str, node: str | int = 1) -> None:
        """SIGKILL, and it has ended."""
        pid = self.pid(daemon, node)
        assert pid is not None, f"{daemon} does not run on node {node}"
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            until(lambda: self.pid(daemon, node) is None, f"{daemon} is gone")
        finally:
            os.close(handle)

    @contextmanager
    def paused(self, daemon: str, node: str | int = 1) -> Iterator[None]:
        """It lives and does nothing; what is sent to it waits."""
        pid = self.pid(daemon, node)
        assert pid is not None, f"{daemon} does not run on node {node}"
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def start(self, daemon: str, node: str | int = 1, *options: str) -> None:
        name = self.cluster.full_name(node)
        daemons.start(self.cluster.paths(name), name, daemon, options)

    def stop(self, daemon: str, node: str | int = 1) -> None:
        daemons.stop(self.cluster.paths(node), daemon)

    def delay(self, duration_s: float, **more: Any) -> int:
        """The number of a new job that sleeps."""
        op = {
            "OP_ID": "OP_TEST_DELAY",
            "duration": duration_s,
            "no_locks": True,
            "reason": [],
            **more,
        }
        return int(self.call("SubmitJob", [op]))

    @contextmanager
    def running_delay(self, **more: Any) -> Iterator[int]:
        """The number of a job that runs until the block ends; then it succeeds."""
        number = self.delay(600.0, interruptible=True, **more)

        def log() -> list[list[Any]]:
            ((entries,),) = self.call("QueryJobs", [number], ["oplog"])
            return list(entries[0])

        until(log, f"job {number} has named the socket that ends it")
        try:
            yield number
        finally:
            _, _, _, (path,) = log()[0]
            with socket.socket(socket.AF_UNIX) as waker:
                waker.connect(path)
        assert self.await_status(number) == "success"

    def statuses(self, numbers: list[int]) -> list[str]:
        rows = self.call("QueryJobs", numbers, ["status"])
        return [row[0] if row and row[0] else "unknown" for row in rows]

    def await_status(self, number: int, *wanted: str) -> str:
        wanted = wanted or ENDED

        def reached() -> str | None:
            status = self.statuses([number])[0]
            return status if status in wanted else None

        return until(reached, f"job {number} is {' or '.join(wanted)}") or ""

    # What a failed test shows.

    def report(self) -> Iterator[tuple[str, str]]:
        """(heading, text): the last commands and the ends of all logs."""
        yield f"commands in {self.cluster.directory}", "\n".join(self.commands)
        for name in self.cluster.names:
            for log in sorted(self.cluster.paths(name).log.glob("*-daemon.log")):
                lines = log.read_text(errors="replace").splitlines()
                yield f"{name} {log.name}", "\n".join(lines[-LOG_LINES:])


@contextmanager
def virtual_cluster(nodes: int = 3) -> Iterator[ClusterBed]:
    """A new cluster of directories; afterwards nothing of it runs or is left."""
    with short_root() as directory:
        cluster = VirtualCluster.create(directory, nodes)
        try:
            yield ClusterBed(cluster)
        finally:
            try:
                cluster.stop()
                until(lambda: not cluster.leftovers(), "every process of the cluster has ended")
            finally:
                cluster.remove()


def without_dates(text: str) -> str:
    """Log lines of jobs without their first 25 characters (a time)."""
    return re.sub(r"(?m)^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} ", "", text)
