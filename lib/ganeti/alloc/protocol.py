"""What allocators are asked and what they answer (facts/master.md E). Pure: plain values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ganeti.errors import OpExecError, ParseError, ResultValidationError
from ganeti.model.disk import Disk, template_of
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import RunningInfo
from ganeti.serializer import Json, loads
from ganeti.types import AdminState, DiskTemplate

VERSION: Final = 2
DRBD_META_MIB: Final = 128
LAST_WORDS: Final = 200  # characters of a bad answer that are shown


class RequestKind(StrEnum):
    """The questions."""

    ALLOCATE = "allocate"
    RELOCATE = "relocate"
    NODE_EVACUATE = "node-evacuate"
    CHANGE_GROUP = "change-group"
    MULTI_ALLOCATE = "multi-allocate"
    ALLOCATE_SECONDARY = "allocate-secondary"


class EvacuationMode(StrEnum):
    """Which of an instance's nodes it shall leave."""

    PRIMARY = "primary-only"
    SECONDARY = "secondary-only"
    ALL = "all"


JOB_OPCODES: Final = frozenset(
    {"OP_INSTANCE_FAILOVER", "OP_INSTANCE_MIGRATE", "OP_INSTANCE_REPLACE_DISKS"}
)
"""What an answer may ask to be done."""


# The document.


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNumbers:
    """Measured and summed up for one node; memory and disk in MiB. Names are the wire's."""

    total_memory: int
    reserved_memory: int  # the node's own system
    free_memory: int  # less what running primaries have not taken yet
    total_disk: int
    free_disk: int
    total_spindles: int
    free_spindles: int
    total_cpus: int
    reserved_cpus: int
    i_pri_memory: int  # of all primaries
    i_pri_up_memory: int  # of those that should be up


def memory_in_use(
    primaries: Iterable[tuple[Instance, int]], running: Mapping[str, RunningInfo]
) -> tuple[int, int, int]:
    """(not taken yet, of all, of those up): MiB over the primaries of a node.

    `primaries` come with their maxmem, `running` is the node's answer by name.
    """
    not_taken = total = up = 0
    for instance, maxmem in primaries:
        total += maxmem
        if instance.admin_state is AdminState.UP:
            up += maxmem
            seen = running.get(instance.name)
            not_taken += max(0, maxmem - (seen.memory if seen else 0))
    return not_taken, total, up


def group_entry(group: NodeGroup, ipolicy: Mapping[str, Json]) -> dict[str, Json]:
    """`ipolicy` is the complete one."""
    return {
        "name": group.name,
        "alloc_policy": group.alloc_policy.value,
        "networks": list(group.networks),
        "ipolicy": dict(ipolicy),
        "tags": list(group.tags),
    }


def node_entry(
    node: Node, ndparams: Mapping[str, Json], numbers: NodeNumbers | None
) -> dict[str, Json]:
    """`numbers` is None for a node that is offline or not vm_capable."""
    entry: dict[str, Json] = {
        "tags": list(node.tags),
        "primary_ip": node.primary_ip,
        "secondary_ip": node.secondary_ip,
        "offline": node.offline,
        "drained": node.drained,
        "master_candidate": node.master_candidate,
        "group": node.group,
        "master_capable": node.master_capable,
        "vm_capable": node.vm_capable,
        "ndparams": dict(ndparams),
    }
    if numbers is not None:
        entry |= {name: getattr(numbers, name) for name in NodeNumbers.__dataclass_fields__}
    return entry


def instance_entry(
    instance: Instance,
    beparams: Mapping[str, Json],
    disks: Sequence[Disk],
    nicparams: Sequence[Mapping[str, Json]],
    node_names: Sequence[str],
) -> dict[str, Json]:
    """`beparams` and `nicparams` are complete; `node_names` has the primary first."""
    nics = []
    for nic, params in zip(instance.nics, nicparams):
        entry = {"mac": nic.mac, "ip": nic.ip, "mode": params["mode"], "link": params["link"]}
        if params["mode"] == "bridged":
            entry["bridge"] = params["link"]
        nics.append(entry)
    template = template_of(disks)
    return {
        "tags": list(instance.tags),
        "admin_state": instance.admin_state.value,
        "vcpus": beparams["vcpus"],
        "memory": beparams["maxmem"],
        "spindle_use": beparams["spindle_use"],
        "os": instance.os,
        "nodes": list(node_names),
        "nics": nics,
        "disks": [
            {
                "dev_type": disk.dev_type.value,
                "size": disk.size,
                "mode": disk.mode.value,
                "spindles": disk.spindles,
            }
            for disk in disks
        ],
        "disk_template": template,
        "disks_active": instance.disks_active,
        "hypervisor": instance.hypervisor.value,
        "disk_space_total": disk_space_mib(template, [disk.size for disk in disks]),
    }


