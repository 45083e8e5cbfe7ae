"""ssconf files: what a node knows of the cluster without a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ganeti.constants import SSCONF_MAX_BYTES
from ganeti.errors import OpExecError
from ganeti.model.ssconf import KEYS, file_content
from ganeti.node.context import NodeContext
from ganeti.node.file import write
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.rpc.promise import Promise, lock_of
from ganeti.utils.journal import Generation

MODE = 0o444
LOCK_S = 10.0
KNOWN: Final = frozenset(KEYS)


@serves(calls.write_ssconf_files)
def write_ssconf_files(node: NodeContext, values: Mapping[str, str], generation: str = "") -> None:
    """All values are checked before the first file is written; files that have them stay.

    A master that was cut off is refused once the node has heard of its successor; without a
    `generation` (a caller that knows none) nobody can tell, and the files are written.
    """
    contents = {}
    for key, value in values.items():
        if key not in KNOWN:
            raise OpExecError(f"ssconf key {key!r} is not known")
        contents[key] = file_content(value).encode()
        if len(contents[key]) > SSCONF_MAX_BYTES:
            raise OpExecError(
                f"ssconf key {key}: {len(contents[key])} bytes, at most {SSCONF_MAX_BYTES}"
            )
    with node.files.lock(node.paths.ssconf_lock, timeout_s=LOCK_S):
        _obey(node, generation)
        for key, content in sorted(contents.items()):
            place = node.paths.ssconf(key)
            if not _holds(node, place, content):
                write(node, place, content, MODE, None)


def _obey(node: NodeContext, generation: str) -> None:
    """The node obeys this master from now on; OpExecError when it knows a newer one."""
    if not generation:
        return
    promise = Promise(node.paths.config_journal, lock_of(node.paths, "config"), node.files)
    with promise.held():
        refusal = promise.give(Generation.parse(generation))
    if refusal:
        raise OpExecError(
            f"ssconf files of node {node.hostname}: {refusal}; if that master is gone for good,"
            f" remove {node.paths.virtual(promise.path)} there"
        )


def _holds(node: NodeContext, place: Path, content: bytes) -> bool:
    """A file that can't be read, or has another mode, is written anew."""
    try:
        return node.files.read(place) == content and place.stat().st_mode & 0o777 == MODE
    except OSError:
        return False
