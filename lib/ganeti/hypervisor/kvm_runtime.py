"""How a running instance was started: the file conf/NAME.runtime.

JSON list: command of stage 1, NICs, hypervisor parameters, disks as [disk, link, address or null]
(facts/hypervisors.md, KVM, Files). A reboot starts from it, a migration sends it, and it tells
after a restart of noded what the guest has, whatever the configuration says by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ganeti.errors import HypervisorError, ParseError
from ganeti.hypervisor.base import GuestDisk
from ganeti.model.disk import Disk
from ganeti.model.nic import Nic
from ganeti.serializer import Json, decode, dumps, encode, loads
from ganeti.utils.files import PRIVATE, LocalDisk


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the file holds."""

    argv: tuple[str, ...]
    nics: tuple[Nic, ...]
    hvparams: Mapping[str, Json]
    disks: tuple[GuestDisk, ...]

    def to_text(self) -> str:
        disks = [[encode(one.disk), str(one.link), one.uri] for one in self.disks]
        nics = [encode(nic) for nic in self.nics]
        return dumps([list(self.argv), nics, dict(self.hvparams), disks])

    @classmethod
    def from_text(cls, text: str, name: str) -> Runtime:
        """HypervisorError when it is no runtime of ours; `name` is the instance."""
        what = f"runtime of instance {name}"
        try:
            value = loads(text, what)
            match value:
                case [list(argv), list(nics), dict(hvparams), list(disks)]:
                    return cls(
                        argv=decode(tuple[str, ...], argv, f"{what}, command"),
                        nics=tuple(decode(Nic, nic, f"{what}, nic") for nic in nics),
                        hvparams=hvparams,
                        disks=tuple(_disk(row, what) for row in disks),
                    )
        except ParseError as error:
            raise HypervisorError(str(error)) from error
        raise HypervisorError(f"{what}: a list of command, nics, hvparams and disks is expected")


def _disk(row: Json, what: str) -> GuestDisk:
    match row:
        case [dict(disk), str(link), None | str()]:
            return GuestDisk(decode(Disk, disk, f"{what}, disk"), Path(link), row[2])
    raise ParseError(f"{what}: a disk is [disk, link, address or null]")


def save(path: Path, runtime: Runtime) -> None:
    """Whole or not at all, and for root only: disks may hold secrets."""
    LocalDisk().replace(path, runtime.to_text().encode(), mode=PRIVATE)


def load(path: Path, name: str) -> Runtime:
    """HypervisorError when there is none."""
    try:
        return Runtime.from_text(path.read_text(), name)
    except OSError as error:
        raise HypervisorError(
            f"instance {name}: how it was started is not known: {path}: {error.strerror}"
        ) from error
