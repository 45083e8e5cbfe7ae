"""Pages of gnt-instance info. Source: facts/cli-behaviour.md §11, facts/opcodes.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti.cli.info import Fields, inherited
from ganeti.cli.text import moment, roman
from ganeti.serializer import Json
from ganeti.types import DiskTemplate
from ganeti.utils.text import format_unit

Data = Mapping[str, Json]

# ldisk_status, the state of the local disk behind a mirror (facts/constants.json, LDS_*).
LDISK_UNKNOWN, LDISK_FAULTY = 3, 4
OLD_DRBD_NAMES = (DiskTemplate.DRBD, "drbd8")


def page(one: Data, as_roman: bool = False) -> Fields:
    """The page of one instance, from the result of OP_INSTANCE_QUERY_DATA."""
    made = Fields()
    made.add("Instance name", one["name"])
    made.add("UUID", one["uuid"])
    made.add("Serial number", roman(one["serial_no"], as_roman))
    made.add("Creation time", moment(one["ctime"]))
    made.add("Modification time", moment(one["mtime"]))
    made.add("State", _state(one))
    made.add("Nodes", _nodes(one))
    made.add("Operating system", one["os"])
    made.add("Operating system parameters", inherited(one["os_actual"], one["os_instance"]))
    made.add("Allocated network port", roman(one["network_port"], as_roman))
    made.add("Hypervisor", one["hypervisor"])
    address = console_address(one)
    if address:
        made.add("console connection", address)
    made.add("Hypervisor parameters", inherited(one["hv_actual"], one["hv_instance"]))
    backend = {**one["be_actual"], "memory": one["be_actual"].get("maxmem")}
    made.add("Back-end parameters", _numbers(inherited(backend, one["be_instance"]), as_roman))
    made.add("NICs", [_nic(index, nic) for index, nic in enumerate(one["nics"])])
    made.add("Disk template", one["disk_template"])
    made.add("Disks", [_disk(f"disk/{index}", disk) for index, disk in enumerate(one["disks"])])
    return made


def _numbers(values: dict[str, Json], as_roman: bool) -> dict[str, Json]:
    return {name: roman(value, as_roman) for name, value in values.items()}


def _state(one: Data) -> str:
    text = f"configured to be {one['config_state']}"
    return f"{text}, actual state is {one['run_state']}" if one["run_state"] else text


def _nodes(one: Data) -> list[Fields]:
    primary = Fields([("primary", one["pnode"])])
    primary.add("group", f"{one['pnode_group_name']} (UUID {one['pnode_group_uuid']})")
    secondaries = [
        f"{node} (group {group}, group UUID {uuid})"
        for node, group, uuid in zip(
            one["snodes"], one["snodes_group_names"], one["snodes_group_uuids"]
        )
    ]
    return [primary, Fields([("secondaries", ", ".join(secondaries))])]


def console_address(one: Data) -> str:
    """Where the graphical console listens; empty when there is none."""
    port, params = one["network_port"], one["hv_actual"]
    bind = params.get("vnc_bind_address")
    if not port or not bind:
        return ""
    if bind == "0.0.0.0":
        return f"vnc to {one['pnode']}:{port} (display {port - 5900})"
    if bind == "127.0.0.1":
        return f"vnc to {bind}:{port} (on node {one['pnode']})"
    if bind.startswith("/"):
        return f"vnc to {one['pnode']}:{bind}/{one['name']}.vnc"
    return f"vnc to {bind}:{port}"


def _nic(index: int, nic: Sequence[Json]) -> Fields:
    name, uuid, ip, mac, mode, link, vlan, _, network = nic
    made = Fields([(f"nic/{index}", _Blank())])
    made.add("MAC", mac)
    made.add("IP", ip)
    made.add("mode", mode)
    made.add("link", link)
    made.add("vlan", vlan)
    made.add("network", network["name"] if network else None)
    made.add("UUID", uuid)
    made.add("name", name)
    return made


class _Blank(list[Any]):
    """A key with nothing behind or below it."""


def _disk(title: str, disk: Data) -> Fields:
    """One device; `title` is disk/N, or child N for what lies below."""
    kind = "drbd" if disk["dev_type"] in OLD_DRBD_NAMES else disk["dev_type"]
    size = disk["size"]
    made = Fields()
    made.add(title, f"{kind}, size {format_unit(size, 'h') if isinstance(size, int) else size}")
    if disk.get("spindles") is not None:
        made.add("spindles", disk["spindles"])
    if title.startswith("disk/"):
        made.add("access mode", disk["mode"])
    _add_identity(made, kind, disk)
    for side, status in (("on primary", disk["pstatus"]), ("on secondary", disk["sstatus"])):
        if status:
            made.add(side, _status(kind, status))
    made.add("name", disk["name"])
    made.add("UUID", disk["uuid"])
    children = disk["children"]
    if children:
        made.add(
            "child devices",
            [_disk(f"child {index}", child) for index, child in enumerate(children)],
        )
    return made


def _add_identity(made: Fields, kind: str, disk: Data) -> None:
    logical_id = disk["logical_id"]
    if kind == DiskTemplate.DRBD:
        drbd = disk.get("drbd_info")
        if drbd:
            made.add("nodeA", f"{drbd['primary_node']}, minor={drbd['primary_minor']}")
            made.add("nodeB", f"{drbd['secondary_node']}, minor={drbd['secondary_minor']}")
            made.add("port", drbd["port"])
        else:
            node_a, node_b, port, minor_a, minor_b, *_ = logical_id
            made.add("nodeA", f"{node_a}, minor={minor_a}")
            made.add("nodeB", f"{node_b}, minor={minor_b}")
            made.add("port", port)
    elif kind == DiskTemplate.PLAIN:
        made.add("logical_id", "/".join(logical_id))
    else:
        made.add("logical_id", str(logical_id))


def _status(kind: str, status: Sequence[Json]) -> str:
    """`PATH (MAJOR:MINOR) STATE` of [path, major, minor, percent, seconds, degraded, ldisk]."""
    path, major, minor, percent, left_s, degraded, ldisk = status
    numbers = f"{'N/A' if major is None else major}:{'N/A' if minor is None else minor}"
    text = f"{path or 'not active'} ({numbers})" if path else "not active"
    if kind == DiskTemplate.DRBD:
        return f"{text} {_mirror(percent, left_s, degraded, ldisk)}"
    if degraded:
        text += " *FAILED* (failed drive?)"
    return text


def _mirror(percent: float | None, left_s: Json, degraded: bool, ldisk: int) -> str:
    if percent is None:
        text = "in sync"
    else:
        left = "unknown" if left_s is None else f"{left_s}s"
        text = f"*RECOVERING* {percent:.2f}%, ETA {left}"
    text += ", status *DEGRADED*" if degraded else ", status ok"
    if ldisk == LDISK_FAULTY:
        text += " *MISSING DISK*"
    elif ldisk == LDISK_UNKNOWN:
        text += " *UNCERTAIN STATE*"
    return text
