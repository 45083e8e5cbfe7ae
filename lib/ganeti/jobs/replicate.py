"""Job files on the master candidates.

What is durable is in the journal, and the journal's bytes reach the candidates first
(rpc/replicate.py). Files follow in batches: for each candidate it is remembered which files it
does not have in their newest form, so one that was away gets them when it is back, and a new one
gets all. Files of jobs that the journal has go many in a call and are not synced there; before a
candidate gets a new journal, those that the old one covered are. Source: facts/jobs.md §11.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from ganeti.jobs.store import archived_name, job_file_name
from ganeti.rpc import calls
from ganeti.rpc.base import Target
from ganeti.rpc.client import RpcClient
from ganeti.utils.offload import Offloader, in_thread

logger = logging.getLogger(__name__)

AT_ONCE = 8  # files that are synced singly, on their way to one candidate
FILES_PER_CALL = 32
BYTES_PER_CALL = 128 * 1024  # a single file may be larger
SETTLED_PER_CALL = 1000
TRIES = 2  # to settle: a node that was restarted may have damaged files, which are sent again
RENAMES_PER_CALL = 10

Rename = tuple[str, str]


class _Debt:
    """What one candidate has to get."""

    def __init__(self, files: Iterable[str]) -> None:
        self.files = dict.fromkeys(files)
        self.renames: dict[Rename, None] = {}
        self.unsettled: dict[str, int] = {}  # brought, but not synced: name → crc32

    def __bool__(self) -> bool:
        return bool(self.files or self.renames)


class JobFileReplicator:
    """Brings files of the queue to the other master candidates.

    `candidates`: the ones that are configured now, without the master. `content`: a file as it is
    now; blocks, is called in a thread. `all_files`: the names that a new candidate needs.
    `directory`: the queue directory as nodes name it. `is_covered`: whether the journal has all
    that the file says, so that it need not be synced.
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
        self.is_covered: Callable[[str], bool] = lambda name: False

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
        """The candidate durably has every file that it needs beside the journal. OSError if not.

        To be called before it gets a whole new journal (ReplicatedJournal.before_replace).
        """
        debt = self._current().get(target.uuid)
        if debt is None:
            return
        for _ in range(TRIES):
            await self._pay(target, debt)
            needed = [name for name in debt.unsettled if not self.is_covered(name)]
            settled = await self._settle(target, debt, needed)
            if settled and not debt.renames and all(map(self.is_covered, debt.files)):
                return
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
            self._debts = {
                u: self._debts[u] if u in self._debts else _Debt(everything) for u in uuids
            }
        return self._debts

    async def _pay(self, target: Target, debt: _Debt) -> None:
        covered = [name for name in debt.files if self.is_covered(name)]
        for begin in range(0, len(covered), FILES_PER_CALL):
            if not await self._bring_some(target, debt, covered[begin : begin + FILES_PER_CALL]):
                return
        names = [name for name in debt.files if name not in covered]
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin : begin + AT_ONCE]
            sent = await asyncio.gather(*(self._send(target, debt, name) for name in some))
            if not all(sent):
                return
        renames = list(debt.renames)
        if not await self._settle(target, debt, [old for old, _ in renames]):
            return
        for begin in range(0, len(renames), RENAMES_PER_CALL):
            if not await self._rename(target, debt, renames[begin : begin + RENAMES_PER_CALL]):
                return

    async def _bring_some(self, target: Target, debt: _Debt, names: list[str]) -> bool:
        for name in names:
            debt.files.pop(name, None)  # before reading: a change from now on is owed again
        contents = await self._offload(lambda: [(name, self._content(name)) for name in names])
        some = {name: content for name, content in contents if content is not None}
        for part in _parts(some):
            outcome = await self._rpc.ask(
                target,
                calls.jobqueue_place,
                [(self._place(name), (0, content)) for name, content in part.items()],
            )
            if not outcome.ok:
                debt.files.update(dict.fromkeys(some))
                logger.warning("job files on node %s: %s", target.name, outcome.error)
                return False
            debt.unsettled.update({n: zlib.crc32(text.encode()) for n, text in part.items()})
        return True

    async def _settle(self, target: Target, debt: _Debt, names: Sequence[str]) -> bool:
        """Those that were not synced are; False when the node does not say so. Damaged ones are
        owed again."""
        wanted = {name: debt.unsettled[name] for name in names if name in debt.unsettled}
        for begin in range(0, len(wanted), SETTLED_PER_CALL):
            part = dict(list(wanted.items())[begin : begin + SETTLED_PER_CALL])
            outcome = await self._rpc.ask(
                target,
                calls.jobqueue_settle,
                {self._place(name): crc for name, crc in part.items()},
            )
            if outcome.value is None:
                logger.warning("job files on node %s: %s", target.name, outcome.error)
                return False
            for name, crc in part.items():
                if debt.unsettled.get(name) == crc:
                    del debt.unsettled[name]
                if self._place(name) in outcome.value:
                    debt.files[name] = None
        return not any(name in debt.files for name in wanted)

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
        else:
            debt.unsettled.pop(name, None)
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


def _parts(contents: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """As much as one call may carry, and at least one file."""
    part: dict[str, str] = {}
    size = 0
    for name, content in contents.items():
        if part and size + len(content) > BYTES_PER_CALL:
            yield part
            part, size = {}, 0
        part[name] = content
        size += len(content)
    if part:
        yield part
