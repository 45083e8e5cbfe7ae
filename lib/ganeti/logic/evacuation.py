"""Jobs that take instances away from nodes or groups, as an allocator works them out.

Source: facts/master.md D3 and E.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti import opcodes
from ganeti.alloc import protocol
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.logic import placement
from ganeti.logic.base import INFO, WARNING, Services
from ganeti.model.disk import template_of
from ganeti.model.instance import Instance
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.instance import OpInstanceFailover, OpInstanceMigrate
from ganeti.serializer import Json
from ganeti.types import DiskTemplate
from ganeti.utils.text import nice_sorted

Jobs = list[list[Opcode]]


def jobs_for(
    services: Services,
    config: Snapshot,
    instances: Sequence[Instance],
    request: Mapping[str, Json],
    wanted_allocator: str | None,
    changes: Mapping[str, Any],
) -> Jobs:
    """Jobs that carry out the allocator's answer.

    `changes` are opcode parameters that are set where the opcode has them. NORES when the allocator
    does not answer the question, OpExecError when an instance can't be moved.
    """
    if not instances:
        return []
    allocator = placement.allocator_of(config.cluster, wanted_allocator)
    first = instances[0]
    question = placement.Question(
        allocator=allocator,
        hypervisor=first.hypervisor,
        template=_template(config, first),
        request=request,
    )
    document = placement.input_document(services, config, question)
    text = placement.run_allocator(services, config, allocator, document)
    answer = protocol.parse_answer(request, text)
    if not answer.success:
        raise OpPrereqError(
            f"allocator {allocator} finds no other nodes: {answer.info}", Code.NORES
        )
    moved, failed, jobs = answer.result
    if failed:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in failed)
        services.feedback(f"{WARNING}Unable to evacuate instances {reasons}")
        raise OpExecError(f"instances can't be evacuated: {reasons}")
    if moved:
        where = ", ".join(f"{name} (to {' '.join(nodes)})" for name, _, nodes in moved)
        services.feedback(f"{INFO}Instances to be moved: {where}")
    return [[_opcode(one, changes) for one in job] for job in jobs]


def _template(config: Snapshot, instance: Instance) -> DiskTemplate:
    name = template_of(config.disks_of(instance))
    return DiskTemplate(name) if name in set(DiskTemplate) else DiskTemplate.DISKLESS


def _opcode(given: Json, changes: Mapping[str, Any]) -> Opcode:
    op = opcodes.load(given)
    return op.replace(**{name: value for name, value in changes.items() if hasattr(op, name)})


def as_failovers(jobs: Jobs) -> Jobs:
    """Migrations become failovers."""
    return [[_failover(op) for op in job] for job in jobs]


def _failover(op: Opcode) -> Opcode:
    if not isinstance(op, OpInstanceMigrate):
        return op
    return OpInstanceFailover(
        instance_name=op.instance_name,
        target_node=op.target_node,
        iallocator=op.iallocator,
        ignore_ipolicy=op.ignore_ipolicy,
    )


def one_after_the_other(jobs: Jobs) -> Jobs:
    """Each job waits for the one before, however that ends."""
    return [
        job if number == 0 else [op.replace(depends=[(-1, [])]) for op in job]
        for number, job in enumerate(jobs)
    ]


def names(instances: Sequence[Instance]) -> list[str]:
    return nice_sorted([one.name for one in instances])
