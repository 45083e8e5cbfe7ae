"""How fast the remote API answers, and what its daemon needs for that."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

from bench_cluster import Bed, BenchError, add_job, new_cluster, synthesised
from bench_measure import LARGEST, SMALL_INSTANCES, Extent, Found, attempt
from bench_synthesise import NODES_PER_INSTANCE, instance_name
from ganeti.utils import daemons

INFO, BULK = "/2/info", "/2/instances?bulk=1"
RATES = {
    "rapi_info_per_s_1": (INFO, 1, 1000),
    "rapi_info_per_s_16": (INFO, 16, 3000),
    "rapi_bulk50_per_s_1": (BULK, 1, 200),
    "rapi_bulk50_per_s_16": (BULK, 16, 400),
}
"""Address, how many clients at a time, how many requests."""
TAGS, LARGE, MEMORY = "rapi_tag_jobs_per_s", "rapi_bulk_10000_s", "rapi_rss_mib"
SMALL_KEYS = {*RATES, TAGS, MEMORY}
LARGE_KEYS = {LARGE, MEMORY}
TAG_JOBS = 200
PORT = 5080
USER, PASSWORD = "bench", "placeholder1"
LOAD_LIMIT_S = 300.0

# Requests over kept connections, from a process of its own. Prints how long they took.
LOAD = """
import asyncio, json, ssl, sys, time
host, port, method, path, login, clients, requests = sys.argv[1:]
head = f"{method} {path} HTTP/1.1\\r\\nHost: {host}\\r\\nAuthorization: Basic {login}\\r\\n\\r\\n"
left = int(requests)

async def body(reader):
    lines = (await reader.readuntil(b"\\r\\n\\r\\n")).lower().split(b"\\r\\n")
    if b" 200 " not in lines[0] + b" ":
        raise SystemExit(f"{path}: {lines[0].decode()}")
    for line in lines:
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line.split(b":")[1]))
    pieces = []
    while size := int(await reader.readline(), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(pieces)

async def client(context, ready, go):
    global left
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, limit=2**22)
    ready.release()
    await go.wait()
    while left > 0:
        left -= 1
        turn = head.replace("TURN", str(left))
        writer.write(turn.encode())
        answer = await body(reader)
    writer.transport.abort()
    return answer

async def main():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    ready, go = asyncio.Semaphore(0), asyncio.Event()
    tasks = [asyncio.create_task(client(context, ready, go)) for _ in range(int(clients))]
    for _ in tasks:
        await ready.acquire()
    began = time.monotonic()
    go.set()
    answers = await asyncio.gather(*tasks)
    took = time.monotonic() - began
    last = json.loads(answers[0]) if len(answers[0]) < 20 else None
    print(json.dumps([took, len(answers[0]), last]))

asyncio.run(main())
"""


def remote_api(extent: Extent, wanted: set[str], say: Callable[[str], None], found: Found) -> None:
    """Everything that is measured on ganeti-rapi."""
    if wanted & SMALL_KEYS:
        say("the remote API, 3 nodes")
        attempt("the remote API, 3 nodes", partial(_on_three_nodes, found), found)
    if wanted & LARGE_KEYS:
        say(f"the remote API, {LARGEST:,} instances")
        attempt("the remote API, large", partial(_on_many, extent, found), found)


def _on_three_nodes(found: Found) -> None:
    with new_cluster(3) as bed:
        bed.init()
        bed.add_nodes()
        _let_in(bed)
        ops = [add_job(instance_name(number)) for number in range(1, SMALL_INSTANCES + 1)]
        with bed.client() as client:
            bed.jobs_s(client, ops)
            for key, (path, clients, requests) in RATES.items():
                _load(bed, "GET", path, clients, requests // 10)
                found.figures[key] = requests / _load(bed, "GET", path, clients, requests)[0]
            took, _, last = _load(bed, "PUT", "/2/tags?tag=turn-TURN", 1, TAG_JOBS)
            rest = _until_done(bed, client, last)
            found.figures[TAGS] = TAG_JOBS / (took + rest)
        _remember_memory(bed, found)


def _until_done(bed: Bed, client: Any, job: int) -> float:
    from bench_machine import timed

    return timed(lambda: bed.finish(client, job))


def _on_many(extent: Extent, found: Found) -> None:
    nodes = int(LARGEST * NODES_PER_INSTANCE)
    with synthesised(LARGEST, nodes) as (bed, _):
        daemons.start(bed.paths, bed.cluster.full_name(1), daemons.RAPI)
        _let_in(bed)
        took = [_load(bed, "GET", BULK, 1, 1)[0] for _ in range(extent.commands)]
        found.figures[LARGE] = sorted(took)[len(took) // 2]
        _remember_memory(bed, found)


def _let_in(bed: Bed) -> None:
    """A user of ours; the daemon is started anew, so that it knows him at once."""
    users = bed.paths.rapi_users
    users.parent.mkdir(mode=0o750, exist_ok=True)
    users.write_text(f"{USER} {PASSWORD} write\n")
    daemons.stop(bed.paths, daemons.RAPI)
    daemons.start(bed.paths, bed.cluster.full_name(1), daemons.RAPI)


def _load(bed: Bed, method: str, path: str, clients: int, requests: int) -> tuple[float, int, Any]:
    """(seconds, bytes of one answer, the answer when it is short)"""
    login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    host = f"{bed.cluster.network}.1"
    words = [host, str(PORT), method, path, login, str(clients), str(requests)]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *words],
        capture_output=True,
        text=True,
        timeout=LOAD_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{method} {path}: {done.stderr.strip().splitlines()[-1:]}")
    seconds, size, answer = json.loads(done.stdout)
    return seconds, size, answer


def _remember_memory(bed: Bed, found: Found) -> None:
    from bench_rapi_events import rss_mib

    now = rss_mib(bed.pid(daemons.RAPI))
    found.figures[MEMORY] = max(now, found.figures.get(MEMORY, 0.0))
