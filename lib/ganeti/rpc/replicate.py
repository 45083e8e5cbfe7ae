"""A journal that is durable on this master and on a majority of the master candidates.

Records that arrive together share one local write and sync (in a thread) and one call per
candidate with the same bytes, at the same time. The next batch is collected while one is being
written; a candidate gets all that is there when its last call is answered. The rules (who has
how much, what is durable) are `utils/journal.py: Progress`; this is the shell around it.

The file here is a `LocalJournal` (rpc/local_journal.py). Each candidate is kept up to date by a
`Follower` (rpc/follow.py). One that fails is asked again after a pause and caught up; nobody waits
for it.

With no majority within the deadline the journal is *degraded*: records count as stored once the
local disk has them, until a majority has caught up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ganeti.errors import ConfigurationError, ProgrammerError
from ganeti.rpc.base import Target
from ganeti.rpc.claim import Claim
from ganeti.rpc.follow import Follower, Image, JournalRpc, ReplicationSettings
from ganeti.rpc.local_journal import LocalJournal
from ganeti.rpc.promise import Promise
from ganeti.rpc.waiter import Waiter
from ganeti.utils import journal as form
from ganeti.utils.files import Disk, Owner
from ganeti.utils.journal import Contents, Generation, Header, Progress
from ganeti.utils.offload import Offloader, in_thread

logger = logging.getLogger(__name__)


async def _nothing(target: Target) -> None:
    return None


class ReplicatedJournal:
    """See the module. Lives on one loop; only `begin` makes the file.

    `on_degraded(True, reason)` and `(False, "")` tell about changes of that state. `on_failure` is
    called at once when the local disk fails, before the waiting futures get the same error.
    `on_deposed(reason)`: another master rules, nothing more is taken. `master`: our name. `lock`
    is shared with the node daemon of this node (rpc/promise.py: lock_of).
    `before_replace(target)` brings a candidate what the journal is based upon, before it gets
    the whole journal; it raises OSError or a GenericError when it can't.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        disk: Disk,
        rpc: JournalRpc,
        identity: str,
        master: str = "",
        lock: Path | None = None,
        owner: Owner | None = None,
        settings: ReplicationSettings | None = None,
        offload: Offloader = in_thread,
        on_degraded: Callable[[bool, str], None] = lambda degraded, reason: None,
        on_failure: Callable[[Exception], None] = lambda error: None,
        on_deposed: Callable[[str], None] = lambda reason: None,
        before_replace: Callable[[Target], Awaitable[None]] = _nothing,
    ) -> None:
        self.name = name
        self.path = path
        self.degraded = False
        self.on_degraded = on_degraded
        self.on_failure = on_failure
        self.on_deposed = on_deposed
        self.before_replace = before_replace
        self.on_write: Callable[[float], None] = lambda seconds: None  # an append, synced here
        self._rpc = rpc
        self._identity = identity  # random text of this master daemon
        self._master = master
        self._settings = settings or ReplicationSettings()
        self._offload = offload
        self._header: Header | None = None
        promise = Promise(path, lock or path.with_name(f"{path.name}.lock"), disk)
        self._local = LocalJournal(name, path, disk, self._offload, promise=promise, owner=owner)
        self.claimed: Generation | None = None
        self._claimed_of: list[Target] = []
        self._image = Image(name)
        self._progress = Progress(0)
        self._unwritten: deque[Waiter] = deque()
        self._written: deque[Waiter] = deque()
        self._records = 0
        self._broken = ""
        self._writer: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # writing a batch, or a new generation
        self._followers: dict[str, Follower] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._degraded_to = 0
        self._forked = False  # a candidate may have bytes of this generation that were given up

    # Reading and beginning.

    async def load(self) -> Contents | None:
        """What the local file holds, None without a file; a torn tail is left out and logged.

        Raises ConfigurationError, naming file and place, when it is damaged; the file is kept.
        """
        return await self._local.load()

    async def begin(
        self, base: dict[str, object], carry: Callable[[int], Iterable[bytes]] = lambda count: ()
    ) -> None:
        """A new generation of the journal is in place; records go there from now on.

        `base` says what it builds upon; it stands in the header. `carry` gets the number of
        records that were written since this object was made and returns those that the new
        generation has to begin with; what is appended and not yet written comes behind them.
        OSError: the old generation goes on, or the journal refuses further records.
        """
        async with self._turn:
            self._refuse_broken()
            header = Header(self.name, await self._next_generation(), base, self._master)
            await self._begin(header, carry(self._records - len(self._unwritten)))
        self._write_soon()

    async def _begin(self, header: Header, payloads: Iterable[bytes]) -> None:
        data = form.new_journal(header, payloads)
        try:
            await self._local.replace(header.generation, data)
        except OSError as error:
            await self._after_failed_replace(header, error)
            raise
        except ConfigurationError as error:
            self._depose(str(error))
            raise
        self._adopt(header, data)

    async def _leave_fork(self) -> None:
        """The same records in a new generation, which wins over what candidates got too much."""
        if self._header is None or not self._forked:
            return
        records = form.read(bytes(self._image.data), str(self.path)).records
        header = replace(self._header, generation=await self._next_generation())
        await self._begin(header, records)

    async def claim(self) -> None:
        """No master of an earlier term gets a majority for its records any more.

        To be called before the newest copy is fetched, and again when `set_followers` has changed.
        ConfigurationError when another master begins at the same time.
        """
        targets = [follower.target for follower in self._followers.values()]
        claim = Claim(
            name=self.name,
            identity=self._identity,
            promise=self._local.promise,
            rpc=self._rpc,
            offload=self._offload,
            others=targets,
            answer_s=self._settings.deadline_s / 2,
        )
        if self.claimed is None or not await claim.renew(self.claimed):
            self.claimed = await claim.run()
        self._claimed_of = targets

    async def _next_generation(self) -> Generation:
        if self._header is not None:
            now = self._header.generation
            return Generation(now.term, now.number + 1, now.identity)
        if self.claimed is None or self._claimed_of != [f.target for f in self._followers.values()]:
            await self.claim()
        assert self.claimed is not None
        return Generation(self.claimed.term, 1, self._identity)

    async def _after_failed_replace(self, header: Header, error: OSError) -> None:
        """The old file must still be there, else nothing more may be written."""
        try:
            if not self._local.is_open or not await self._local.is_of(header.generation):
                return
        except (OSError, ConfigurationError) as second:
            error = second if isinstance(second, OSError) else error
        self._break(f"{self.path}: a new generation could not be begun: {error}")

    def _adopt(self, header: Header, data: bytes) -> None:
        self._header = header
        self._forked = False
        self._image.generation = str(header.generation)
        self._image.data = bytearray(data)
        self._image.epoch += 1
        self._progress.restart(len(data))
        for waiter in self._written:
            waiter.end = len(data)
        self._degraded_to = len(data) if self.degraded else 0
        beginning = Waiter(asyncio.get_running_loop().create_future())
        beginning.end, beginning.written_at = len(data), asyncio.get_running_loop().time()
        self._written.append(beginning)  # a master without majority notices it by this one
        for follower in self._followers.values():
            follower.forget()
        self._settle()

    # Appending.

    def append(self, record: bytes) -> asyncio.Future[bool]:
        """A future that is done when the record is durable: True when a majority has it, False in
        the degraded state. Records become durable in the order of the calls.

        The record is ASCII without line ends. The future raises OSError with file and cause when
        the local disk failed, ConfigurationError when the journal takes no more records.
        """
        if b"\n" in record or not record.isascii():
            raise ProgrammerError("a record of a journal is one line of ASCII")
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        try:
            self._refuse_broken()
            if not self._local.is_open:
                raise ConfigurationError(f"{self.path}: the journal was not begun")
        except ConfigurationError as error:
            future.set_exception(error)
            return future
        self._records += 1
        self._progress.add(record)
        self._unwritten.append(Waiter(future))
        self._write_soon()
        return future

    @property
    def records(self) -> int:
        """How many records were appended to this object and have not failed."""
        return self._records

    @property
    def size(self) -> int:
        """Bytes of the local file."""
        return self._progress.local

    @property
    def generation(self) -> Generation | None:
        return self._header.generation if self._header is not None else None

    def _write_soon(self) -> None:
        if self._progress.waiting and (self._writer is None or self._writer.done()):
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while self._progress.waiting and not self._broken:
            async with self._turn:
                if not await self._write_batch():
                    return

    async def _write_batch(self) -> bool:
        """False: the journal is ending (its last write was cancelled, or the file is closed)."""
        try:
            await self._leave_fork()
        except OSError as error:
            self._give_up([], error)
            return True
        batch = self._progress.take()
        if not batch or not self._local.is_open or self._header is None:
            return False
        waiters = list(self._unwritten)
        self._unwritten.clear()
        self._image.data += batch
        for follower in self._followers.values():
            follower.wake()

        began = asyncio.get_running_loop().time()
        try:
            await self._local.append(self._header.generation, batch)
        except OSError as error:
            await self._undo_batch(error, waiters)
            return True
        except ConfigurationError as error:
            self._depose(str(error))
        self.on_write(asyncio.get_running_loop().time() - began)
        if self._broken:  # meanwhile, by a later master
            for waiter in waiters:
                waiter.fail(ConfigurationError(self._broken))
            return True
        self._progress.synced()
        now = asyncio.get_running_loop().time()
        for waiter in waiters:
            waiter.end, waiter.written_at = self._progress.local, now
        self._written.extend(waiters)
        self._settle()
        return True

    async def _undo_batch(self, error: OSError, waiters: list[Waiter]) -> None:
        """Neither the batch nor what waits behind it was stored, and the file ends before it."""
        size = self._progress.local
        try:
            await self._local.cut(size)
        except OSError as second:
            self._broken = (
                f"{self.path}: {error.strerror}, and then the torn write could not be cut off:"
                f" {second.strerror}; restart the daemon when the disk is repaired"
            )
        self._forked = bool(self._followers)
        self._image.epoch += 1
        del self._image.data[size:]
        for follower in self._followers.values():
            follower.forget()
        self._give_up(waiters, error)

    def _give_up(self, waiters: list[Waiter], error: OSError) -> None:
        """Neither these records nor those behind them will be stored."""
        logger.error("%s: %s; the changes of this write are given up", self.path, error.strerror)
        self._progress.failed()
        failed = [*waiters, *self._unwritten]
        self._unwritten.clear()
        self._records -= len(failed)
        self.on_failure(error)
        for waiter in failed:
            waiter.fail(OSError(error.errno, error.strerror, str(self.path)))

    def _break(self, reason: str) -> None:
        """Nothing more is written; what waits fails."""
        logger.error("%s", reason)
        self._broken = reason
        failed = [*self._unwritten, *self._written]
        self._unwritten.clear()
        self._written.clear()
        self._progress.failed()
        error = ConfigurationError(reason)
        self.on_failure(error)
        for waiter in failed:
            waiter.fail(ConfigurationError(reason))

    def _refuse_broken(self) -> None:
        if self._broken:
            raise ConfigurationError(self._broken)

    # What is durable.

    def _settle(self) -> None:
        """Answer who can be answered; called after every step forward."""
        durable = self._progress.durable
        while self._written and (self._written[0].end or 0) <= durable:
            self._written.popleft().resolve(True)
        if self.degraded:
            if durable >= self._degraded_to:
                self._set_degraded(False, "")
            elif not self._has_majority():
                self._answer_degraded()
        if self._written and self._timer is None:
            loop = asyncio.get_running_loop()
            due = self._written[0].written_at + self._settings.deadline_s
            self._timer = loop.call_at(due, self._deadline)

    def _deadline(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if self._written and now >= self._written[0].written_at + self._settings.deadline_s:
            if any(follower.refusal for follower in self._followers.values()):
                return self._depose(self._refused_by())
            if not self.degraded:
                self._set_degraded(True, self._missing())
            self._answer_degraded()
        self._settle()

    def _answer_degraded(self) -> None:
        self._degraded_to = self._progress.local
        while self._written:
            self._written.popleft().resolve(False)

    def _set_degraded(self, degraded: bool, reason: str) -> None:
        self.degraded = degraded
        if degraded:
            logger.warning("journal %s is degraded: %s", self.name, reason)
        else:
            logger.info("journal %s: a majority of the master candidates has it again", self.name)
        self.on_degraded(degraded, reason)

    def _has_majority(self) -> bool:
        known = sum(follower.known for follower in self._followers.values())
        return 1 + known >= self._progress.majority

    def _missing(self) -> str:
        behind = sorted(
            follower.target.name
            for uuid, follower in self._followers.items()
            if self._progress.matched.get(uuid, 0) < self._progress.local
        )
        return (
            f"{self._progress.majority} of {len(self._followers) + 1} master candidates must have a"
            f" change, these have not: {', '.join(behind)}"
        )

    # Candidates.

    def set_followers(self, targets: Sequence[Target]) -> None:
        """The configured master candidates other than this master."""
        wanted = {target.uuid: target for target in targets}
        for uuid in set(self._followers) - set(wanted):
            self._followers.pop(uuid).task.cancel()
        for uuid, target in wanted.items():
            follower = self._followers.get(uuid)
            if follower is None:
                follower = self._followers[uuid] = self._follower(target)
                follower.wake()
            elif follower.target != target:
                follower.move(target)
        self._progress.set_followers(wanted)
        if self._header is not None:
            self._settle()

    def _follower(self, target: Target) -> Follower:
        return Follower(
            target,
            self._image,
            self._rpc,
            self._settings,
            before_replace=lambda there: self.before_replace(there),
            progressed=partial(self._has, target.uuid),
            refused=self._stop_if_deposed,
        )

    def _has(self, uuid: str, size: int) -> None:
        """A candidate durably has the first `size` bytes."""
        self._progress.matches(uuid, size)
        self._settle()

    def _stop_if_deposed(self) -> None:
        """Another master rules when so many refuse that no majority is left.

        One is enough when there is none anyway: a master without majority may be the old one.
        """
        refusals = sum(bool(one.refusal) for one in self._followers.values())
        left = len(self._followers) + 1 - refusals
        if refusals and (left < self._progress.majority or self.degraded):
            self._depose(self._refused_by())

    def _refused_by(self) -> str:
        names = ", ".join(sorted(f.target.name for f in self._followers.values() if f.refusal))
        return self._local.taken_over(f"{names} refused this one's changes")

    def _depose(self, reason: str) -> None:
        if self._broken:
            return
        self._break(reason)
        self.on_deposed(reason)

    # Ending.

    async def settled(self) -> None:
        """All that was appended so far was answered."""
        futures = [waiter.future for waiter in (*self._written, *self._unwritten)]
        if futures:
            await asyncio.wait(futures)

    async def caught_up(self, timeout_s: float) -> bool:
        """Wait until every candidate has everything, `timeout_s` at most; whether they have."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while any(follower.is_behind for follower in self._followers.values()):
            if loop.time() >= until:
                return False
            await asyncio.sleep(0.01)
        return True

    async def stop(self) -> None:
        """Everything is answered, candidates had a chance to catch up, the file is closed."""
        await self.settled()
        if self._local.is_open:
            await self.caught_up(self._settings.stop_s)
        tasks = [follower.task for follower in self._followers.values()]
        tasks += [self._writer] if self._writer is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._followers.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._local.close()
