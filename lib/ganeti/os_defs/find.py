"""Finding guest OS definitions. Source: facts/node-behaviour.md §1.

An OS definition is a directory in the search path, with its scripts and lists. A broken one is
found too, with its reason, so that an administrator can be told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import Code, OpPrereqError
from ganeti.model.inherit import split_os
from ganeti.model.report import OsReport

if TYPE_CHECKING:
    from ganeti.paths import Paths

API_VERSIONS: Final = (10, 15, 20)
"""What this node understands."""

API_FILE: Final = "ganeti_api_version"
VARIANTS_FILE: Final = "variants.list"
PARAMETERS_FILE: Final = "parameters.list"
CREATE: Final = "create"
CREATE_UNTRUSTED: Final = "create_untrusted"
IMPORT: Final = "import"
EXPORT: Final = "export"
RENAME: Final = "rename"
VERIFY: Final = "verify"

API_PARAMETERS: Final = 20
API_VARIANTS: Final = 15


class BrokenOs(Exception):
    """Why a directory is no usable OS definition."""


@dataclass(frozen=True, slots=True)
class OsDefinition:
    """A usable one. `api_version` is the one that is used of `api_versions`."""

    name: str
    path: Path
    api_version: int
    api_versions: tuple[int, ...]
    variants: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]  # name, help
    trusted: bool

    def script(self, name: str) -> Path:
        return self.path / name

    def has(self, script: str) -> bool:
        return self.script(script).is_file()


def parse_api_versions(text: str) -> tuple[int, ...]:
    """One number per line, in the order of the file; BrokenOs for anything else."""
    words = [line.strip() for line in text.splitlines() if line.strip()]
    if not words or not all(word.isdigit() for word in words):
        raise BrokenOs(f"{API_FILE} does not hold one number per line")
    return tuple(int(word) for word in words)


def parse_variants(text: str) -> tuple[str, ...]:
    """One per line; `#` comments."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def parse_parameters(text: str) -> tuple[tuple[str, str], ...]:
    """`NAME DESCRIPTION` per line, split at the first white space."""
    rows = (line.strip().split(None, 1) for line in text.splitlines())
    rows_given = (row for row in rows if row and not row[0].startswith("#"))
    return tuple((row[0], row[1] if len(row) > 1 else "") for row in rows_given)


def read_definition(name: str, directory: Path) -> OsDefinition:
    """BrokenOs when something needed is missing."""
    versions = parse_api_versions(_text(directory, API_FILE))
    common = set(versions) & set(API_VERSIONS)
    if not common:
        raise BrokenOs(
            f"API versions {_joined(versions)} are given, {_joined(API_VERSIONS)} are understood"
        )
    version = max(common)
    trusted = _check_scripts(directory, version)
    variants: tuple[str, ...] = ()
    if version >= API_VARIANTS and (directory / VARIANTS_FILE).exists():
        variants = parse_variants(_text(directory, VARIANTS_FILE))
    parameters: tuple[tuple[str, str], ...] = ()
    if version >= API_PARAMETERS:
        parameters = parse_parameters(_text(directory, PARAMETERS_FILE))
    return OsDefinition(name, directory, version, versions, variants, parameters, trusted)


def _check_scripts(directory: Path, version: int) -> bool:
    """Whether the OS is trusted: without a script that wants a machine of its own."""
    needed = [CREATE, EXPORT, IMPORT, RENAME]
    if version >= API_PARAMETERS:
        needed.append(VERIFY)
    trusted = not (directory / CREATE_UNTRUSTED).exists()
    if not trusted:
        _check_program(directory, CREATE_UNTRUSTED)
        if not (directory / CREATE).exists():
            needed.remove(CREATE)
    for script in needed:
        _check_program(directory, script)
    return trusted


def _check_program(directory: Path, name: str) -> None:
    mode = _mode(directory, name)
    if not mode & stat.S_IXUSR:
        raise BrokenOs(f"File {name!r} under path {str(directory)!r} is not executable")


