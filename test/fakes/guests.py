"""Instances and nodes for tests of the node side."""

from __future__ import annotations

import uuid

from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.model.params import defaults
from ganeti.model.params_be import BE_PARAMS
from ganeti.model.params_hv import HV_PARAMS
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import AdminState, AdminStateSource, DiskTemplate, HypervisorKind

NODE_UUID = "00000000-0000-4000-8000-000000000001"
STORAGE = "/srv/ganeti/file-storage"


def allow_storage(paths: Paths, *directories: str) -> None:
    """The node's whitelist of file storage."""
    paths.conf.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{place}\n" for place in directories or (STORAGE,))
    paths.file_storage_paths.write_text(text)


def an_uuid(number: int) -> str:
    return str(uuid.UUID(int=(number << 96) + number, version=4))


def a_file_disk(instance: str, index: int = 0, size_mib: int = 16, **more: Json) -> Disk:
    values: dict[str, Json] = {
        "uuid": an_uuid(1000 + index),
        "dev_type": DiskTemplate.FILE,
        "logical_id": ("loop", f"{STORAGE}/{instance}/{an_uuid(2000 + index)}.file.disk{index}"),
        "iv_name": f"disk/{index}",
        "size": size_mib,
        "nodes": (NODE_UUID,),
        "params": {},
    }
    return Disk(**{**values, **more})


def a_nic(number: int = 1, **more: Json) -> Nic:
    values: dict[str, Json] = {
        "uuid": an_uuid(3000 + number),
        "mac": f"aa:00:00:00:00:{number:02x}",
        "nicparams": {"mode": "bridged", "link": "br0", "vlan": ""},
    }
    return Nic(**{**values, **more})


def an_instance(
    name: str = "web1",
    *,
    hypervisor: HypervisorKind = HypervisorKind.FAKE,
    memory_mib: int = 128,
    minimum_mib: int | None = None,
    vcpus: int = 1,
    disks: tuple[Disk, ...] = (),
    nics: tuple[Nic, ...] = (),
    hvparams: dict[str, Json] | None = None,
    osparams: dict[str, Json] | None = None,
    **more: Json,
) -> FilledInstance:
    """A filled instance: every parameter has its default, or what was given."""
    be = {
        **defaults(BE_PARAMS),
        "maxmem": memory_mib,
        "minmem": memory_mib if minimum_mib is None else minimum_mib,
        "vcpus": vcpus,
    }
    values: dict[str, Json] = {
        "uuid": an_uuid(sum(name.encode())),
        "os": "busybox+default",
        "primary_node": NODE_UUID,
        "admin_state": AdminState.UP,
        "admin_state_source": AdminStateSource.ADMIN,
        "disks_active": True,
    }
    return FilledInstance(
        **{**values, **more},
        name=name,
        hypervisor=hypervisor,
        hvparams={**defaults(HV_PARAMS[hypervisor]), **(hvparams or {})},
        beparams=be,
        osparams=osparams or {},
        nics=nics,
        disks=tuple(disk.uuid for disk in disks),
        disks_info=disks,
    )


def a_node(name: str = "node1.example.com") -> Node:
    return Node(
        uuid=NODE_UUID,
        name=name,
        primary_ip="192.0.2.1",
        secondary_ip="192.0.2.1",
        group=an_uuid(9),
        master_candidate=True,
        offline=False,
        drained=False,
    )
