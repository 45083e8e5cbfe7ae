"""A network interface of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ganeti.model.base import OMIT_NONE, SharedText, empty_map
from ganeti.serializer import Json

COMMUNICATION_PREFIX: Final = "ganeti:communication:"
"""How the name of an interface to the node itself begins; the instance's name follows."""
NODE_ADDRESS: Final = "169.254.169.254"
"""What a node is for its guests on such an interface."""


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

    @property
    def is_communication(self) -> bool:
        """It connects the instance with its node, and with nothing else."""
        return (self.name or "").startswith(COMMUNICATION_PREFIX)
