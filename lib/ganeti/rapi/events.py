"""Events of the cluster for any number of readers, as server-sent events.

One loop asks the master daemon for all of them; a stream is a short list of texts that they share.
A reader that was away names the last event it has seen and gets those since then, or a `reset`:
then it reads anew what it wants to know. https://html.spec.whatwg.org/#server-sent-events
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import NamedTuple

from ganeti.errors import GenericError, LuxiTimeoutError, ParseError
from ganeti.luxi.pool import LuxiPool
from ganeti.serializer import Json, dump_bytes

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
METHOD = "WaitForEvents"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """Times in seconds."""

    beat_s: float = 15.0  # between two signs of life; what is between drops idle connections
    poll_s: float = 30.0  # the master is asked again after so long without an event
    begin_s: float = 30.0  # the master has for its first answer
    retry_s: float = 0.5  # until a master that is away is asked again
    backlog: int = 2000  # events that a reader may be behind


class Item(NamedTuple):
    """One event, or a reset. `kind` is empty for what everybody gets."""

    start: str  # of the id: the run of the master daemon
    number: int
    kind: str
    text: bytes


class Stream:
    """What waits for one reader."""

    __slots__ = ("kinds", "start", "number", "told", "is_cut", "_items", "_most", "_wake")

    def __init__(self, kinds: frozenset[str], most: int) -> None:
        self.kinds = kinds
        self.start, self.number = "", -1  # of the newest event that was seen, told or not
        self.told = -1  # number that the reader knows
        self.is_cut = False
        self._items: deque[Item] = deque()
        self._most = most
        self._wake: asyncio.Future[None] | None = None

    def offer(self, item: Item) -> None:
        """It is told when the reader takes it; a reader that is too far behind gets no more."""
        if len(self._items) >= self._most:
            self._items.clear()
            self.is_cut = True
        elif not self.is_cut:
            self._items.append(item)
        self.wake()

    def take(self) -> bytes:
        """What is new for the reader. TimeoutError when it was too slow."""
        if self.is_cut:
            raise TimeoutError(f"the reader of events is more than {self._most} behind")
        texts = []
        while self._items:
            item = self._items.popleft()
            if item.start == self.start and item.number <= self.number:
                continue  # it came when the stream was opened
            self.start, self.number = item.start, item.number
            if not item.kind or item.kind in self.kinds:
                texts.append(item.text)
                self.told = item.number
        return b"".join(texts)

    def beat(self) -> bytes:
        """A sign of life; it moves the reader on over events that it does not want."""
        if self.told == self.number:
            return b":\n\n"
        self.told = self.number
        return b"id: %s-%d\n\n" % (self.start.encode(), self.number)

    def wake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Until there is something to take, or for so long."""
        if self._items or self.is_cut:
            return
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None


def always() -> bool:
    return True


class Events:
    """Follows the master's events as long as somebody wants them. On the loop."""

    def __init__(self, master: LuxiPool, settings: EventSettings | None = None) -> None:
        self.settings = settings or EventSettings()
        self.streams: set[Stream] = set()
        self._master = master
        self._last: str | None = None  # id of the newest event that was offered
        self._follower: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()
        self._is_closed = False

    async def stream(
        self, kinds: frozenset[str], since: str | None, is_welcome: Callable[[], bool] = always
    ) -> AsyncGenerator[bytes, None]:
        """The text for one reader: events behind `since`, or from now on.

        The first piece may raise what the master answers. TimeoutError: the reader is too slow.
        Ends when the daemon does; who is welcome no more is told nothing more.
        """
        stream = Stream(kinds, self.settings.backlog)
        self.streams.add(stream)
        try:
            await self._follow()
            yield await self._catch_up(stream, since)
            now, beat_s = asyncio.get_running_loop().time, self.settings.beat_s
            due = now() + beat_s
            while True:
                await stream.wait(max(0.0, due - now()))
                if self._is_closed or not is_welcome():
                    return
                text = stream.take()
                if text or now() >= due:  # what this reader does not want is no reason to speak
                    yield text or stream.beat()
                    due = now() + beat_s
        finally:
            self.streams.discard(stream)

    def close(self) -> None:
        """Streams end, each with what it has been told so far."""
        self._is_closed = True
        if self._follower is not None:
            self._follower.cancel()
        for stream in self.streams:
            stream.wake()

    # One reader.

    async def _catch_up(self, stream: Stream, since: str | None) -> bytes:
        """What the reader has missed. It then is where the master was when it was asked."""
        texts = [b"retry: 1000\n"]
        kinds: list[Json] = sorted(stream.kinds)
        last = since
        while True:
            answer = _Answer(await self._master.call(METHOD, last, kinds, 0))
            texts += [item.text for item in answer.items]
            if last is None or last == answer.last or not answer.items or answer.reset:
                break
            last = answer.last
        stream.start, stream.number = split_id(answer.last)
        stream.told = stream.number
        return b"".join([*texts, b"id: %s\n\n" % answer.last.encode()])

    # All of them.

    async def _follow(self) -> None:
        """From now on what happens is offered to all streams."""
        try:
            async with asyncio.timeout(self.settings.begin_s), self._beginning:
                if self._follower is None or self._follower.done():
                    self._last = _Answer(await self._master.call(METHOD, None, None, 0)).last
                    self._follower = asyncio.get_running_loop().create_task(self._run())
        except TimeoutError as error:  # many may wait for the first of them
            text = f"the master did not answer within {self.settings.begin_s:g} s"
            raise LuxiTimeoutError(text) from error

    async def _run(self) -> None:
        is_away = False
        while self.streams:
            try:
                answer = _Answer(
                    await self._master.call(METHOD, self._last, None, self.settings.poll_s)
                )
            except Exception as error:  # whatever it is: many readers depend on this loop
                if not is_away:
                    text = "events: the master daemon does not answer: %s"
                    logger.warning(text, error, exc_info=not isinstance(error, GenericError))
                is_away = True
                await asyncio.sleep(self.settings.retry_s)
                continue
            if is_away:
                logger.info("events: the master daemon answers again")
                is_away = False
            self._last = answer.last
            for item in answer.items:
                for stream in self.streams:
                    stream.offer(item)


class _Answer:
    """What `WaitForEvents` says. ParseError when it is something else."""

    def __init__(self, value: Json) -> None:
        match value:
            case {"last": str(last), "reset": bool(reset), "events": list(rows)}:
                self.last, self.reset = last, reset
            case _:
                raise ParseError("events: an answer of the master can't be read")
        self.items = [_item(row) for row in rows]
        if reset:
            start, number = split_id(last)
            self.items.insert(0, Item(start, number, "", event_text(last, "reset", {})))


def _item(row: Json) -> Item:
    match row:
        case [str(id), str(kind), data]:
            return Item(*split_id(id), kind, event_text(id, kind, data))
    raise ParseError("events: [id, kind, data] is expected")


def split_id(id: str) -> tuple[str, int]:
    start, _, number = id.rpartition("-")
    if not number.isdigit():
        raise ParseError(f"events: {id!r} is no id of an event")
    return start, int(number)


def event_text(id: str, kind: str, data: Json) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id.encode(), kind.encode(), dump_bytes(data))
