"""Changes of jobs become durable, then visible.

Changes that come together share one append to the journal. A log line is visible at once and goes
to the journal with the next change, or by itself after a second. While one batch is on its way
the next one is collected; batches follow each other in order.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ganeti.errors import GenericError, JobQueueError
from ganeti.jobs.job import Job
from ganeti.jobs.journal import (
    Archived,
    Jobs,
    Logged,
    Numbered,
    Record,
    Submitted,
    Withdrawn,
    encode_record,
)
from ganeti.utils.journal import Contents

logger = logging.getLogger(__name__)

LOG_REST_S = 1.0  # a crash of the master costs at most that much of a job's log
RETRY_S = 1.0  # the disk failed; nothing is lost as long as this process lives


class Journal(Protocol):
    """The part of rpc/replicate.py: ReplicatedJournal that is needed here."""

    @property
    def size(self) -> int:
        """Bytes of the local file."""

    def append(self, record: bytes) -> Awaitable[bool]:
        """Done when the record is durable."""

    async def load(self) -> Contents | None:
        """What the local file holds; None without a file."""

    async def begin(self, base: dict[str, object], carry: Callable[[int], Iterable[bytes]]) -> None:
        """The journal begins anew with these records."""

    async def stop(self) -> None:
        """Everything is answered, the file is closed."""


@dataclass(slots=True)
class _Item:
    """Records that become visible together."""

    records: Sequence[Record]
    lines: Sequence[bytes]
    future: asyncio.Future[None] | None
    new: Sequence[Job] = ()  # a submission; their numbers are not known to anyone yet
    applied: bool = False
    may_fail: bool = False  # who waits for it would rather have an error than wait for the disk

    def concerns(self, ids: set[int]) -> bool:
        return any(getattr(record, "id", None) in ids for record in self.records)


class Recorder:
    """The only way to change a job. `changed` gets the numbers after each visible change."""

    def __init__(
        self, jobs: Jobs, journal: Journal, changed: Callable[[Iterable[int]], None]
    ) -> None:
        self.jobs = jobs
        self._journal = journal
        self._changed = changed
        self._items: list[_Item] = []
        self._logs: list[_Item] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()  # a batch, or a new generation of the journal
        self._covered: set[int] = set()  # jobs that the journal has from their beginning
        self.has_serial = False  # the journal has the numbers that were given

    # Changing.

    def put(self, *records: Record) -> None:
        """Soon durable and visible, in the order of the calls. Nobody waits for it."""
        self._add(_Item(records, [encode_record(record) for record in records], None))

    async def commit(self, *records: Record) -> None:
        """Returns when the change, and all that was put before it, is durable and visible.

        While the local disk fails this waits. JobQueueError: the submission of the job failed.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(_Item(records, [encode_record(record) for record in records], future))
        await future

    async def try_commit(self, *records: Record) -> None:
        """As `commit`, but JobQueueError when the local disk fails.

        For what does no harm when it comes up again after a crash all the same.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lines = [encode_record(record) for record in records]
        self._add(_Item(records, lines, future, may_fail=True))
        await future

    def submit(self, jobs: Sequence[Job]) -> asyncio.Future[None]:
        """Done when the jobs are durable and visible. JobQueueError: they never will be."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        records = [Submitted(job.to_json()) for job in jobs]
        self._add(_Item(records, [encode_record(record) for record in records], future, new=jobs))
        return future

    def note(self, record: Logged) -> None:
        """Log lines: visible now, durable when there is an occasion."""
        line = encode_record(record)
        self.jobs.apply(record)
        self._logs.append(_Item([record], [line], None, applied=True))
        self._changed([record.id])
        if self._timer is None and self._task is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_REST_S, self._kick)

    async def renew(
        self, base: Mapping[str, object], unmoved: Iterable[int], unwritten: Container[int] = ()
    ) -> None:
        """The journal begins anew: with the jobs that have not ended, and what is not in files.

        To be called when the files durably have all that is visible of the other jobs. `unmoved`:
        jobs whose files are not in the archive yet. `unwritten`: jobs whose files are not up to
        date at the moment of the new beginning. OSError: the old one goes on.
        """

        carried: set[int] = set()

        def carry(_: int) -> list[bytes]:
            self._logs.clear()  # they are in the jobs
            records = snapshot_records(self.jobs, unmoved, unwritten)
            carried.update(
                n for n, job in self.jobs.by_id.items() if not job.is_final or n in unwritten
            )
            return [encode_record(record) for record in records]

        async with self._turn:
            await self._journal.begin(dict(base), carry)
            self._covered = carried
            self.has_serial = True

    def adopt(self, numbers: Iterable[int]) -> None:
        """The journal that was found has these jobs from their beginning."""
        self._covered = set(numbers)

    def covers(self, number: int) -> bool:
        """The journal alone says all about the job: its file need not be durable."""
        return number in self._covered

    async def drain(self) -> None:
        """All that was put is durable, or the disk fails."""
        self._kick()
        if self._task is not None:
            await self._task

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # Writing.

    def _add(self, item: _Item) -> None:
        self._items.append(item)
        self._kick()

    def _kick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and (self._items or self._logs):
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            # A job that was just submitted gets its locks in the next turns of the loop, so that
            # "queued", "waiting" and "running" need one write.
            for _ in range(3):
                await asyncio.sleep(0)
            while self._items or self._logs:
                async with self._turn:
                    batch = self._logs + self._items
                    self._logs, self._items = [], []
                    if not await self._write_batch(batch):
                        self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._kick)
                        return
                await asyncio.sleep(0)
        finally:
            self._task = None

    async def _write_batch(self, batch: list[_Item]) -> bool:
        lines = [line for item in batch for line in item.lines]
        written = await asyncio.gather(
            *(self._journal.append(line) for line in lines), return_exceptions=True
        )
        for error in written:
            if isinstance(error, (OSError, GenericError)):
                logger.error("the job queue can't be written: %s", error)
                self._give_up_submissions(batch, error)
                return False
            if isinstance(error, BaseException):
                raise error
        touched: dict[int, None] = {}
        for item in batch:
            self._apply(item, touched)
        self._changed(touched)
        for item in batch:
            if item.future is not None and not item.future.done():
                item.future.set_result(None)
        return True

    def _apply(self, item: _Item, touched: dict[int, None]) -> None:
        for job in item.new:
            self.jobs.add(job)
            self._covered.add(job.id)
            touched[job.id] = None
        if item.new or item.applied:
            return
        for record in item.records:
            self.jobs.apply(record)
            number = getattr(record, "id", None)
            if number is not None:
                touched[number] = None

    def _give_up_submissions(self, batch: list[_Item], error: Exception) -> None:
        """New jobs are refused; the changes of the others wait for a better disk.

        The failed write may come up again after a crash: a record says that these jobs are void.
        """
        refused = {job.id for item in batch for job in item.new}
        kept, void = [], set(refused)
        for item in batch:
            if item.new or item.may_fail or item.concerns(refused):
                if item.future is not None and not item.future.done():
                    item.future.set_exception(JobQueueError(cannot_store(error)))
                    item.future.exception()
            elif len(item.records) == 1 and isinstance(item.records[0], Withdrawn):
                void.update(item.records[0].ids)  # of the last try
            else:
                kept.append(item)
        if void:
            record = Withdrawn(tuple(sorted(void)))
            kept.insert(0, _Item([record], [encode_record(record)], None))
        self._items = kept + self._items


def cannot_store(error: Exception) -> str:
    """What the owner of a job reads."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the job queue can't be written: {error.filename}: {error.strerror}; it takes jobs"
            " again when there is room on that disk of the master"
        )
    return f"the job queue can't be written: {error}; see the master's log"


def snapshot_records(
    jobs: Jobs, unmoved: Iterable[int], unwritten: Container[int] = ()
) -> list[Record]:
    """What a new journal begins with, so that files and it have everything."""
    records: list[Record] = [Numbered(jobs.serial)]
    moving = tuple(sorted(unmoved))
    if moving:
        records.append(Archived(moving))
    records += jobs.owed.values()
    for job in jobs.by_id.values():
        if not job.is_final or job.id in unwritten:
            undo = tuple((index, step) for index, op in enumerate(job.ops) for step in op.undo)
            records.append(Submitted(job.to_json(), undo))
    return records
