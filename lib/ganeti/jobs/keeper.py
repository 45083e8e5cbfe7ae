"""Job files follow the jobs: here, and then on the candidates.

An ended job's file is written at once (those of a stream of jobs four times a second), another one
when the job has rested for a second. Files of jobs that are in the journal from their beginning are
not synced then. When the journal has grown and the files have everything, they are synced in one
go, and it begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence, Set

from ganeti.errors import GenericError
from ganeti.jobs.recorder import Journal, Recorder
from ganeti.jobs.replicate import JobFileReplicator
from ganeti.jobs.store import SERIAL, JobStore, job_file_name, job_number
from ganeti.utils.waking import is_set_within

logger = logging.getLogger(__name__)

REST_S = 1.0
COLLECT_S = 0.05  # jobs that end within this time are written together
GAP_S = 0.25  # between two such writes
RETRY_S = 5.0
JOURNAL_BYTES = 1 << 20
FILES_AT_ONCE = 64  # contents in memory at the same time


class Keeper:
    """Writes what `changed` names. One background task."""

    def __init__(
        self,
        store: JobStore,
        recorder: Recorder,
        journal: Journal,
        replicator: JobFileReplicator | None,
        *,
        rest_s: float = REST_S,
        journal_bytes: int = JOURNAL_BYTES,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._journal = journal
        self._replicator = replicator
        self._rest_s = rest_s
        self._journal_bytes = journal_bytes
        self._due: dict[int, float] = {}  # number → when to write it
        self._serial = -1  # as it stands in the file
        self._unsettled: set[str] = set()  # files that a crash may damage; the journal has all
        self.unmoved: set[int] = set()  # archived, the file not moved yet
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        if replicator is not None:
            replicator.is_covered = self._is_covered

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._serve_candidates()

    def changed(self, numbers: Iterable[int]) -> None:
        """These jobs are not what their files say."""
        now = asyncio.get_running_loop().time()
        by_id = self._recorder.jobs.by_id
        for number in numbers:
            job = by_id.get(number)
            if job is not None:
                self._due[number] = now + (COLLECT_S if job.is_final else self._rest_s)
        if self._due:
            self._wake.set()

    async def write(self, numbers: Iterable[int]) -> None:
        """The files of these jobs are durable and up to date. OSError."""
        numbers = list(numbers)
        async with self._turn:
            await self._write(numbers)
            await self._settle({job_file_name(number) for number in numbers})

    async def _write(self, numbers: Iterable[int]) -> None:
        """Those that are due. What the journal has is not synced yet."""
        wanted = [number for number in numbers if number in self._due]
        for begin in range(0, len(wanted), FILES_AT_ONCE):
            await self._write_some(wanted[begin : begin + FILES_AT_ONCE])

    async def _settle(self, names: Set[str]) -> None:
        names = self._unsettled & names
        if names:
            await self._store.offload(lambda: self._store.settle(sorted(names)))
            self._unsettled -= names

    def _is_covered(self, name: str) -> bool:
        """The journal has all that the file says."""
        number = job_number(name)
        if number is None:
            return name == SERIAL and self._recorder.has_serial
        return self._recorder.covers(number)

    async def move_to_archive(self, numbers: Iterable[int]) -> None:
        """The files of archived jobs lie in the archive, those of former tries too. OSError."""
        self.unmoved.update(numbers)
        todo = sorted(self.unmoved)
        async with self._turn:
            await self._store.offload(lambda: self._store.archive(todo))
        for number in todo:
            self._due.pop(number, None)
            self._unsettled.discard(job_file_name(number))
        self.unmoved.difference_update(todo)
        if self._replicator is not None:
            self._replicator.archived(todo)
            self._serve_candidates()

    async def archive_again(self, numbers: Sequence[int]) -> None:
        """As `move_to_archive`, after a start: who knows how far that came, here and elsewhere."""
        await self.move_to_archive(numbers)
        if self._replicator is not None:
            self._replicator.changed(job_file_name(number) for number in numbers)

    async def renew_journal(self, *, live_too: bool = True) -> None:
        """Files have everything that is visible, and the journal begins anew. OSError.

        Jobs that have not ended are in the new journal in any case; unless `live_too`, their files
        follow when they are due.
        """
        jobs = self._recorder.jobs
        async with self._turn:
            ended = [n for n in self._due if live_too or n in jobs.by_id and jobs.by_id[n].is_final]
            await self._write(ended)
            await self._settle(self._unsettled)
            await self._recorder.renew({"serial": jobs.serial}, self.unmoved, self._due.keys())

    async def stop(self) -> None:
        """All files are written; the journal holds nothing else."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.renew_journal()
        except (OSError, GenericError) as error:
            logger.error("job files are not all written: %s; the journal has the rest", error)
        if self._replicator is not None:
            await self._replicator.stop()

    def _serve_candidates(self) -> None:
        """Not before the start: until the journal is new, nothing says which files need no sync."""
        if self._replicator is not None and self._task is not None:
            self._replicator.serve()

    async def _run(self) -> None:
        while True:
            await self._wait_until_due()
            try:
                await self._write_due()
                self._serve_candidates()
                if self._journal.size > self._journal_bytes:
                    await self.renew_journal()
                await asyncio.sleep(GAP_S)
            except (OSError, GenericError) as error:
                logger.error("job files can't be written: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _wait_until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            wait_s = min(self._due.values()) - loop.time() if self._due else None
            if wait_s is not None and wait_s <= 0:
                return
            # Not at each of hundreds of changes per second: the soonest is in COLLECT_S.
            if not await is_set_within(self._wake, wait_s):
                return
            await asyncio.sleep(COLLECT_S)

    async def _write_due(self) -> None:
        now = asyncio.get_running_loop().time()
        async with self._turn:
            await self._write([number for number, due in self._due.items() if due <= now])

    async def _write_some(self, numbers: list[int]) -> None:
        jobs = self._recorder.jobs
        serial = jobs.serial
        contents = {n: jobs.by_id[n].encode() for n in numbers if n in jobs.by_id}
        due = {number: self._due.pop(number) for number in numbers}
        covered = {number for number in contents if self._recorder.covers(number)}
        serial_covered = self._recorder.has_serial
        names = [job_file_name(number) for number in contents]
        unsettled = {job_file_name(number) for number in covered}
        if serial != self._serial:
            names.append(SERIAL)
            unsettled |= {SERIAL} if serial_covered else set()

        def write() -> None:
            if serial != self._serial:
                self._store.write_serial(serial, durable=not serial_covered)
            for number, content in contents.items():
                self._store.write(number, content, durable=number not in covered)

        self._unsettled |= unsettled  # before: a write that fails half-way may have placed some
        try:
            await self._store.offload(write)
        except BaseException:  # also when who waits for it is cancelled, as at the end
            self._due = {**due, **self._due}
            raise
        self._serial = serial
        if self._replicator is not None:
            self._replicator.changed(names)
