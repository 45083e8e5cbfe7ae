"""Find nodes for instances: pure, and the same answer for the same question.

A node must be usable (online, not drained, vm_capable), have the memory and space, stay within the
group's policy, and every touched node must still have room for what would fail over to it when any
single other node fails (N+1). A new instance also needs that the group's other nodes together could
run what shares its disks with them (spare.py); one that only leaves its node does not, as its node
may be the one that has failed. Among what is left the most even spread wins (score.py), then the
first names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from ganeti.alloc.cluster import (
    EXTERNALLY_MIRRORED,
    LOCAL_STORAGE,
    AllocGroup,
    AllocInstance,
    AllocNode,
    WhatIf,
)
from ganeti.alloc.score import Spread
from ganeti.alloc.spare import Spare
from ganeti.model.ipolicy import violations
from ganeti.types import AllocPolicy, DiskTemplate

SCORE_DIGITS: Final = 9  # what follows is noise of the arithmetic

FIRST_ROUND: Final = 24
"""Nodes tried as primary and as secondary at first; the others only if none of them fit."""


class Refusal(StrEnum):
    """Why a placement is not possible."""

    UNUSABLE = "node is offline, drained or not for instances"
    MEMORY = "not enough memory"
    DISK = "not enough disk space"
    CPU = "too many virtual processors"
    SPINDLES = "too many spindles"
    FAILOVER = "a node could fail without room for its instances"
    TAGS = "exclusion tags"


COUNTED: Final = frozenset(one.value for one in Refusal)
"""Refusals of nodes, or of pairs of them: how many there were tells something."""

SOFT: Final = frozenset({Refusal.CPU, Refusal.SPINDLES, Refusal.FAILOVER, Refusal.TAGS})
"""Unwise and not impossible: allowed where the cluster is lenient."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The chosen nodes, primary first; none when nothing fits, and `refused` says why not."""

    nodes: tuple[str, ...] = ()
    group: str = ""  # uuid
    score: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def found(self) -> bool:
        return bool(self.nodes)

    @property
    def reasons(self) -> str:
        """`not enough memory (3 times), …`, most frequent first."""
        return ", ".join(
            f"{reason} ({count} times)" if reason in COUNTED and count > 1 else reason
            for reason, count in self.refused.most_common()
        )


def refusal(
    cluster: WhatIf, group: AllocGroup, instance: AllocInstance
) -> tuple[Refusal | None, dict[str, AllocNode]]:
    """Whether the instance can be on its nodes, and these as they would be."""
    if not all(name in cluster.nodes and cluster.nodes[name].usable for name in instance.nodes):
        return Refusal.UNUSABLE, {}
    changed = cluster.changed_nodes(instance)
    for node in changed.values():
        problem = _overloaded(cluster, group, instance, node)
        if problem is not None:
            return problem, changed
    return None, changed


def _overloaded(
    cluster: WhatIf, group: AllocGroup, instance: AllocInstance, after: AllocNode
) -> Refusal | None:
    before = cluster.nodes[after.name]
    if after.free_memory < 0:
        return Refusal.MEMORY
    if instance.disk_template in LOCAL_STORAGE and after.free_disk < 0 and instance.disk:
        unknown = instance.disk_template == DiskTemplate.FILE and before.total_disk == 0
        if not unknown:  # the space of file storage is not always reported
            return Refusal.DISK
    return None if cluster.lenient else _unwise(group, before, after)


def _unwise(group: AllocGroup, before: AllocNode, after: AllocNode) -> Refusal | None:
    """One of `SOFT`."""
    ratio = float(group.ipolicy["vcpu-ratio"])
    if after.vcpus > before.vcpus and after.vcpus > ratio * after.total_cpus > 0:
        return Refusal.CPU
    if after.spindles > float(group.ipolicy["spindle-ratio"]) * after.spindle_count > 0:
        return Refusal.SPINDLES
    if not after.survives_one_failure:
        return Refusal.FAILOVER
    if after.clashes > before.clashes:
        return Refusal.TAGS
    return None


