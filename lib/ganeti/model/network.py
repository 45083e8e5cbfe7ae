"""An IP network that instances' interfaces can belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ganeti.model.base import OMIT_EMPTY, OMIT_NONE, ConfigObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(ConfigObject):
    """Fields as in facts/config-data.json, `network`.

    `reservations` (used by instances) and `ext_reservations` (reserved by hand) have one character
    0 or 1 per address; index 0 is the network address. Of IPv6 addresses only those reserved by
    hand are listed (`config/pool6.py`); no other program knows that list, nor a network without
    IPv4 addresses.
    """

    name: str
    network: str | None  # IPv4 CIDR; None: it has none
    network6: str | None = field(default=None, metadata=OMIT_NONE)
    gateway: str | None = field(default=None, metadata=OMIT_NONE)
    gateway6: str | None = field(default=None, metadata=OMIT_NONE)
    mac_prefix: str | None = field(default=None, metadata=OMIT_NONE)
    reservations: str | None = field(default=None, metadata=OMIT_NONE)
    ext_reservations: str | None = field(default=None, metadata=OMIT_NONE)
    ext_reservations6: tuple[str, ...] = field(default=(), metadata=OMIT_EMPTY)
    tags: tuple[str, ...] = ()
