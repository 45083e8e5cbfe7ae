"""Job files on the master candidates.

What is durable is in the journal, and the journal's bytes reach the candidates first
(rpc/replicate.py). Files follow in batches: for each candidate it is remembered which files it
does not have in their newest form, so one that was away gets them when it is back, and a new one
gets all. Source: facts/jobs.md §11.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from ganeti.jobs.store import archived_name, job_file_name
from ganeti.rpc import calls
from ganeti.rpc.base import Target
from ganeti.rpc.client import RpcClient
from ganeti.utils.offload import Offloader, in_thread

logger = logging.getLogger(__name__)

AT_ONCE = 8  # files on their way to one candidate
RENAMES_PER_CALL = 10

Rename = tuple[str, str]


class _Debt:
    """What one candidate has to get."""

    def __init__(self, files: Iterable[str]) -> None:
        self.files = dict.fromkeys(files)
        self.renames: dict[Rename, None] = {}

    def __bool__(self) -> bool:
        return bool(self.files or self.renames)


class JobFileReplicator:
    """Brings files of the queue to the other master candidates.

    `candidates`: the ones that are configured now, without the master. `content`: a file as it is
    now; blocks, is called in a thread. `all_files`: the names that a new candidate needs.
    `directory`: the queue directory as nodes name it.
    """

    def __init__(
        self,
        rpc: RpcClient,
        candidates: Callable[[], Sequence[Target]],
        content: Callable[[str], str | None],
        all_files: Callable[[], Iterable[str]],
        directory: str = "/var/lib/ganeti/queue",
        *,
        offload: Offloader = in_thread,
    ) -> None:
        self._rpc = rpc
        self._candidates = candidates
        self._content = content
        self._all_files = all_files
        self._directory = directory
        self._offload = offload
        self._debts: dict[str, _Debt] = {}

    def changed(self, names: Iterable[str]) -> None:
        """These files have other contents than before."""
        names = list(names)
        for debt in self._current().values():
            debt.files.update(dict.fromkeys(names))

    def archived(self, numbers: Iterable[int]) -> None:
        """These jobs' files were moved to the archive."""
        renames = {(job_file_name(n), archived_name(n)): None for n in numbers}
        for debt in self._current().values():
            debt.renames.update(renames)

    def missing(self) -> frozenset[str]:
        """Files that some candidate does not have in their newest form."""
        return frozenset(name for debt in self._current().values() for name in debt.files)

    async def flush(self) -> None:
        """Every candidate that answers has everything; the others stay in debt."""
        self._current()
        targets = [t for t in self._candidates() if self._debts[t.uuid] and not t.offline]
        await asyncio.gather(*(self._pay(target, self._debts[target.uuid]) for target in targets))

    async def bring(self, target: Target) -> None:
        """The candidate has every file that it needs beside the journal. OSError if not.

        To be called before it gets a whole new journal (ReplicatedJournal.before_replace).
        """
        debt = self._current().get(target.uuid)
        if debt:
            await self._pay(target, debt)
        if debt:
            raise OSError(f"node {target.name} does not take the files of the job queue")

    async def set_drain_flag(self, drained: bool) -> None:
        targets = [target for target in self._candidates() if not target.offline]
        outcomes = await self._rpc.all(targets, calls.jobqueue_set_drain_flag, drained)
        for outcome in outcomes.values():
            if not outcome.ok:
                logger.warning("drain flag on node %s: %s", outcome.node.name, outcome.error)

    def _current(self) -> dict[str, _Debt]:
        """Debts of today's candidates; whoever is new lacks everything.

        After a start nobody knows what the candidates have, so all of them are new.
        """
        uuids = [target.uuid for target in self._candidates()]
        if self._debts.keys() != set(uuids):
            everything = list(self._all_files())
            self._debts = {u: self._debts.get(u) or _Debt(everything) for u in uuids}
        return self._debts

    async def _pay(self, target: Target, debt: _Debt) -> None:
        names = list(debt.files)
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin : begin + AT_ONCE]
            sent = await asyncio.gather(*(self._send(target, debt, name) for name in some))
            if not all(sent):
                return
        renames = list(debt.renames)
        for begin in range(0, len(renames), RENAMES_PER_CALL):
            if not await self._rename(target, debt, renames[begin : begin + RENAMES_PER_CALL]):
                return

    async def _send(self, target: Target, debt: _Debt, name: str) -> bool:
        debt.files.pop(name, None)  # before reading: a change from now on is owed again
        content = await self._offload(lambda: self._content(name))
        if content is None:
            return True
        outcome = await self._rpc.ask(
            target, calls.jobqueue_update, self._place(name), (0, content)
        )
        if not outcome.ok:
            debt.files[name] = None
            logger.warning("%s on node %s: %s", name, target.name, outcome.error)
        return outcome.ok

    async def _rename(self, target: Target, debt: _Debt, renames: Collection[Rename]) -> bool:
        outcome = await self._rpc.ask(target, calls.jobqueue_rename, self._places(renames))
        if not outcome.ok:
            logger.warning("archiving on node %s: %s", target.name, outcome.error)
            return False
        for rename in renames:
            debt.renames.pop(rename, None)
        return True

    def _place(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def _places(self, renames: Collection[Rename]) -> list[Rename]:
        return [(self._place(old), self._place(new)) for old, new in renames]
