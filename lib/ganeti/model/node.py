"""A node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.model.base import OMIT_EMPTY, ConfigObject, SharedText, empty_map
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(ConfigObject):
    """A machine of the cluster; fields as in facts/config-data.json, `node`.

    Of `master_candidate`, `offline` and `drained` at most one is true.
    """

    name: str
    primary_ip: str
    secondary_ip: str
    group: SharedText  # group uuid
    master_candidate: bool
    offline: bool
    drained: bool
    master_capable: bool = True
    vm_capable: bool = True
    powered: bool = True
    ndparams: Mapping[str, Json] = field(default_factory=empty_map)  # never exclusive_storage
    hv_state_static: Mapping[str, Mapping[str, Json]] = field(
        default_factory=empty_map, metadata=OMIT_EMPTY
    )
    disk_state_static: Mapping[str, Mapping[str, Json]] = field(
        default_factory=empty_map, metadata=OMIT_EMPTY
    )
    tags: tuple[str, ...] = ()
