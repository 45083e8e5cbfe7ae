"""What the machine itself can do: the units that the figures are compared with."""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench_figures import APPEND, CALL, ENCODE, MEMORY, START, Values
from ganeti.http import tls
from ganeti.paths import Paths
from ganeti.serializer import dump_bytes
from ganeti.utils import x509

BARE = [sys.executable, "-I", "-S", "-c", "pass"]
TEXT = b"x" * 499 + b"\n"
MESSAGE_BYTES = 500
SPAWN_TIMEOUT_S = 120
# In a small process of its own: memory of the process that starts a program counts as the
# program's own peak until it has replaced it.
PEAK = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measure(directory: Path, repeat: int) -> Values:
    """The machine's figures; `directory` is where the cluster's files will be."""
    return {
        START: median(lambda: timed(lambda: run(BARE)), 2 * repeat),
        APPEND: _append(directory / "append", 10 * repeat),
        CALL: _call(directory, 20 * repeat),
        ENCODE: _encode(repeat),
        MEMORY: peak_mib(BARE, {}),
    }


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(measure_once: Callable[[], float], repeat: int) -> float:
    return statistics.median(measure_once() for _ in range(repeat))


def run(argv: list[str], environment: dict[str, str] | None = None) -> None:
    """The program has ended well; CalledProcessError if not."""
    subprocess.run(
        argv,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SPAWN_TIMEOUT_S,
        check=True,
    )


def peak_mib(argv: list[str], environment: dict[str, str]) -> float:
    """Peak memory of a program."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PEAK, *argv],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=SPAWN_TIMEOUT_S,
        check=True,
    )
    return int(done.stdout) / 1024


def _append(path: Path, repeat: int) -> float:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def once() -> None:
        os.write(handle, TEXT)
        os.fdatasync(handle)

    try:
        return median(lambda: timed(once), repeat)
    finally:
        os.close(handle)
        path.unlink()


def _call(directory: Path, repeat: int) -> float:
    """A message there and back, both in Python's ssl, with certificates like the cluster's."""
    paths = Paths(directory / "machine")
    paths.data.mkdir(parents=True)
    now = time.time()
    server = x509.make_server(now)
    paths.server_pem.write_bytes(server.pem())
    paths.client_pem.write_bytes(x509.make_client("node", server, now).pem())
    ours, theirs = socket.socketpair()
    context = tls.server_context(paths.server_pem, clients_signed_by=[paths.server_pem])
    answering = threading.Thread(target=_answer, args=(context, theirs))
    answering.start()
    message = b"x" * MESSAGE_BYTES
    try:
        with tls.client_context(paths).wrap_socket(ours) as connection:

            def once() -> None:
                connection.sendall(message)
                _receive(connection)

            return median(lambda: timed(once), repeat)
    finally:
        answering.join()


def _answer(context: ssl.SSLContext, plain: socket.socket) -> None:
    with context.wrap_socket(plain, server_side=True) as connection:
        while message := _receive(connection):
            connection.sendall(message)


def _receive(connection: ssl.SSLSocket) -> bytes:
    received = b""
    while len(received) < MESSAGE_BYTES:
        part = connection.recv(MESSAGE_BYTES)
        if not part:
            return b""
        received += part
    return received


def _encode(repeat: int) -> float:
    """The same shape as a list of instances."""
    row = [[0, "instance1.example.com"], [0, "running"], [0, 1024], [0, None], [0, True]]
    rows = [row] * (1_000_000 // len(dump_bytes(row)))
    return median(lambda: timed(lambda: dump_bytes(rows)), repeat)
