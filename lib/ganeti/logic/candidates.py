"""The pool of master candidates: how many there should be, and who is promoted.

Source: facts/config-data.md §8. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.model.node import Node


@dataclass(frozen=True, slots=True)
class PoolStats:
    """`now` candidates, `wanted` ones, and how many there could be."""

    now: int
    wanted: int
    possible: int


def pool_stats(config: Snapshot, without: Collection[str] = ()) -> PoolStats:
    """Counted without the nodes (uuids) in `without`."""
    nodes = [node for node in config.nodes.values() if node.uuid not in without]
    now = sum(node.master_candidate for node in nodes)
    possible = sum(can_be_candidate(node) for node in nodes)
    return PoolStats(now, min(possible, config.cluster.candidate_pool_size), possible)


def can_be_candidate(node: Node) -> bool:
    return node.master_capable and not node.offline and not node.drained


def becomes_candidate(config: Snapshot, master_capable: bool, without: Collection[str]) -> bool:
    """Whether a node that is being added is promoted at once."""
    stats = pool_stats(config, without)
    wanted = min(stats.wanted + 1, config.cluster.candidate_pool_size)
    return master_capable and stats.now < wanted


def fill_pool(draft: Draft, without: Collection[str] = ()) -> list[Node]:
    """Promote nodes until the pool has its size; returns the promoted ones. Never demotes."""
    config = draft.snapshot
    stats = pool_stats(config, without)
    free = sorted(
        (
            node
            for node in config.nodes.values()
            if can_be_candidate(node) and not node.master_candidate and node.uuid not in without
        ),
        key=lambda node: node.name,
    )
    chosen = free[: max(0, stats.wanted - stats.now)]
    return [draft.update(replace(node, master_candidate=True)) for node in chosen]
