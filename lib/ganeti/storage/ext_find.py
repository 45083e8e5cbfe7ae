"""Finding providers of external storage. Source: facts/node-behaviour.md §2.

A provider is a directory in the search path, with its scripts and a list of parameters. A broken
one is found too, with its reason, so that an administrator can be told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ganeti.model.report import ExtStorageReport

REQUIRED: Final = ("create", "remove", "grow", "attach", "detach", "setinfo", "verify")
OPTIONAL: Final = ("snapshot", "open", "close")
PARAMETERS_FILE: Final = "parameters.list"
NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
"""What a provider may be called (facts/constants.json, EXT_PLUGIN_MASK)."""


class BrokenProvider(Exception):
    """Why a directory is no usable provider."""


def parse_parameters(text: str) -> tuple[tuple[str, str], ...]:
    """`NAME DESCRIPTION` per line, split at the first white space; `#` comments."""
    rows = (line.strip().split(None, 1) for line in text.splitlines())
    return tuple(
        (row[0], row[1] if len(row) > 1 else "")
        for row in rows
        if row and not row[0].startswith("#")
    )


def load_parameters(directory: Path) -> tuple[tuple[str, str], ...]:
    """The parameters of a usable provider; BrokenProvider for any other directory."""
    for name in REQUIRED:
        _check_script(directory / name)
    for name in OPTIONAL:
        if (directory / name).exists():
            _check_script(directory / name)
    try:
        return parse_parameters((directory / PARAMETERS_FILE).read_text())
    except FileNotFoundError:
        raise BrokenProvider(f"file {PARAMETERS_FILE} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenProvider(f"file {PARAMETERS_FILE} can't be read: {error}") from error


def find_directory(search: Sequence[Path], name: str) -> Path | None:
    """The provider of this name that counts; None when no place has it, as for a bad name."""
    if NAME.fullmatch(name) is None:
        return None
    return next((place / name for place in search if (place / name).is_dir()), None)


def _check_script(path: Path) -> None:
    if not path.exists():
        raise BrokenProvider(f"script {path.name} is missing")
    if not path.is_file():
        raise BrokenProvider(f"script {path.name} is no file")
    if not os.access(path, os.X_OK):
        raise BrokenProvider(f"script {path.name} is not executable")


def diagnose(search: Sequence[Path]) -> list[ExtStorageReport]:
    """All providers in the order of the search path; the first of a name is the one that counts."""
    return [
        _report(directory)
        for place in search
        if place.is_dir()
        for directory in sorted(place.iterdir())
        if directory.is_dir() and not directory.name.startswith(".")
    ]


def _report(directory: Path) -> ExtStorageReport:
    try:
        parameters = load_parameters(directory)
    except BrokenProvider as error:
        return ExtStorageReport(directory.name, str(directory), False, str(error))
    return ExtStorageReport(directory.name, str(directory), True, "", parameters)
