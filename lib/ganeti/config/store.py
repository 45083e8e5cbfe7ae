"""The configuration of the cluster as the master daemon holds it.

A change is: build the next snapshot on the newest pending one, append it to the journal, wait until
it is durable, make it visible. Changes that arrive together share an append; if it fails, all
that build on it fail. `config.data` follows (config/checkpoint.py), copies follow
(config/distribute.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ganeti.config.check import check_document
from ganeti.config.checkpoint import (
    FILE_MODE,
    CheckpointSettings,
    DocumentWriter,
    Saved,
    Schedule,
)
from ganeti.config.distribute import Distributor, FanOutRpc
from ganeti.config.journal import replay, serial_of, to_record
from ganeti.config.reserve import Random, Reservations, random_uuid
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Delta, Draft
from ganeti.config.upgrade import Opened, open_document
from ganeti.errors import ConfigurationError, GenericError
from ganeti.model.config import ConfigDocument
from ganeti.model.node import Node
from ganeti.paths import Paths
from ganeti.rpc.base import Target
from ganeti.rpc.follow import ReplicationSettings
from ganeti.rpc.promise import HEADER_BYTES, lock_of
from ganeti.rpc.recover import Recovery, read_whole
from ganeti.rpc.replicate import ReplicatedJournal
from ganeti.utils.files import Disk, Owner
from ganeti.utils.offload import Offloader, in_thread
from ganeti.utils.waking import is_set_within

logger = logging.getLogger(__name__)

T = TypeVar("T")

JOURNAL_NAME = "config"
DATA_NAME = "config.data"
ROUNDS = 5  # of looking for a newer copy: each may name other candidates


def target_of(node: Node) -> Target:
    return Target(node.uuid, node.name, node.primary_ip, offline=node.offline)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Limits of the parts."""

    replication: ReplicationSettings = field(default_factory=ReplicationSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)


@dataclass(frozen=True, slots=True)
class Pending:
    """A snapshot whose record is on its way. `number`: of the record in the journal object."""

    number: int
    made: Snapshot
    delta: Delta


