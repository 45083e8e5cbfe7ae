"""Which master a node obeys: its promise, kept beside a journal. doc/design-journal.rst, Promises.

A node that has promised a term takes nothing from a master of an earlier one, nor from another
master that wants the same term. The journal's own header counts as a promise, too. A promise
outlives the daemon and the machine's crash; it only ever grows.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganeti.errors import ConfigurationError, LockError, ParseError
from ganeti.paths import Paths
from ganeti.utils.files import Disk
from ganeti.utils.journal import Generation, read_header

MODE: Final = 0o640
HEADER_BYTES: Final = 4096


def lock_of(paths: Paths, name: str) -> Path:
    """The lock file of a journal, which its master and the node's daemon share."""
    return paths.lock / f"ganeti-journal-{name}.lock"


@dataclass(frozen=True, slots=True)
class Promise:
    """The promise for the journal at `journal`. All but `held` is to be called inside `held`."""

    journal: Path
    lock: Path
    disk: Disk

    @property
    def path(self) -> Path:
        return self.journal.with_name(f"{self.journal.name}.promise")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else promises or writes meanwhile; OSError when the lock can't be had."""
        self.disk.mkdir(self.lock.parent)
        try:
            with self.disk.lock(self.lock):
                yield
        except LockError as error:
            raise OSError(errno.EBUSY, str(error), str(self.journal)) from error

    def known(self) -> Generation | None:
        """Of the newest master that this node knows."""
        found = [one for one in (self.promised(), header_of(self.disk, self.journal)) if one]
        return max(found, key=lambda one: one.term, default=None)

    def refusal(self, generation: Generation) -> str:
        """Why a master of this generation is not obeyed; empty: it is."""
        return _refusal(generation, self.known())

    def refusal_here(self, generation: Generation) -> str:
        """The same, of the master whose generation the journal here has."""
        return _refusal(generation, self.promised())

    def give(self, generation: Generation) -> str:
        """The node obeys this master from now on, durably; or the refusal."""
        refusal = self.refusal(generation)
        promised = self.promised()
        if not refusal and (promised is None or not generation.is_of(promised)):
            self.disk.mkdir(self.path.parent)
            self.disk.replace(self.path, f"{generation}\n".encode(), mode=MODE)
        return refusal

    def promised(self) -> Generation | None:
        """What was promised; None: nothing yet."""
        try:
            text = self.disk.read(self.path).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        try:
            return Generation.parse(text)
        except ParseError as error:
            raise ConfigurationError(
                f"{self.path}: {error}; remove the file if this node's cluster has one master only"
            ) from None


def _refusal(generation: Generation, known: Generation | None) -> str:
    if known is None or generation.term > known.term or generation.is_of(known):
        return ""
    return f"this node obeys the master that began term {known}, not {generation}"


def header_of(disk: Disk, journal: Path) -> Generation | None:
    """The generation of the file; None without one, and for one that is no journal."""
    try:
        line = disk.read(journal, 0, HEADER_BYTES).split(b"\n", 1)[0]
    except FileNotFoundError:
        return None
    try:
        return read_header(line, str(journal)).generation
    except (ConfigurationError, ParseError):
        return None  # whatever it is, the master has the right one
