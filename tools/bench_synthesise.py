"""Configurations of large clusters: `config.data` as if somebody had added all of it."""

from __future__ import annotations

import uuid
from typing import Any

NODES_PER_INSTANCE = 0.05  # 10,000 instances on 500 nodes
GIB = 1024
FIRST_PORT = 11000
Json = Any


def fill(document: Json, instances: int, nodes: int) -> Json:
    """The document of a cluster with a master only, with `nodes` offline nodes and `instances`
    instances of two disks and two NICs each."""
    master = document["cluster"]["master_node"]
    model = document["nodes"][master]
    document["nodes"] = {master: model}
    for number in range(1, nodes + 1):
        node = _node(model, number)
        document["nodes"][node["uuid"]] = node
    homes = [uuid for uuid in document["nodes"] if uuid != master]
    document["instances"], document["disks"] = {}, {}
    minors: dict[str, int] = {}
    for number in range(1, instances + 1):
        ends = homes[number % nodes], homes[(number + 1 + number // nodes) % nodes]
        if ends[0] == ends[1]:
            ends = ends[0], homes[(number + 1) % nodes]
        disks = [_disk(number, index, ends, minors) for index in range(2)]
        instance = _instance(number, ends[0], [disk["uuid"] for disk in disks])
        document["instances"][instance["uuid"]] = instance
        document["disks"].update({disk["uuid"]: disk for disk in disks})
    document["cluster"]["highest_used_port"] = FIRST_PORT + 2 * instances + 1
    document["serial_no"] += 1
    return document


def instance_name(number: int) -> str:
    return f"instance{number}.example.com"


def _uuid(kind: int, number: int, index: int = 0) -> str:
    """The same at each run."""
    return str(uuid.UUID(int=(kind << 96) | (index << 64) | (number * 2654435761 % 2**32)))


def _own(uuid_text: str) -> Json:
    return {"uuid": uuid_text, "serial_no": 1, "ctime": 1.7e9, "mtime": 1.7e9, "tags": []}


def _node(model: Json, number: int) -> Json:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return {
        **model,
        **_own(_uuid(1, number)),
        "name": f"far{number}.example.com",
        "primary_ip": address,
        "secondary_ip": address,
        "master_candidate": False,
        "offline": True,
    }


def _disk(number: int, index: int, ends: tuple[str, str], minors: dict[str, int]) -> Json:
    """Mirrored with DRBD, upon a data and a metadata volume at both ends."""
    own = _own(_uuid(2, number, index))
    volume = _uuid(3, number, index)
    parts = (("data", 10 * GIB), ("meta", 128))
    for end in ends:
        minors[end] = minors.get(end, -1) + 1
    common = {"mode": "rw", "nodes": list(ends), "params": {}}
    return {
        **own,
        **common,
        "dev_type": "drbd",
        "logical_id": [
            *ends,
            FIRST_PORT + 2 * number + index,
            *(minors[end] for end in ends),
            volume.replace("-", "")[::-1],
        ],
        "children": [
            {
                **own,
                **common,
                "uuid": _uuid(6 + part, number, index),
                "dev_type": "plain",
                "logical_id": ["xenvg", f"{volume}.disk{index}_{name}"],
                "children": [],
                "iv_name": "",
                "size": size,
            }
            for part, (name, size) in enumerate(parts)
        ],
        "iv_name": f"disk/{index}",
        "size": 10 * GIB,
    }


def _instance(number: int, home: str, disks: list[str]) -> Json:
    return {
        **_own(_uuid(4, number)),
        "name": instance_name(number),
        "primary_node": home,
        "os": "noop",
        "hypervisor": "fake",
        "hvparams": {},
        "beparams": {"maxmem": 1024, "minmem": 512, "vcpus": 2},
        "osparams": {},
        "osparams_private": {},
        "admin_state": "up",
        "admin_state_source": "admin",
        "nics": [_nic(number, index) for index in range(2)],
        "disks": disks,
        "disks_active": True,
    }


def _nic(number: int, index: int) -> Json:
    mac = f"aa:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:{index:02x}"
    return {"mac": mac, "uuid": _uuid(5, number, index), "nicparams": {}}
