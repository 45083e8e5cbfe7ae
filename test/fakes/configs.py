"""Configurations for tests, made from the example of the facts."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

from fact_tables import facts
from fakes.candidates import FakeNetwork, target_of, uuid_of
from fakes.faulty_disk import FaultyDisk
from fakes.virtual_time import in_place
from ganeti.config.reserve import random_uuid
from ganeti.config.snapshot import Snapshot
from ganeti.config.store import ConfigStore
from ganeti.config.transaction import Draft
from ganeti.config.upgrade import open_document
from ganeti.model.config import ConfigDocument
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.paths import Paths
from ganeti.types import AdminState, AdminStateSource, DiskTemplate, HypervisorKind

NOW = 1_700_000_000.0
PATHS = Paths("/master")


def example(name: str = "example_3_0_one_node") -> dict[str, Any]:
    """A complete document of the facts as JSON."""
    return copy.deepcopy(facts("config-data")[name])


def example_two_nodes() -> dict[str, Any]:
    return example("example_3_0_two_nodes_one_drbd_instance")


def opened(raw: dict[str, Any], seed: int = 1) -> ConfigDocument:
    chance = random.Random(seed)
    data = json.dumps(raw).encode()
    return open_document(
        data, "config.data", new_uuid=lambda: random_uuid(chance), now=NOW
    ).document


def a_snapshot(raw: dict[str, Any] | None = None) -> Snapshot:
    return Snapshot.of(opened(raw if raw is not None else example_two_nodes()))


def a_node(number: int, group: str, **more: Any) -> Node:
    values: dict[str, Any] = {
        "uuid": uuid_of(number),
        "name": f"node{number}.example.com",
        "primary_ip": f"192.0.2.{number}",
        "secondary_ip": f"192.0.2.{number}",
        "group": group,
        "master_candidate": True,
        "offline": False,
        "drained": False,
    }
    return Node(**{**values, **more})


def a_nic(number: int, **more: Any) -> Nic:
    high, low = divmod(number, 256)
    values: dict[str, Any] = {
        "mac": f"aa:00:01:{high // 256:02x}:{high % 256:02x}:{low:02x}",
        "uuid": f"11111111-0000-4000-8000-{number:012d}",
    }
    return Nic(**{**values, **more})


def an_instance(number: int, primary: str, **more: Any) -> Instance:
    values: dict[str, Any] = {
        "uuid": f"22222222-0000-4000-8000-{number:012d}",
        "name": f"web{number}.example.com",
        "primary_node": primary,
        "os": "noop",
        "hypervisor": HypervisorKind.FAKE,
        "admin_state": AdminState.UP,
        "admin_state_source": AdminStateSource.ADMIN,
        "disks_active": True,
        "nics": (a_nic(number),),
    }
    return Instance(**{**values, **more})


def a_plain_disk(number: int, node: str, **more: Any) -> Disk:
    uuid = f"33333333-0000-4000-8000-{number:012d}"
    values: dict[str, Any] = {
        "uuid": uuid,
        "dev_type": DiskTemplate.PLAIN,
        "logical_id": ("xenvg", f"{uuid}.disk0"),
        "nodes": (node,),
        "iv_name": "disk/0",
        "size": 1024,
        "params": {},
    }
    return Disk(**{**values, **more})


def a_drbd_disk(number: int, a: str, b: str, port: int, minors: tuple[int, int]) -> Disk:
    uuid = f"44444444-0000-4000-8000-{number:012d}"
    children = tuple(
        a_plain_disk(number * 10 + part, a, nodes=(a, b), iv_name="") for part in (1, 2)
    )
    return Disk(
        uuid=uuid,
        dev_type=DiskTemplate.DRBD,
        logical_id=(a, b, port, *minors, "00" * 20),
        children=children,
        nodes=(a, b),
        iv_name="disk/0",
        size=1024,
        params={},
    )


def a_network(number: int = 1, **more: Any) -> Network:
    values: dict[str, Any] = {
        "uuid": f"55555555-0000-4000-8000-{number:012d}",
        "name": f"lan{number}",
        "network": f"10.0.{number}.0/28",
        "reservations": "0" * 16,
        "ext_reservations": "1" + "0" * 14 + "1",
    }
    return Network(**{**values, **more})


def master_of(snapshot: Snapshot) -> str:
    return snapshot.cluster.master_node


def with_candidates(raw: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The document with further nodes that are master candidates, as FakeNetwork numbers them."""
    document = opened(raw)
    group = next(iter(document.nodegroups))
    nodes = dict(document.nodes)
    for number, name in enumerate(names, 2):
        node = a_node(number, group, name=name, primary_ip=f"198.51.100.{number}")
        nodes[node.uuid] = replace(node, secondary_ip=node.primary_ip)
    from ganeti.serializer import encode

    made: dict[str, Any] = encode(replace(document, nodes=nodes))
    return made


def a_disk(raw: dict[str, Any], **faults: int) -> FaultyDisk:
    """The master's disk with this configuration."""
    disk = FaultyDisk(**faults)
    disk.put(PATHS.config_data, json.dumps(raw).encode())
    return disk


def a_store(disk: FaultyDisk, network: FakeNetwork | None = None, **more: Any) -> ConfigStore:
    """A store on virtual time."""
    clock = iter(range(10**9))
    arguments: dict[str, Any] = {
        "disk": disk,
        "rpc": network or FakeNetwork([]),
        "now": lambda: NOW + next(clock),
        "random": random.Random(7),
        "offload": in_place,
        "target_of": target_of,
    }
    return ConfigStore(PATHS, **{**arguments, **more})


def add_tag(draft: Draft, instance_uuid: str, tag: str) -> Instance:
    """A small change, for tests that only need some change."""
    instance = draft.snapshot.instances[instance_uuid]
    return draft.update(replace(instance, tags=(*instance.tags, tag)))
