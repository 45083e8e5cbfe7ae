"""Two thousand readers of the remote API's events: what they cost its daemon."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Callable
from pathlib import Path

from bench_cluster import Bed, BenchError, new_cluster, trivial_job
from bench_measure import Extent, Found, attempt
from ganeti.utils import daemons

MEMORY, ALL_TOLD = "rapi_events_2000_mib", "rapi_events_2000_told_s"
KEYS = (MEMORY, ALL_TOLD)
READERS = 2000
AT_A_TIME = 50
PORT = 5080
CLIENTS = 4  # addresses of the readers: one has at most 1,000 connections
FILES = 4 * READERS
LIMIT_S = 300.0

Reader = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def event_streams(
    extent: Extent, wanted: set[str], say: Callable[[str], None], found: Found
) -> None:
    if wanted & set(KEYS):
        say(f"{READERS} readers of events")
        attempt(f"{READERS} readers of events", lambda: _measure(found), found)


def _measure(found: Found) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    with new_cluster(1) as bed:
        bed.init()
        asyncio.run(_follow(bed, found))


async def _follow(bed: Bed, found: Found) -> None:
    host = f"{bed.cluster.network}.1"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it has signed itself
    gate = asyncio.Semaphore(AT_A_TIME)

    async def open_one(number: int) -> Reader:
        own = (f"{bed.cluster.network}.{101 + number % CLIENTS}", 0)
        async with gate:
            reader, writer = await asyncio.open_connection(
                host, PORT, ssl=context, limit=4096, local_addr=own
            )
            writer.write(b"GET /2/events?kinds=job HTTP/1.1\r\nHost: rapi\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise BenchError(f"events: {head[:80]!r}")
            return reader, writer

    async with asyncio.timeout(LIMIT_S):
        readers = await asyncio.gather(*(open_one(number) for number in range(READERS)))
        loop = asyncio.get_running_loop()
        with bed.client() as client:
            client.submit_job([trivial_job()])
        began = loop.time()
        await asyncio.gather(*(one.readuntil(b'"success"') for one, _ in readers))
        found.figures[ALL_TOLD] = loop.time() - began
        found.figures[MEMORY] = rss_mib(bed.pid(daemons.RAPI))
        for _, writer in readers:
            writer.transport.abort()


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {pid} does not tell its memory")
