"""Which ended jobs go to the archive. Source: facts/jobs.md §9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ganeti.jobs.job import Job, join_time

EVERY_JOB = -1
BATCH = 200  # jobs per record and per thread call; the loop looks at the clock in between


def is_old(job: Job, age_s: float, now: float) -> bool:
    """Whether the job has ended and its end is more than `age_s` seconds ago; -1: any end."""
    if not job.is_final:
        return False
    return age_s == EVERY_JOB or join_time(job.age_timestamp) < now - age_s


def batches(numbers: Sequence[int], is_late: Callable[[], bool]) -> Iterator[Sequence[int]]:
    """Parts of `numbers`, until it is late; at least one."""
    for begin in range(0, len(numbers), BATCH):
        if begin and is_late():
            return
        yield numbers[begin : begin + BATCH]