# Choice among candidates.


def _best(
    cluster: WhatIf,
    group: AllocGroup,
    instance: AllocInstance,
    candidates: Iterable[tuple[str, ...]],
    refused: Counter[str],
    spread: Spread,
    spare: Spare | None = None,
) -> Placement | None:
    """The first one that is possible, in the order of their scores; equal ones as they came."""
    scored = [(round(spread.score_on(instance, one), SCORE_DIGITS), one) for one in candidates]
    scored.sort(key=lambda pair: pair[0])
    for score, nodes in scored:
        problem, changed = refusal(cluster, group, replace(instance, nodes=nodes))
        if problem is None and (spare is None or spare.holds(changed)):
            return Placement(nodes, group.uuid, score, refused)
        refused[(problem or Refusal.FAILOVER).value] += 1
    return None


def _place_in_group(
    cluster: WhatIf, group: AllocGroup, instance: AllocInstance, within: Collection[str] | None
) -> Placement:
    refused: Counter[str] = Counter()
    wrong = violations(group.ipolicy, instance.spec)
    if instance.networks - group.networks:
        wrong.append("group is not connected to a network")
    if wrong:
        refused.update(wrong)
        return Placement(refused=refused)
    members = cluster.members(group.uuid)
    spread = Spread(members)
    names = [node.name for node in members if within is None or node.name in within]
    if len(names) < instance.required_nodes:
        return Placement(refused=Counter(["too few usable nodes"]))
    spare = None
    if not cluster.lenient:
        spare = Spare(members, instance.memory)
        if not spare.holds({}):  # then it does not hold with one more either
            return Placement(refused=Counter([Refusal.FAILOVER.value]))
    if instance.required_nodes == 1:
        alone = ((name,) for name in names)
        found = _best(cluster, group, instance, alone, refused, spread, spare)
    else:
        found = _best_pair(cluster, group, instance, names, refused, spread, spare)
    return found or Placement(refused=refused)


def _on(instance: AllocInstance, *nodes: str) -> AllocInstance:
    return replace(instance, nodes=nodes)


def _best_pair(
    cluster: WhatIf,
    group: AllocGroup,
    instance: AllocInstance,
    names: Sequence[str],
    refused: Counter[str],
    spread: Spread,
    spare: Spare | None,
) -> Placement | None:
    """The best primary and secondary: first among the emptiest nodes, then among all."""

    def pairs(some: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, str]]:
        return ((one, other) for one in some for other in others if one != other)

    if len(names) > FIRST_ROUND:
        ranks = {name: spread.score_on(instance, (name,)) for name in names}
        chosen = set(sorted(names, key=ranks.__getitem__)[:FIRST_ROUND])
        first = [name for name in names if name in chosen]
        found = _best(cluster, group, instance, pairs(first, first), Counter(), spread, spare)
        if found is not None:
            return found
    some, others = _able(cluster, group, instance, names, refused)
    return _best(cluster, group, instance, pairs(some, others), refused, spread, spare)


def _able(
    cluster: WhatIf,
    group: AllocGroup,
    instance: AllocInstance,
    names: Sequence[str],
    refused: Counter[str],
) -> tuple[list[str], list[str]]:
    """The nodes that could be primary, and those that could be secondary, whatever the other is."""
    some: list[str] = []
    others: list[str] = []
    exclusions = cluster.exclusions(instance)
    nowhere = _on(instance, "", "")
    for name in names:
        node = cluster.nodes[name]
        first = node.with_primary(nowhere, 1, exclusions, known=False)
        second = node.with_secondary(nowhere, 1, known=False)
        for list_of, after in ((some, first), (others, second)):
            problem = _overloaded(cluster, group, instance, after)
            if problem is None:
                list_of.append(name)
            else:
                refused[problem.value] += 1
    return some, others


