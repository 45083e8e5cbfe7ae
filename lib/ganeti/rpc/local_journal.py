"""The journal's file on its master: read, and written as long as this node obeys nobody else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from ganeti.errors import ConfigurationError
from ganeti.rpc.promise import Promise
from ganeti.utils import journal as form
from ganeti.utils.files import AppendFile, Disk, Owner
from ganeti.utils.journal import Contents, Generation
from ganeti.utils.offload import Offloader

logger = logging.getLogger(__name__)

FILE_MODE: Final = 0o640


class LocalJournal:
    """One file. What writes raises OSError when the disk fails, and ConfigurationError when this
    node has promised to obey another master."""

    def __init__(
        self,
        name: str,
        path: Path,
        disk: Disk,
        offload: Offloader,
        *,
        promise: Promise,
        owner: Owner | None,
    ) -> None:
        self.name = name
        self.path = path
        self.promise = promise
        self._disk = disk
        self._offload = offload
        self._owner = owner
        self._file: AppendFile | None = None

    @property
    def is_open(self) -> bool:
        """It was begun, and not closed."""
        return self._file is not None

    async def load(self) -> Contents | None:
        """What it holds, None without a file; a torn tail is left out and logged.

        Raises ConfigurationError, naming file and place, when it is damaged; the file is kept.
        """

        def read() -> bytes | None:
            return self._disk.read(self.path) if self._disk.exists(self.path) else None

        data = await self._offload(read)
        if data is None:
            return None
        contents = form.read(data, str(self.path))
        if contents.header.name != self.name:
            raise ConfigurationError(
                f"{self.path}: journal of {contents.header.name!r}, not of {self.name!r}"
            )
        if contents.torn:
            logger.warning(
                "%s: the last write was cut off: %d bytes after byte %d are left out",
                *(self.path, contents.torn, contents.size),
            )
        return contents

    async def replace(self, generation: Generation, data: bytes) -> None:
        """The file durably is `data`; further writes go behind it."""

        def write() -> AppendFile:
            with self.promise.held():
                self._obey(generation)
                self._disk.replace(self.path, data, mode=FILE_MODE, owner=self._owner)
                return self._disk.append_file(self.path, mode=FILE_MODE, owner=self._owner)

        file = await self._offload(write)
        self.close()
        self._file = file

    async def append(self, generation: Generation, batch: bytes) -> None:
        """The batch is durably at the end of the file."""
        file = self._file
        assert file is not None

        def write() -> None:
            with self.promise.held():
                self._obey(generation)
                file.append(batch)
                file.sync()

        await self._offload(write)

    async def cut(self, size: int) -> None:
        """The file has no more bytes than that."""
        file = self._file
        assert file is not None
        await self._offload(lambda: file.truncate(size))

    async def is_of(self, generation: Generation) -> bool:
        """Whether a file of this generation is in place; raises as `load` does."""

        def look() -> bool:
            line = self._disk.read(self.path, 0, 4096).split(b"\n", 1)[0]
            return form.read_header(line, str(self.path)).generation == generation

        return await self._offload(look)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def taken_over(self, how: str) -> str:
        """What a master reads that is none any more."""
        return (
            f"{self.path}: another master has taken over: {how};"
            " restart the master daemon if this node is the master"
        )

    def _obey(self, generation: Generation) -> None:
        refusal = self.promise.refusal(generation)
        if refusal:
            raise ConfigurationError(self.taken_over(refusal))
