"""Storage units of the node: directories for files of instances, and sizes of block devices."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Final

from ganeti.errors import CommandError, StorageError
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.serializer import Json
from ganeti.storage import directories
from ganeti.storage.base import MIB

FILE_TYPES: Final = ("file", "sharedfile", "gluster")
FIELDS: Final = ("name", "size", "free", "used", "allocatable")


@serves(calls.file_storage_dir_create)
def file_storage_dir_create(node: NodeContext, file_storage_dir: str) -> None:
    directories.create(node.paths, file_storage_dir)


@serves(calls.file_storage_dir_remove)
def file_storage_dir_remove(node: NodeContext, file_storage_dir: str) -> None:
    directories.remove(node.paths, file_storage_dir)


@serves(calls.file_storage_dir_rename)
def file_storage_dir_rename(
    node: NodeContext, old_file_storage_dir: str, new_file_storage_dir: str
) -> None:
    directories.rename(node.paths, old_file_storage_dir, new_file_storage_dir)


@serves(calls.storage_list)
def storage_list(
    node: NodeContext,
    su_name: str,
    su_args: Sequence[Json],
    name: str | None,
    fields: Sequence[str],
) -> list[list[Json]]:
    """One row per directory; `su_args` is [[directories]]. `name` takes one of them."""
    if su_name not in FILE_TYPES:
        raise StorageError(f"storage type {su_name!r}: its units can't be listed on this node")
    unknown = [field for field in fields if field not in FIELDS]
    if unknown:
        raise StorageError(f"storage field {unknown[0]!r} is not known")
    places = su_args[0] if su_args and isinstance(su_args[0], list) else []
    wanted = [str(place) for place in places if not name or place == name]
    return [_row(node, place, fields) for place in wanted]


def _row(node: NodeContext, place: str, fields: Sequence[str]) -> list[Json]:
    where = node.paths.below(place)
    size, free = directories.space(where, place)
    values: dict[str, Json] = {"name": place, "size": size, "free": free, "allocatable": True}
    if "used" in fields:
        values["used"] = directories.used_mib(where)
    return [values[field] for field in fields]


@serves(calls.storage_modify)
def storage_modify(
    node: NodeContext, su_name: str, su_args: Sequence[Json], name: str, changes: calls.Params
) -> None:
    raise StorageError(f"storage type {su_name!r}: nothing of {name} can be changed")


@serves(calls.storage_execute)
def storage_execute(
    node: NodeContext, su_name: str, su_args: Sequence[Json], name: str, op: str
) -> None:
    raise StorageError(f"storage type {su_name!r}: {name} has no operation {op!r}")


@serves(calls.bdev_sizes)
def bdev_sizes(node: NodeContext, devices: Sequence[str]) -> dict[str, int]:
    """What is no block device below /dev is left out."""
    found = {}
    for path in devices:
        if not os.path.realpath(path).startswith("/dev/"):
            continue
        try:
            if stat.S_ISBLK(os.stat(path).st_mode):
                answer = node.run(["blockdev", "--getsize64", path], timeout_s=30.0).check().stdout
                found[path] = int(answer) // MIB
        except (OSError, CommandError, ValueError):
            continue
    return found
