"""Fields of instances."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.instance import Instance
from ganeti.model.nic import Nic
from ganeti.model.params_be import BE_PARAMS
from ganeti.model.params_hv import HV_GLOBALS, HV_PARAMS
from ganeti.model.report import RunningInfo
from ganeti.query.fields import (
    Field,
    Need,
    flag,
    host,
    indexed,
    kept,
    live,
    number,
    other,
    parameter,
    size,
    table,
    text,
)
from ganeti.query.instance_row import InstanceRow, InstancesLive
from ganeti.query.sources import LiveSource
from ganeti.serializer import Json
from ganeti.types import AdminState, FieldStatus, NicMode

MAX_DISKS: Final = 16
MAX_NICS: Final = 8

HV_TITLES: Final = {
    "acpi": "ACPI",
    "boot_order": "Boot_order",
    "cdrom_image_path": "CDROM_image_path",
    "cpu_type": "cpu_type",
    "disk_type": "Disk_type",
    "initrd_path": "Initrd_path",
    "kernel_path": "Kernel_path",
    "nic_type": "NIC_type",
    "pae": "PAE",
    "pci_pass": "pci_pass",
    "vnc_bind_address": "VNC_bind_address",
}
"""Titles of the older parameter fields; that of all others is the field's name."""

BE_TITLES: Final = {
    "auto_balance": "Auto_balance",
    "maxmem": "ConfigMaxMem",
    "minmem": "ConfigMinMem",
    "vcpus": "ConfigVCPUs",
}


# Disks and network interfaces by number.


def _of_disk(attribute: str) -> Callable[[int], Callable[[InstanceRow], Json]]:
    def of_index(index: int) -> Callable[[InstanceRow], Json]:
        def get(row: InstanceRow) -> Json:
            if index >= len(row.instance.disks):
                return None
            return getattr(row.disks[index], attribute)

        return get

    return of_index


NicGetter = Callable[[InstanceRow, Nic, Mapping[str, Json]], Json]
"""Value for one interface; it gets the filled parameters too."""


def _bridge(row: InstanceRow, nic: Nic, params: Mapping[str, Json]) -> Json:
    return params.get("link") if params.get("mode") == NicMode.BRIDGED else None


def _vlan(row: InstanceRow, nic: Nic, params: Mapping[str, Json]) -> Json:
    return params.get("vlan") if params.get("mode") == NicMode.OPENVSWITCH else None


def _nic_pattern(
    name: str, title: str, list_title: str, getter: NicGetter, doc: str
) -> list[Field[InstanceRow]]:
    """`name/N` for each interface, and the list of all under the plural of the name."""
    plural = "nic.networks.names" if name == "nic.network.name" else f"{name}s"
    return [
        *indexed(MAX_NICS, lambda n: text(f"{name}/{n}", f"{title}/{n}", _of_nic(getter, n),
            f"Network interface {n}: {doc}")),
        other(plural, list_title, _of_nics(getter), f"All network interfaces: {doc}"),
    ]  # fmt: skip


def _nic_fields() -> list[Field[InstanceRow]]:
    return [
        *_nic_pattern("nic.bridge", "NicBridge", "NIC_bridges", _bridge, "bridge"),
        *_nic_pattern("nic.ip", "NicIP", "NIC_IPs", lambda row, nic, params: nic.ip,
            "IP address"),
        *_nic_pattern("nic.link", "NicLink", "NIC_links",
            lambda row, nic, params: params.get("link"), "link"),
        *_nic_pattern("nic.mac", "NicMAC", "NIC_MACs", lambda row, nic, params: nic.mac,
            "MAC address"),
        *_nic_pattern("nic.mode", "NicMode", "NIC_modes",
            lambda row, nic, params: params.get("mode"), "mode"),
        *_nic_pattern("nic.name", "NicName", "NIC_Names", lambda row, nic, params: nic.name,
            "name"),
        *_nic_pattern("nic.network", "NicNetwork", "NIC_networks",
            lambda row, nic, params: nic.network, "network, by UUID"),
        *_nic_pattern("nic.network.name", "NicNetworkName", "NIC_networks_names",
            lambda row, nic, params: row.network_name(nic.network), "network, by name"),
        *_nic_pattern("nic.uuid", "NicUUID", "NIC_UUIDs", lambda row, nic, params: nic.uuid,
            "UUID"),
        *_nic_pattern("nic.vlan", "NicVLAN", "NIC_VLANs", _vlan, "VLAN, on Open vSwitch"),
    ]  # fmt: skip


def _of_nic(getter: NicGetter, index: int) -> Callable[[InstanceRow], Json]:
    def get(row: InstanceRow) -> Json:
        nics = row.instance.nics
        return getter(row, nics[index], row.nicparams[index]) if index < len(nics) else None

    return get


def _of_nics(getter: NicGetter) -> Callable[[InstanceRow], Json]:
    return lambda row: [
        getter(row, nic, params) for nic, params in zip(row.instance.nics, row.nicparams)
    ]


