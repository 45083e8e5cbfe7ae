"""Disks that a provider of external storage looks after. Logical id: (provider, volume name).

All is done by the provider's scripts; man ganeti-extstorage-interface is written for their authors.
`attach` is also how a volume is looked for: a volume that was found is attached afterwards.
Source: facts/node-behaviour.md §2, facts/storage.md §4.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from ganeti.errors import BlockDeviceError, CommandError
from ganeti.model.report import BlockDeviceStatus, Dimensions
from ganeti.serializer import Json
from ganeti.storage import ext_script, raw
from ganeti.storage.base import Attached, BlockDevice, Capabilities, LongRun
from ganeti.storage.ext_script import Provider
from ganeti.types import DiskTemplate
from ganeti.utils import script_log
from ganeti.utils.process import Result

if TYPE_CHECKING:
    from ganeti.model.disk import Disk

log = logging.getLogger(__name__)

SHORT_TIMEOUT_S: Final = 240.0  # attach, detach, open, close, setinfo, verify
LONG_TIMEOUT_S: Final = 840.0  # what changes data; below the 900 s of the calls that wait for it
ANSWER_BYTES: Final = 64 * 1024  # of attach: a path and a few addresses
TASK_PREFIX: Final = "ext-script"
NO_MORE_WORDS: Final = "(nothing)"


class ExtDevice(BlockDevice):
    """A volume of a provider."""

    kind: ClassVar[DiskTemplate] = DiskTemplate.EXT
    capabilities: ClassVar[Capabilities] = Capabilities(grow=True, snapshot=True, shared=True)

    # The contract.

    def verify(self, disk: Disk) -> None:
        """The provider knows the parameters, and its script `verify` takes their values."""
        provider = self._provider(disk)
        ext_script.check_names(provider, disk.params or {})
        self._run(disk, provider, "verify")

    def create(self, disk: Disk, size_mib: int) -> None:
        self.verify(disk)
        self._run_long(disk, self._provider(disk), "create", {"VOL_SIZE": str(size_mib)})

    def remove(self, disk: Disk) -> None:
        """Also when it is not known whether there is a volume: then its script decides."""
        provider = self._provider(disk)
        exists, problem = self._detach(disk, provider)
        if problem:
            log.warning("%s", problem)
        if exists:
            self._run_long(disk, provider, "remove", {})

    def find(self, disk: Disk) -> BlockDeviceStatus | None:
        found = self._attach(disk, self._provider(disk))
        if found is None:
            return None
        place = self._place(disk, found)
        return BlockDeviceStatus(dev_path="") if place is None else place.status

    def assemble(self, disk: Disk) -> Attached:
        found = self._needed(disk)
        place = self._place(disk, found)
        return Attached(None if place is None else place.path, found.uris)

    def shutdown(self, disk: Disk) -> None:
        _, problem = self._detach(disk, self._provider(disk))
        if problem:
            raise BlockDeviceError(problem)

    def open(self, disk: Disk, *, exclusive: bool = True) -> None:
        self._run_optional(disk, "open", {"VOL_OPEN_EXCLUSIVE": str(exclusive)})

    def close(self, disk: Disk) -> None:
        self._run_optional(disk, "close", {})

    def dimensions(self, disk: Disk) -> Dimensions | None:
        """None also for a volume that has only an address: nobody here can tell its size."""
        found = self._attach(disk, self._provider(disk))
        place = None if found is None else self._place(disk, found)
        if place is None:
            return None
        return Dimensions(raw.size_bytes(self.host.run, place, self.describe(disk)), None)

    def grow(
        self, disk: Disk, amount_mib: int, *, dry_run: bool = False, backing_store: bool = True
    ) -> None:
        """Grown to what the disk has by the configuration, and `amount_mib`: a second try fits."""
        if not backing_store:
            return
        if amount_mib < 0:
            raise BlockDeviceError(f"{self.describe(disk)}: can't grow by {amount_mib} MiB")
        self._needed(disk)
        if not dry_run:
            new = str(disk.size + amount_mib)
            sizes = {"VOL_SIZE": str(disk.size), "VOL_NEW_SIZE": new}
            self._run_long(disk, self._provider(disk), "grow", sizes)

    def wipe(self, disk: Disk, offset_mib: int, size_mib: int) -> None:
        place = self._place(disk, self._needed(disk))
        if place is None:
            raise BlockDeviceError(
                f"{self.describe(disk)}: has no path on this node and can't be wiped"
            )
        raw.wipe(self.host.run, place, offset_mib, size_mib, self.describe(disk))

    def set_info(self, disk: Disk, text: str) -> None:
        self._run(disk, self._provider(disk), "setinfo", {"VOL_METADATA": text})

    def snapshot(
        self, disk: Disk, name: str | None = None, size_mib: int | None = None
    ) -> tuple[Json, ...]:
        """A missing script is skipped as others are: then nothing can be attached by that name."""
        provider = self._provider(disk)
        made = name or f"{disk.logical_id[1]}.snap"
        size = disk.size if size_mib is None else size_mib
        if provider.has("snapshot"):
            values = {"VOL_SNAPSHOT_NAME": made, "VOL_SNAPSHOT_SIZE": str(size)}
            self._run_long(disk, provider, "snapshot", values)
        return (provider.name, made)

    # Looking.

    def _provider(self, disk: Disk) -> Provider:
        if len(disk.logical_id) != 2 or not all(disk.logical_id):
            raise BlockDeviceError(f"{self.describe(disk)}: logical id is not (provider, volume)")
        return ext_script.find_provider(self.host.paths, str(disk.logical_id[0]))

    def _attach(self, disk: Disk, provider: Provider) -> ext_script.Found | None:
        """The volume is attached; None when its provider says that it does not exist."""
        result = self._start(disk, provider, "attach", {})
        if ext_script.tells_no_volume(result):
            return None
        what = self._script_of(disk, provider, "attach")
        if not result.ok:
            raise BlockDeviceError(f"{what} {ext_script.fate(result)}")
        return ext_script.parse_attached(result.stdout, what)

    def _needed(self, disk: Disk) -> ext_script.Found:
        found = self._attach(disk, self._provider(disk))
        if found is None:
            raise BlockDeviceError(f"{self.describe(disk)}: there is no such volume")
        return found

    def _place(self, disk: Disk, found: ext_script.Found) -> raw.Raw | None:
        """The device; None for a volume that has only addresses.

        A real node takes block devices only: a wrong path in an answer must not make a guest's
        disk of some file. Virtual nodes may have no right to make block devices.
        """
        if not found.path:
            return None
        virtual = self.host.paths.is_virtual
        what = f"{self.describe(disk)}: script attach"
        place = raw.look(Path(found.path), what, files_too=virtual)
        if place is None:
            raise BlockDeviceError(f"{what}: {found.path}, which it printed, does not exist")
        return place

    def _detach(self, disk: Disk, provider: Provider) -> tuple[bool, str]:
        """The volume is not attached. (whether it may exist, why that is not known).

        A `detach` that fails may just not bear a volume that is not attached: then it is attached
        first, which also tells whether there is one.
        """
        first = self._run_told(disk, provider, "detach", {})
        if not first:
            return True, ""
        found = self._start(disk, provider, "attach", {})
        if ext_script.tells_no_volume(found):
            return False, ""
        what = self._script_of(disk, provider, "detach")
        if not found.ok:
            return True, f"{what} {first}\nScript attach {ext_script.fate(found)}"
        again = self._run_told(disk, provider, "detach", {})
        if again:
            raise BlockDeviceError(f"{what} {again}")
        return True, ""

    # Running scripts.

    def _script_of(self, disk: Disk, provider: Provider, action: str) -> str:
        return f"{self.describe(disk)}: script {action} of provider {provider.name}"

    def _start(
        self,
        disk: Disk,
        provider: Provider,
        action: str,
        more: Mapping[str, str],
        output: int | None = None,
    ) -> Result:
        try:
            return self.host.run(
                [str(provider.script(action))],
                env=ext_script.variables(self.host.paths, disk, more),
                cwd=str(provider.directory),
                stdout=output,
                stderr=output,
                timeout_s=SHORT_TIMEOUT_S,
                output_limit=ANSWER_BYTES,
            )
        except CommandError as error:
            raise BlockDeviceError(f"{self.describe(disk)}: {error}") from error

    def _run(
        self, disk: Disk, provider: Provider, action: str, more: Mapping[str, str] | None = None
    ) -> None:
        """It went well; BlockDeviceError with the end of its log."""
        told = self._run_told(disk, provider, action, more or {})
        if told:
            raise BlockDeviceError(f"{self._script_of(disk, provider, action)} {told}")

    def _run_optional(self, disk: Disk, action: str, more: Mapping[str, str]) -> None:
        provider = self._provider(disk)
        if provider.has(action):
            self._run(disk, provider, action, more)

    def _run_told(
        self, disk: Disk, provider: Provider, action: str, more: Mapping[str, str]
    ) -> str:
        """How it failed; "" when it went well."""
        place = self._log(disk, provider, action)
        with place.open("ab") as file:
            result = self._start(disk, provider, action, more, file.fileno())
        return "" if result.ok else self._told(result.reason, place)

    def _run_long(
        self, disk: Disk, provider: Provider, action: str, more: Mapping[str, str]
    ) -> None:
        """As `_run`, for what may take minutes: it must not outlive its daemon unnoticed."""
        if self.host.execute is None:
            self._run(disk, provider, action, more)
            return
        place = self._log(disk, provider, action)
        told = self.host.execute(
            LongRun(
                name=ext_script.task_name([TASK_PREFIX, *map(str, disk.logical_id)]),
                disk=disk.uuid,
                argv=(str(provider.script(action)),),
                cwd=str(provider.directory),
                environment=ext_script.variables(self.host.paths, disk, more),
                log=place,
                timeout_s=LONG_TIMEOUT_S,
            )
        )
        if told:
            what = self._script_of(disk, provider, action)
            raise BlockDeviceError(f"{what} {self._told(told, place)}")

    def _log(self, disk: Disk, provider: Provider, action: str) -> Path:
        directory = self.host.paths.ext_log
        name = [action, provider.name, str(disk.logical_id[1])]
        try:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise BlockDeviceError(f"directory {directory}: {error.strerror}") from error
        return directory / script_log.log_name(name, self.host.now())

    def _told(self, reason: str, place: Path) -> str:
        said = script_log.last_lines(place).strip() or NO_MORE_WORDS
        return f"{reason}; last lines of {self.host.paths.virtual(place)}:\n{said}"
