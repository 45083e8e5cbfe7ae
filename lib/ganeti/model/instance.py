"""An instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.model.base import OMIT_NONE, ConfigObject, SharedText, empty_map
from ganeti.model.nic import Nic
from ganeti.serializer import Json
from ganeti.types import AdminState, AdminStateSource, HypervisorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(ConfigObject):
    """A virtual machine as the administrator wants it; facts/config-data.json, `instance`.

    The parameter maps hold only what differs from the cluster (model/inherit.py merges). The disk
    template is not stored: it follows from the disks, see `model.disk.template_of`.
    """

    name: str
    primary_node: SharedText  # node uuid
    os: SharedText  # os[+variant]
    hypervisor: HypervisorKind
    hvparams: Mapping[str, Json] = field(default_factory=empty_map)
    beparams: Mapping[str, Json] = field(default_factory=empty_map)
    osparams: Mapping[str, Json] = field(default_factory=empty_map)
    osparams_private: Mapping[str, Json] = field(default_factory=empty_map)
    admin_state: AdminState
    admin_state_source: AdminStateSource
    nics: tuple[Nic, ...] = ()
    disks: tuple[str, ...] = ()  # disk uuids
    disks_active: bool
    network_port: int | None = field(default=None, metadata=OMIT_NONE)
    disk_template: str | None = field(default=None, metadata=OMIT_NONE)  # legacy
    forthcoming: bool | None = field(default=None, metadata=OMIT_NONE)
    tags: tuple[str, ...] = ()
