"""The queue's directory: job files, archive, number, drain flag, lock. Source: facts/jobs.md §1.

All methods block; the loop calls them by `offload`, in a thread. What the files don't have yet is
in the journal.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ganeti.constants import JOBS_PER_ARCHIVE_DIRECTORY, QUEUE_VERSION
from ganeti.errors import JobFileCorrupted, JobQueueError, LockError
from ganeti.jobs.job import Job, decode_job
from ganeti.jobs.journal import Jobs
from ganeti.paths import Paths
from ganeti.utils.files import Disk, Owner
from ganeti.utils.offload import Offloader, in_thread

logger = logging.getLogger(__name__)

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
SERIAL = "serial"
VERSION = "version"
DRAIN = "drain"
LOCK = "lock"
_JOB_FILE = re.compile(r"job-(\d+)")


def job_file_name(number: int) -> str:
    return f"job-{number}"


def archived_name(number: int) -> str:
    """Below the queue directory: `archive/1/job-12345`."""
    return f"archive/{number // JOBS_PER_ARCHIVE_DIRECTORY}/job-{number}"


def job_number(name: str) -> int | None:
    """The number in the name of a job's file; None for another file."""
    found = _JOB_FILE.fullmatch(name)
    return int(found[1]) if found else None


class JobStore:
    """The files of one queue."""

    def __init__(
        self,
        paths: Paths,
        disk: Disk,
        owner: Owner | None = None,
        *,
        offload: Offloader = in_thread,
    ) -> None:
        self.paths = paths
        self.disk = disk
        self.owner = owner
        self.offload = offload
        self.unreadable: dict[int, Exception] = {}  # found by `load`
        self.lost: list[str] = []  # files of which no job could be read

    @contextmanager
    def ours(self) -> Iterator[None]:
        """The queue is ours as long as this lasts. JobQueueError when another process has it."""
        self.disk.mkdir(self.paths.queue, mode=DIRECTORY_MODE, owner=self.owner)
        with ExitStack() as stack:
            try:
                stack.enter_context(self.disk.lock(self._path(LOCK), timeout_s=0.0))
            except LockError as error:
                raise JobQueueError(
                    f"{error}: another master daemon works on this queue"
                ) from error
            yield

    def _prepare(self) -> None:
        """Version and number exist. JobQueueError for a queue of another version."""
        version = self._path(VERSION)
        if not self.disk.exists(version):
            self._write(version, f"{QUEUE_VERSION}\n")
        found = self._read_number(version)
        if found != QUEUE_VERSION:
            raise JobQueueError(
                f"{version}: queue version {found}, this program works with {QUEUE_VERSION}"
            )
        if not self.disk.exists(self._path(SERIAL)):
            self.write_serial(0)

    def load(self) -> Jobs:
        """The jobs in files, and the highest number that is known from files.

        `unreadable` has the files without a readable job: they were not synced, and the journal
        has their jobs, or something has damaged them (`put_aside`). JobQueueError for a queue of
        another version.
        """
        self._prepare()
        jobs = Jobs()
        jobs.serial = self._read_serial()
        for name in self.disk.listdir(self.paths.queue):
            number = job_number(name)
            if number is None:
                continue
            jobs.serial = max(jobs.serial, number)
            try:
                job = self._read_job(self._path(name), number)
            except (JobFileCorrupted, OSError) as error:
                self.unreadable[number] = error
            else:
                jobs.add(job)
        return jobs

    def checksums(self) -> dict[str, tuple[int, int]]:
        """Size and CRC-32 of each live job file."""
        found = {}
        for name in self.disk.listdir(self.paths.queue):
            if job_number(name) is not None:
                data = self.disk.read(self._path(name))
                found[name] = (len(data), zlib.crc32(data))
        return found

    def put_aside(self, numbers: Iterable[int]) -> None:
        """The unreadable files of these jobs are in the archive, and named in the log: the jobs are
        lost, their numbers are not given again."""
        for number in numbers:
            self._put_aside(number, self.unreadable[number])

    def write(self, number: int, content: bytes, *, durable: bool = True) -> None:
        """The job's file has this content; not durably: `settle` must follow."""
        self._write(self._path(job_file_name(number)), content, durable=durable)

    def write_serial(self, serial: int, *, durable: bool = True) -> None:
        self._write(self._path(SERIAL), f"{serial}\n", durable=durable)

    def settle(self, names: Iterable[str]) -> None:
        """These files of the queue are durable, as far as they are there."""
        paths = [self._path(name) for name in names]
        self.disk.settle([path for path in paths if self.disk.exists(path)])

    def archive(self, numbers: Iterable[int]) -> list[int]:
        """The files are in the archive; the numbers of which there was a live file.

        By copy and removal: a rename between two directories may lose the file in a crash.
        """
        moved = []
        for number in numbers:
            old = self._path(job_file_name(number))
            if self.disk.exists(old):
                new = self._path(archived_name(number))
                self.disk.mkdir(new.parent, mode=DIRECTORY_MODE, owner=self.owner)
                self.disk.replace(new, self.disk.read(old), mode=FILE_MODE, owner=self.owner)
                self.disk.unlink(old)
                moved.append(number)
        return moved

    def read_archived(self, number: int) -> Job | None:
        """The archived job; None if there is none that can be read."""
        path = self._path(archived_name(number))
        try:
            job = self._read_job(path, number)
        except FileNotFoundError:
            return None
        except (JobFileCorrupted, OSError) as error:
            logger.warning("archived job %d can't be read: %s", number, error)
            return None
        job.archived = True
        return job

    def all_archived(self) -> list[Job]:
        """Every archived job, by number; reads the whole archive."""
        numbers: list[int | None] = []
        if self.disk.exists(self.paths.archive):
            for directory in self.disk.listdir(self.paths.archive):
                if directory.isdigit():
                    numbers += map(job_number, self.disk.listdir(self.paths.archive / directory))
        found = (self.read_archived(n) for n in sorted(n for n in numbers if n is not None))
        return [job for job in found if job is not None]

    def content(self, name: str) -> str | None:
        """A job's file wherever it is now, or another file of the queue; None if it is nowhere."""
        number = job_number(name)
        places = [name] if number is None else [name, archived_name(number)]
        for place in places:
            try:
                return self.disk.read(self._path(place)).decode("utf-8")
            except FileNotFoundError:
                continue
        return None

    def is_drained(self) -> bool:
        return self.disk.exists(self._path(DRAIN))

    def set_drained(self, drained: bool) -> None:
        if drained:
            self._write(self._path(DRAIN), b"")
        else:
            self.disk.unlink(self._path(DRAIN), missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.paths.queue / name

    def _write(self, path: Path, content: bytes | str, *, durable: bool = True) -> None:
        raw = content.encode("ascii") if isinstance(content, str) else content
        write = self.disk.replace if durable else self.disk.place
        write(path, raw, mode=FILE_MODE, owner=self.owner)

    def _read_number(self, path: Path) -> int:
        text = self.disk.read(path).decode("ascii", "replace").strip()
        if not text.isdecimal():
            raise JobQueueError(f"{path}: a number is expected, not {text[:40]!r}")
        return int(text)

    def _read_serial(self) -> int:
        """0 when it can't be read: files and journal have the numbers too."""
        try:
            return self._read_number(self._path(SERIAL))
        except JobQueueError as error:
            logger.error("%s; going on from the jobs' own numbers", error)
            return 0

    def _read_job(self, path: Path, number: int) -> Job:
        job = decode_job(self.disk.read(path), str(path))
        if job.id != number:
            raise JobFileCorrupted(f"{path}: holds job {job.id}")
        return job

    def _put_aside(self, number: int, error: Exception) -> None:
        name = job_file_name(number)
        logger.error("job %d is lost, its file goes to the archive: %s", number, error)
        self.lost.append(name)
        try:
            self.archive([number])
        except OSError as problem:
            logger.error("%s could not be moved to the archive: %s", name, problem)
