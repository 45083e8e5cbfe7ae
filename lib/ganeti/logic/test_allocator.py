"""OP_TEST_ALLOCATOR: the request that an allocator would get, or its answer; nothing is changed.

Source: facts/opcodes.json, facts/locks.json; the requests: facts/master.md §E.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganeti.alloc import protocol
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask, placement
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.disk import template_of
from ganeti.opcodes.test import OpTestAllocator
from ganeti.serializer import Json, dumps
from ganeti.storage.layout import TRAITS, total_space_mib
from ganeti.types import AllocatorDirection, AllocatorMode, DiskTemplate, HypervisorKind

NEW = (AllocatorMode.ALLOCATE, AllocatorMode.MULTI_ALLOCATE)
MOVING = (AllocatorMode.NODE_EVACUATE, AllocatorMode.CHANGE_GROUP)


@dataclass(frozen=True, slots=True)
class AskPlan:
    """What to ask."""

    question: placement.Question


@implements(OpTestAllocator)
class TestAllocator(LogicalUnit[OpTestAllocator, AskPlan]):
    """The result is a text: the document or the answer, as JSON."""

    def arguments(self) -> None:
        op = self.op
        if op.direction is AllocatorDirection.OUT and op.iallocator is None:
            raise OpPrereqError("--dir out needs the name of an allocator", Code.INVAL)
        if op.mode in NEW:
            missing = [
                name
                for name in ("memory", "vcpus", "disks", "disk_template", "os")
                if getattr(op, name) is None
            ]
            if missing:
                raise OpPrereqError(
                    f"mode {op.mode} needs {', '.join(missing)} as well", Code.INVAL
                )
        if op.mode in MOVING and not op.instances:
            raise OpPrereqError(f"mode {op.mode} needs instances", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def check(self, config: Snapshot) -> AskPlan:
        hypervisor = self.op.hypervisor or config.cluster.enabled_hypervisors[0]
        template = self.op.disk_template or config.cluster.enabled_disk_templates[0]
        return AskPlan(
            placement.Question(
                allocator=placement.allocator_of(config.cluster, self.op.iallocator),
                hypervisor=HypervisorKind(hypervisor),
                template=template,
                request=self._request(config, HypervisorKind(hypervisor)),
            )
        )

    def execute(self, plan: AskPlan) -> str:
        config = self.services.snapshot()
        document = placement.input_document(self.services, config, plan.question)
        if self.op.direction is AllocatorDirection.IN:
            return dumps(document)
        return placement.run_allocator(self.services, config, plan.question.allocator, document)

    def _request(self, config: Snapshot, hypervisor: HypervisorKind) -> dict[str, Json]:
        op = self.op
        match op.mode:
            case AllocatorMode.ALLOCATE:
                return self._new(config, op.name, hypervisor)
            case AllocatorMode.MULTI_ALLOCATE:
                names = [f"{op.name}{number}" for number in range(op.count)]
                return protocol.multi_allocate_request(
                    [self._new(config, name, hypervisor) for name in names]
                )
            case AllocatorMode.RELOCATE:
                return self._relocate(config)
            case AllocatorMode.ALLOCATE_SECONDARY:
                instance = ask.instance(config, op.name)
                return protocol.allocate_secondary_request(instance.name)
            case AllocatorMode.NODE_EVACUATE:
                mode = protocol.EvacuationMode(op.evac_mode or protocol.EvacuationMode.ALL)
                return protocol.evacuate_request(self._instances(config), mode)
            case _:
                groups = [ask.group(config, name).uuid for name in op.target_groups or ()]
                return protocol.change_group_request(self._instances(config), groups)

    def _instances(self, config: Snapshot) -> list[str]:
        return [ask.instance(config, name).name for name in self.op.instances or ()]

    def _new(self, config: Snapshot, name: str, hypervisor: HypervisorKind) -> dict[str, Json]:
        op = self.op
        if config.find_instance(name) is not None:
            raise OpPrereqError(f"instance {name} exists, a new name is to be placed", Code.EXISTS)
        template = DiskTemplate(op.disk_template or DiskTemplate.DISKLESS)
        return protocol.allocate_request(
            name=name,
            disk_template=template.value,
            os=op.os or "",
            vcpus=op.vcpus or 1,
            memory=op.memory or 0,
            spindle_use=op.spindle_use,
            disks=[_disk(disk) for disk in op.disks or ()],
            nics=[_nic(dict(nic)) for nic in op.nics or ()],
            hypervisor=hypervisor.value,
            tags=op.tags,
            group_name=op.group_name,
        )

    def _relocate(self, config: Snapshot) -> dict[str, Json]:
        instance = ask.instance(config, self.op.name)
        disks = config.disks_of(instance)
        template = DiskTemplate(template_of(disks))
        leaving = config.nodes_of(instance)
        if TRAITS[template].mirrored:
            leaving = leaving[1:]
        space = total_space_mib(template, [disk.size for disk in disks])
        return protocol.relocate_request(instance.name, space, [node.name for node in leaving])


def _disk(disk: Json) -> dict[str, Json]:
    if not isinstance(disk, dict) or not isinstance(disk.get("size"), int):
        raise OpPrereqError(f"disk {disk!r}: a size is needed", Code.INVAL)
    if disk.setdefault("mode", "rw") not in ("ro", "rw"):
        raise OpPrereqError(f"disk {disk!r}: the mode is ro or rw", Code.INVAL)
    return disk


def _nic(nic: Mapping[str, Any]) -> dict[str, Json]:
    """What was given (samples/iallocator)."""
    return {name: nic[name] for name in ("mac", "ip", "bridge") if nic.get(name) is not None}
