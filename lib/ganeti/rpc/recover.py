"""A master daemon gets the newest copy of a journal before it begins.

A durable record is on a majority of the candidates, so among any majority somebody has it; the
newest copy has all of them. Copies are compared by generation, then by length.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from ganeti.errors import ConfigurationError, ParseError
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome, Target
from ganeti.rpc.calls import JournalState
from ganeti.rpc.follow import PIECE_BYTES, TEXT, JournalRpc
from ganeti.rpc.local_journal import FILE_MODE
from ganeti.utils import journal as form
from ganeti.utils.files import Disk
from ganeti.utils.journal import Generation
from ganeti.utils.offload import Offloader

NO_JOURNAL: Final = Generation(0, 0, "")
"""Before all others, for a candidate without a journal."""

ANSWER_S: Final = 5.0  # candidates that answer later don't count
ATTEMPTS: Final = 3  # a file may be replaced while it is read


@dataclass(frozen=True, slots=True)
class Copy:
    """A journal on some candidate; `target` None: here."""

    generation: Generation
    size: int
    target: Target | None = None

    def is_newer(self, other: Copy | None, *, longer: bool = True) -> bool:
        """By generation; unless that decides, by length if `longer`."""
        if other is None or self.generation != other.generation:
            return other is None or self.generation > other.generation
        return longer and self.size > other.size


async def _no_base(source: Target) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Getting one journal. `others`: the configured candidates without this node.

    `claimed`: the term that this master has got the promises for; then only the copies of those
    count who have promised it (what they have is all that an older master can have stored).
    `bring_base(source)` gets what the journal builds upon, before the journal of another
    generation is put in place here; a crash in between is repaired by the next recovery.
    """

    name: str
    path: Path
    rpc: JournalRpc
    disk: Disk
    offload: Offloader
    others: Sequence[Target]
    claimed: Generation | None = None
    bring_base: Callable[[Target], Awaitable[None]] = _no_base
    answer_s: float = ANSWER_S

    async def written_by(self) -> str | None:
        """Name of the node whose master wrote the journal here last; None without a journal."""

        def read() -> str | None:
            if not self.disk.exists(self.path):
                return None
            return form.read(self.disk.read(self.path), str(self.path)).header.master

        return await self.offload(read)

    async def run(self, *, majority: bool, longer: bool) -> str | None:
        """The journal here is the newest one found; the node it came from, None if it was here.

        `longer`: of two copies of one generation the longer one counts; not to be asked when
        this node wrote it, for what it does not have then was refused. ConfigurationError when a
        copy can't be fetched, or with `majority` fewer candidates than that answer, this node
        counted.
        """
        copies = await self._copies()
        if majority:
            self._need_majority(copies)
        ours = await self.offload(self._local)
        for copy in sorted(copies, key=lambda one: (one.generation, one.size), reverse=True):
            if copy.generation == NO_JOURNAL or not copy.is_newer(ours, longer=longer):
                break
            source = copy.target
            assert source is not None
            data = await read_whole(self.rpc, source, self.name)
            found = form.read(data, f"{source.name}: {self.path}")
            there = Copy(found.header.generation, found.size, source)
            if not there.is_newer(ours, longer=longer):
                continue  # its end is torn
            if ours is None or ours.generation != there.generation:
                await self.bring_base(source)
            await self.offload(partial(self.disk.replace, self.path, data, mode=FILE_MODE))
            return source.name
        return None

    async def _copies(self) -> list[Copy]:
        """Of every candidate that answers in time."""

        async def ask(target: Target) -> Copy | None:
            try:
                async with asyncio.timeout(self.answer_s):
                    outcome = await self._ask(target)
            except TimeoutError:
                return None
            if outcome.value is None or outcome.value.refused:
                return None
            state = outcome.value
            try:
                generation = Generation.parse(state.generation) if state.generation else NO_JOURNAL
            except ParseError:
                return None
            return Copy(generation, state.size, target)

        found = await asyncio.gather(*(ask(target) for target in self.others))
        return [copy for copy in found if copy is not None]

    async def _ask(self, target: Target) -> Outcome[JournalState]:
        if self.claimed is None:
            return await self.rpc.ask(target, calls.journal_state, self.name, False)
        return await self.rpc.ask(target, calls.journal_promise, self.name, str(self.claimed))

    def _need_majority(self, copies: Sequence[Copy]) -> None:
        here, configured = len(copies) + 1, len(self.others) + 1
        if here >= configured // 2 + 1:
            return
        there = {copy.target for copy in copies}
        missing = ", ".join(sorted(one.name for one in self.others if one not in there))
        raise ConfigurationError(
            f"journal {self.name}: only {here} of {configured} master candidates answer;"
            f" missing: {missing}"
        )

    def _local(self) -> Copy | None:
        if not self.disk.exists(self.path):
            return None
        contents = form.read(self.disk.read(self.path), str(self.path))
        return Copy(contents.header.generation, contents.size)


async def read_whole(rpc: JournalRpc, source: Target, name: str) -> bytes:
    """The file as it is there; empty when there is none.

    ConfigurationError when it can't be read, or changes all the time.
    """
    for _ in range(ATTEMPTS):
        outcome = await rpc.ask(source, calls.journal_state, name, True)
        if outcome.value is None:
            raise ConfigurationError(f"node {source.name}: {name}: {outcome.error}")
        data = await _read_pieces(rpc, source, name, outcome.value.size)
        if zlib.crc32(data) == outcome.value.crc:
            return data
    raise ConfigurationError(f"node {source.name}: {name} changes while it is read")


async def _read_pieces(rpc: JournalRpc, source: Target, name: str, size: int) -> bytes:
    """At most `size` bytes; fewer if the file is shorter by now."""
    pieces: list[bytes] = []
    offset = 0
    while offset < size:
        wanted = min(PIECE_BYTES, size - offset)
        outcome = await rpc.ask(source, calls.journal_read, name, offset, wanted)
        if outcome.value is None:
            raise ConfigurationError(f"node {source.name}: {name}: {outcome.error}")
        if not outcome.value:
            break
        pieces.append(outcome.value.encode(TEXT))
        offset += len(pieces[-1])
    return b"".join(pieces)
