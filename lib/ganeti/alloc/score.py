"""How evenly nodes are loaded: one number, lower is better.

Each node has a load per resource, mostly the used part of what it has. The score is the weighted
sum of the loads' standard deviations over the nodes of a group. Deviations come from running sums,
so that trying a placement costs the same in a large group as in a small one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ganeti.alloc.cluster import AllocNode

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


class Spread:
    """Running sums of the loads of some nodes."""

    def __init__(self, nodes: Iterable[AllocNode]) -> None:
        loads = [load_of(node) for node in nodes]
        self.count = len(loads)
        self.sums = [math.fsum(column) for column in zip(*loads)] or [0.0] * len(WEIGHTS)
        self.squares = [math.fsum(x * x for x in column) for column in zip(*loads)] or [0.0] * len(
            WEIGHTS
        )

    def score(self, changes: Sequence[tuple[AllocNode, AllocNode]] = ()) -> float:
        """The score when some nodes (before, after) were changed."""
        if not self.count:
            return 0.0
        pairs = [(load_of(before), load_of(after)) for before, after in changes]
        total = 0.0
        for index, weight in enumerate(WEIGHTS):
            first, second = self.sums[index], self.squares[index]
            for before, after in pairs:
                first += after[index] - before[index]
                second += after[index] ** 2 - before[index] ** 2
            variance = second / self.count - (first / self.count) ** 2
            total += weight * math.sqrt(max(0.0, variance))
        return total


def score_of(nodes: Iterable[AllocNode]) -> float:
    """The score of some nodes as they are."""
    return Spread(nodes).score()
