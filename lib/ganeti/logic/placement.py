"""Which nodes a new instance goes to, when the administrator leaves it to the cluster.

A script in the allocators' search path answers, or the built-in allocator, which gets and gives
the same documents (facts/master.md E).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganeti.alloc import answer, protocol
from ganeti.alloc.protocol import NodeNumbers
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError, ResultValidationError
from ganeti.logic import ask
from ganeti.logic.base import INFO, WARNING, Services
from ganeti.logic.create_request import InstanceRequest, storage_directory
from ganeti.logic.disks import exclusive_storage
from ganeti.model.cluster import Cluster
from ganeti.model.inherit import fill_beparams, fill_ipolicy, fill_ndparams, fill_nic
from ganeti.model.instance import Instance
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.model.report import NodeInfo, RunningInfo
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.serializer import Json, dumps
from ganeti.storage.layout import TRAITS
from ganeti.types import DiskTemplate, HypervisorKind, StorageType

DEFAULT_WORD = "."
"""In place of a name: the cluster's default allocator."""

BUILT_IN = "hail"
"""The name under which the built-in allocator answers where there is no script of that name."""

StorageUnit = tuple[str, str | None, Sequence[Json]]


def allocator_of(cluster: Cluster, wanted: str | None) -> str:
    """Name of the allocator: the wanted one, else the cluster's, else the built-in one."""
    if wanted is not None and wanted != DEFAULT_WORD:
        return wanted
    return cluster.default_iallocator or BUILT_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an allocator is asked. `request` is a protocol request; the rest says what to measure.

    `opportunistic`: only the nodes that could be locked at once are considered. `lenient`: what is
    not impossible but unwise is allowed, such as a node without room for its failovers.
    """

    allocator: str
    hypervisor: HypervisorKind
    template: DiskTemplate
    request: Mapping[str, Json]
    opportunistic: bool = False
    lenient: bool = False


def choose_nodes(services: Services, config: Snapshot, question: Question) -> tuple[Node, ...]:
    """The chosen nodes, primary first. NORES when there are none.

    TEMP_NORES when not all nodes were considered: then the job tries again with all.
    """
    allocator, request = question.allocator, question.request
    found = consult(services, config, question)
    if not found.success:
        raise OpPrereqError(
            f"allocator {allocator} finds no nodes for instance {request['name']}: {found.info}",
            Code.TEMP_NORES if question.opportunistic else Code.NORES,
            hint="free something, or name the nodes",
        )
    services.feedback(
        f"{INFO}Selected nodes for instance {request['name']} via iallocator {allocator}:"
        f" {', '.join(found.result)}"
    )
    return tuple(known_node(config, allocator, name) for name in found.result)


def consult(services: Services, config: Snapshot, question: Question) -> protocol.Answer:
    """The allocator's answer, in the right form; it may be that there is no place.

    OpExecError or ResultValidationError, with the allocator's name and last words, when it fails or
    what it wrote is no answer.
    """
    document = input_document(services, config, question)
    text = run_allocator(services, config, question.allocator, document, question.lenient)
    try:
        return protocol.parse_answer(question.request, text)
    except (OpExecError, ResultValidationError) as error:
        words = protocol.last_words(text)
        raise type(error)(
            f"allocator {question.allocator}: {error}; "
            + (f"it wrote {words!r}" if words else "it wrote nothing")
        ) from None


def known_node(config: Snapshot, allocator: str, name: str) -> Node:
    """The node that an allocator named; OpExecError when there is none."""
    node = config.find_node(name)
    if node is None:
        raise OpExecError(f"allocator {allocator} has chosen node {name!r}, which is not known")
    return node


def is_installed(paths: Paths, name: str) -> bool:
    """Whether the search path of the master node has a script of this name."""
    if not name or "/" in name:
        return False
    return any(os.access(place / name, os.X_OK) for place in paths.allocator_search)


def run_allocator(
    services: Services,
    config: Snapshot,
    name: str,
    document: Mapping[str, Json],
    lenient: bool = False,
) -> str:
    """The text that the allocator answers; OpExecError when it fails or is not installed."""
    if name == BUILT_IN and not is_installed(services.paths, name):
        return dumps(answer.solve(document, lenient=lenient))
    more = {"ignore-soft-errors": None} if lenient else {}
    outcome = services.rpc.ask(
        config.master(),
        calls.iallocator_runner,
        name,
        dumps(document),
        {**config.cluster.default_iallocator_params, **more},
    )
    return outcome.get(f"running allocator {name}")


def allocate_request(
    request: InstanceRequest,
    nics: Sequence[Nic],
    *,
    group_name: str | None,
    restrict_to: Sequence[str] | None,
) -> dict[str, Json]:
    """The question for a new instance; `restrict_to`: names of the nodes that are locked."""
    return protocol.allocate_request(
        name=request.name,
        disk_template=request.template.value,
        os=request.os,
        vcpus=int(request.filled_beparams["vcpus"]),
        memory=request.memory_mib,
        spindle_use=int(request.filled_beparams["spindle_use"]),
        disks=[{"size": disk.size_mib, "mode": disk.mode.value} for disk in request.disks],
        nics=[_nic_entry(nic) for nic in nics],
        hypervisor=request.hypervisor.value,
        tags=request.tags,
        group_name=group_name,
        restrict_to_nodes=restrict_to,
    )


def _nic_entry(nic: Nic) -> dict[str, Json]:
    entry: dict[str, Json] = {"mac": nic.mac, "ip": nic.ip, "nicparams": dict(nic.nicparams)}
    if nic.network is not None:
        entry["network"] = nic.network
    return entry


# The input document.


def input_document(services: Services, config: Snapshot, question: Question) -> dict[str, Json]:
    """The cluster as it is now, with a request. A node that does not answer has no figures."""
    cluster = config.cluster
    numbers = measure(services, config, question.hypervisor, question.template)
    return protocol.document(
        cluster_name=cluster.cluster_name,
        cluster_tags=cluster.tags,
        enabled_hypervisors=[kind.value for kind in cluster.enabled_hypervisors],
        ipolicy=fill_ipolicy(cluster),
        nodegroups={
            group.uuid: protocol.group_entry(group, fill_ipolicy(cluster, group))
            for group in config.groups.values()
        },
        nodes={
            node.name: protocol.node_entry(
                node,
                fill_ndparams(cluster, config.group_of(node), node),
                numbers.get(node.uuid),
            )
            for node in config.nodes.values()
        },
        instances={one.name: _instance_entry(config, one) for one in config.instances.values()},
        request=question.request,
    )


def _instance_entry(config: Snapshot, instance: Instance) -> dict[str, Json]:
    group = config.group_of(config.nodes[instance.primary_node])
    return protocol.instance_entry(
        instance,
        fill_beparams(config.cluster, instance.beparams),
        config.disks_of(instance),
        [fill_nic(config.cluster, nic, group) for nic in instance.nics],
        [node.name for node in config.nodes_of(instance)],
    )


def measure(
    services: Services, config: Snapshot, hypervisor: HypervisorKind, template: DiskTemplate
) -> dict[str, NodeNumbers]:
    """Figures of every node that can hold instances and answers, by uuid."""
    nodes = [node for node in config.online_nodes() if node.vm_capable]
    specs = [(hypervisor.value, ask.cluster_hvparams(config, hypervisor))]
    kinds = [kind.value for kind in config.cluster.enabled_hypervisors]
    hvparams = {kind: ask.cluster_hvparams(config, HypervisorKind(kind)) for kind in kinds}
    work = [
        (node, (_storage_units(config, node, template), specs, kinds, hvparams)) for node in nodes
    ]
    made = {}
    for uuid, outcome in services.rpc.each(work, calls.node_figures).items():
        if outcome.ok:
            made[uuid] = _numbers(config, config.nodes[uuid], *outcome.get())
        else:
            services.feedback(
                f"{WARNING}node {outcome.node.name} is not considered: {outcome.error}"
            )
    return made


def _storage_units(config: Snapshot, node: Node, template: DiskTemplate) -> list[StorageUnit]:
    """Where disks of this template take their space."""
    match TRAITS[template].space:
        case StorageType.LVM_VG:
            name = config.cluster.volume_group_name
            return [(StorageType.LVM_VG.value, name, [exclusive_storage(config, node)])]
        case None:
            return []
        case kind:
            return [(kind, storage_directory(config.cluster, template), [])]


def _numbers(
    config: Snapshot, node: Node, told: NodeInfo, running: Mapping[str, RunningInfo]
) -> NodeNumbers:
    seen = told.hypervisors[0]
    unit = told.storage[0] if told.storage else None
    primaries = [
        (one, int(fill_beparams(config.cluster, one.beparams)["maxmem"]))
        for one in config.primary_instances(node.uuid)
    ]
    not_taken, total, up = protocol.memory_in_use(primaries, running)
    return NodeNumbers(
        total_memory=seen.memory_total or 0,
        reserved_memory=seen.memory_dom0 or 0,
        free_memory=(seen.memory_free or 0) - not_taken,
        total_disk=(unit.storage_size if unit else None) or 0,
        free_disk=(unit.storage_free if unit else None) or 0,
        total_spindles=0,
        free_spindles=0,
        total_cpus=seen.cpu_total or 0,
        reserved_cpus=seen.cpu_dom0 or 0,
        i_pri_memory=total,
        i_pri_up_memory=up,
    )
