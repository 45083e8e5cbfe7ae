"""Whether KVM works on this machine: found out once, for all virtual nodes that one user has there.

On a real node the verdict lies in the node's run directory. Virtual nodes of one machine share a
directory of their user's own; nobody else can have written there.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ganeti.errors import LockError, ParseError
from ganeti.paths import Paths
from ganeti.serializer import Json, dump_bytes, loads
from ganeti.utils.files import LocalDisk

log = logging.getLogger(__name__)

FILE: Final = "kvm-trial.json"
LOCK: Final = "kvm-trial.lock"
LOCK_S: Final = 15.0  # somebody else's trial takes 5 s at most; three of them


def place(paths: Paths, environment: Mapping[str, str], own: Path) -> Path:
    """Where this node's machine keeps its verdicts; `own` is the node's own directory."""
    if not paths.is_virtual:
        return own
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        shared = Path(runtime) / "ganeti"
    else:
        shared = Path("/var/tmp") / f"ganeti-{os.geteuid()}"
    return shared if is_ours(shared) else own


def is_ours(directory: Path) -> bool:
    """It is a directory, made if need be, that only we can write and read; no link to one."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not stat.S_IMODE(found.st_mode) & 0o077
    )


def verdict(directory: Path, key: str, find_out: Callable[[], tuple[str, bool]]) -> str:
    """What is known under the key; else what `find_out` says, kept if that is sure (its second).

    Who comes meanwhile waits for it in place of making the same trial.
    """
    known = _load(directory).get(key)
    if known is None:
        with _turn(directory):
            known = _load(directory).get(key)
            if known is None:
                known, is_sure = find_out()
                if is_sure:
                    kept = {**_load(directory), key: known}
                    LocalDisk().replace(directory / FILE, dump_bytes(kept))
    return str(known)


@contextmanager
def _turn(directory: Path) -> Iterator[None]:
    """Alone, or when that takes too long not alone."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = LocalDisk().lock(directory / LOCK, timeout_s=LOCK_S)
    try:
        lock.__enter__()
    except LockError as error:
        log.warning("%s", error)
        yield
        return
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _load(directory: Path) -> Mapping[str, Json]:
    file = directory / FILE
    try:
        kept = loads(file.read_bytes(), str(file))
    except (FileNotFoundError, ParseError):
        return {}
    return kept if isinstance(kept, dict) else {}
