"""Files of the job queue, as the master keeps them on its candidates."""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganeti.errors import JobQueueError
from ganeti.node.context import NodeContext
from ganeti.node.file import write
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.rpc.packed import unpack

FILE_MODE = 0o640
DRAIN_MODE = 0o644
DIRECTORY_MODE = 0o750
LOCK_S = 10.0


@serves(calls.jobqueue_update)
def jobqueue_update(node: NodeContext, file_name: str, content: calls.Packed) -> None:
    place = queue_file(node, file_name)
    data = unpack(content)
    prepare(node)
    with node.files.lock(lock_file(node), timeout_s=LOCK_S):
        write(node, place, data, FILE_MODE, None)


@serves(calls.jobqueue_place)
def jobqueue_place(node: NodeContext, files: Sequence[calls.QueueFile], durable: bool) -> None:
    """All are checked before the first one is written."""
    contents = [(queue_file(node, name), unpack(content)) for name, content in files]
    put = node.files.replace if durable else node.files.place
    prepare(node)
    with node.files.lock(lock_file(node), timeout_s=LOCK_S):
        for place, data in contents:
            try:
                put(place, data, mode=FILE_MODE)
            except OSError as error:
                name = node.paths.virtual(place)
                raise JobQueueError(
                    f"job file {name}: can't write: {error.strerror or error}"
                ) from error


@serves(calls.jobqueue_settle)
def jobqueue_settle(node: NodeContext, files: Mapping[str, int]) -> list[str]:
    places = {name: queue_file(node, name) for name in files}
    other = [name for name, place in places.items() if _checksum(node, place) != files[name]]
    try:
        node.files.settle([place for name, place in places.items() if name not in other])
    except OSError as error:
        raise JobQueueError(f"job files: can't sync: {error}") from error
    return other


def _checksum(node: NodeContext, place: Path) -> int | None:
    try:
        return zlib.crc32(node.files.read(place))
    except OSError:
        return None


@serves(calls.jobqueue_rename)
def jobqueue_rename(node: NodeContext, rename: Sequence[tuple[str, str]]) -> list[None]:
    """A file that is at its new place already was moved before."""
    places = [(queue_file(node, old), queue_file(node, new)) for old, new in rename]
    if not places:
        return []
    prepare(node)
    with node.files.lock(lock_file(node), timeout_s=LOCK_S):
        for old, new in places:
            if new.exists() and not old.exists():
                continue
            _move(node, old, new)
    return [None] * len(places)


def _move(node: NodeContext, old: Path, new: Path) -> None:
    try:
        node.files.mkdir(new.parent, mode=DIRECTORY_MODE)
        node.files.rename(old, new)
    except OSError as error:
        name = node.paths.virtual(old)
        raise JobQueueError(f"job file {name}: can't move: {error.strerror or error}") from error


@serves(calls.jobqueue_purge)
def jobqueue_purge(node: NodeContext) -> None:
    """No job is left, archived ones included; the next master begins with number 1."""
    if not node.paths.queue.is_dir():
        return
    with node.files.lock(lock_file(node), timeout_s=LOCK_S):
        remove_all(node)


def remove_all(node: NodeContext) -> None:
    """Every file below the queue directory but its lock is gone."""
    keep = lock_file(node)
    for place in sorted(node.paths.queue.rglob("*"), reverse=True):
        if place.is_dir():
            if place != node.paths.archive:
                place.rmdir()
        elif place != keep:
            node.files.unlink(place, missing_ok=True)


@serves(calls.jobqueue_set_drain_flag)
def jobqueue_set_drain_flag(node: NodeContext, flag: bool) -> bool | None:
    drain = node.paths.queue / "drain"
    prepare(node)
    if flag:
        write(node, drain, b"", DRAIN_MODE, None)
    else:
        node.files.unlink(drain, missing_ok=True)
    return None


def prepare(node: NodeContext) -> None:
    node.files.mkdir(node.paths.archive, mode=DIRECTORY_MODE)


def lock_file(node: NodeContext) -> Path:
    return node.paths.queue / "lock"


def queue_file(node: NodeContext, file_name: str) -> Path:
    """Where the file lies; JobQueueError unless that is below the queue directory."""
    queue = node.paths.virtual(node.paths.queue)
    normal = posixpath.normpath(file_name)
    if normal != file_name or not normal.startswith(queue + "/"):
        raise JobQueueError(
            f"job queue file {file_name!r} does not belong to the queue directory {queue!r}"
        )
    return node.paths.below(normal)
