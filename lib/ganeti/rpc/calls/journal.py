"""Journals of the master (ours, not in facts/node-rpc.json).

The form of a journal: utils/journal.py. `name` is config, queue, or config.data (the file that
config builds upon); to be read also job-N.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from ganeti.rpc.base import URGENT, call
from ganeti.rpc.calls.shapes import JOURNAL_S, JournalState


@call(timeout_s=JOURNAL_S, express=True)
def journal_append(name: str, generation: str, offset: int, data: str) -> JournalState:
    """`data` is durably at the end of the journal, if it is of this generation and size."""


@call(timeout_s=JOURNAL_S, express=True)
def journal_state(name: str, checksum: bool) -> JournalState:
    """What the node has of the journal."""


@call(timeout_s=JOURNAL_S, express=True)
def journal_promise(name: str, generation: str) -> JournalState:
    """The node obeys no master of an earlier term, nor another one of this term."""


@call(timeout_s=JOURNAL_S, express=True)
def journal_read(name: str, offset: int, size: int) -> str:
    """A piece of the file; empty at its end or when there is no file."""


@call(timeout_s=URGENT)
def journal_job_files() -> dict[str, tuple[int, int]]:
    """Size and CRC-32 of each job file that is not archived, by its name."""


@call(timeout_s=JOURNAL_S, express=True)
def journal_replace(
    name: str, generation: str, offset: int, data: str, total: int, crc: int
) -> JournalState:
    """One piece of a new whole file.

    The pieces come in order; with the last one (offset + length = total) the file durably is in
    place, if its CRC-32 is `crc` and the node has no journal of a later term.
    """