def _in_best_group(
    groups: Iterable[AllocGroup], place: Callable[[AllocGroup], Placement]
) -> Placement:
    """Preferred groups before those of last resort, never unallocable ones; then by score."""
    refused: Counter[str] = Counter()
    known = sorted(groups, key=lambda group: group.name)
    for policy in (AllocPolicy.PREFERRED, AllocPolicy.LAST_RESORT):
        tried = [place(group) for group in known if group.alloc_policy is policy]
        found = [placement for placement in tried if placement.found]
        if found:
            return min(found, key=lambda placement: placement.score)
        for placement in tried:
            refused.update(placement.refused)
    return Placement(refused=refused)


# Questions.


def allocate(
    cluster: WhatIf,
    instance: AllocInstance,
    *,
    group: str | None = None,
    within: Collection[str] | None = None,
) -> Placement:
    """Nodes for a new instance.

    `group` (name or uuid) restricts to one group, which may then be unallocable; `within` to some
    nodes.
    """
    if group is not None:
        wanted = [one for one in cluster.groups.values() if group in (one.uuid, one.name)]
        if not wanted:
            return Placement(refused=Counter([f"no group {group}"]))
        return _place_in_group(cluster, wanted[0], instance, within)
    return _in_best_group(
        cluster.groups.values(), lambda one: _place_in_group(cluster, one, instance, within)
    )


def relocate(cluster: WhatIf, name: str, away_from: Collection[str]) -> Placement:
    """All nodes of the instance after it left `away_from`, in its group.

    DRBD leaves its secondary, an externally mirrored instance its primary.
    """
    instance = cluster.instances[name]
    without = cluster.remove(name)
    group = cluster.group_of(instance)
    members = without.members(group.uuid)
    refused: Counter[str] = Counter()
    targets = [node.name for node in members if node.name not in {*instance.nodes, *away_from}]
    if instance.disk_template == DiskTemplate.DRBD:
        if set(away_from) != set(instance.nodes[1:]):
            return Placement(refused=Counter(["only the secondary node can be replaced"]))
        candidates = (_on(instance, instance.nodes[0], target) for target in targets)
        found = _best_secondary(without, group, candidates, refused, Spread(members))
    elif instance.disk_template in EXTERNALLY_MIRRORED:
        if set(away_from) != set(instance.nodes[:1]):
            return Placement(refused=Counter(["only the primary node can be replaced"]))
        alone = ((target,) for target in targets)
        found = _best(without, group, instance, alone, refused, Spread(members))
    else:
        text = f"instances of type {instance.disk_template} cannot be relocated"
        return Placement(refused=Counter([text]))
    return found or Placement(refused=refused)


def _best_secondary(
    cluster: WhatIf,
    group: AllocGroup,
    candidates: Iterable[AllocInstance],
    refused: Counter[str],
    spread: Spread,
) -> Placement | None:
    """Like `_best`, but the primary keeps the instance whatever its state is: only the secondary
    is checked, so that an instance can leave a secondary while its primary is drained."""
    best: Placement | None = None
    for instance in candidates:
        changed = cluster.changed_nodes(instance)
        name = instance.nodes[1]
        problem = _overloaded(cluster, group, instance, changed[name])
        if problem is not None:
            refused[problem.value] += 1
            continue
        score = spread.score([(cluster.nodes[name], changed[name])])
        if best is None or score < best.score - 1e-9:
            best = Placement(instance.nodes, group.uuid, score, refused)
    return best


def move_out(cluster: WhatIf, name: str, targets: Iterable[str]) -> Placement:
    """New nodes for the whole instance in the best of some groups (uuids)."""
    instance = cluster.instances[name]
    if instance.disk_template not in EXTERNALLY_MIRRORED | {DiskTemplate.DRBD.value}:
        text = f"instances of type {instance.disk_template} cannot be relocated"
        return Placement(refused=Counter([text]))
    without = cluster.remove(name)
    new = replace(instance, nodes=())
    outside = {node for node in cluster.nodes if node not in instance.nodes}
    groups = [cluster.groups[uuid] for uuid in targets if uuid in cluster.groups]
    return _in_best_group(groups, lambda one: _place_in_group(without, one, new, outside))