def _disk_fields() -> list[Field[InstanceRow]]:
    name, mib, spindles, uuid = map(_of_disk, ("name", "size", "spindles", "uuid"))
    return [
        *indexed(MAX_DISKS, lambda n: text(f"disk.name/{n}", f"DiskName/{n}", name(n),
            f"Name of disk {n}")),
        *indexed(MAX_DISKS, lambda n: size(f"disk.size/{n}", f"Disk/{n}", mib(n),
            f"Size of disk {n}")),
        *indexed(MAX_DISKS, lambda n: number(f"disk.spindles/{n}", f"DiskSpindles/{n}",
            spindles(n), f"Spindles of disk {n}")),
        *indexed(MAX_DISKS, lambda n: text(f"disk.uuid/{n}", f"DiskUUID/{n}", uuid(n),
            f"UUID of disk {n}")),
        number("disk.count", "Disks", lambda row: len(row.instance.disks), "How many disks"),
        other("disk.names", "Disk_names", lambda row: [d.name for d in row.disks],
            "Names of all disks"),
        other("disk.sizes", "Disk_sizes", lambda row: [d.size for d in row.disks],
            "Sizes of all disks in MiB"),
        other("disk.spindles", "Disk_spindles", lambda row: [d.spindles for d in row.disks],
            "Spindles of all disks"),
        other("disk.uuids", "Disk_UUIDs", lambda row: list(row.instance.disks),
            "UUIDs of all disks"),
        text("disk_template", "Disk_template", lambda row: row.disk_template,
            "Disk template: how the disks are made"),
        size("disk_usage", "DiskUsage", lambda row: row.disk_usage_mib,
            "Space that the disks take on the cluster's storage, DRBD meta data included"),
        flag("disks_active", "DisksActive", lambda row: row.instance.disks_active,
            "Whether the disks should be active"),
    ]  # fmt: skip


def _parameter_fields() -> list[Field[InstanceRow]]:
    back_end: list[Field[InstanceRow]] = [
        parameter("be", param, BE_TITLES.get(param.name), lambda row: row.beparams)
        for param in BE_PARAMS.values()
    ]
    by_name = {param.name: param for hv in HV_PARAMS.values() for param in hv.values()}
    return back_end + [
        parameter("hv", param, HV_TITLES.get(param.name), lambda row: row.hvparams)
        for param in by_name.values()
        if param.name not in HV_GLOBALS
    ]


_OWN: Final[list[Field[InstanceRow]]] = [
    host("name", "Instance", lambda row: row.instance.name, "Name"),
    *kept("instance", lambda row: row.instance),
    text("os", "OS", lambda row: row.instance.os, "OS definition, with its variant"),
    text("hypervisor", "Hypervisor", lambda row: row.instance.hypervisor, "Hypervisor"),
    other("network_port", "Network_port", lambda row: row.instance.network_port,
        "TCP port of the graphical console"),
    text("admin_state", "InstanceState", lambda row: row.instance.admin_state,
        "Wanted state: up, down or offline"),
    text("admin_state_source", "InstanceStateSource", lambda row: row.instance.admin_state_source,
        "Who set the wanted state: admin or user"),
    flag("admin_up", "Autostart", lambda row: row.instance.admin_state == AdminState.UP,
        "Whether the instance should run"),
    flag("forthcoming", "Forthcoming", lambda row: bool(row.instance.forthcoming),
        "Whether the instance is only reserved, not made yet"),
    other("beparams", "BackendParameters", lambda row: row.beparams,
        "Back-end parameters, with the cluster's where it has none of its own"),
    other("hvparams", "HypervisorParameters", lambda row: row.hvparams,
        "Hypervisor parameters, with the cluster's where it has none of its own"),
    other("osparams", "OpSysParameters", lambda row: row.osparams,
        "OS parameters, with the cluster's where it has none of its own"),
    other("custom_beparams", "CustomBackendParameters", lambda row: row.instance.beparams,
        "Back-end parameters of its own"),
    other("custom_hvparams", "CustomHypervisorParameters", lambda row: row.instance.hvparams,
        "Hypervisor parameters of its own"),
    other("custom_osparams", "CustomOpSysParameters", lambda row: row.instance.osparams,
        "OS parameters of its own"),
    other("custom_nicparams", "CustomNicParameters",
        lambda row: [nic.nicparams for nic in row.instance.nics],
        "Parameters of its own, per network interface"),
    number("nic.count", "NICs", lambda row: len(row.instance.nics), "How many network interfaces"),
]  # fmt: skip

