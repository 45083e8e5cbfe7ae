"""The built-in allocator: an allocator's input in, its answer out (facts/master.md E)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from ganeti.alloc import place
from ganeti.alloc.cluster import AllocInstance, WhatIf, read_instance, read_request
from ganeti.alloc.protocol import EvacuationMode, RequestKind, answer
from ganeti.errors import ParseError
from ganeti.serializer import Json
from ganeti.types import DiskTemplate

Answer = dict[str, Json]
Opcode = dict[str, Json]


def solve(document: Mapping[str, Json], *, lenient: bool = False) -> Answer:
    """The answer to one input document; ParseError when it is not one.

    `lenient`: only what is impossible is refused, see `place.SOFT`.
    """
    cluster = replace(read_request(document), lenient=lenient)
    request = document.get("request")
    if not isinstance(request, Mapping) or "type" not in request:
        raise ParseError("allocator request: key 'request' with a 'type' is missing")
    solver = _SOLVERS.get(request["type"])
    if solver is None:
        raise ParseError(f"allocator request: unknown type {request['type']!r}")
    try:
        return solver(cluster, request)
    except KeyError as error:
        raise ParseError(f"allocator request: {error.args[0]!r} is missing or unknown") from None


def _failure(text: str) -> Answer:
    return answer(False, f"Request failed: {text}", [])


def _success(text: str, result: Json) -> Answer:
    return answer(True, f"Request successful: {text}", result)


def _allocate(cluster: WhatIf, request: Mapping[str, Json]) -> Answer:
    found = _place_new(cluster, request)
    if not found.found:
        return _failure(f"no valid allocation: {found.reasons or 'no usable node'}")
    group = cluster.groups[found.group]
    text = f"group {group.name} ({group.alloc_policy}), score {found.score:.8f}"
    return _success(f"{text}, node(s) {' '.join(found.nodes)}", list(found.nodes))


def _place_new(cluster: WhatIf, request: Mapping[str, Json]) -> place.Placement:
    instance = read_instance(request["name"], request)
    return place.allocate(
        cluster,
        instance,
        group=request.get("group_name"),
        within=request.get("restrict-to-nodes"),
    )


def _multi_allocate(cluster: WhatIf, request: Mapping[str, Json]) -> Answer:
    placed: list[Json] = []
    failed: dict[str, str] = {}  # name → why
    for inner in request["instances"]:
        found = _place_new(cluster, inner)
        if found.found:
            cluster = cluster.add(read_instance(inner["name"], inner, found.nodes))
            placed.append([inner["name"], list(found.nodes)])
        else:
            failed[inner["name"]] = found.reasons or "no usable node"
    whys = "; ".join(f"{name}: {why}" for name, why in failed.items())
    if not placed and failed:
        return _failure(f"no instance can be allocated: {whys}")
    text = f"{len(failed)} instances failed to allocate and {len(placed)} were allocated"
    return _success(f"{text}; {whys}" if whys else text, [placed, list(failed)])


def _relocate(cluster: WhatIf, request: Mapping[str, Json]) -> Answer:
    found = place.relocate(cluster, request["name"], request["relocate_from"])
    if not found.found:
        return _failure(f"no valid relocation: {found.reasons or 'no usable node'}")
    return _success("success", [found.nodes[-1]])


def _allocate_secondary(cluster: WhatIf, request: Mapping[str, Json]) -> Answer:
    """A secondary for an instance that has none, or another one."""
    instance = cluster.instances[request["name"]]
    as_drbd = replace(instance, disk_template=DiskTemplate.DRBD.value)
    trial = cluster.remove(instance.name).add(as_drbd)
    found = place.relocate(trial, instance.name, as_drbd.nodes[1:])
    if not found.found:
        return answer(False, f"Request failed: {found.reasons or 'no usable node'}", "")
    return _success("success", found.nodes[1])


# Moves of existing instances.


class _Moves:
    """Collects what moves, what does not, and the jobs that do it."""

    def __init__(self, cluster: WhatIf) -> None:
        self.cluster = cluster
        self.moved: list[Json] = []
        self.failed: list[Json] = []
        self.jobs: list[list[Opcode]] = []

    def move(self, name: str, nodes: Sequence[str], opcodes: list[Opcode]) -> None:
        self.cluster = self.cluster.move(name, nodes)
        group = self.cluster.group_of(self.cluster.instances[name])
        self.moved.append([name, group.name, list(nodes)])
        self.jobs.append(opcodes)

    def fail(self, name: str, reason: str) -> None:
        self.failed.append([name, reason or "no usable node"])

    def answer(self) -> Answer:
        text = (
            f"{len(self.failed)} instances failed to move and {len(self.moved)} were moved"
            " successfully"
        )
        return _success(text, [self.moved, self.failed, self.jobs])


def _evacuate(cluster: WhatIf, request: Mapping[str, Json]) -> Answer:
    mode = EvacuationMode(request["evac_mode"])
    moves = _Moves(cluster)
    for name in request["instances"]:
        _evacuate_one(moves, name, mode)
    return moves.answer()


def _evacuate_one(moves: _Moves, name: str, mode: EvacuationMode) -> None:
    instance = moves.cluster.instances[name]
    drbd = instance.disk_template == DiskTemplate.DRBD
    if mode is EvacuationMode.ALL and drbd:
        group = moves.cluster.group_of(instance)
        found = place.move_out(moves.cluster, name, [group.uuid])
        if found.found:
            moves.move(name, found.nodes, rebuild_opcodes(name, found.nodes))
        else:
            moves.fail(name, found.reasons)
    elif mode is EvacuationMode.PRIMARY and drbd:
        _swap(moves, instance)
    elif mode is EvacuationMode.SECONDARY and not drbd:
        moves.fail(name, f"instances of type {instance.disk_template} have no secondary node")
    else:
        leaving = instance.nodes[1:] if drbd else instance.nodes[:1]
        found = place.relocate(moves.cluster, name, leaving)
        if not found.found:
            moves.fail(name, found.reasons)
        elif drbd:
            moves.move(name, found.nodes, [replace_opcode(name, found.nodes[1])])
        else:
            moves.move(name, found.nodes, [migrate_opcode(name, found.nodes[0])])


def _swap(moves: _Moves, instance: AllocInstance) -> None:
    """The secondary becomes primary, where there is room."""
    primary, secondary = instance.nodes
    node = moves.cluster.nodes[secondary]
    if not node.usable:
        moves.fail(instance.name, f"secondary node {secondary} is not usable")
    elif instance.up and node.free_memory < instance.memory:
        moves.fail(instance.name, f"not enough memory on secondary node {secondary}")
    else:
        moves.move(instance.name, (secondary, primary), [migrate_opcode(instance.name)])


def _change_group(cluster: WhatIf, request: Mapping[str, Json]) -> Answer:
    moves = _Moves(cluster)
    for name in request["instances"]:
        instance = moves.cluster.instances[name]
        own = moves.cluster.group_of(instance).uuid
        targets = request["target_groups"] or moves.cluster.groups
        found = place.move_out(moves.cluster, name, [uuid for uuid in targets if uuid != own])
        if not found.found:
            moves.fail(name, found.reasons)
        elif instance.disk_template == DiskTemplate.DRBD:
            moves.move(name, found.nodes, rebuild_opcodes(name, found.nodes))
        else:
            moves.move(name, found.nodes, [migrate_opcode(name, found.nodes[0])])
    return moves.answer()


def migrate_opcode(name: str, target: str | None = None) -> Opcode:
    """Migrate, or fail over when it is not running. `target` is None for DRBD."""
    opcode: Opcode = {
        "OP_ID": "OP_INSTANCE_MIGRATE",
        "instance_name": name,
        "allow_runtime_changes": False,
        "ignore_ipolicy": False,
        "cleanup": False,
        "allow_failover": True,
        "ignore_hvversions": True,
    }
    return opcode if target is None else {**opcode, "target_node": target}


def replace_opcode(name: str, secondary: str) -> Opcode:
    """Another secondary node."""
    return {
        "OP_ID": "OP_INSTANCE_REPLACE_DISKS",
        "instance_name": name,
        "mode": "replace_new_secondary",
        "disks": [],
        "remote_node": secondary,
        "early_release": False,
        "ignore_ipolicy": False,
    }


def rebuild_opcodes(name: str, nodes: Sequence[str]) -> list[Opcode]:
    """Bring a DRBD instance to two other nodes: over the new primary as secondary."""
    return [
        replace_opcode(name, nodes[0]),
        migrate_opcode(name),
        replace_opcode(name, nodes[1]),
    ]


_SOLVERS: Final[Mapping[str, Callable[[WhatIf, Mapping[str, Json]], Answer]]] = MappingProxyType(
    {
        RequestKind.ALLOCATE.value: _allocate,
        RequestKind.MULTI_ALLOCATE.value: _multi_allocate,
        RequestKind.RELOCATE.value: _relocate,
        RequestKind.ALLOCATE_SECONDARY.value: _allocate_secondary,
        RequestKind.NODE_EVACUATE.value: _evacuate,
        RequestKind.CHANGE_GROUP.value: _change_group,
    }
)
