"""A node group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.model.base import OMIT_EMPTY, ConfigObject, empty_map
from ganeti.serializer import Json
from ganeti.types import AllocPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup(ConfigObject):
    """Nodes that belong together; fields as in facts/config-data.json, `nodegroup`.

    A node names its group; `members` is always empty here and only kept for the file's form.
    """

    name: str
    alloc_policy: AllocPolicy = AllocPolicy.PREFERRED
    ndparams: Mapping[str, Json] = field(default_factory=empty_map)
    diskparams: Mapping[str, Mapping[str, Json]] = field(default_factory=empty_map)
    ipolicy: Mapping[str, Json] = field(default_factory=empty_map)  # never std
    networks: Mapping[str, Mapping[str, Json]] = field(default_factory=empty_map)
    members: tuple[str, ...] = ()
    hv_state_static: Mapping[str, Mapping[str, Json]] = field(
        default_factory=empty_map, metadata=OMIT_EMPTY
    )
    disk_state_static: Mapping[str, Mapping[str, Json]] = field(
        default_factory=empty_map, metadata=OMIT_EMPTY
    )
    tags: tuple[str, ...] = ()
