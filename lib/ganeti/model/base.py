"""What every object of the configuration has."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from ganeti.serializer import EMPTY_MAP, Json

EMPTY: Final[Mapping[str, Json]] = EMPTY_MAP
"""The one empty mapping that all objects share; it can't be changed."""

SharedText = Annotated[str, sys.intern]
"""A text that stands in many objects (a node's uuid, an OS name): kept in memory once."""


def empty_map() -> Mapping[str, Any]:
    """Default of mapping fields."""
    return EMPTY


OMIT_NONE: Final = {"omit_none": True}
"""Metadata of a field that is left out of the file when it is unset."""

OMIT_EMPTY: Final = {"omit_empty": True}
"""Metadata of a field that is left out of the file when it is an empty mapping or list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigObject:
    """Identity and history of an object (facts/config-data.md §3).

    `uuid` is a random version 4 UUID in lower case. `serial_no` is 1 at creation and grows with
    each update. `ctime` and `mtime` are Unix seconds. `unknown` holds the keys of the file that
    this version does not know; they are written back as they were.
    """

    uuid: SharedText
    serial_no: int = 1
    ctime: float = 0.0
    mtime: float = 0.0
    unknown: Mapping[str, Json] = field(default_factory=empty_map)
