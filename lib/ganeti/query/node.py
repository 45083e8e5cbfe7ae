"""Fields of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import fill_ndparams
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.params_node import ND_PARAMS
from ganeti.query.fields import (
    Field,
    Live,
    Need,
    flag,
    host,
    kept,
    live,
    number,
    other,
    parameter,
    size,
    table,
    text,
)
from ganeti.query.order import nice_key
from ganeti.query.sources import LiveSource, NodeReport
from ganeti.serializer import Json
from ganeti.types import FieldStatus
from ganeti.utils.text import told_plainly

ND_TITLES: Final = {
    "exclusive_storage": "ExclusiveStorage",
    "oob_program": "OutOfBandProgram",
    "ovs": "OpenvSwitch",
    "ovs_link": "OpenvSwitchLink",
    "ovs_name": "OpenvSwitchName",
    "spindle_count": "SpindleCount",
}


def role_of(config: Snapshot, node: Node) -> str:
    """M master, C candidate, D drained, O offline, R regular."""
    if node.uuid == config.cluster.master_node:
        return "M"
    if node.master_candidate:
        return "C"
    if node.drained:
        return "D"
    return "O" if node.offline else "R"


def names_of(instances: Iterable[Instance]) -> list[str]:
    """In the order of lists."""
    return sorted((instance.name for instance in instances), key=nice_key)


class NodeRow:
    """What getters read. `reports` is empty as long as nobody was asked."""

    def __init__(
        self, config: Snapshot, node: Node, reports: Mapping[str, Live[NodeReport]]
    ) -> None:
        self.config = config
        self.node = node
        self.reports = reports

    @property
    def group(self) -> NodeGroup:
        return self.config.groups[self.node.group]

    @cached_property
    def ndparams(self) -> Mapping[str, Json]:
        made: dict[str, Json] = told_plainly(
            fill_ndparams(self.config.cluster, self.group, self.node)
        )
        return made

    @property
    def primary_instances(self) -> Sequence[Instance]:
        return self.config.primary_instances(self.node.uuid)

    @property
    def secondary_instances(self) -> Sequence[Instance]:
        return self.config.secondary_instances(self.node.uuid)

    @property
    def powered(self) -> bool | None:
        """Only known where there is a program to switch the power."""
        return self.node.powered if self.ndparams.get("oob_program") else None

    @property
    def report(self) -> Live[NodeReport]:
        if self.node.offline:
            return FieldStatus.OFFLINE
        if not self.node.vm_capable:
            return FieldStatus.UNAVAILABLE
        return self.reports.get(self.node.uuid, FieldStatus.NO_DATA)


def _told(part: str, attribute: str) -> Callable[[NodeRow], Json | FieldStatus]:
    """A getter of one figure in one part of the node's report; without it there is no data."""

    def get(row: NodeRow) -> Json | FieldStatus:
        report = row.report
        if isinstance(report, FieldStatus):
            return report
        value = getattr(getattr(report, part), attribute, None)
        return FieldStatus.NO_DATA if value is None else value

    return get


def _boot_id(row: NodeRow) -> Json | FieldStatus:
    report = row.report
    return report if isinstance(report, FieldStatus) else report.boot_id or FieldStatus.NO_DATA


