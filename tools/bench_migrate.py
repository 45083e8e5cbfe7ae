"""Live migration between two namespace nodes: by command, and the same two QEMU driven by hand."""

from __future__ import annotations

import json
import re
import shlex
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench_cluster import BenchError
from bench_machine import timed
from bench_measure import Extent, Found, attempt
from cluster_nodes import CLUSTER_NAME, OS_DIRECTORY, Done, NodesError
from namespace_nodes import SHARED, NamespaceNodes, why_not

Json = Any
RATIO, COMMAND, BY_HAND = (
    "live_migration_ratio",
    "live_migration_s",
    "live_migration_by_hand_s",
)
KEYS = (RATIO, COMMAND, BY_HAND)
GUEST = "web1.example.com"
ADDRESS = "198.51.100.101"
MEMORY_MIB = 256
CONTROL = "/run/ganeti/kvm-hypervisor/ctrl"
PORT = 8102  # hvparam migration_port
REPEAT = 3
WAIT_S = 300.0
POLL_S = 0.01


def migration(extent: Extent, wanted: set[str], say: Callable[[str], None], found: Found) -> None:
    """Everything that is measured on namespace nodes, which are for root."""
    if not wanted & set(KEYS):
        return
    say("live migration")
    reason = why_not()
    if reason:
        found.problems.append(f"live migration: {reason}")
        return

    def work() -> None:
        try:
            _measure(found)
        except NodesError as error:
            raise BenchError(str(error)) from error

    attempt("live migration", work, found)


def _measure(found: Found) -> None:
    with NamespaceNodes(2) as nodes:
        _make_guest(nodes)
        migrate = ("gnt-instance", "migrate", "-f", GUEST)
        command = [timed(lambda: _ok(nodes, 1, *migrate)) for _ in range(REPEAT)]
        by_hand = [_by_hand_s(nodes, 1 + (REPEAT + number) % 2, number) for number in range(REPEAT)]
        found.figures[COMMAND] = statistics.median(command)
        found.figures[BY_HAND] = statistics.median(by_hand)
        found.figures[RATIO] = found.figures[COMMAND] / found.figures[BY_HAND]


def _by_hand_s(nodes: NamespaceNodes, source: int, number: int) -> float:
    target = 3 - source
    tap = f"hand{number}"
    argv = _argv_for(nodes, source, target, tap)
    return timed(lambda: _move(nodes, source, target, tap, argv))


def _ok(nodes: NamespaceNodes, node: int, *argv: str) -> str:
    done: Done = nodes.run(node, *argv)
    if done.rc != 0:
        raise BenchError(f"{shlex.join(argv)}: {done.err.strip()[-300:]}")
    return done.out


def _make_guest(nodes: NamespaceNodes) -> None:
    """A cluster, and an instance that runs on node 1 and has nothing to do."""
    boot = _ok(nodes, 1, f"{OS_DIRECTORY}/busybox/make-initrd", f"{SHARED}/boot").strip()
    _ok(
        *(nodes, 1, "gnt-cluster", "init", "--master-netdev=eth0", "--nic-parameters", "link=br0"),
        *("--enabled-disk-templates=sharedfile", f"--shared-file-storage-dir={SHARED}/disks"),
        *("--enabled-hypervisors=kvm", "-H", f"kvm:{boot},kvm_flag=disabled", CLUSTER_NAME),
    )
    nodes.let_in(1, 2)
    _ok(nodes, 1, "gnt-node", "add", "--no-ssh-key-check", "node2")
    _ok(
        *(nodes, 1, "gnt-instance", "add", "-t", "sharedfile", "-s", "1G", "-o", "busybox+default"),
        *("--no-name-check", "--no-ip-check", "--net", f"0:ip={ADDRESS}", "-n", "node1"),
        *("-B", f"minmem={MEMORY_MIB},maxmem={MEMORY_MIB}", GUEST),
    )
    _until(lambda: nodes.run(1, "ping", "-q", "-c1", "-W1", ADDRESS).rc == 0, "the guest answers")


def _until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > end:
            raise BenchError(f"not within {WAIT_S:g} s: {what}")
        time.sleep(POLL_S)


# By hand.


def _argv_for(nodes: NamespaceNodes, source: int, target: int, tap: str) -> list[str]:
    """The command line of the guest's QEMU, as it would be typed on the target."""
    pid = _ok(nodes, source, "cat", f"/run/ganeti/kvm-hypervisor/pid/{GUEST}").strip()
    words = _ok(nodes, source, "cat", f"/proc/{pid}/cmdline").split("\0")[:-1]
    argv: list[str] = []
    for word in words:
        previous = argv[-1] if argv else ""
        if word == "-S" or previous == "-incoming":
            argv = argv if word == "-S" else argv[:-1]
        elif previous == "-netdev":
            name = re.search(r"id=([^,]+)", word)
            assert name is not None
            argv.append(f"tap,id={name[1]},ifname={tap},script=no,downscript=no")
        elif previous == "-blockdev":
            argv.append(re.sub(r"(?<=file\.filename=)[^,]+", _followed(nodes, source), word))
        else:
            argv.append(word)
    return [*argv, "-incoming", f"tcp:{nodes.address(target)}:{PORT}"]


def _followed(nodes: NamespaceNodes, node: int) -> Callable[[re.Match[str]], str]:
    """Links to disks are there on the instance's own node only."""
    return lambda found: _ok(nodes, node, "readlink", "-f", found[0]).strip()


def _move(nodes: NamespaceNodes, source: int, target: int, tap: str, argv: Sequence[str]) -> None:
    """What an administrator types, with the parameters that the cluster uses."""
    connect = f"ip tuntap add {tap} mode tap && ip link set {tap} master br0 up"
    script = f"{connect} && {shlex.join(argv)}"
    _ok(nodes, target, "sh", "-c", script)
    with Monitor(nodes.path(source, f"{CONTROL}/{GUEST}.qmp")) as monitor:
        limits = {"max-bandwidth": 32 << 20, "downtime-limit": 30}
        monitor.ask("migrate-set-parameters", limits)
        monitor.ask("migrate", {"uri": f"tcp:{nodes.address(target)}:{PORT}"})

        def is_over() -> bool:
            status = monitor.ask("query-migrate")["status"]
            if status in ("failed", "cancelled"):
                raise BenchError(f"the migration by hand has {status}")
            return bool(status == "completed")

        _until(is_over, "the guest has moved")
        monitor.ask("quit")
    with Monitor(nodes.path(target, f"{CONTROL}/{GUEST}.qmp")) as monitor:
        _until(lambda: bool(monitor.ask("query-status")["running"]), "the guest goes on")


class Monitor:
    """QMP on a socket; see qemu-qmp-ref(7)."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WAIT_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, arguments: Json = None) -> Json:
        self._lines.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
        self._lines.flush()
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise BenchError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise BenchError(f"{command}: QEMU has hung up")
