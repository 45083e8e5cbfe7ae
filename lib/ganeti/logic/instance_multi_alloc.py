"""OP_INSTANCE_MULTI_ALLOC: several instances, placed at once. Rules: facts/master.md D1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ganeti.alloc import protocol
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import SHARED, Level, Mode
from ganeti.logic import ask, placement
from ganeti.logic.base import WARNING, GeneratedJobs, Held, LockRequest, LogicalUnit
from ganeti.logic.create_request import InstanceRequest, read_request
from ganeti.logic.registry import implements
from ganeti.model.nic import Nic
from ganeti.opcodes.instance import OpInstanceCreate, OpInstanceMultiAlloc
from ganeti.types import DiskTemplate
from ganeti.utils import hosts


@dataclass(frozen=True, slots=True)
class MultiPlan:
    """The creations with their nodes, and the names of those that find none."""

    creations: tuple[OpInstanceCreate, ...]
    failed: tuple[str, ...]


@implements(OpInstanceMultiAlloc)
class InstanceMultiAlloc(LogicalUnit[OpInstanceMultiAlloc, MultiPlan]):
    """Ask the allocator once, then submit a job for each instance that has a place."""

    _obtained: tuple[str, ...] = ()  # nodes that were free, with opportunistic locking

    def arguments(self) -> None:
        names = [hosts.normalize(one.instance_name) for one in self.op.instances]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise OpPrereqError(f"instance {twice[0]} is given twice", Code.INVAL)
        placed = [one for one in self.op.instances if one.pnode is not None]
        if placed and len(placed) != len(self.op.instances):
            raise OpPrereqError("either all instances name their nodes, or none", Code.INVAL)
        if placed and self.op.iallocator is not None:
            raise OpPrereqError("give either an allocator or nodes", Code.INVAL)
        for one in self.op.instances:
            if one.iallocator is not None:
                raise OpPrereqError(
                    f"instance {one.instance_name}: the allocator is given for all at once",
                    Code.INVAL,
                )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        op = self.op
        if any(one.pnode is not None for one in op.instances):
            given = [name for one in op.instances for name in (one.pnode, one.snode) if name]
            nodes = {ask.node(config, name).uuid: SHARED for name in given}
            return LockRequest(nodes=nodes, node_res=nodes)
        if not op.opportunistic_locking:
            return LockRequest(nodes=SHARED, node_res=SHARED)
        wanted = dict.fromkeys(config.nodes, SHARED)
        obtained = held.of(Level.NODE)
        if not isinstance(obtained, Mode) and obtained:
            self._obtained = tuple(obtained)
        return LockRequest(nodes=wanted, node_res=obtained or wanted, opportunistic={Level.NODE: 1})

    def check(self, config: Snapshot) -> MultiPlan:
        """The allocator is asked; NORES when it finds no place for any."""
        op = self.op
        if not op.instances or all(one.pnode is not None for one in op.instances):
            return MultiPlan(tuple(op.instances), ())
        requests = [self._request(config, one) for one in op.instances]
        placed, failed = self._placed(config, requests)
        creations = []
        for one, request in zip(op.instances, requests):
            nodes = placed.get(request.name)
            if nodes is not None:
                second = nodes[1] if len(nodes) > 1 else None
                creations.append(one.replace(pnode=nodes[0], snode=second))
        return MultiPlan(tuple(creations), tuple(failed))

    def _request(self, config: Snapshot, one: OpInstanceCreate) -> InstanceRequest:
        """As the creation itself will read it; names are not resolved here."""
        name = hosts.normalize(one.instance_name)
        address = "192.0.2.1" if one.name_check else None  # what `auto` stands for is of no matter
        return read_request(config, one, name, address)

    def _placed(
        self, config: Snapshot, requests: Sequence[InstanceRequest]
    ) -> tuple[dict[str, list[str]], list[str]]:
        """Nodes by instance, and the names of those without."""
        allocator = placement.allocator_of(config.cluster, self.op.iallocator)
        restrict = [config.nodes[uuid].name for uuid in self._obtained] or None
        groups = [one.group_name for one in self.op.instances]
        request = protocol.multi_allocate_request(
            [
                placement.allocate_request(
                    one,
                    [Nic(mac=nic.mac or "auto", uuid="", ip=nic.ip) for nic in one.nics],
                    group_name=group,
                    restrict_to=restrict,
                )
                for one, group in zip(requests, groups)
            ]
        )
        question = placement.Question(
            allocator=allocator,
            hypervisor=requests[0].hypervisor,
            template=requests[0].template,
            request=request,
        )
        answer = placement.consult(self.services, config, question)
        if not answer.success:
            raise OpPrereqError(
                f"allocator {allocator} finds no nodes: {answer.info}",
                Code.TEMP_NORES if self.op.opportunistic_locking else Code.NORES,
            )
        placed, failed = answer.result
        if failed:
            self.feedback(f"{WARNING}allocator {allocator}: {answer.info}")
        wanted = {one.name: 2 if one.template is DiskTemplate.DRBD else 1 for one in requests}
        for name, nodes in placed:
            if len(nodes) != wanted.get(name):
                raise OpExecError(
                    f"allocator {allocator} has chosen {len(nodes)} nodes for instance {name!r},"
                    f" {wanted.get(name, 'none')} were asked for"
                )
            for node in nodes:
                placement.known_node(config, allocator, node)
        return {name: list(nodes) for name, nodes in placed}, list(failed)

    def execute(self, plan: MultiPlan) -> GeneratedJobs:
        names = [one.instance_name for one in plan.creations]
        return GeneratedJobs(
            [[one] for one in plan.creations],
            {"allocatable": names, "failed": list(plan.failed)},
        )
