"""Inputs of allocators: small random clusters, as documents."""

from __future__ import annotations

from typing import Any

from ganeti.model.ipolicy import default_ipolicy
from hypothesis import strategies as st

Json = dict[str, Any]

GROUPS = ("group-one", "group-two")
TOTAL_MIB = 8192
DISK_MIB = 100_000
CPUS = 8
UNIT_MIB = 256  # of memory: amounts are multiples, free ones half a unit off: none fits exactly
TEMPLATES = ("sharedfile", "ext", "diskless", "drbd", "plain")


def policy() -> Json:
    """One that allows everything."""
    made = {key: value for key, value in default_ipolicy().items()}
    keys = ("memory-size", "disk-size", "disk-count", "cpu-count", "nic-count", "spindle-use")
    made["minmax"] = [
        {"min": dict.fromkeys(keys, 0) | {"cpu-count": 1}, "max": dict.fromkeys(keys, 1 << 20)}
    ]
    made["disk-templates"] = list(TEMPLATES)
    made["vcpu-ratio"] = 4.0
    made["spindle-ratio"] = 64.0
    return made


def a_group(name: str, alloc_policy: str = "preferred") -> Json:
    return {
        "name": name, "alloc_policy": alloc_policy, "networks": [], "tags": [],
        "ipolicy": policy(),
    }  # fmt: skip


def a_node(group: str, **values: Any) -> Json:
    """Without instances; `settle` takes away what they use."""
    return {
        "tags": [], "primary_ip": "192.0.2.1", "secondary_ip": "192.0.2.1", "offline": False,
        "drained": False, "master_candidate": True, "master_capable": True, "vm_capable": True,
        "group": group,
        "ndparams": {"spindle_count": 1, "exclusive_storage": False, "cpu_speed": 1.0},
        "total_memory": TOTAL_MIB, "reserved_memory": 0,
        "free_memory": TOTAL_MIB - UNIT_MIB // 2, "total_disk": DISK_MIB, "free_disk": DISK_MIB - 1,
        "total_spindles": 0, "free_spindles": 0, "total_cpus": CPUS, "reserved_cpus": 0,
        "i_pri_memory": 0, "i_pri_up_memory": 0,
        **values,
    }  # fmt: skip


def an_instance(template: str, units: int, vcpus: int, tags: list[str], **values: Any) -> Json:
    disk = 0 if template == "diskless" else 1000
    return {
        "tags": tags, "admin_state": "up", "vcpus": vcpus, "memory": units * UNIT_MIB,
        "spindle_use": 1, "os": "noop", "nodes": [], "nics": [], "disk_template": template,
        "disks": [{"dev_type": template, "size": disk, "mode": "rw", "spindles": None}]
        if disk else [],
        "disks_active": True, "hypervisor": "fake",
        "disk_space_total": disk + (128 if template == "drbd" else 0),
        **values,
    }  # fmt: skip


def settle(nodes: dict[str, Json], one: Json) -> None:
    """The nodes of the instance have less."""
    for number, name in enumerate(one["nodes"]):
        if number == 0:
            nodes[name]["free_memory"] -= one["memory"]
        if one["disk_template"] in ("plain", "drbd"):
            nodes[name]["free_disk"] -= one["disk_space_total"]


TAGS = st.lists(st.sampled_from(["web:a", "web:b"]), unique=True, max_size=1)
SIZES = st.integers(1, 16)


@st.composite
def clusters(
    draw: st.DrawFn,
    templates: tuple[str, ...] = TEMPLATES,
    most: int = 8,
    groups: tuple[str, ...] = GROUPS,
    roles: bool = True,
) -> Json:
    """A document without a request."""
    count = draw(st.integers(2, 5))
    nodes = {f"node{number}": a_node(draw(st.sampled_from(groups))) for number in range(count)}
    for node in nodes.values():
        if roles:
            node |= draw(st.sampled_from([{}, {}, {}, {"drained": True}]))
    instances = {}
    for number in range(draw(st.integers(0, most))):
        template = draw(st.sampled_from(templates))
        one = an_instance(template, draw(SIZES), draw(st.integers(1, 4)), draw(TAGS))
        homes = draw(st.permutations(sorted(nodes)))
        homes = [name for name in homes if nodes[name]["group"] == nodes[homes[0]]["group"]]
        needed = 2 if template == "drbd" else 1
        if len(homes) >= needed and nodes[homes[0]]["free_memory"] > one["memory"]:
            one["nodes"] = homes[:needed]
            settle(nodes, one)
            instances[f"instance{number}"] = one
    policies = st.sampled_from(["preferred", "preferred", "last_resort", "unallocable"])
    return {
        "version": 2, "cluster_name": "cluster.example.com",
        "cluster_tags": draw(st.sampled_from([[], ["htools:iextags:web"]])),
        "enabled_hypervisors": ["fake"], "ipolicy": policy(),
        "nodegroups": {name: a_group(name, draw(policies)) for name in groups},
        "nodes": nodes, "instances": instances,
    }  # fmt: skip


@st.composite
def new_instances(draw: st.DrawFn, templates: tuple[str, ...] = TEMPLATES) -> Json:
    """An allocate request."""
    template = draw(st.sampled_from(templates))
    one = an_instance(template, draw(SIZES), draw(st.integers(1, 8)), draw(TAGS))
    for key in ("nodes", "admin_state", "disks_active"):
        del one[key]
    return {
        **one, "type": "allocate", "name": "new", "group_name": None,
        "required_nodes": 2 if template == "drbd" else 1,
    }  # fmt: skip
