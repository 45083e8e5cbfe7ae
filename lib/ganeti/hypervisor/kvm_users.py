"""The pool of user ids: each guest's QEMU runs as a user that no other one has.

A number in use is a file RUN/uid-pool/NUMBER, locked while its owner is being started; whose it is
stands in RUN/kvm-hypervisor/uid/NAME. Source: facts/hypervisors.md, Security model.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ganeti.errors import HypervisorError

if TYPE_CHECKING:
    from ganeti.paths import Paths


def parse_pool(text: str) -> list[int]:
    """The numbers in ssconf `uid_pool`: `N` or `LOW-HIGH` a line."""
    found: list[int] = []
    for line in text.split():
        low, _, high = line.partition("-")
        if not low.isdigit() or not (high or low).isdigit():
            raise HypervisorError(f"the cluster's pool of users (uid_pool): {line!r} is no range")
        found += range(int(low), int(high or low) + 1)
    return found


def runas(uid: int) -> str:
    """`-runas` with the user's own group; a number without an account is its own group."""
    try:
        return f"{uid}:{pwd.getpwuid(uid).pw_gid}"
    except KeyError:
        return f"{uid}:{uid}"


def has_processes(proc: Path, uid: int) -> bool:
    """Whether anything runs as this user; what has ended and is only not waited for does not count.

    The owner of the directory below /proc says nothing: it is root for who changed its user.
    """
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                lines = (entry / "status").read_text(errors="replace").splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            values = dict(line.split(":", 1) for line in lines if ":" in line)
            ended = values.get("State", "").lstrip().startswith(("Z", "X"))
            if not ended and str(uid) in values.get("Uid", "").split():
                return True
    return False


def candidates(pool: Sequence[int], taken: set[int], shuffle: random.Random) -> list[int]:
    """Free numbers first, then those whose owner may have gone; each group in any order, so that
    two starts at the same time seldom meet."""
    free = [uid for uid in pool if uid not in taken]
    used = [uid for uid in pool if uid in taken]
    shuffle.shuffle(free)
    shuffle.shuffle(used)
    return free + used


@contextmanager
def taken(paths: Paths, proc: Path, owner: Path, shuffle: random.Random) -> Iterator[int]:
    """A number, kept for `owner` (a file) when the block ends well, else given back."""
    directory = paths.run / "uid-pool"
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    try:
        pool = parse_pool(paths.ssconf("uid_pool").read_text())
    except FileNotFoundError:
        pool = []
    marked = {int(name) for name in os.listdir(directory) if name.isdigit()}
    for uid in candidates(pool, marked, shuffle):
        mark = directory / str(uid)
        handle = _locked(mark)
        if handle is None:
            continue
        try:
            if has_processes(proc, uid):
                continue
            owner.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            owner.write_text(str(uid))
            try:
                yield uid
            except BaseException:
                give_back(paths, owner)
                raise
            return
        finally:
            os.close(handle)
    raise HypervisorError(
        f"none of the {len(pool)} users of the cluster's pool (uid_pool) is free on this node"
    )


def _locked(mark: Path) -> int | None:
    """A locked descriptor of the file, which exists; None when another one holds it."""
    handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def give_back(paths: Paths, owner: Path) -> None:
    """The number of this owner can be taken by others; no-op when it has none."""
    try:
        uid = owner.read_text().strip()
    except FileNotFoundError:
        return
    if uid.isdigit():
        (paths.run / "uid-pool" / uid).unlink(missing_ok=True)
    owner.unlink(missing_ok=True)
