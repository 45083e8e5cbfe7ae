"""The plan of a new instance: what will be stored, on which nodes. Pure.

Facts: facts/master.md D1, steps 18 and 21.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic.create_request import (
    InstanceRequest,
    check_exclusive_storage,
    storage_directory,
)
from ganeti.logic.disks import exclusive_storage
from ganeti.model.disk import Disk
from ganeti.model.inherit import fill_ipolicy
from ganeti.model.instance import Instance
from ganeti.model.ipolicy import InstanceSpec, violations
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.opcodes.instance import OpInstanceCreate
from ganeti.storage.layout import DEFAULT_FILE_DRIVER, TRAITS, Place, file_directory, plan_disks
from ganeti.types import AdminState, AdminStateSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePlan:
    """The instance as it will be stored: down, without a port."""

    instance: Instance
    disks: tuple[Disk, ...]
    nodes: tuple[Node, ...]  # primary first
    wants_port: bool
    install: bool
    start: bool
    adopts: bool  # the disks hold something already


def uuids_needed(request: InstanceRequest) -> int:
    """One for the instance; for each disk its own and that of its name, mirrors have children."""
    per_disk = 4 if TRAITS[request.template].mirrored else 2
    return 1 + per_disk * len(request.disks)


def make_plan(
    config: Snapshot,
    op: OpInstanceCreate,
    request: InstanceRequest,
    nics: tuple[Nic, ...],
    nodes: tuple[Node, ...],
    uuids: Sequence[str],
) -> CreatePlan:
    """The instance with its disks; `uuids` as many as `uuids_needed` says."""
    uuid, *fresh = uuids
    supply = iter(fresh)
    place = _place(config, op, request, uuid, nodes)
    disks = plan_disks(request.template, request.disks, place, lambda: next(supply))
    instance = Instance(
        uuid=uuid,
        name=request.name,
        primary_node=nodes[0].uuid,
        os=request.os,
        hypervisor=request.hypervisor,
        hvparams=request.hvparams,
        beparams=request.beparams,
        osparams=request.osparams,
        osparams_private=request.osparams_private,
        admin_state=AdminState.DOWN,
        admin_state_source=AdminStateSource.ADMIN,
        nics=nics,
        disks=tuple(disk.uuid for disk in disks),
        disks_active=False,
        tags=request.tags,
    )
    install = not op.no_install
    return CreatePlan(
        instance=instance,
        disks=disks,
        nodes=nodes,
        wants_port=request.wants_port,
        install=install,
        start=op.start and install,
        adopts=any(spec.adopt is not None for spec in request.disks),
    )


def _place(
    config: Snapshot,
    op: OpInstanceCreate,
    request: InstanceRequest,
    uuid: str,
    nodes: Sequence[Node],
) -> Place:
    cluster = config.cluster
    storage = storage_directory(cluster, request.template)
    return Place(
        instance_uuid=uuid,
        nodes=[node.uuid for node in nodes],
        vg=cluster.volume_group_name or "",
        file_directory=file_directory(storage, op.file_storage_dir, request.name)
        if storage
        else "",
        file_driver=op.file_driver or DEFAULT_FILE_DRIVER,
    )


def check_policy(
    config: Snapshot, request: InstanceRequest, primary: Node, *, ignore: bool
) -> None:
    """The nodes' storage and the policy of their group take it; INVAL, STATE.

    `ignore`: the policy is not looked at.
    """
    exclusive = exclusive_storage(config, primary)
    check_exclusive_storage(request, exclusive)
    if ignore:
        return
    spindles = int(request.filled_beparams["spindle_use"])
    if exclusive:
        spindles = sum(disk.spindles or 0 for disk in request.disks)
    spec = InstanceSpec(
        memory=request.memory_mib,
        vcpus=int(request.filled_beparams["vcpus"]),
        disk_sizes=tuple(disk.size_mib for disk in request.disks),
        disk_templates=(request.template.value,),
        nic_count=len(request.nics),
        spindle_use=spindles,
    )
    group = config.group_of(primary)
    problems = violations(fill_ipolicy(config.cluster, group), spec)
    if problems:
        raise OpPrereqError(
            f"instance {request.name} violates the policy of node group {group.name}:"
            f" {'; '.join(problems)}",
            Code.INVAL,
        )
