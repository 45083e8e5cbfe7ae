"""The newest copy of the job queue, when this node was not its master last.

The journal is not all of a queue: jobs that had ended when it began anew are in their files only.
A candidate has those files before it takes a new generation (JobFileReplicator.bring), so whoever
has the newest journal has the files that belong to it. They come first, the journal last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from ganeti.errors import ConfigurationError
from ganeti.jobs.store import JobStore, job_number
from ganeti.rpc import calls
from ganeti.rpc.base import Target
from ganeti.rpc.follow import JournalRpc
from ganeti.rpc.recover import ANSWER_S, Recovery, read_whole
from ganeti.utils.journal import Generation

logger = logging.getLogger(__name__)

NAME: Final = "queue"
AT_ONCE: Final = 8  # files on their way from one candidate


async def recover_queue(
    store: JobStore,
    rpc: JournalRpc,
    others: Sequence[Target],
    hostname: str,
    *,
    majority: bool,
    claimed: Generation | None = None,
    answer_s: float = ANSWER_S,
) -> str | None:
    """The queue's files here are the newest copy found; the node it came from, if not this one.

    To be called before the queue starts. `others`: the candidates without this node. `majority`:
    so many must answer if another node's master wrote the journal last. `claimed`: as in
    rpc/recover.py. ConfigurationError when
    not, or when a file can't be fetched; then calling it again goes on.
    """
    recovery = Recovery(
        name=NAME,
        path=store.paths.queue_journal,
        rpc=rpc,
        disk=store.disk,
        offload=store.offload,
        others=others,
        claimed=claimed,
        bring_base=partial(_bring_files, store, rpc),
        answer_s=answer_s,
    )
    with store.ours():
        takeover = await recovery.written_by() != hostname
        source = await recovery.run(majority=majority and takeover, longer=takeover)
    if source is not None:
        logger.info("job queue: the newest copy was fetched from node %s", source)
    return source


async def _bring_files(store: JobStore, rpc: JournalRpc, source: Target) -> None:
    """Job files here are those of the source; what it has archived is archived."""
    outcome = await rpc.ask(source, calls.journal_job_files)
    if outcome.value is None:
        raise ConfigurationError(f"node {source.name}: job files: {outcome.error}")
    theirs, ours = outcome.value, await store.offload(store.checksums)
    gate = asyncio.Semaphore(AT_ONCE)

    async def fetch(name: str) -> None:
        number = job_number(name)
        if number is None:
            return
        async with gate:
            data = await read_whole(rpc, source, name)
            if data:
                await store.offload(lambda: store.write(number, data))

    changed = [name for name, sums in theirs.items() if ours.get(name) != sums]
    gone = [name for name in ours if name not in theirs]
    await asyncio.gather(*(fetch(name) for name in [*changed, *gone]))
    archived = [number for name in gone if (number := job_number(name)) is not None]
    await store.offload(lambda: store.archive(archived))
