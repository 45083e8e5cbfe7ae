"""How evenly nodes are loaded: one number, lower is better.

Each node has a load per resource, mostly the used part of what it has. The score is the weighted
sum of the loads' standard deviations over the nodes of a group. Deviations come from running sums,
so that trying a placement costs the same in a large group as in a small one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ganeti.alloc.cluster import AllocInstance, AllocNode

WEIGHTS: Final = (1.0, 1.0, 1.0, 1.0, 0.5, 0.01)
"""Memory, disk, memory reserved for failovers, processors, spindles, number of instances.

The last decides between placements that are equal otherwise.
"""

Load = tuple[float, ...]


def load_of(node: AllocNode) -> Load:
    """The load of one node per resource."""
    return (
        _used(node.free_memory, node.total_memory),
        _used(node.free_disk, node.total_disk),
        node.failover_reserve / node.total_memory if node.total_memory else 0.0,
        node.vcpus / (node.total_cpus * node.cpu_speed) if node.total_cpus else 0.0,
        node.spindles / node.spindle_count if node.spindle_count else 0.0,
        float(node.primaries + node.secondaries),
    )


def _used(free: int, total: int) -> float:
    return 1.0 - free / total if total else 0.0


def _part(amount: int, total: float) -> float:
    return amount / total if total else 0.0


def as_primary(load: Load, node: AllocNode, instance: AllocInstance) -> Load:
    """The load with the instance as a primary, without making the node."""
    memory, disk, reserve, cpus, spindles, count = load
    return (
        memory + _part(instance.memory_used, node.total_memory),
        disk + _part(instance.space_used, node.total_disk),
        reserve,
        cpus + _part(instance.vcpus, node.total_cpus * node.cpu_speed),
        spindles + _part(instance.spindle_use, node.spindle_count),
        count + 1.0,
    )


def as_secondary(load: Load, node: AllocNode, instance: AllocInstance, primary: str) -> Load:
    """The same for a secondary."""
    memory, disk, reserve, cpus, spindles, count = load
    reserved = node.peers.get(primary, 0) + instance.memory_used
    return (
        memory,
        disk + _part(instance.space_used, node.total_disk),
        max(reserve, _part(reserved, node.total_memory)),
        cpus,
        spindles + _part(instance.spindle_use, node.spindle_count),
        count + 1.0,
    )


class Spread:
    """Running sums of the loads of some nodes."""

    def __init__(self, nodes: Iterable[AllocNode]) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.loads = {name: load_of(node) for name, node in self.nodes.items()}
        self.count = len(self.loads)
        columns = list(zip(*self.loads.values())) or [()] * len(WEIGHTS)
        self.sums = [math.fsum(column) for column in columns]
        self.squares = [math.fsum(x * x for x in column) for column in columns]

    def score(self, changes: Sequence[tuple[AllocNode, AllocNode]] = ()) -> float:
        """The score when some nodes (before, after) were changed."""
        return self._score([(load_of(before), load_of(after)) for before, after in changes])

    def score_on(self, instance: AllocInstance, nodes: Sequence[str]) -> float:
        """The score with one more instance on some of these nodes, the primary first."""
        primary, *others = nodes
        before = self.loads[primary]
        pairs = [(before, as_primary(before, self.nodes[primary], instance))]
        for name in others:
            before = self.loads[name]
            pairs.append((before, as_secondary(before, self.nodes[name], instance, primary)))
        return self._score(pairs)

    def _score(self, pairs: Sequence[tuple[Load, Load]]) -> float:
        if not self.count:
            return 0.0
        total = 0.0
        count = self.count
        for index, weight in enumerate(WEIGHTS):
            first, second = self.sums[index], self.squares[index]
            for before, after in pairs:
                old, new = before[index], after[index]
                first += new - old
                second += new * new - old * old
            variance = second / count - (first / count) ** 2
            if variance > 0.0:
                total += weight * math.sqrt(variance)
        return total


def score_of(nodes: Iterable[AllocNode]) -> float:
    """The score of some nodes as they are."""
    return Spread(nodes).score()
