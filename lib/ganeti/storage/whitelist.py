"""Which directories an administrator allows for files of instances.

`CONF/file-storage-paths` has one absolute directory per line, `#` begins a comment; a missing or
empty file allows nothing. Some places are never allowed. Source: facts/node-behaviour.md §5.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ganeti.errors import FileStoragePathError

_PROGRAM_DIRECTORIES = ("bin", "lib", "lib32", "lib64", "sbin")
FORBIDDEN: Final[tuple[str, ...]] = (
    *("/boot", "/dev", "/etc", "/home", "/proc", "/root", "/sys"),
    *(f"{top}/{name}" for top in ("", "/usr", "/usr/local") for name in _PROGRAM_DIRECTORIES),
)


def parse(text: str) -> list[str]:
    """The directories of a whitelist file, as they are written there."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read(path: Path) -> list[str]:
    """The directories of the whitelist file at `path`; none when there is no such file."""
    try:
        return parse(path.read_text())
    except FileNotFoundError:
        return []


def is_below(path: str, directory: str, *, or_equal: bool = False) -> bool:
    """Whether one normalised absolute path lies below another."""
    if path == directory:
        return or_equal
    return path.startswith(directory.rstrip("/") + "/")


def forbidden(paths: Sequence[str]) -> list[str]:
    """Those of `paths` that may never be used, whatever the whitelist says; sorted."""
    return sorted(
        path
        for path in paths
        if not path.startswith("/")
        or any(is_below(posixpath.normpath(path), never, or_equal=True) for never in FORBIDDEN)
    )


def check(path: str, allowed: Sequence[str], *, directory: bool = False) -> None:
    """`path` (as the node names it) may be used; FileStoragePathError says why not.

    It must lie below one of `allowed`; a directory may be one of them. Nothing is resolved: a
    symbolic link that an administrator puts there is his decision.
    """
    if not path.startswith("/"):
        raise FileStoragePathError(f"file storage path {path!r} is not absolute")
    normal = posixpath.normpath(path)
    if normal != path:
        raise FileStoragePathError(f"file storage path {path!r} is not normalised, as {normal!r}")
    for never in FORBIDDEN:
        if is_below(path, never, or_equal=True):
            raise FileStoragePathError(
                f"file storage path {path!r} lies below {never}, where no instance may have files"
            )
    usable = [place for place in allowed if not forbidden([place])]
    if not any(is_below(path, posixpath.normpath(p), or_equal=directory) for p in usable):
        raise FileStoragePathError(
            f"file storage path {path!r} is not below an allowed directory"
            f" ({', '.join(usable) or 'none is allowed'}); add one to file-storage-paths"
        )
