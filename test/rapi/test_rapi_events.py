"""Events as server-sent events: over a master in memory, and over one that is played."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

import pytest
from fakes.rapi_bed import RapiBed, a_server, on_loop
from fakes.short_root import short_root
from fakes.small_cluster import Client, SmallCluster, add_tags, delay
from ganeti.errors import LuxiTimeoutError, NoMasterError
from ganeti.luxi.pool import LuxiPool
from ganeti.luxi.server import LuxiServer
from ganeti.master.event_feed import EventFeed
from ganeti.rapi.events import Events, EventSettings
from ganeti.rapi.service import ServiceSettings
from ganeti.types import EventKind
from ganeti.utils.openmetrics import CONTENT_TYPE
from prometheus_client.openmetrics.parser import text_string_to_metric_families

QUICK = ServiceSettings(events=EventSettings(retry_s=0.01))


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


class Told(NamedTuple):
    """One event as a browser would read it. `event` is empty for a sign of life."""

    id: str
    event: str
    data: Any


def parse(block: str) -> Told:
    fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
    data = json.loads(fields["data"]) if "data" in fields else None
    return Told(fields.get("id", ""), fields.get("event", ""), data)


class Reader:
    """A client of /2/events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.head = b""
        self.last = ""

    async def start(self) -> Reader:
        self.head = await self._reader.readuntil(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 200"), self.head
        await self.next()
        return self

    async def next(self) -> Told:
        """The next block, whatever chunks it came in."""
        lines: list[str] = []
        while True:
            line = await self._line()
            if not line:
                told = parse("\n".join(lines))
                self.last = told.id or self.last
                return told
            lines.append(line)

    async def _line(self) -> str:
        """EOFError at the proper end; sizes of chunks are left out."""
        while True:
            line = await self._reader.readuntil(b"\n")
            if line == b"0\r\n":
                raise EOFError
            if not line.endswith(b"\r\n"):
                return line[:-1].decode()

    async def until(self, wanted: Callable[[Told], bool]) -> list[Told]:
        found = []
        async with asyncio.timeout(20):
            while not found or not wanted(found[-1]):
                found.append(await self.next())
        return [one for one in found if one.event]


async def follow(bed: RapiBed, query: str = "", last: str = "") -> Reader:
    header = f"Last-Event-ID: {last}\r\n" if last else ""
    reader, writer = await bed.connect()
    writer.write(f"GET /2/events{query} HTTP/1.1\r\nHost: rapi\r\n{header}\r\n".encode())
    return await Reader(reader, writer).start()


def ends(job: int) -> Callable[[Told], bool]:
    return lambda told: told.event == "job" and told.data["id"] == job and is_over(told)


def is_over(told: Told) -> bool:
    return told.data["opcode"] is None


@asynccontextmanager
async def running(
    cluster: SmallCluster, settings: ServiceSettings = QUICK
) -> AsyncIterator[tuple[RapiBed, Client]]:
    socket = cluster.paths.query_socket
    async with cluster.master() as client, luxi(cluster, client):
        async with a_server(LuxiPool(socket), cluster.paths.rapi_users, settings=settings) as bed:
            yield bed, client


@asynccontextmanager
async def luxi(cluster: SmallCluster, client: Client) -> AsyncIterator[None]:
    server = LuxiServer([cluster.paths.query_socket], client.master.service.handle)
    await server.start()
    try:
        yield
    finally:
        await server.stop()


Act = Callable[[RapiBed, Client], Awaitable[None]]


def live(cluster: SmallCluster, act: Act, settings: ServiceSettings = QUICK) -> None:
    async def life() -> None:
        async with running(cluster, settings) as (bed, client):
            await act(bed, client)

    on_loop(life)


def test_a_job_is_followed_from_its_start_to_its_end(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        reader = await follow(bed)
        assert b"Content-Type: text/event-stream\r\n" in reader.head
        job = await client.submit(delay(0.01))
        told = await reader.until(ends(job))
        assert [one.data["status"] for one in told] == ["running", "success"]
        assert [int(one.id.split("-")[1]) for one in told] == [1, 2]

    live(cluster, act)


def test_only_the_kinds_that_are_wanted_come(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        both, config = await follow(bed), await follow(bed, "?kinds=config,node")
        for tag in "abc":
            await client.wait(await client.submit(add_tags(tag)))
        told = await both.until(ends(3))
        some = await config.until(lambda one: one.id == serials(told)[-1].id)
        assert some == serials(told) and len(some) == 3

    live(cluster, act)


def serials(told: list[Told]) -> list[Told]:
    return [one for one in told if one.event == "config"]


@pytest.mark.parametrize("by_header", [True, False])
def test_a_reader_that_comes_back_misses_nothing(cluster: SmallCluster, by_header: bool) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        watcher, reader = await follow(bed), await follow(bed)
        first = await client.submit(add_tags("a"))
        begun = await reader.until(ends(first))
        reader.writer.close()
        for tag in "bcd":
            await client.wait(await client.submit(add_tags(tag)))
        query = "" if by_header else f"?since={reader.last}"
        again = await connect_raw(bed, query, reader.last if by_header else "")
        last = await client.submit(add_tags("e"))
        rest = await again.until(ends(last))
        assert begun + rest == await watcher.until(ends(last))

    live(cluster, act)


async def connect_raw(bed: RapiBed, query: str, last: str) -> Reader:
    """As `follow`, with the first block still to be read."""
    header = f"Last-Event-ID: {last}\r\n" if last else ""
    reader, writer = await bed.connect()
    writer.write(f"GET /2/events{query} HTTP/1.1\r\nHost: rapi\r\n{header}\r\n".encode())
    made = Reader(reader, writer)
    made.head = await reader.readuntil(b"\r\n\r\n")
    return made


def test_an_id_that_nobody_knows_is_answered_with_a_reset(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        reader = await connect_raw(bed, "?since=of-another-time-17", "")
        told = await reader.next()
        assert told.event == "reset" and told.id
        job = await client.submit(delay())
        assert all(one.event == "job" for one in await reader.until(ends(job)))

    live(cluster, act)


def test_a_stream_survives_a_restart_of_the_master(cluster: SmallCluster) -> None:
    """Only the events of the master are real: a whole one takes all tasks with it."""

    async def life() -> None:
        pool = LuxiPool(cluster.paths.query_socket)
        async with a_server(pool, cluster.paths.rapi_users, settings=QUICK) as bed:
            async with events_only(cluster, "one") as feed:
                reader = await follow(bed)
                feed._add(EventKind.NODE, {"n": 1})
                assert await reader.next() == Told("one-1", "node", {"n": 1})
            refused = await bed.ask("GET", "/2/events")
            assert refused.status == 502 and "retry-after" in refused.headers
            async with events_only(cluster, "two") as feed:
                assert (await reader.next()).event == "reset"
                feed._add(EventKind.NODE, {"n": 2})
                assert await reader.next() == Told("two-1", "node", {"n": 2})

    on_loop(life)


@asynccontextmanager
async def events_only(cluster: SmallCluster, start: str) -> AsyncIterator[EventFeed]:
    feed = EventFeed(start, dict, time.monotonic)

    async def handle(method: str, args: list[Any]) -> Any:
        return await feed.wait(*args)

    server = LuxiServer([cluster.paths.query_socket], handle)
    await server.start()
    try:
        yield feed
    finally:
        await server.stop()


def test_streams_end_properly_with_the_daemon(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        reader = await follow(bed)
        await bed.server.stop(grace_s=5.0)
        with pytest.raises(EOFError):
            await reader.next()

    live(cluster, act)


def test_signs_of_life_come_when_nothing_happens(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        reader = await follow(bed, "?kinds=node")
        assert (await reader.next()).event == ""
        before = reader.last
        await client.wait(await client.submit(add_tags("x")))
        while reader.last == before:  # it moves on over what it does not want
            assert (await reader.next()).event == ""

    live(cluster, act, ServiceSettings(events=EventSettings(beat_s=0.01)))


def test_what_nobody_knows_is_refused(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        assert (await bed.ask("GET", "/2/events?kinds=job,weather")).status == 400
        assert (await bed.ask("GET", "/2/events?since=" + "9" * 200)).status == 400

    live(cluster, act)


def test_one_question_feeds_all_streams(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        readers = [await follow(bed) for _ in range(30)]
        job = await client.submit(delay(0.01))
        told = [await reader.until(ends(job)) for reader in readers]
        assert told == [told[0]] * 30
        assert len(client.master.events._waiting) <= 1
        assert len(bed.server.events.streams) == 30

    live(cluster, act)


# Readers that are too slow, and odd answers: the master is played.


class PlayedMaster:
    """Answers `WaitForEvents` with what a test wants."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[Any] = asyncio.Queue()

    async def call(self, method: str, last: str | None, kinds: Any, timeout: float) -> Any:
        if timeout == 0:
            return {"last": "run-0", "reset": False, "events": []}
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def tell(self, *numbers: int) -> None:
        rows = [[f"run-{number}", "job", {"id": number}] for number in numbers]
        self.answers.put_nowait({"last": rows[-1][0], "reset": False, "events": rows})


def test_a_reader_that_is_too_far_behind_is_cut() -> None:
    async def life() -> None:
        master = PlayedMaster()
        events = Events(master, EventSettings(backlog=5))  # type: ignore[arg-type]
        async with aclosing(events.stream(frozenset({"job"}), None)) as slow:
            await anext(slow)
            master.tell(*range(1, 6))
            text = await anext(slow)
            assert text.count(b"event: job") == 5
            master.tell(*range(6, 12))
            await drained(master)
            with pytest.raises(TimeoutError):
                await anext(slow)
        assert not events.streams
        events.close()

    on_loop(life)


async def drained(master: PlayedMaster) -> None:
    while not master.answers.empty():
        await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_a_master_that_is_away_is_asked_until_it_answers() -> None:
    async def life() -> None:
        master = PlayedMaster()
        events = Events(master, EventSettings(retry_s=0.001))  # type: ignore[arg-type]
        async with aclosing(events.stream(frozenset({"job"}), None)) as stream:
            await anext(stream)
            for _ in range(3):
                master.answers.put_nowait(NoMasterError("/socket"))
            master.answers.put_nowait(ValueError("nobody has thought of this"))
            master.answers.put_nowait({"last": "new-7", "reset": True, "events": []})
            assert b"event: reset" in await anext(stream)
        events.close()

    on_loop(life)


def test_events_that_nobody_wants_are_not_told_one_by_one() -> None:
    async def life() -> None:
        master = PlayedMaster()
        events = Events(master, EventSettings(beat_s=3600.0))  # type: ignore[arg-type]
        async with aclosing(events.stream(frozenset({"node"}), None)) as stream:
            await anext(stream)
            following = asyncio.ensure_future(anext(stream))
            for number in range(1, 20):
                master.tell(number)
                await drained(master)
            assert not following.done()
            answer = {"last": "run-20", "reset": False, "events": [["run-20", "node", {}]]}
            master.answers.put_nowait(answer)
            assert (await following).count(b"id: ") == 1
        events.close()

    on_loop(life)


def test_who_is_welcome_no_more_is_told_nothing_more() -> None:
    async def life() -> None:
        master = PlayedMaster()
        events = Events(master)  # type: ignore[arg-type]
        welcome = [True]
        kinds = frozenset({"job"})
        async with aclosing(events.stream(kinds, None, lambda: welcome[0])) as stream:
            await anext(stream)
            master.tell(1)
            assert b'"id":1' in await anext(stream)
            welcome[0] = False
            master.tell(2)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        events.close()

    on_loop(life)


def test_a_master_that_hangs_keeps_no_reader_waiting_for_the_others() -> None:
    class Hanging(PlayedMaster):
        async def call(self, method: str, last: str | None, kinds: Any, timeout: float) -> Any:
            return await self.answers.get()

    async def life() -> None:
        events = Events(Hanging(), EventSettings(begin_s=0.01))  # type: ignore[arg-type]
        streams = [events.stream(frozenset({"job"}), None) for _ in range(20)]
        found = await asyncio.gather(*map(anext, streams), return_exceptions=True)
        assert [type(one) for one in found] == [LuxiTimeoutError] * 20
        assert not events.streams

    on_loop(life)


# Figures.


def test_figures_are_shown_as_openmetrics(cluster: SmallCluster) -> None:
    async def act(bed: RapiBed, client: Client) -> None:
        reader = await follow(bed)
        await client.wait(await client.submit(delay()))
        answer = await bed.ask("GET", "/metrics")
        assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPE)
        families = text_string_to_metric_families(answer.body.decode())
        values = {one.name: one.samples for one in families}
        assert values["ganeti_rapi_event_streams"][0].value == 1
        reader.writer.close()
        assert sum(one.value for one in values["ganeti_jobs"]) == 1

    live(cluster, act)
