"""What the scripts of a provider of external storage get, and what they answer. Mostly pure.

Source: facts/node-behaviour.md §2, facts/constants.json (extstorage).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import BlockDeviceError
from ganeti.paths import ROOT_VARIABLE, Paths
from ganeti.serializer import Json
from ganeti.storage.ext_find import (
    PARAMETERS_FILE,
    BrokenProvider,
    find_directory,
    load_parameters,
)
from ganeti.utils.process import Result

if TYPE_CHECKING:
    from ganeti.model.disk import Disk

NO_VOLUME: Final = 66
"""Exit code (ours; EX_NOINPUT of sysexits.h) of `attach` when the volume does not exist.

With any other failure it is not known whether it does, and nothing is made in its place.
"""

OWN_PARAMETERS: Final = frozenset({"provider", "access"})
"""Parameters of every ext disk, which a provider's list need not have."""

URI: Final = re.compile(r"([a-z0-9-]+):(.+)")
SHOWN_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Provider:
    """A usable provider on this node."""

    name: str
    directory: Path
    parameters: tuple[tuple[str, str], ...]

    def script(self, action: str) -> Path:
        return self.directory / action

    def has(self, action: str) -> bool:
        return self.script(action).exists()


@dataclass(frozen=True, slots=True)
class Found:
    """What `attach` printed: where the device is, and addresses by hypervisor."""

    path: str
    uris: Mapping[str, str] = field(default_factory=dict)


def find_provider(paths: Paths, name: str) -> Provider:
    """The first one of that name in the search path; BlockDeviceError when it can't be used."""
    directory = find_directory(paths.extstorage_search, name)
    if directory is None:
        places = ", ".join(paths.virtual(place) for place in paths.extstorage_search)
        raise BlockDeviceError(
            f"provider {name!r} of external storage is not on this node; searched in {places}"
        )
    try:
        return Provider(name, directory, load_parameters(directory))
    except BrokenProvider as error:
        raise BlockDeviceError(
            f"provider {name} of external storage, {paths.virtual(directory)}: {error}"
        ) from error


def check_names(provider: Provider, params: Mapping[str, Json]) -> None:
    """The provider knows all parameters; BlockDeviceError."""
    known = {name for name, _ in provider.parameters}
    unknown = sorted(params.keys() - known - OWN_PARAMETERS)
    if unknown:
        raise BlockDeviceError(
            f"provider {provider.name} has no parameter {unknown[0]!r}; its {PARAMETERS_FILE}"
            f" has {', '.join(sorted(known)) or 'none'}"
        )


def variables(paths: Paths, disk: Disk, more: Mapping[str, str]) -> dict[str, str]:
    """What a script gets on top of the daemon's environment."""
    made = {"VOL_NAME": str(disk.logical_id[1]), "VOL_UUID": disk.uuid}
    if disk.name:
        made["VOL_CNAME"] = disk.name
    for name, value in (disk.params or {}).items():
        made[f"EXTP_{name.upper()}"] = str(value)
    if paths.is_virtual:
        made[ROOT_VARIABLE] = str(paths.root)
    return {**made, **more}


def parse_attached(output: str, what: str) -> Found:
    """Line 1 is the device (may be empty), the others are `<hypervisor>:<uri>`."""
    path, *others = output.splitlines() or [""]
    path = path.strip()
    if path and not path.startswith("/"):
        raise BlockDeviceError(f"{what}: the first line must be a device, it is {_short(path)}")
    uris: dict[str, str] = {}
    for line in others:
        if not line.strip():
            continue
        matched = URI.fullmatch(line.strip())
        if matched is None:
            raise BlockDeviceError(
                f"{what}: the lines after the first must be HYPERVISOR:ADDRESS, one is"
                f" {_short(line)}"
            )
        uris[matched[1]] = matched[2]
    if not path and not uris:
        raise BlockDeviceError(f"{what}: it printed neither a device nor an address")
    return Found(path, uris)


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN_BYTES else text[:SHOWN_BYTES] + "…")


def tells_no_volume(result: Result) -> bool:
    return result.code == NO_VOLUME and not result.stopped


def fate(result: Result) -> str:
    """How a script ended, and the last it said on its error stream."""
    said = "\n".join(result.stderr.splitlines()[-20:]).strip()
    return f"{result.reason}; it said: {said}" if said else f"{result.reason}, without a word"


def task_name(parts: Sequence[str]) -> str:
    """A name that a task can have (see node/task.py), whatever the parts are."""
    return re.sub(r"[^a-zA-Z0-9_.+:-]", "_", "-".join(parts))[:200]
