"""The configuration file as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.model.base import empty_map
from ganeti.model.cluster import Cluster
from ganeti.model.disk import Disk
from ganeti.model.filter import JobFilter
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDocument:
    """`config.data` (facts/config-data.json, `top`); all maps are keyed by uuid."""

    version: int  # major * 1000000 + minor * 10000 + revision
    serial_no: int  # grows with every write of the file
    ctime: float = 0.0
    mtime: float = 0.0
    cluster: Cluster
    nodes: Mapping[str, Node]
    nodegroups: Mapping[str, NodeGroup]
    instances: Mapping[str, Instance]
    disks: Mapping[str, Disk]
    networks: Mapping[str, Network]
    filters: Mapping[str, JobFilter]
    unknown: Mapping[str, Json] = field(default_factory=empty_map)