def _mode(directory: Path, name: str) -> int:
    try:
        mode = (directory / name).stat().st_mode
    except FileNotFoundError:
        raise BrokenOs(f"File {name!r} under path {str(directory)!r} is missing (ENOENT)") from None
    except OSError as error:
        raise BrokenOs(f"File {name!r} under path {str(directory)!r}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise BrokenOs(f"File {name!r} under path {str(directory)!r} is not a regular file")
    return mode


def _text(directory: Path, name: str) -> str:
    _mode(directory, name)
    try:
        return (directory / name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenOs(f"File {name!r} under path {str(directory)!r}: {error}") from error


def _joined(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def directories(search: Sequence[Path]) -> list[tuple[str, Path]]:
    """(name, directory) of all definitions, in the order of the search path, then by name."""
    found = []
    for place in search:
        try:
            names = sorted(os.listdir(place))
        except OSError:
            continue  # most of the search path does not exist on most nodes
        found += [
            (name, place / name)
            for name in names
            if not name.startswith(".") and (place / name).is_dir()
        ]
    return found


def diagnose(paths: Paths) -> list[OsReport]:
    """Every OS definition of the node, broken ones with their reason."""
    made = []
    for name, directory in directories(paths.os_search):
        shown = paths.virtual(directory)
        try:
            found = read_definition(name, directory)
        except BrokenOs as error:
            reason = str(error).replace(str(directory), shown)
            made.append(OsReport(name, shown, False, reason, trusted=_is_trusted(directory)))
            continue
        made.append(
            OsReport(
                name,
                shown,
                True,
                "",
                found.variants,
                found.parameters,
                found.api_versions,
                found.trusted,
            )
        )
    return made


def _is_trusted(directory: Path) -> bool:
    return not (directory / CREATE_UNTRUSTED).exists()


def find(paths: Paths, name: str) -> OsDefinition | None:
    """The first definition of that name (with or without a variant) in the search path.

    None when there is no such directory; OpPrereqError ENVIRON when it is broken.
    """
    plain, _ = split_os(name)
    if "/" in plain or plain.startswith("."):
        raise OpPrereqError(f"OS name {name!r} is not valid", Code.INVAL)
    for place in paths.os_search:
        directory = place / plain
        if directory.is_dir():
            try:
                return read_definition(plain, directory)
            except BrokenOs as error:
                raise OpPrereqError(f"OS {plain}: {error}", Code.ENVIRON) from error
    return None


def require(paths: Paths, name: str) -> OsDefinition:
    """As `find`; OpPrereqError NOENT when there is none."""
    found = find(paths, name)
    if found is None:
        plain, _ = split_os(name)
        places = ", ".join(paths.virtual(place) for place in paths.os_search)
        raise OpPrereqError(
            f"Directory for OS {plain} not found in search path ({places})", Code.NOENT
        )
    return found


def check_variant(definition: OsDefinition, name: str, *, force: bool = False) -> str:
    """The variant in `name`, "" when the OS has none; OpPrereqError INVAL when it does not fit.

    `force` lets a variant pass that is not in the list.
    """
    _, variant = split_os(name)
    if not definition.variants:
        if variant and not force:
            raise OpPrereqError(
                f"OS {definition.name} has no variants, not {variant!r}", Code.INVAL
            )
        return variant or ""
    if not variant:
        raise OpPrereqError(
            f"OS {definition.name}: the name must include a variant",
            Code.INVAL,
            hint="it has " + ", ".join(definition.variants),
        )
    if variant not in definition.variants and not force:
        raise OpPrereqError(
            f"OS {definition.name} has no variant {variant!r}",
            Code.INVAL,
            hint="it has " + ", ".join(definition.variants),
        )
    return variant


def check_parameter_names(definition: OsDefinition, names: Sequence[str]) -> None:
    """OpPrereqError INVAL when the OS does not know a parameter."""
    known = {name for name, _ in definition.parameters}
    extra = sorted(set(names) - known)
    if extra:
        raise OpPrereqError(
            f"OS {definition.name} has no parameters {', '.join(extra)}",
            Code.INVAL,
            hint=f"it has {', '.join(sorted(known)) or 'none'}",
        )
