"""Jobs that take instances away from nodes or groups, as an allocator works them out.

Source: facts/master.md D3 and E.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti import opcodes
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, GenericError, OpExecError, OpPrereqError
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
    *,
    lenient: bool = False,
) -> Jobs:
    """Jobs that carry out the allocator's answer.

    `changes` are opcode parameters that are set where the opcode has them; `lenient` as in
    `placement.Question`. NORES when the allocator does not answer the question, OpExecError when an
    instance can't be moved, or when the answer is about others than the ones that it was asked for.
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
        lenient=lenient,
    )
    answer = placement.consult(services, config, question)
    if not answer.success:
        raise OpPrereqError(
            f"allocator {allocator} finds no other nodes: {answer.info}", Code.NORES
        )
    moved, failed, jobs = answer.result
    if failed:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in failed)
        services.feedback(f"{WARNING}Unable to evacuate instances {reasons}")
        raise OpExecError(f"instances can't be evacuated: {reasons}")
    made = [[_opcode(allocator, one, changes) for one in job] for job in jobs]
    _check_answer(config, allocator, names(instances), moved, made)
    if moved:
        where = ", ".join(f"{name} (to {' '.join(nodes)})" for name, _, nodes in moved)
        services.feedback(f"{INFO}Instances to be moved: {where}")
    return made


def _check_answer(
    config: Snapshot, allocator: str, asked: Sequence[str], moved: Sequence[Json], jobs: Jobs
) -> None:
    """OpExecError when nodes are not known, or instances are others than the ones in question."""
    for name, _, nodes in moved:
        if name not in asked:
            raise OpExecError(f"allocator {allocator} moves instance {name!r}, unasked")
        for node in nodes:
            placement.known_node(config, allocator, node)
    for op in (op for job in jobs for op in job):
        name = getattr(op, "instance_name", None)
        if name not in asked:
            raise OpExecError(f"allocator {allocator} moves instance {name!r}, unasked")
        for target in ("target_node", "remote_node"):
            if (node := getattr(op, target, None)) is not None:
                placement.known_node(config, allocator, node)


def _template(config: Snapshot, instance: Instance) -> DiskTemplate:
    name = template_of(config.disks_of(instance))
    return DiskTemplate(name) if name in set(DiskTemplate) else DiskTemplate.DISKLESS


def _opcode(allocator: str, given: Json, changes: Mapping[str, Any]) -> Opcode:
    try:
        op = opcodes.load(given)
    except GenericError as error:
        raise OpExecError(f"allocator {allocator} wants an impossible job: {error}") from error
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
