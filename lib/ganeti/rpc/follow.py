"""One master candidate that follows a journal of this master (see rpc/replicate.py).

A follower is *known* when its journal is a beginning of ours, of `matched` bytes. Then it gets what
is missing, all of it in one call unless that is too much. When a call fails or is refused we ask
what it has: a beginning of ours is continued, anything else is replaced by the whole.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from ganeti.errors import GenericError
from ganeti.rpc import calls
from ganeti.rpc.base import Call, Outcome, P, R, Target
from ganeti.rpc.calls import JournalState
from ganeti.utils.journal import Generation
from ganeti.utils.waking import is_set_within

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 128 * 1024  # with its JSON form around it a call stays below 256 KiB
TEXT: Final = "latin-1"  # one character per byte, see node/journal.py


class JournalRpc(Protocol):
    """The part of the RPC client that replication needs."""

    async def ask(
        self, node: Target, call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Outcome[R]:
        """The node's outcome; never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationSettings:
    """Limits, in seconds unless said otherwise."""

    deadline_s: float = 5.0  # no majority for that long: degraded
    first_retry_s: float = 0.1  # after a candidate failed; doubles
    longest_retry_s: float = 2.0  # short: for a dead node the breaker of rpc/health.py answers
    look_s: float = 30.0  # an idle candidate is looked at that often: does it follow us still?
    stop_s: float = 2.0  # at the end candidates get that long to catch up
    piece_bytes: int = PIECE_BYTES


@dataclass(slots=True)
class Image:
    """The journal as it is on this master, with the batch that is being written."""

    name: str
    generation: str = ""  # empty: not begun
    data: bytearray = field(default_factory=bytearray)
    epoch: int = 0  # grows when bytes that candidates may have got no longer hold


class Follower:
    """Keeps one candidate up to date. Lives on the loop.

    `progressed(size)` is called when the candidate durably has that much, `refused()` when it has
    the journal of a later master (`refusal` says which).
    """

    def __init__(
        self,
        target: Target,
        image: Image,
        rpc: JournalRpc,
        settings: ReplicationSettings,
        *,
        before_replace: Callable[[Target], Awaitable[None]],
        progressed: Callable[[int], None],
        refused: Callable[[], None],
    ) -> None:
        self.target = target
        self.known = False
        self.matched = 0
        self.refusal = ""
        self._image = image
        self._rpc = rpc
        self._settings = settings
        self._before_replace = before_replace
        self._progressed = progressed
        self._refused = refused
        self._pause_s = 0.0
        self._wake = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._follow())

    @property
    def is_behind(self) -> bool:
        return not self.known or self.matched < len(self._image.data)

    def wake(self) -> None:
        """There is more."""
        self._wake.set()

    def forget(self) -> None:
        """What is known of the candidate no longer holds."""
        self.known = False
        self._wake.set()

    def move(self, target: Target) -> None:
        """The candidate has another address; it is tried soon."""
        self.target = target
        self._pause_s = 0.0
        self._wake.set()

    async def _follow(self) -> None:
        while True:
            if not await is_set_within(self._wake, self._settings.look_s):
                await self._look()
            self._wake.clear()
            while self._image.generation and self.is_behind:
                problem = await self._advance()
                if problem:
                    self.known = False
                    logger.debug(
                        "journal %s: node %s: %s", self._image.name, self.target.name, problem
                    )
                    await self._pause()
                else:
                    self._pause_s = 0.0

    async def _look(self) -> None:
        """Nothing was sent for a while: a candidate that has lost its file gets it again, and one
        that follows another master says so, which ends an idle old master."""
        image = self._image
        epoch, size = image.epoch, len(image.data)
        if not image.generation or self.is_behind:
            return
        state = await asked(self._rpc, self.target, calls.journal_state, image.name, False)
        if isinstance(state, str) or epoch != image.epoch or size != len(image.data):
            return
        if (state.generation, state.size) != (image.generation, size) or self._obeys_another(state):
            self.known = False

    async def _pause(self) -> None:
        least, most = self._settings.first_retry_s, self._settings.longest_retry_s
        self._pause_s = min(max(least, 2 * self._pause_s), most)
        await asyncio.sleep(self._pause_s)

    async def _advance(self) -> str:
        """One step: find out, bring the whole, or bring what is missing; why it failed, or ""."""
        if not self.known:
            return await self._find_out()
        image, epoch, start = self._image, self._image.epoch, self.matched
        piece = bytes(image.data[start : start + self._settings.piece_bytes])
        state = await asked(
            self._rpc,
            self.target,
            calls.journal_append,
            image.name,
            image.generation,
            start,
            piece.decode(TEXT),
        )
        if isinstance(state, str):
            return state
        if state.deposed:
            return self._is_deposed(state)
        if epoch == image.epoch and state.refused:
            self.known = False  # it was restarted, or another master wrote there
        elif epoch == image.epoch:
            self._matches(start + len(piece))
        return ""

    async def _find_out(self) -> str:
        image, epoch = self._image, self._image.epoch
        state = await asked(self._rpc, self.target, calls.journal_state, image.name, True)
        if isinstance(state, str):
            return state
        if epoch != image.epoch:
            return ""
        is_ours = state.generation == image.generation and not self._obeys_another(state)
        if is_ours and state.size <= len(image.data):
            if state.crc == zlib.crc32(image.data[: state.size]):
                self.refusal = ""
                self._matches(state.size)
                return ""
        return await self._send_whole()

    async def _send_whole(self) -> str:
        try:
            await self._before_replace(self.target)
        except (OSError, GenericError) as error:
            return str(error)
        image = self._image
        epoch, data = image.epoch, bytes(image.data)
        state = await send_file(
            self._rpc, self.target, image.name, image.generation, data, self._settings.piece_bytes
        )
        if isinstance(state, str):
            return state
        if state.deposed:
            return self._is_deposed(state)
        self.refusal = ""
        if not state.refused and epoch == image.epoch:
            self._matches(len(data))
        return state.refused

    def _is_deposed(self, state: JournalState) -> str:
        if not self.refusal:
            logger.error("node %s refuses the journal: %s", self.target.name, state.refused)
        self.refusal = state.refused
        self._refused()
        return state.refused

    def _obeys_another(self, state: JournalState) -> bool:
        if not state.promised:
            return False
        ours, theirs = Generation.parse(self._image.generation), Generation.parse(state.promised)
        return theirs.term > ours.term or (theirs.term == ours.term and not theirs.is_of(ours))

    def _matches(self, size: int) -> None:
        self.known, self.matched = True, size
        self._progressed(size)


async def send_file(
    rpc: JournalRpc,
    target: Target,
    name: str,
    generation: str,
    data: bytes,
    piece_bytes: int = PIECE_BYTES,
) -> JournalState | str:
    """The candidate has the whole file; its state, or why there was no answer."""
    crc, offset = zlib.crc32(data), 0
    while True:
        piece = data[offset : offset + piece_bytes]
        state = await asked(
            rpc,
            target,
            calls.journal_replace,
            name,
            generation,
            offset,
            piece.decode(TEXT),
            len(data),
            crc,
        )
        offset += len(piece)
        if isinstance(state, str) or state.refused or offset >= len(data):
            return state


async def asked(
    rpc: JournalRpc, target: Target, call: Call[P, JournalState], *args: P.args, **kwargs: P.kwargs
) -> JournalState | str:
    """The state that the candidate answers, or why there is none."""
    outcome = await rpc.ask(target, call, *args, **kwargs)
    if outcome.error is not None or outcome.value is None:
        return outcome.error or "no answer"
    return outcome.value
