"""The program ganeti-noded: started, told apart, reopened, ended."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fakes.nodes import a_root
from ganeti.node.daemon import LIMITS, PROGRAM
from ganeti.paths import Paths
from ganeti.utils import daemons

NODED = Path(__file__).resolve().parents[2] / "daemons" / PROGRAM
LIBRARY = NODED.parents[1] / "lib"
RSS_LIMIT_KIB = 50 * 1024  # measured 39 to 47 MiB; malloc's luck is worth some


def start(paths: Paths, *options: str) -> subprocess.CompletedProcess[str]:
    environment = daemons.environment(paths, "n1.example.com") | {"PYTHONPATH": str(LIBRARY)}
    argv = [sys.executable, str(NODED), "-b", "127.0.0.1", *options]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)


def pid_of(paths: Paths) -> int | None:
    return daemons.running_pid(paths, PROGRAM)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition does not come true"


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    made = a_root(tmp_path, "n1.example.com")
    yield made
    pid = pid_of(made)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        until(lambda: pid_of(made) is None)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def test_the_daemon_is_ready_when_its_starter_ends_and_term_ends_it(paths: Paths) -> None:
    port = free_port()
    started = start(paths, "-p", port)
    assert (started.returncode, started.stderr) == (0, "")
    pid = pid_of(paths)
    assert pid is not None and f"listening on port {port}" in paths.daemon_log("node").read_text()
    os.kill(pid, signal.SIGTERM)
    until(lambda: pid_of(paths) is None)
    assert not paths.pid_file(PROGRAM).exists()


def test_an_idle_daemon_needs_little_memory(paths: Paths) -> None:
    start(paths, "-p", free_port())
    status = Path(f"/proc/{pid_of(paths)}/status").read_text()
    rss_kib = int(status.partition("VmRSS:")[2].split()[0])
    assert rss_kib < RSS_LIMIT_KIB


def test_a_second_daemon_is_refused_with_a_sentence(paths: Paths) -> None:
    port = free_port()
    start(paths, "-p", port)
    again = start(paths, "-p", port)
    assert again.returncode == 1 and "is held by process" in again.stderr


def test_a_daemon_without_certificate_tells_its_starter(tmp_path: Path) -> None:
    refused = start(Paths(tmp_path), "-p", free_port())
    assert refused.returncode == 1 and "server.pem: can't be read" in refused.stderr
    assert pid_of(Paths(tmp_path)) is None


def test_one_stranger_cannot_take_all_connections(paths: Paths) -> None:
    """Whoever says nothing loses its oldest ones."""
    port = free_port()
    start(paths, "-p", port)
    beyond = 30
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", int(port))))
            for _ in range((LIMITS.client_connections or 0) + beyond)
        ]
        until(lambda: sum(is_closed(one) for one in silent) >= beyond)
        assert [is_closed(one) for one in silent] == [n < beyond for n in range(len(silent))]


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended it; it has sent nothing."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable)


def test_hup_opens_a_new_log(paths: Paths) -> None:
    start(paths, "-p", free_port())
    pid = pid_of(paths)
    assert pid is not None
    place = paths.daemon_log("node")
    place.rename(place.with_suffix(".old"))
    os.kill(pid, signal.SIGHUP)
    until(place.exists)
    os.kill(pid, signal.SIGTERM)
    until(lambda: pid_of(paths) is None)
    assert "ending" in place.read_text()


def test_noded_starts_without_heavy_libraries() -> None:
    code = (
        "import sys; from ganeti.node import daemon; daemon.load_served();"
        "print(*{'paramiko', 'OpenSSL', 'cryptography', 'qemu', 'psutil'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout.split() == [], done.stderr
