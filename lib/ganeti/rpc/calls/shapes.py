"""Shapes of arguments and answers that are of the table alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ganeti.serializer import Json

Params: TypeAlias = Mapping[str, Json]
ReasonTrail: TypeAlias = Sequence[tuple[str, str, int]]
"""[source, text, nanoseconds since 1970] each."""
LogicalId: TypeAlias = tuple[Json, ...]
Packed: TypeAlias = tuple[int, str]
"""Text as [0, text] or [1, base64 of zlib]; see `rpc/packed.py`."""
QueueFile: TypeAlias = tuple[str, Packed]
"""[path, contents]."""
UploadedFile: TypeAlias = tuple[str, Packed, int | None, str, str, float, float]
"""[path, contents, mode, user, group, atime, mtime]."""
MasterParams: TypeAlias = Mapping[str, Json]
"""uuid, ip, netmask (prefix length), netdev, ip_family."""
ImpExpIo: TypeAlias = tuple[str, Sequence[Json]]
TokenRequest: TypeAlias = tuple[str, str, Mapping[str, Json] | None]
"""["ssl", get | create | delete, options]."""


JOURNAL_S = 10.0  # a commit does not wait that long; see rpc/replicate.py


@dataclass(frozen=True, slots=True)
class JournalState:
    """What a candidate has of a journal. `refused`: why the wish was not done; empty if it was."""

    generation: str = ""  # empty: no journal, or one that can't be read
    size: int = 0
    crc: int = 0  # of the whole file; only when it was asked for
    refused: str = ""
    deposed: bool = False  # refused because another master is obeyed here
    promised: str = ""  # generation of the newest master that the node knows
