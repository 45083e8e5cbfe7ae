"""An IP network that instances' interfaces can belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ganeti.model.base import OMIT_NONE, ConfigObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(ConfigObject):
    """Fields as in facts/config-data.json, `network`.

    `reservations` (used by instances) and `ext_reservations` (reserved by hand) have one character
    0 or 1 per address; index 0 is the network address.
    """

    name: str
    network: str  # IPv4 CIDR
    network6: str | None = field(default=None, metadata=OMIT_NONE)
    gateway: str | None = field(default=None, metadata=OMIT_NONE)
    gateway6: str | None = field(default=None, metadata=OMIT_NONE)
    mac_prefix: str | None = field(default=None, metadata=OMIT_NONE)
    reservations: str | None = field(default=None, metadata=OMIT_NONE)
    ext_reservations: str | None = field(default=None, metadata=OMIT_NONE)
    tags: tuple[str, ...] = ()
