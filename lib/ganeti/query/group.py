"""Fields of node groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import fill_diskparams, fill_ipolicy, fill_ndparams
from ganeti.model.node import Node
from ganeti.model.params_node import ND_PARAMS
from ganeti.query.fields import (
    Field,
    Need,
    kept,
    number,
    other,
    parameter,
    table,
    text,
)
from ganeti.query.node import ND_TITLES, names_of
from ganeti.query.order import nice_key
from ganeti.serializer import Json
from ganeti.utils.text import told_plainly


class GroupRow:
    """What getters read."""

    def __init__(self, config: Snapshot, group: NodeGroup) -> None:
        self.config = config
        self.group = group

    @cached_property
    def nodes(self) -> Sequence[Node]:
        return self.config.nodes_in(self.group.uuid)

    @cached_property
    def ndparams(self) -> Mapping[str, Json]:
        made: dict[str, Json] = told_plainly(fill_ndparams(self.config.cluster, self.group))
        return made

    @property
    def diskparams(self) -> Mapping[str, Mapping[str, Json]]:
        cluster = self.config.cluster
        return {kind: fill_diskparams(cluster, self.group, kind) for kind in cluster.diskparams}

    @property
    def ipolicy(self) -> Mapping[str, Json]:
        return fill_ipolicy(self.config.cluster, self.group)

    @property
    def instance_count(self) -> int:
        return sum(len(self.config.primary_instances(node.uuid)) for node in self.nodes)

    @property
    def instance_names(self) -> list[str]:
        config = self.config
        return names_of(one for node in self.nodes for one in config.primary_instances(node.uuid))


_ROWS: Final[list[Field[GroupRow]]] = [
    text("name", "Group", lambda row: row.group.name, "Name"),
    *kept("group", lambda row: row.group),
    text("alloc_policy", "AllocPolicy", lambda row: row.group.alloc_policy,
        "Whether allocators may use it: preferred, last_resort or unallocable"),
    number("node_cnt", "Nodes", lambda row: len(row.nodes), "How many nodes"),
    other("node_list", "NodeList",
        lambda row: sorted((node.name for node in row.nodes), key=nice_key), "Nodes"),
    number("pinst_cnt", "Instances", lambda row: row.instance_count,
        "How many instances have their primary node here"),
    other("pinst_list", "InstanceList", lambda row: row.instance_names,
        "Instances with their primary node here"),
    other("ndparams", "NDParams", lambda row: row.ndparams,
        "Node parameters, with the cluster's where it has none of its own"),
    other("custom_ndparams", "CustomNDParams", lambda row: told_plainly(row.group.ndparams),
        "Node parameters of its own"),
    other("ipolicy", "InstancePolicy", lambda row: told_plainly(row.ipolicy),
        "Instance policy, with the cluster's where it has none of its own"),
    other("custom_ipolicy", "CustomInstancePolicy", lambda row: told_plainly(row.group.ipolicy),
        "Instance policy of its own"),
    other("diskparams", "DiskParameters", lambda row: row.diskparams,
        "Disk parameters per template, with the cluster's where it has none of its own"),
    other("custom_diskparams", "CustomDiskParameters", lambda row: row.group.diskparams,
        "Disk parameters of its own"),
    *(parameter("ndp", param, ND_TITLES.get(param.name), lambda row: row.ndparams)
        for param in ND_PARAMS.values()),
]  # fmt: skip

FIELDS: Final = table(_ROWS)


class GroupTable:
    """Node groups of one snapshot; see `query.table.Table`."""

    fields = FIELDS
    name_field = "name"
    noun = "NodeGroup"

    def __init__(self, config: Snapshot) -> None:
        self.config = config

    def all(self) -> Iterable[GroupRow]:
        return (GroupRow(self.config, one) for one in self.config.groups.values())

    def find(self, name: str) -> GroupRow | None:
        group = self.config.find_group(name)
        return GroupRow(self.config, group) if group else None

    def name_of(self, row: GroupRow) -> str:
        return row.group.name

    async def fetch(self, rows: Sequence[GroupRow], needs: frozenset[Need]) -> Sequence[GroupRow]:
        """Nothing here is live."""
        return rows
