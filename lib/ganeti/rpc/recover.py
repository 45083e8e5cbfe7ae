"""A new master gets the newest copy of a journal before it begins.

A durable record is on a majority of the candidates, so among any majority somebody has it; the
newest copy has all of them. Copies are compared by generation, then by length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ganeti.errors import ConfigurationError, ParseError
from ganeti.rpc import calls
from ganeti.rpc.base import Target
from ganeti.rpc.follow import PIECE_BYTES, TEXT, JournalRpc
from ganeti.rpc.replicate import FILE_MODE
from ganeti.utils import journal as form
from ganeti.utils.files import Disk
from ganeti.utils.journal import Generation
from ganeti.utils.offload import Offloader

BASES = {"config": "config.data"}
"""Journal → the file that it builds upon, and that has to be fetched with it."""

NO_JOURNAL = "0.0."
"""A generation before all others, for a candidate without a journal."""

ANSWER_S = 5.0  # candidates that answer later don't count


async def fetch_newest(
    rpc: JournalRpc,
    name: str,
    targets: Sequence[Target],
    disk: Disk,
    files: tuple[Path, ...],
    offload: Offloader,
    *,
    answer_s: float = ANSWER_S,
) -> str | None:
    """The files here (journal, and its base if it has one) are the newest copy that was found.

    The name of the node it came from; None when ours is the newest. ConfigurationError when less
    than a majority of the candidates (this node counted) answers or a copy can't be fetched.
    """
    copies = await _copies(rpc, name, targets, answer_s)
    if len(copies) + 1 < (len(targets) + 1) // 2 + 1:
        there = {target.uuid for _, _, target in copies}
        missing = ", ".join(sorted(one.name for one in targets if one.uuid not in there))
        raise ConfigurationError(
            f"journal {name}: only {len(copies) + 1} of {len(targets) + 1} master candidates"
            f" answer; missing: {missing}"
        )
    ours = await offload(lambda: _local(disk, files[0]))
    best, source, data = ours, None, b""
    for generation, size, target in sorted(copies, key=lambda copy: copy[:2], reverse=True):
        if not generation.term or best is not None and best >= (generation, size):
            break  # the rest is older still; a torn copy may be shorter than it looks
        fetched = await _fetch(rpc, target, name)
        contents = form.read(fetched, f"{target.name}: {files[0]}")
        position = (contents.header.generation, contents.size)
        if best is None or position > best:
            best, source, data = position, target, fetched
    if source is None or best is None:
        return None
    if len(files) > 1 and (ours is None or ours[0] != best[0]):
        base = await _fetch(rpc, source, BASES[name])
        await offload(lambda: disk.replace(files[1], base, mode=FILE_MODE))
    await offload(lambda: disk.replace(files[0], data, mode=FILE_MODE))
    return source.name


async def _copies(
    rpc: JournalRpc, name: str, targets: Sequence[Target], answer_s: float
) -> list[tuple[Generation, int, Target]]:
    """Generation and size on every candidate that answers in time."""

    async def ask(target: Target) -> tuple[Generation, int, Target] | None:
        try:
            async with asyncio.timeout(answer_s):
                outcome = await rpc.ask(target, calls.journal_state, name, False)
        except TimeoutError:
            return None
        if outcome.value is None:
            return None
        text = outcome.value.generation
        try:
            return Generation.parse(text or NO_JOURNAL), outcome.value.size, target
        except ParseError:
            return None

    found = await asyncio.gather(*(ask(target) for target in targets))
    return [copy for copy in found if copy is not None]


def _local(disk: Disk, path: Path) -> tuple[Generation, int] | None:
    if not disk.exists(path):
        return None
    contents = form.read(disk.read(path), str(path))
    return contents.header.generation, contents.size


async def _fetch(rpc: JournalRpc, source: Target, name: str) -> bytes:
    pieces: list[bytes] = []
    offset = 0
    while True:
        outcome = await rpc.ask(source, calls.journal_read, name, offset, PIECE_BYTES)
        if outcome.value is None:
            raise ConfigurationError(f"node {source.name}: {name}: {outcome.error}")
        if not outcome.value:
            return b"".join(pieces)
        pieces.append(outcome.value.encode(TEXT))
        offset += len(pieces[-1])
