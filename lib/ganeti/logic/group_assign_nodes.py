"""OP_GROUP_ASSIGN_NODES: nodes move into a node group. Source: facts/master.md §F."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import OpExecError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.model.node import Node
from ganeti.opcodes.group import OpGroupAssignNodes
from ganeti.serializer import Json
from ganeti.utils.text import nice_sorted


@dataclass(frozen=True, slots=True)
class AssignPlan:
    """The group, and the nodes that are to be in it."""

    group: NodeGroup
    nodes: tuple[Node, ...]


def splits(config: Snapshot, moved: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Names of mirrored instances that a move (node uuid → group uuid) splits between groups.

    First those that are in one group now, then those that are split already and stay so.
    """
    new, old = [], []
    for instance in config.instances.values():
        nodes = config.nodes_of(instance)
        if len({moved.get(node.uuid, node.group) for node in nodes}) < 2:
            continue
        if len({node.group for node in nodes}) < 2:
            new.append(instance.name)
        elif any(node.uuid in moved for node in nodes):
            old.append(instance.name)
    return nice_sorted(new), nice_sorted(old)


def unconnected(config: Snapshot, group: NodeGroup, nodes: Sequence[Node]) -> list[str]:
    """Interfaces, as `web1: lan`, that the move takes to where their network is not connected."""
    found = []
    for node in nodes:
        for instance in config.primary_instances(node.uuid):
            for uuid in dict.fromkeys(nic.network for nic in instance.nics):
                if uuid is not None and uuid not in group.networks:
                    found.append(f"{instance.name}: {config.networks[uuid].name}")
    return nice_sorted(found)


@implements(OpGroupAssignNodes)
class GroupAssignNodes(LogicalUnit[OpGroupAssignNodes, AssignPlan]):
    """A mirrored instance is not torn between two groups unless forced. No hooks of its own."""

    config_hook = True

    def _nodes(self, config: Snapshot) -> Sequence[Node]:
        return tuple(ask.node(config, name) for name in dict.fromkeys(self.op.nodes))

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        group, nodes = ask.group(config, self.op.group_name), self._nodes(config)
        return LockRequest(
            groups=dict.fromkeys([group.uuid, *(node.group for node in nodes)], EXCLUSIVE),
            nodes=dict.fromkeys([node.uuid for node in nodes], EXCLUSIVE),
        )

    def check(self, config: Snapshot) -> AssignPlan:
        group, nodes = ask.group(config, self.op.group_name), self._nodes(config)
        new, old = splits(config, {node.uuid: group.uuid for node in nodes})
        if new:
            text = f"instances get split between node groups: {', '.join(new)}"
            if not self.op.force:
                raise OpExecError(f"{text}; --force moves the nodes all the same")
            self.warn(text)
        if old:
            self.warn(f"instances stay split between node groups: {', '.join(old)}")
        moving = [node for node in nodes if node.group != group.uuid]
        if cut := unconnected(config, group, moving):
            self.warn(
                f"networks of instances are not connected to node group {group.name}:"
                f" {', '.join(cut)}; gnt-network connect connects them"
            )
        return AssignPlan(group, tuple(nodes))

    def execute(self, plan: AssignPlan) -> Json:
        def assign(draft: Draft) -> None:
            for node in plan.nodes:
                draft.update(replace(draft.snapshot.nodes[node.uuid], group=plan.group.uuid))

        self.commit(assign)
        return None
