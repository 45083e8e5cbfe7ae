"""Opcodes for tests of the cluster software itself."""

from collections.abc import Sequence

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.types import (
    Allocation,
    AllocationSide,
    Evacuation,
    Hypervisor,
    Name,
    NicParams,
    NotNegative,
    SecretParams,
)
from ganeti.serializer import Json
from ganeti.types import DiskTemplate


@opcode(summary="iallocator", result=str)
class OpTestAllocator(Opcode):
    """Ask an instance allocator, and show the request or the answer."""

    direction: AllocationSide = param("show the request (in) or the answer (out)")
    mode: Allocation = param("what is asked")
    name: Name = param("instance or node that is asked about")
    nics: Sequence[NicParams] | None = param("network interfaces of the instance", default=None)
    disks: Sequence[Json] | None = param("disks of the instance", default=None)
    hypervisor: Hypervisor | None = param("hypervisor of the instance", default=None)
    iallocator: Name | None = param("allocator to ask", default=None)
    tags: Sequence[Name] = param("tags of the instance", default=())
    memory: NotNegative | None = param("MiB of memory of the instance", default=None)
    vcpus: NotNegative | None = param("virtual CPUs of the instance", default=None)
    os: Name | None = param("OS of the instance", default=None)
    disk_template: DiskTemplate | None = param("how the disks are made", default=None)
    instances: Sequence[Name] | None = param("instances to move", default=None)
    evac_mode: Evacuation | None = param("which instances leave the node", default=None)
    target_groups: Sequence[Name] | None = param(
        "groups to move to; none: all others", default=None
    )
    spindle_use: NotNegative = param("spindles the instance uses", default=1)
    count: NotNegative = param("how many instances", default=1)
    group_name: Name | None = param("node group to allocate in", default=None)


@opcode(summary="duration")
class OpTestDelay(Opcode):
    """Sleep; for tests of the job queue."""

    duration: float = param("seconds to sleep")
    on_master: bool = param("sleep on the master", default=True)
    on_nodes: Sequence[Name] = param("nodes to sleep on", default=())
    on_node_uuids: Sequence[Name] | None = param(
        "uuids of the nodes that are meant", default=None, uuid_of="on_nodes"
    )
    repeat: NotNegative = param("how often to repeat; 0: once", default=0)
    interruptible: bool = param("a connection to a socket ends the sleep", default=False)
    no_locks: bool = param("sleep without locking the nodes", default=True)


@opcode()
class OpTestDummy(Opcode):
    """Do what the parameters say; for tests of the job processor, nobody serves it."""

    result: Json = param("result to give", default=None)
    messages: Json = param("texts to log", default=None)
    fail: Json = param("whether to fail", default=None)
    submit_jobs: Json = param("jobs to submit", default=None)


@opcode(result=bool)
class OpTestJqueue(Opcode):
    """Go through the states of a job slowly; for tests of the job queue."""

    notify_waitlock: bool = param("tell before locks are taken", default=False)
    notify_exec: bool = param("tell before it is executed", default=False)
    log_messages: Sequence[str] = param("texts to log", default=())
    fail: bool = param("whether to fail", default=False)


@opcode()
class OpTestOsParams(Opcode):
    """Take secret OS parameters and do nothing; for tests of how they are hidden."""

    osparams_secret: SecretParams | None = param(
        "OS parameters that are neither shown nor stored", default=None
    )
