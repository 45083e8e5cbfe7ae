"""OP_INSTANCE_REPLACE_DISKS: mirror halves are made anew. Rules: facts/master.md D3.

Only mirrored disks have halves. Their driver comes with a later release; until then everything that
can be refused is refused with its own reason, and what is left says what is missing.
"""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic import ask, relocation
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.instance import Instance
from ganeti.opcodes.disk import OpInstanceReplaceDisks
from ganeti.serializer import Json
from ganeti.types import ReplaceDisksMode


@implements(OpInstanceReplaceDisks)
class InstanceReplaceDisks(LogicalUnit[OpInstanceReplaceDisks, Instance]):
    """Refuse what has no mirror."""

    def arguments(self) -> None:
        op = self.op
        chooses = (op.remote_node is not None) + (op.iallocator is not None)
        if op.mode is ReplaceDisksMode.CHANGE:
            if chooses != 1:
                raise OpPrereqError(
                    "another secondary node: give either its name or an allocator", Code.INVAL
                )
        elif chooses:
            raise OpPrereqError(f"mode {op.mode} takes neither node nor allocator", Code.INVAL)
        if op.disks and op.mode in (ReplaceDisksMode.CHANGE, ReplaceDisksMode.AUTO):
            raise OpPrereqError(f"mode {op.mode} is for all disks at once", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instance = ask.instance(config, self.op.instance_name)
        own = {instance.name: EXCLUSIVE}
        nodes = [node.uuid for node in config.nodes_of(instance)]
        groups = {node.group for node in config.nodes_of(instance)}
        if self.op.iallocator is not None:
            nodes = [node.uuid for uuid in groups for node in config.nodes_in(uuid)]
        elif self.op.remote_node is not None:
            nodes.append(ask.node(config, self.op.remote_node).uuid)
        wanted = dict.fromkeys(nodes, EXCLUSIVE)
        return LockRequest(
            instances=own,
            groups=dict.fromkeys(groups, SHARED) if self.op.iallocator is not None else {},
            nodes=wanted,
            node_res=wanted,
        )

    def check(self, config: Snapshot) -> Instance:
        instance = ask.instance(config, self.op.instance_name)
        nodes = config.nodes_of(instance)
        if len(nodes) != 2:
            raise OpPrereqError(
                f"instance {instance.name} has {len(nodes) - 1} secondary nodes, exactly one is"
                " expected",
                Code.FAULT,
                hint="only disks of template drbd have halves on two nodes",
            )
        if self.op.remote_node is not None:
            remote = ask.node(config, self.op.remote_node)
            if remote in nodes:
                raise OpPrereqError(
                    f"node {remote.name} is a node of instance {instance.name} already", Code.INVAL
                )
        relocation.check_disks(config, instance, "replacement")
        raise OpPrereqError(
            f"instance {instance.name}: this release can't replace mirror halves yet", Code.ENVIRON
        )

    def execute(self, plan: Instance) -> Json:
        raise NotImplementedError