_PLACE: Final[list[Field[InstanceRow]]] = [
    host("pnode", "Primary_node", lambda row: row.primary.name, "Primary node"),
    text("pnode.group", "PrimaryNodeGroup",
        lambda row: row.config.groups[row.primary.group].name, "Node group of the primary node"),
    text("pnode.group.uuid", "PrimaryNodeGroupUUID", lambda row: row.primary.group,
        "Node group of the primary node, by UUID"),
    other("snodes", "Secondary_Nodes", lambda row: [node.name for node in row.secondaries],
        "Secondary nodes; only some disk templates have one"),
    other("snodes.group", "SecondaryNodesGroups",
        lambda row: [row.config.groups[node.group].name for node in row.secondaries],
        "Node groups of the secondary nodes"),
    other("snodes.group.uuid", "SecondaryNodesGroupsUUID",
        lambda row: [node.group for node in row.secondaries],
        "Node groups of the secondary nodes, by UUID"),
]  # fmt: skip

_STATUS_DOC: Final = (
    "Wanted and actual state in one word. running: as it should be. ADMIN_down, ADMIN_offline:"
    " stopped or taken out of use by the administrator. USER_down: shut down from inside."
    " ERROR_down: should run but does not. ERROR_up: runs but should not. ERROR_wrongnode: runs"
    " elsewhere than on its primary node. ERROR_nodedown: the primary node does not answer."
    " ERROR_nodeoffline: the primary node is marked offline"
)

_LIVE: Final[list[Field[InstanceRow]]] = [
    live(flag("oper_state", "Running", lambda row: row.runs, "Whether it runs"), Need.RUNNING),
    live(size("oper_ram", "Memory", lambda row: row.memory_mib,
        "Memory in use, as the hypervisor sees it"), Need.RUNNING),
    live(number("oper_vcpus", "VCPUs", lambda row: row.vcpus,
        "Virtual CPUs in use, as the hypervisor sees it"), Need.RUNNING),
    live(text("status", "Status", lambda row: row.status, _STATUS_DOC), Need.RUNNING),
    live(other("console", "Console", lambda row: row.console, "How to reach the console"),
        Need.CONSOLE),
]  # fmt: skip

ALIASES: Final = {
    "vcpus": "be/vcpus",
    "be/memory": "be/maxmem",
    "sda_size": "disk.size/0",
    "sdb_size": "disk.size/1",
    "ip": "nic.ip/0",
    "mac": "nic.mac/0",
    "bridge": "nic.bridge/0",
    "nic_mode": "nic.mode/0",
    "nic_link": "nic.link/0",
    "nic_network": "nic.network/0",
}
"""Older names of fields."""


def _all_fields() -> Mapping[str, Field[InstanceRow]]:
    fields = [*_OWN, *_PLACE, *_LIVE, *_disk_fields(), *_nic_fields(), *_parameter_fields()]
    by_name = {field.name: field for field in fields}
    return table(fields + [by_name[target].alias(name) for name, target in ALIASES.items()])


FIELDS: Final = _all_fields()


class InstanceTable:
    """Instances of one snapshot; see `query.table.Table`."""

    fields = FIELDS
    name_field = "name"
    noun = "Instance"

    def __init__(self, config: Snapshot, source: LiveSource) -> None:
        self.config = config
        self.source = source
        self.live = InstancesLive()

    def _row(self, instance: Instance) -> InstanceRow:
        return InstanceRow(self.config, instance, self.live)

    def all(self) -> Iterable[InstanceRow]:
        return map(self._row, self.config.instances.values())

    def find(self, name: str) -> InstanceRow | None:
        instance = self.config.find_instance(name)
        return self._row(instance) if instance else None

    def name_of(self, row: InstanceRow) -> str:
        return row.instance.name

    async def fetch(
        self, rows: Sequence[InstanceRow], needs: frozenset[Need]
    ) -> Sequence[InstanceRow]:
        """The rows know what nodes told: primary and secondary nodes are asked.

        The others are asked only for instances that should run and that their own don't have.
        """
        if Need.RUNNING in needs:
            config = self.config
            uuids = {row.instance.primary_node for row in rows}
            uuids.update(*(config.secondaries_of(row.instance) for row in rows))
            nodes = [config.nodes[uuid] for uuid in sorted(uuids)]
            self.live.running = await self.source.running(config, nodes)
            self.live.strays = await self._strays([row for row in rows if row.is_missed], uuids)
        if Need.CONSOLE in needs:
            asked = [row.instance for row in rows]
            self.live.consoles = await self.source.consoles(self.config, asked)
        return rows

    async def _strays(
        self, missed: Sequence[InstanceRow], asked: Container[str]
    ) -> dict[str, tuple[str, RunningInfo]]:
        """Where the missed ones run after all, among the nodes that were not asked."""
        others = [node for node in self.config.online_nodes() if node.uuid not in asked]
        if not missed or not others:
            return {}
        names = {row.instance.name for row in missed}
        found: dict[str, tuple[str, RunningInfo]] = {}
        for uuid, told in (await self.source.running(self.config, others)).items():
            if not isinstance(told, FieldStatus):
                found.update({name: (uuid, told[name]) for name in names & told.keys()})
        return found