class ConfigStore:
    """Lives on one loop; `commit`, `start`, `stop` and `flush` are called there.

    `snapshot` is the newest durable configuration, `newest` may hold changes that are on their way.
    `on_change` is called with every newly durable snapshot; then `on_delta` with the one before,
    this one, and what differs. `on_degraded` and `on_deposed` are as in ReplicatedJournal.
    `hostname`: of this node, whose copy is the local file; without it, that is the master.
    """

    snapshot: Snapshot
    newest: Snapshot

    def __init__(
        self,
        paths: Paths,
        *,
        disk: Disk,
        rpc: FanOutRpc,
        now: Callable[[], float],
        random: Random,
        hostname: str = "",
        owner: Owner | None = None,
        settings: StoreSettings | None = None,
        offload: Offloader = in_thread,
        target_of: Callable[[Node], Target] = target_of,
        on_change: Callable[[Snapshot], None] = lambda snapshot: None,
        on_delta: Callable[[Snapshot, Snapshot, Delta], None] = lambda before, made, delta: None,
        on_degraded: Callable[[bool, str], None] = lambda degraded, reason: None,
        on_deposed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        settings = settings or StoreSettings()
        self.reservations = Reservations(random)
        self.problems: list[str] = []  # of the document as it was loaded
        self._paths = paths
        self._hostname = hostname
        self._disk = disk
        self._rpc = rpc
        self._now = now
        self._random = random
        self._offload = offload
        self._target_of = target_of
        self._on_change = on_change
        self._on_delta = on_delta
        self._checkpoint_settings = settings.checkpoint
        self._recover_s = settings.replication.deadline_s
        self.distributor = Distributor(
            paths.config_data,
            disk=disk,
            rpc=rpc,
            offload=offload,
            target_of=target_of,
            generation=lambda: str(self.journal.generation),
            certificate=paths.client_pem,
        )
        self.journal = self._make_journal(settings.replication, owner)
        self.journal.on_degraded, self.journal.on_deposed = on_degraded, on_deposed
        self._writer = DocumentWriter(disk, paths.config_data, owner)
        self._pending: deque[Pending] = deque()
        self._records: deque[tuple[int, int, bytes]] = deque()  # number, serial, record
        self._last: asyncio.Future[bool] | None = None
        self._saved = Saved(0, 0, 0)
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._schedule = Schedule(settings.checkpoint)
        self._keeper: asyncio.Task[None] | None = None
        self._is_open = False
        self._loaded: bytes | None = None  # mark of the journal that `snapshot` was read from

    def _make_journal(
        self, settings: ReplicationSettings, owner: Owner | None
    ) -> ReplicatedJournal:
        return ReplicatedJournal(
            JOURNAL_NAME,
            self._paths.config_journal,
            disk=self._disk,
            rpc=self._rpc,
            identity=f"{self._random.getrandbits(64):016x}",
            master=self._hostname,
            lock=lock_of(self._paths, JOURNAL_NAME),
            owner=owner,
            settings=settings,
            offload=self._offload,
            on_failure=self._forget_failed,
            before_replace=self.distributor.ensure,
        )

    @property
    def degraded(self) -> bool:
        """No majority of the candidates has the newest changes."""
        return self.journal.degraded

    # Beginning and ending.

    async def load(self) -> Snapshot:
        """`snapshot` is what the files here hold; nothing is written and no node is told.

        For what must be known before this node may act as the master (the vote). Raises
        ConfigurationError, naming file and place, when a file is missing or damaged (it is
        kept), ConfigVersionMismatch, or OSError.
        """
        loaded = await self._mark()
        self.snapshot = self.newest = Snapshot.of(await self._load())
        self._loaded = loaded
        return self.snapshot

    async def _current(self) -> Snapshot:
        """What the files hold now: a master that still lives may have sent changes since."""
        is_current = self._loaded is not None and self._loaded == await self._mark()
        return self.snapshot if is_current else await self.load()

    async def _mark(self) -> bytes:
        """Other bytes for each other form of the journal's file."""

        def mark() -> bytes:
            try:
                header = self._disk.read(self._paths.config_journal, 0, HEADER_BYTES)
                size = self._disk.size(self._paths.config_journal)
            except FileNotFoundError:
                return b""
            return b"%d %s" % (size, header)

        return await self._offload(mark)

    async def recover(self, *, majority: bool = False) -> Snapshot:
        """The files here, and `snapshot`, are the newest copy that the candidates have.

        When another node's master wrote the journal last, a longer copy of it counts as newer,
        and with `majority` at least so many candidates must answer. Raises what `load` raises,
        and ConfigurationError when a copy can't be fetched.
        """
        snapshot = await self._current()
        for _ in range(ROUNDS):
            others = self._followers_of(snapshot)
            recovery = Recovery(
                name=JOURNAL_NAME,
                path=self._paths.config_journal,
                rpc=self._rpc,
                disk=self._disk,
                offload=self._offload,
                others=others,
                claimed=self.journal.claimed,
                bring_base=self._bring_document,
                answer_s=self._recover_s,
            )
            takeover = await recovery.written_by() != self._hostname
            source = await recovery.run(majority=majority and takeover, longer=takeover)
            if source is None:
                break
            logger.info("configuration: the newest copy was fetched from node %s", source)
            snapshot = await self.load()
            if self._followers_of(snapshot) == others:
                break
        return snapshot

    async def take_over(self, *, majority: bool = False) -> Snapshot:
        """No older master can store a change any more, and what it stored is here.

        To be called after `recover`, which told who the candidates are, by who is going to
        `start`. The copy is fetched again when the promises are there. Raises what `recover`
        raises.
        """
        snapshot = self.snapshot
        for _ in range(ROUNDS):
            others = self._followers_of(snapshot)
            self.journal.set_followers(others)
            await self.journal.claim()
            snapshot = await self.recover(majority=majority)
            if self._followers_of(snapshot) == others:
                break
        return snapshot

    async def _bring_document(self, source: Target) -> None:
        data = await read_whole(self._rpc, source, DATA_NAME)
        where = f"{source.name}: {self._paths.config_data}"
        await self._offload(lambda: self._open(data, where))  # what can't be read is not kept
        path = self._paths.config_data
        await self._offload(lambda: self._disk.replace(path, data, mode=FILE_MODE))

    async def start(self) -> None:
        """The configuration, as it was loaded, takes changes; the candidates obey this master.

        Only the master may call this: it begins a new term of the journal, and an older master
        can write no more. Raises what `load` raises.
        """
        snapshot = await self._current()
        self.problems = check_document(snapshot)
        for problem in self.problems:
            logger.warning("configuration: %s", problem)
        self._set_followers(snapshot)
        self._note_saved(await self._offload(lambda: self._writer.write(snapshot)))
        await self.journal.begin(self._base())
        self._is_open = True
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        self.distributor.push_soon()
        self.distributor.changed(snapshot)

    async def _load(self) -> ConfigDocument:
        path = self._paths.config_data

        def read() -> bytes:
            try:
                return self._disk.read(path)
            except FileNotFoundError:
                raise ConfigurationError(f"{path} does not exist") from None

        data = await self._offload(read)
        contents = await self.journal.load()
        opened = self._open(data, str(path))
        if contents is not None and contents.records:
            where = str(self._paths.config_journal)
            document = replay(opened.document, contents.records, where)
            if document.serial_no > serial_of(contents.records[-1], where):
                logger.warning(
                    "%s is older than %s and is not used", self._paths.config_journal, path
                )
            return document
        if not opened.changed:
            return opened.document
        now = self._now()
        return replace(opened.document, serial_no=opened.document.serial_no + 1, mtime=now)

    def _open(self, data: bytes, where: str) -> Opened:
        return open_document(
            data, where, new_uuid=lambda: random_uuid(self._random), now=self._now()
        )

    async def stop(self) -> None:
        """No more changes; all is durable, the file is written and the journal empty."""
        self._is_open = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            await self.journal.settled()
            try:
                await self._checkpoint(rotate=True)
                await self.distributor.flush()
            except (OSError, GenericError) as error:
                logger.error("the configuration's files could not be renewed at the end: %s", error)
        await self.distributor.stop()
        await self.journal.stop()

    # Changing.

    async def commit(self, transaction: Callable[[Draft], T]) -> T:
        """What `transaction` did to its draft is durable (or the journal is degraded).

        It runs at once, on the loop, and must only compute. What it raises, and what `finish`
        refuses, leaves everything as it was. OSError or ConfigurationError from the journal: the
        change did not happen.
        """
        if not self._is_open:
            raise ConfigurationError("the configuration takes no changes: it is not open")
        draft = Draft(self.newest, self._now())
        result = transaction(draft)
        made, delta = draft.finish()
        if delta is None:
            if self._last is not None and not self._last.done():
                await asyncio.shield(self._last)  # what the transaction saw must be durable
            return result
        record = to_record(delta)
        future = self.journal.append(record)
        if not future.done():
            pending = Pending(self.journal.records, made, delta)
            self.newest = made
            self._pending.append(pending)
            self._records.append((pending.number, made.serial_no, record))
            self._last = future
            future.add_done_callback(self._publish)
        await asyncio.shield(future)
        return result

    def _publish(self, future: asyncio.Future[bool]) -> None:
        """Called in the order of the records; failed ones were forgotten before."""
        if future.cancelled() or future.exception() is not None:
            return
        before = self.snapshot
        published = self._pending.popleft()
        self.snapshot = made = published.made
        if made.nodes is not before.nodes or made.cluster is not before.cluster:
            self._set_followers(made)
        self._schedule.last_change = asyncio.get_running_loop().time()
        self._wake.set()
        self.distributor.changed(made)
        self._on_change(made)
        self._on_delta(before, made, published.delta)

    def _forget_failed(self, error: Exception) -> None:
        """The journal has lost the records behind its count: nothing may build on them."""
        written = self.journal.records
        while self._pending and self._pending[-1].number > written:
            self._pending.pop()
        while self._records and self._records[-1][0] > written:
            self._records.pop()
        self.newest = self._pending[-1].made if self._pending else self.snapshot

    def _set_followers(self, snapshot: Snapshot) -> None:
        targets = self._followers_of(snapshot)
        self.distributor.set_followers(targets)
        self.journal.set_followers(targets)

    def _followers_of(self, snapshot: Snapshot) -> list[Target]:
        return followers_of(snapshot, self._target_of, self._hostname)

    # The file.

    async def _keep(self) -> None:
        """Write the file whenever it is due, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.snapshot.serial_no > self._saved.serial_no:
                wait = self._schedule.due_at(self._saved.size, self.journal.size) - loop.time()
                if wait > 0:
                    await self._sleep(wait)
                    continue
                limit = self._schedule.journal_limit(self._saved.size)
                rotate = self.journal.size > limit
                try:
                    await self._checkpoint(rotate=rotate)
                except (OSError, GenericError) as error:
                    logger.error("the configuration's files could not be renewed: %s", error)
                    self._schedule.wrote(loop.time(), loop.time(), failed=True)
                else:
                    small = self._saved.size < self._checkpoint_settings.small_bytes
                    if small and not rotate:
                        self.distributor.push_soon()

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until something changes that may make it earlier or later."""
        if await is_set_within(self._wake, seconds):
            self._wake.clear()

    async def _checkpoint(self, *, rotate: bool) -> None:
        """The file holds the newest durable snapshot; with `rotate` the journal begins anew."""
        async with self._writing:
            loop = asyncio.get_running_loop()
            snapshot, began = self.snapshot, loop.time()
            if snapshot.serial_no > self._saved.serial_no:
                saved = await self._offload(lambda: self._writer.write(snapshot))
                self._schedule.wrote(began, loop.time())
                self._note_saved(saved)
            if rotate:
                await self.distributor.push()
                await self.journal.begin(self._base(), self._carried)

    def _note_saved(self, saved: Saved) -> None:
        self._saved = saved
        self.distributor.saved(saved)
        while self._records and self._records[0][1] <= saved.serial_no:
            self._records.popleft()

    def _base(self) -> dict[str, object]:
        return {"serial_no": self._saved.serial_no, "crc": self._saved.crc}

    def _carried(self, written: int) -> Iterable[bytes]:
        """Records behind the file that a new generation of the journal begins with."""
        return [record for number, _, record in self._records if number <= written]

    async def flush(self) -> None:
        """The file, its copies on the candidates and the ssconf files are as new as `snapshot`.

        What can't be reached is logged; only a failure of the own disk raises OSError.
        """
        await self._checkpoint(rotate=False)
        await self.distributor.flush()


def followers_of(
    snapshot: Snapshot, target_of: Callable[[Node], Target] = target_of, hostname: str = ""
) -> list[Target]:
    """The master candidates that journals are replicated to: all but this node (or the master)."""
    own = hostname or snapshot.master().name
    return [target_of(node) for node in snapshot.candidates() if node.name != own]