def disk_space_mib(template: str, sizes: Iterable[int]) -> int:
    """Space of an instance's disks on each of its nodes, metadata of DRBD included."""
    if template in (DiskTemplate.DISKLESS, DiskTemplate.BLOCKDEV):
        return 0
    extra = DRBD_META_MIB if template == DiskTemplate.DRBD else 0
    return sum(size + extra for size in sizes)


def document(
    *,
    cluster_name: str,
    cluster_tags: Sequence[str],
    enabled_hypervisors: Sequence[str],
    ipolicy: Mapping[str, Json],
    nodegroups: Mapping[str, Json],
    nodes: Mapping[str, Json],
    instances: Mapping[str, Json],
    request: Mapping[str, Json],
) -> dict[str, Json]:
    """The whole input: groups by uuid, nodes and instances by name."""
    return {
        "version": VERSION,
        "cluster_name": cluster_name,
        "cluster_tags": list(cluster_tags),
        "enabled_hypervisors": list(enabled_hypervisors),
        "ipolicy": dict(ipolicy),
        "nodegroups": dict(nodegroups),
        "nodes": dict(nodes),
        "instances": dict(instances),
        "request": dict(request),
    }


# Requests.


def allocate_request(
    *,
    name: str,
    disk_template: str,
    os: str,
    vcpus: int,
    memory: int,
    disks: Sequence[Mapping[str, Json]],
    nics: Sequence[Mapping[str, Json]],
    hypervisor: str,
    spindle_use: int = 1,
    tags: Sequence[str] = (),
    group_name: str | None = None,
    restrict_to_nodes: Sequence[str] | None = None,
) -> dict[str, Json]:
    """A new instance. `disks` have at least size and mode; memory and sizes are MiB."""
    request: dict[str, Json] = {
        "type": RequestKind.ALLOCATE.value,
        "name": name,
        "disk_template": disk_template,
        "group_name": group_name,
        "tags": list(tags),
        "os": os,
        "vcpus": vcpus,
        "memory": memory,
        "spindle_use": spindle_use,
        "disks": [{"dev_type": disk_template, **disk} for disk in disks],
        "disk_space_total": disk_space_mib(disk_template, [disk["size"] for disk in disks]),
        "nics": [dict(nic) for nic in nics],
        "required_nodes": 2 if disk_template == DiskTemplate.DRBD else 1,
        "hypervisor": hypervisor,
    }
    if restrict_to_nodes is not None:
        request["restrict-to-nodes"] = list(restrict_to_nodes)
    return request


def relocate_request(
    name: str, disk_space_total: int, relocate_from: Sequence[str]
) -> dict[str, Json]:
    """Another node in place of `relocate_from` (names)."""
    return {
        "type": RequestKind.RELOCATE.value,
        "name": name,
        "disk_space_total": disk_space_total,
        "required_nodes": 1,
        "relocate_from": list(relocate_from),
    }


def evacuate_request(instances: Sequence[str], mode: EvacuationMode) -> dict[str, Json]:
    return {
        "type": RequestKind.NODE_EVACUATE.value,
        "instances": list(instances),
        "evac_mode": mode.value,
    }


def change_group_request(instances: Sequence[str], target_groups: Sequence[str]) -> dict[str, Json]:
    """`target_groups` are uuids; none: any other group."""
    return {
        "type": RequestKind.CHANGE_GROUP.value,
        "instances": list(instances),
        "target_groups": list(target_groups),
    }


