"""Whether what runs on any one node of a group could run on its other nodes (N+1), for instances
that may run anywhere in their group because all nodes see their disks.

Instances with DRBD need no search, they have their second node (`AllocNode.failover_reserve`). A
group of one node has nothing to promise.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from ganeti.alloc.cluster import AllocNode


class Spare:
    """The usable nodes of one group.

    Most questions are answered by sums: while a node has room for the largest instance, no instance
    can fail to find a place there, so `_room` counts what is sure to be filled. Only where that is
    not enough instances are really packed, the largest first, each onto the emptiest node.
    """

    def __init__(self, members: Iterable[AllocNode], largest: int = 0) -> None:
        """`largest`: memory of the instance that is to be placed."""
        self._nodes = {node.name: node for node in members}
        self._largest = max(
            (size for node in self._nodes.values() for size in node.shared), default=0
        )
        self._largest = max(self._largest, largest)
        self._rooms = {name: self._room(node) for name, node in self._nodes.items()}
        self._total = sum(self._rooms.values())
        self._worst = sorted(self._nodes, key=lambda name: -self._wanted(self._nodes[name]))

    def holds(self, changed: Mapping[str, AllocNode]) -> bool:
        """When some nodes are changed."""
        if len(self._nodes) < 2:
            return True
        total = self._total
        for name, node in changed.items():
            if name in self._rooms:
                total += self._room(node) - self._rooms[name]
        for name in self._worst:
            if name in changed:
                continue
            if self._wanted(self._nodes[name]) <= total:
                break  # and so do all that follow
            if not self._fits(self._nodes[name], changed):
                return False
        return all(
            self._wanted(node) <= total or self._fits(node, changed) for node in changed.values()
        )

    def _room(self, node: AllocNode) -> int:
        return max(0, node.free_memory - node.failover_reserve - self._largest + 1)

    def _wanted(self, node: AllocNode) -> int:
        """The others must have as much; its own room does not count for them."""
        return sum(node.shared) + self._room(node) if node.shared else 0

    def _fits(self, failing: AllocNode, changed: Mapping[str, AllocNode]) -> bool:
        others = (changed.get(name, node) for name, node in self._nodes.items())
        left = [
            node.peers.get(failing.name, 0) - node.free_memory
            for node in others
            if node.name != failing.name
        ]
        return packs(failing.shared, left)


def packs(sizes: Iterable[int], left: list[int]) -> bool:
    """Whether all find room, the largest first. `left` are negative amounts, and used up."""
    heapq.heapify(left)
    for size in sorted(sizes, reverse=True):
        if not left or -left[0] < size:
            return False
        heapq.heapreplace(left, left[0] + size)
    return True
