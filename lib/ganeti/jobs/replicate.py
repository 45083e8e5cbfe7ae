"""Job files on the master candidates.

What is durable is in the journal, and the journal's bytes reach the candidates first
(rpc/replicate.py). Files follow in the background, many in a call: for each candidate it is
remembered which files it does not have in their newest form, so one that was away gets them when
it is back. After a start nobody knows what the candidates have: they are asked by checksums, and
get what differs. Files of jobs that the journal has are not synced there; before a candidate gets
a new journal, those that the old one covered are, and it waits for no others. Source:
facts/jobs.md §11.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

from ganeti.jobs.store import archived_name, job_file_name
from ganeti.rpc import calls
from ganeti.rpc.base import Call, P, R, Target
from ganeti.rpc.client import RpcClient
from ganeti.utils.offload import Offloader, in_thread

logger = logging.getLogger(__name__)

FILES_PER_CALL = 32
BYTES_PER_CALL = 128 * 1024  # a single file may be larger
SETTLED_PER_CALL = 1000
TRIES = 2  # to settle: a node that was restarted may have damaged files, which are sent again
RENAMES_PER_CALL = 10
RETRY_S = 2.0  # after a candidate failed
STOP_S = 2.0  # at the end candidates get that long

Rename = tuple[str, str]
T = TypeVar("T")


class _Debt:
    """What one candidate has to get.

    `turn`: one call at a time, so that an older form of a file can't come after a newer one, and
    others (see `bring`) wait for no more than that.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.files = dict.fromkeys(files)
        self.unsure = dict(self.files)  # of these: the candidate may have them already
        self.renames: dict[Rename, None] = {}
        self.unsettled: dict[str, int] = {}  # brought, but not synced: name → crc32
        self.turn = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self.files or self.renames)

    @contextmanager
    def taken(self, names: Sequence[str]) -> Iterator[None]:
        """They are not owed any more if all goes well inside; a change from now on is owed again,
        so it begins before they are read."""
        for name in names:
            self.files.pop(name, None)
        try:
            yield
        except BaseException:
            self.files.update(dict.fromkeys(names))
            raise


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
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by uuid: who is being served
        self._stopped = False
        self.is_covered: Callable[[str], bool] = lambda name: False

    def changed(self, names: Iterable[str]) -> None:
        """These files have other contents than before."""
        names = list(names)
        for debt in self._current().values():
            debt.files.update(dict.fromkeys(names))
            for name in names:
                debt.unsure.pop(name, None)

    def archived(self, numbers: Iterable[int]) -> None:
        """These jobs' files were moved to the archive."""
        renames = {(job_file_name(n), archived_name(n)): None for n in numbers}
        for debt in self._current().values():
            debt.renames.update(renames)

    def missing(self) -> frozenset[str]:
        """Files that some candidate does not have in their newest form."""
        return frozenset(name for debt in self._current().values() for name in debt.files)

    def serve(self) -> None:
        """Candidates soon have everything. Runs in the background; who fails is tried again."""
        if self._stopped:
            return
        debts = self._current()
        for target in self._candidates():
            busy = self._tasks.get(target.uuid)
            if debts[target.uuid] and not target.offline and (busy is None or busy.done()):
                work = self._serve(target.uuid)
                self._tasks[target.uuid] = asyncio.get_running_loop().create_task(work)

    async def stop(self) -> None:
        """Candidates had a chance to get everything; nobody is served any more."""
        self.serve()
        self._stopped = True
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def bring(self, target: Target) -> None:
        """The candidate durably has every file that it needs beside the journal. OSError if not.

        To be called before it gets a whole new journal (ReplicatedJournal.before_replace).
        """
        debt = self._current().get(target.uuid)
        if debt is None:
            return
        for _ in range(TRIES):
            await self._pay(target, debt, self._is_needed)
            if not debt.renames and not any(map(self._is_needed, debt.files)):
                return self.serve()  # with the others
        raise OSError(f"node {target.name}: files of the job queue change all the time")

    def _is_needed(self, name: str) -> bool:
        return not self.is_covered(name)

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

    async def _serve(self, uuid: str) -> None:
        """Until the candidate has everything, or is none any more."""
        while True:
            target = next((one for one in self._candidates() if one.uuid == uuid), None)
            debt = self._current().get(uuid)
            if target is None or target.offline or not debt:
                return
            try:
                await self._pay(target, debt, lambda name: True)
            except OSError as error:
                logger.warning("job files: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _pay(self, target: Target, debt: _Debt, wanted: Callable[[str], bool]) -> None:
        """The candidate has the files that are wanted; its archive is up to date. OSError."""
        renames = list(debt.renames)
        moving = {old for old, _ in renames}
        for _ in range(TRIES):
            await self._bring_files(
                target, debt, [name for name in debt.files if wanted(name) or name in moving]
            )
            loose = [name for name in debt.unsettled if self._is_needed(name) or name in moving]
            if not await self._settle(target, debt, loose):
                break
        else:
            raise OSError(f"node {target.name} damages files of the job queue")
        for moves in _chunks(renames, RENAMES_PER_CALL):
            async with debt.turn:
                todo = [move for move in moves if move in debt.renames]
                if todo:
                    await self._ask(target, calls.jobqueue_rename, self._places(todo))
                for move in todo:
                    del debt.renames[move]

    async def _bring_files(self, target: Target, debt: _Debt, names: Sequence[str]) -> None:
        for some in _chunks([name for name in names if name in debt.unsure], SETTLED_PER_CALL):
            await self._compare(target, debt, some)
        needed = [name for name in names if self._is_needed(name)]
        covered = [name for name in names if not self._is_needed(name)]
        for group in (needed, covered):
            for some in _chunks(group, FILES_PER_CALL):
                await self._send(target, debt, some)

    async def _compare(self, target: Target, debt: _Debt, names: Sequence[str]) -> None:
        """What the candidate has already, durably from now on, it need not get."""
        async with debt.turn:
            with debt.taken(names):
                contents = await self._read(names)
                checksums = {self._place(n): zlib.crc32(c.encode()) for n, c in contents.items()}
                other = await self._ask(target, calls.jobqueue_settle, checksums)
            debt.files.update((name, None) for name in contents if self._place(name) in other)
            for name in names:
                debt.unsure.pop(name, None)

    async def _send(self, target: Target, debt: _Debt, names: Sequence[str]) -> None:
        """The candidate has these files as far as they are owed; synced unless all are covered."""
        async with debt.turn:
            names = [name for name in names if name in debt.files]
            with debt.taken(names):
                for part in _parts(await self._read(names)):
                    durable = any(map(self._is_needed, part))
                    files = [(self._place(name), (0, text)) for name, text in part.items()]
                    await self._ask(target, calls.jobqueue_place, files, durable)
                    for name, text in part.items():
                        debt.unsettled.pop(name, None)
                        if not durable:
                            debt.unsettled[name] = zlib.crc32(text.encode())

    async def _settle(self, target: Target, debt: _Debt, names: Sequence[str]) -> list[str]:
        """These are durable, but for those that were damaged, which are owed again: their names."""
        damaged: list[str] = []
        for some in _chunks(names, SETTLED_PER_CALL):
            async with debt.turn:
                part = {name: debt.unsettled[name] for name in some if name in debt.unsettled}
                places = {self._place(name): crc for name, crc in part.items()}
                other = await self._ask(target, calls.jobqueue_settle, places)
                for name in part:
                    del debt.unsettled[name]
                damaged += [name for name in part if self._place(name) in other]
        debt.files.update(dict.fromkeys(damaged))
        return damaged

    async def _read(self, names: Sequence[str]) -> dict[str, str]:
        """Contents of those that exist."""
        contents = await self._offload(lambda: [(name, self._content(name)) for name in names])
        return {name: content for name, content in contents if content is not None}

    async def _ask(self, target: Target, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        outcome = await self._rpc.ask(target, call, *args, **kwargs)
        if outcome.error is not None:
            raise OSError(f"node {target.name}: {outcome.error}")
        return cast(R, outcome.value)

    def _place(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def _places(self, renames: Collection[Rename]) -> list[Rename]:
        return [(self._place(old), self._place(new)) for old, new in renames]


def _chunks(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(things), size):
        yield things[begin : begin + size]


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