def multi_allocate_request(requests: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """Several allocate requests at once."""
    inner = [{k: v for k, v in request.items() if k != "type"} for request in requests]
    return {"type": RequestKind.MULTI_ALLOCATE.value, "instances": inner}


def allocate_secondary_request(name: str) -> dict[str, Json]:
    return {"type": RequestKind.ALLOCATE_SECONDARY.value, "name": name}


# Answers.


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked answer. `result` has the form that the request's kind asks for."""

    success: bool
    info: str
    result: Json


def answer(success: bool, info: str, result: Json) -> dict[str, Json]:
    """The form in which an allocator answers."""
    return {"success": success, "info": info, "result": result}


def parse_answer(request: Mapping[str, Json], text: str) -> Answer:
    """Read what an allocator wrote.

    OpExecError when it is no answer at all, ResultValidationError when the result of a success has
    not the form, or not the number of nodes, that the request asks for. Whether a failure is an
    error is the caller's decision.
    """
    try:
        value = loads(text, "answer of the allocator")
    except ParseError as error:
        raise OpExecError(str(error)) from None
    if not isinstance(value, dict):
        raise OpExecError("the answer is not an object")
    if "nodes" in value and "result" not in value:
        value["result"] = value["nodes"]  # allocators of 2.0 and before
    for key in ("success", "info", "result"):
        if key not in value:
            raise OpExecError(f"the answer lacks {key!r}")
    success, info, result = value["success"], value["info"], value["result"]
    if not isinstance(success, bool) or not isinstance(info, str):
        raise ResultValidationError("the answer: success is not a bool or info no text")
    if success:
        check_result(request, result)
    return Answer(success, info, result)


def last_words(text: str) -> str:
    """The end of what an allocator wrote: its last line, or the end of a long one."""
    lines = text.strip().splitlines()
    return lines[-1].strip()[-LAST_WORDS:] if lines else ""


def check_result(request: Mapping[str, Json], result: Json) -> None:
    """ResultValidationError unless `result` has the form for `request`."""
    kind = request["type"]
    if kind in (RequestKind.ALLOCATE, RequestKind.RELOCATE):
        _check_names(result, f"result of {kind}")
        wanted = request["required_nodes"]
        if len(result) != wanted:
            asked = "1 was asked for" if wanted == 1 else f"{wanted} were asked for"
            raise ResultValidationError(f"result of {kind}: {len(result)} nodes, {asked}")
        if len(set(result)) < len(result):
            raise ResultValidationError(f"result of {kind}: the same node twice")
    elif kind == RequestKind.ALLOCATE_SECONDARY:
        if not isinstance(result, str):
            raise ResultValidationError(f"result of {kind} is not a node's name")
    elif kind == RequestKind.MULTI_ALLOCATE:
        placed, failed = _check_length(result, 2, f"result of {kind}")
        _check_names(failed, f"failed instances of {kind}")
        for row in _check_list(placed, f"placed instances of {kind}"):
            name, nodes = _check_length(row, 2, f"a placed instance of {kind}")
            _check_names([name], "instance")
            _check_names(nodes, f"nodes of {name}")
    elif kind in (RequestKind.NODE_EVACUATE, RequestKind.CHANGE_GROUP):
        _check_moves(result, kind)
    else:
        raise ResultValidationError(f"unknown request {kind!r}")


def _check_moves(result: Json, kind: str) -> None:
    moved, failed, jobs = _check_length(result, 3, f"result of {kind}")
    for row in _check_list(moved, f"moved instances of {kind}"):
        name, group, nodes = _check_length(row, 3, f"a moved instance of {kind}")
        _check_names([name, group], "instance and group")
        _check_names(nodes, f"nodes of {name}")
    for row in _check_list(failed, f"failed instances of {kind}"):
        _check_names(_check_length(row, 2, f"a failed instance of {kind}"), "name and reason")
    for job in _check_list(jobs, f"jobs of {kind}"):
        for opcode in _check_list(job, f"a job of {kind}"):
            if not isinstance(opcode, dict) or opcode.get("OP_ID") not in JOB_OPCODES:
                raise ResultValidationError(f"result of {kind}: opcode {opcode!r} is not allowed")


def _check_list(value: Json, what: str) -> list[Json]:
    if not isinstance(value, list):
        raise ResultValidationError(f"{what}: a list is expected, not {value!r}")
    return value


def _check_length(value: Json, length: int, what: str) -> list[Json]:
    if len(_check_list(value, what)) != length:
        raise ResultValidationError(f"{what}: {length} elements are expected, not {value!r}")
    return list(value)


def _check_names(value: Json, what: str) -> None:
    if not all(isinstance(name, str) for name in _check_list(value, what)):
        raise ResultValidationError(f"{what}: texts are expected, not {value!r}")
