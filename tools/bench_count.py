"""What jobs cost the master in system calls and calls to nodes: counted from outside.

strace counts what is synced and written below the node's directory; calls are counted in the log
of a master daemon that was started with --debug. Both slow it down, so nothing is timed here.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench_cluster import Bed, has_strace, wait_until

SYNCED = re.compile(r"\b(?:fsync|fdatasync)\(\d+<(/[^>]*)>\)? *(?:<unfinished|=|\))")
WRITTEN = re.compile(r"\b(?:write|pwrite64|writev)\(\d+<(/[^>]*)>.* = (\d+)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (?:write|pwrite64|writev) resumed>.* = (\d+)$")
BEGUN = re.compile(r"^(\d+) +(?:write|pwrite64|writev)\(\d+<(/[^>]*)>.*<unfinished \.\.\.>$")
CALL = " call "
REST_S = 2.5  # files follow within a second of rest


@dataclass(frozen=True, slots=True)
class Counts:
    """Per job; None where strace is missing."""

    fsyncs: float | None
    bytes_written: float | None
    rpcs: float


def count(bed: Bed, jobs: int, work: Callable[[], object]) -> Counts:
    """What the master daemon does during `work`, which ends `jobs` jobs, and until it rests.

    The daemon must have been started with --debug.
    """
    log = bed.paths.daemon_log("master")
    before = log.stat().st_size
    trace = bed.cluster.directory / "strace"
    tracer = _attach(bed.pid(), trace) if has_strace() else None
    try:
        work()
        wait_for_rest(bed)
    finally:
        if tracer is not None:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
    with open(log) as file:
        file.seek(before)
        rpcs = sum(1 for line in file if CALL in line and ": node " in line)
    if tracer is None:
        return Counts(None, None, rpcs / jobs)
    syncs, written = _read(trace, str(bed.paths.data))
    trace.unlink()
    return Counts(syncs / jobs, written / jobs, rpcs / jobs)


def _attach(pid: int, trace: Path) -> subprocess.Popen[bytes]:
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(trace)]
        + ["-e", "trace=fsync,fdatasync,write,pwrite64,writev", "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    status = Path(f"/proc/{pid}/status")
    wait_until(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text(), "strace is attached")
    return tracer


def wait_for_rest(bed: Bed) -> None:
    """Files have followed, here and on the candidates: the daemon has logged nothing for long."""
    log = bed.paths.daemon_log("master")
    seen, since = -1, time.monotonic()

    def rests() -> bool:
        nonlocal seen, since
        size = log.stat().st_size
        if size != seen:
            seen, since = size, time.monotonic()
        return time.monotonic() - since > REST_S

    wait_until(rests, "the master daemon rests")


def _read(trace: Path, below: str) -> tuple[int, int]:
    """Syncs, and bytes written, of files below a directory."""
    syncs = written = 0
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if "sync(" in line and f"<{below}" in line:
            syncs += 1
        elif found := BEGUN.match(line):
            begun[found[1]] = found[2]
        elif found := RESUMED.match(line):
            if begun.pop(found[1], "").startswith(below):
                written += int(found[2])
        elif (found := WRITTEN.search(line)) and found[1].startswith(below):
            written += int(found[2])
    return syncs, written
