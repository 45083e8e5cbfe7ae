"""A network interface of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.model.base import OMIT_NONE, SharedText, empty_map
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """Fields as in facts/config-data.json, `nic`.

    `pci` and `hvinfo` are runtime data of hot-plug; `netinfo` is the network object that nodes
    get with a filled instance and is never stored.
    """

    mac: str  # lower case
    uuid: str
    ip: str | None = field(default=None, metadata=OMIT_NONE)
    nicparams: Mapping[str, Json] = field(default_factory=empty_map)
    network: SharedText | None = field(default=None, metadata=OMIT_NONE)  # network uuid
    name: str | None = field(default=None, metadata=OMIT_NONE)
    pci: int | None = field(default=None, metadata=OMIT_NONE)
    hvinfo: Mapping[str, Json] | None = field(default=None, metadata=OMIT_NONE)
    netinfo: Mapping[str, Json] | None = field(default=None, metadata=OMIT_NONE)
    unknown: Mapping[str, Json] = field(default_factory=empty_map)
