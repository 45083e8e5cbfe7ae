"""An instance with all parameters merged, as nodes get it."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledInstance(Instance):
    """facts/node-rpc.json, transport.encodings.instance.

    `hvparams`, `beparams`, `osparams` and each `nicparams` are complete; a NIC on a network has the
    network's object as `netinfo`; the disks in `disks_info` have their parameters in `params`, and
    `dynamic_params` for the node that gets them. Make one with `model.fill.filled_instance`.
    """

    disks_info: tuple[Disk, ...] = ()
    secondary_nodes: tuple[str, ...] = ()  # node uuids

    @property
    def memory_mib(self) -> int:
        """What the instance starts with."""
        return int(self.beparams["maxmem"])

    @property
    def vcpus(self) -> int:
        return int(self.beparams["vcpus"])

    def hvparam(self, name: str) -> Json:
        return self.hvparams[name]