_CONFIG: Final[list[Field[NodeRow]]] = [
    host("name", "Node", lambda row: row.node.name, "Name"),
    *kept("node", lambda row: row.node, "When it joined"),
    text("pip", "PrimaryIP", lambda row: row.node.primary_ip, "Primary IP address"),
    text("sip", "SecondaryIP", lambda row: row.node.secondary_ip,
        "Secondary IP address, for replication; may be the primary one"),
    text("group", "Group", lambda row: row.group.name, "Node group"),
    text("group.uuid", "GroupUUID", lambda row: row.node.group, "Node group, by UUID"),
    text("role", "Role", lambda row: role_of(row.config, row.node),
        "M: master, C: master candidate, D: drained, O: offline, R: regular"),
    flag("master", "IsMaster", lambda row: row.node.uuid == row.config.cluster.master_node,
        "Whether it is the master"),
    flag("master_candidate", "MasterC", lambda row: row.node.master_candidate,
        "Whether it is a master candidate"),
    flag("master_capable", "MasterCapable", lambda row: row.node.master_capable,
        "Whether it may become a master candidate"),
    flag("vm_capable", "VMCapable", lambda row: row.node.vm_capable,
        "Whether it may host instances"),
    flag("drained", "Drained", lambda row: row.node.drained,
        "Whether it is to be emptied and gets no new instances"),
    flag("offline", "Offline", lambda row: row.node.offline,
        "Whether it is marked offline: not asked, not used"),
    flag("powered", "Powered", lambda row: row.powered,
        "Whether it is thought to be switched on; known with an out-of-band program only"),
    number("pinst_cnt", "Pinst", lambda row: len(row.primary_instances),
        "How many instances have it as primary node"),
    number("sinst_cnt", "Sinst", lambda row: len(row.secondary_instances),
        "How many instances have it as secondary node"),
    other("pinst_list", "PriInstances", lambda row: names_of(row.primary_instances),
        "Instances with it as primary node"),
    other("sinst_list", "SecInstances", lambda row: names_of(row.secondary_instances),
        "Instances with it as secondary node"),
    other("ndparams", "NodeParameters", lambda row: row.ndparams,
        "Node parameters, with the group's and cluster's where it has none of its own"),
    other("custom_ndparams", "CustomNodeParameters", lambda row: told_plainly(row.node.ndparams),
        "Node parameters of its own"),
    other("hv_state", "HypervisorState", lambda row: row.node.hv_state_static or None,
        "Figures per hypervisor, as the administrator has set them"),
    other("disk_state", "DiskState", lambda row: row.node.disk_state_static or None,
        "Figures per storage, as the administrator has set them"),
    *(parameter("ndp", param, ND_TITLES.get(param.name), lambda row: row.ndparams)
        for param in ND_PARAMS.values()),
]  # fmt: skip

_LIVE: Final[list[Field[NodeRow]]] = [
    live(text("bootid", "BootID", _boot_id,
        "Changes with every start of the node's operating system"), Need.BOOT),
    live(number("cnodes", "CNodes", _told("hypervisor", "cpu_nodes"),
        "NUMA nodes, where the hypervisor tells"), Need.HYPERVISOR),
    live(number("cnos", "CNOs", _told("hypervisor", "cpu_dom0"),
        "Logical processors of the node's own operating system"), Need.HYPERVISOR),
    live(number("csockets", "CSockets", _told("hypervisor", "cpu_sockets"),
        "Processor sockets, where the hypervisor tells"), Need.HYPERVISOR),
    live(number("ctotal", "CTotal", _told("hypervisor", "cpu_total"),
        "Logical processors"), Need.HYPERVISOR),
    live(size("mtotal", "MTotal", _told("hypervisor", "memory_total"),
        "Memory"), Need.HYPERVISOR),
    live(size("mnode", "MNode", _told("hypervisor", "memory_dom0"),
        "Memory that the node itself uses"), Need.HYPERVISOR),
    live(size("mfree", "MFree", _told("hypervisor", "memory_free"),
        "Memory that instances could use"), Need.HYPERVISOR),
    live(size("dtotal", "DTotal", _told("storage", "storage_size"),
        "Size of the storage for disks"), Need.STORAGE),
    live(size("dfree", "DFree", _told("storage", "storage_free"),
        "Free space of the storage for disks"), Need.STORAGE),
    live(number("sptotal", "SpTotal", _told("spindles", "storage_size"),
        "Spindles of the volume group"), Need.SPINDLES),
    live(number("spfree", "SpFree", _told("spindles", "storage_free"),
        "Spindles that are free"), Need.SPINDLES),
]  # fmt: skip

FIELDS: Final = table(_CONFIG + _LIVE)


class NodeTable:
    """Nodes of one snapshot; see `query.table.Table`."""

    fields = FIELDS
    name_field = "name"
    noun = "Node"

    def __init__(self, config: Snapshot, source: LiveSource) -> None:
        self.config = config
        self.source = source
        self.reports: Mapping[str, Live[NodeReport]] = {}

    def _row(self, node: Node) -> NodeRow:
        return NodeRow(self.config, node, self.reports)

    def all(self) -> Iterable[NodeRow]:
        return map(self._row, self.config.nodes.values())

    def find(self, name: str) -> NodeRow | None:
        node = self.config.find_node(name)
        return self._row(node) if node else None

    def name_of(self, row: NodeRow) -> str:
        return row.node.name

    async def fetch(self, rows: Sequence[NodeRow], needs: frozenset[Need]) -> Sequence[NodeRow]:
        """Rows that know what nodes told; nodes that host no instances are not asked."""
        asked = [row.node for row in rows if row.node.vm_capable]
        self.reports = await self.source.node_reports(self.config, asked, needs)
        return [self._row(row.node) for row in rows]
