"""Parameters of an instance, changed: what will be stored, and whether nodes bear it.

Rules: facts/master.md D4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError, ParseError
from ganeti.logic import ask, instance_state
from ganeti.logic.base import INFO, WARNING, Services
from ganeti.logic.modify_items import Row
from ganeti.model.cpu_mask import parse_cpu_masks
from ganeti.model.inherit import (
    fill_beparams,
    fill_hvparams,
    fill_osparams,
    split_os,
    update_osparams,
    update_params,
)
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.params import check_params
from ganeti.model.params_be import BE_PARAMS, check_beparams, split_memory
from ganeti.model.params_hv import check_hvparams, check_own_hvparams
from ganeti.opcodes.instance import OpInstanceSetParams
from ganeti.rpc import calls
from ganeti.serializer import Json

Params = Mapping[str, Json]
HIDDEN = "<hidden>"


@dataclass(frozen=True, slots=True)
class ParamPlan:
    """The instance with its new parameters and OS, and the rows that tell it."""

    instance: Instance
    rows: tuple[Row, ...]


def plan_params(
    services: Services, config: Snapshot, instance: Instance, op: OpInstanceSetParams
) -> ParamPlan:
    """The plan; TypeEnforcementError, OpPrereqError, OpExecError by a node that refuses."""
    rows: list[Row] = []
    made = _with_os(config, instance, op, rows)
    made = _with_hvparams(config, made, op, rows)
    made = _with_beparams(config, made, op, rows)
    made = _with_osparams(made, op, rows)
    _check_masks(services, config, made, op)
    _ask_nodes(services, config, made, op)
    if not op.force:
        _check_memory(services, config, instance, made)
    return ParamPlan(made, tuple(rows))


def _with_os(
    config: Snapshot, instance: Instance, op: OpInstanceSetParams, rows: list[Row]
) -> Instance:
    if op.os_name is None or op.os_name == instance.os:
        return instance
    if split_os(op.os_name)[0] in config.cluster.blacklisted_os and not op.force:
        raise OpPrereqError(
            f"OS {op.os_name} is blacklisted", Code.STATE, hint="gnt-os modify --blacklisted=no"
        )
    return replace(instance, os=op.os_name)


def _with_hvparams(
    config: Snapshot, instance: Instance, op: OpInstanceSetParams, rows: list[Row]
) -> Instance:
    if not op.hvparams:
        return instance
    kind = instance.hypervisor
    typed = check_own_hvparams(kind, op.hvparams, allow_default=True)
    own = update_params(instance.hvparams, typed)
    check_hvparams(kind, fill_hvparams(config.cluster, kind, instance.os, own))
    rows += [(f"hv/{name}", value) for name, value in typed.items()]
    return replace(instance, hvparams=own)


def _with_beparams(
    config: Snapshot, instance: Instance, op: OpInstanceSetParams, rows: list[Row]
) -> Instance:
    if not op.beparams:
        return instance
    typed = check_params(BE_PARAMS, split_memory(op.beparams), allow_default=True)
    own = update_params(instance.beparams, typed)
    check_beparams(fill_beparams(config.cluster, own))
    rows += [(f"be/{name}", value) for name, value in typed.items()]
    return replace(instance, beparams=own)


def _with_osparams(instance: Instance, op: OpInstanceSetParams, rows: list[Row]) -> Instance:
    private = op.osparams_private or {}
    rows += [(f"os/{name}", value) for name, value in op.osparams.items()]
    rows += [(f"os_private/{name}", HIDDEN) for name in private]
    return replace(
        instance,
        osparams=update_osparams(instance.osparams, op.osparams),
        osparams_private=update_osparams(instance.osparams_private, private),
    )


def _check_masks(
    services: Services, config: Snapshot, instance: Instance, op: OpInstanceSetParams
) -> None:
    """Pinning fits the processors: INVAL for the virtual, NORES for the node's own."""
    if not ({"cpu_mask"} & op.hvparams.keys() or {"vcpus"} & op.beparams.keys()):
        return
    kind = instance.hypervisor
    full = fill_hvparams(config.cluster, kind, instance.os, instance.hvparams)
    try:
        masks = parse_cpu_masks(str(full.get("cpu_mask") or "all"))
    except ParseError as error:
        raise OpPrereqError(str(error), Code.INVAL) from error
    vcpus = int(fill_beparams(config.cluster, instance.beparams)["vcpus"])
    if len(masks) > 1 and len(masks) != vcpus:
        raise OpPrereqError(
            f"instance {instance.name}: {len(masks)} CPU masks for {vcpus} virtual processors",
            Code.INVAL,
        )
    highest = max((max(mask) for mask in masks if mask), default=-1)
    if highest < 0:
        return
    for node in config.nodes_of(instance):
        outcome = services.rpc.ask(
            node, calls.node_info, [], [(kind.value, ask.cluster_hvparams(config, kind))]
        )
        if not outcome.ok:
            raise OpPrereqError(
                f"node {node.name} can't tell its processors: {outcome.error}", Code.ENVIRON
            )
        total = outcome.get().hypervisors[0].cpu_total
        if not isinstance(total, int):
            raise OpPrereqError(f"node {node.name} tells no processors", Code.ENVIRON)
        if highest >= total:
            raise OpPrereqError(
                f"node {node.name} has {total} processors, the CPU mask of {instance.name} wants"
                f" number {highest}",
                Code.NORES,
            )


def _ask_nodes(
    services: Services, config: Snapshot, instance: Instance, op: OpInstanceSetParams
) -> None:
    """The instance's nodes take the parameters; those that are offline are not asked."""
    nodes = [node for node in config.nodes_of(instance) if not node.offline and node.vm_capable]
    if op.hvparams:
        kind = instance.hypervisor
        full = fill_hvparams(config.cluster, kind, instance.os, instance.hvparams)
        found = services.rpc.all(nodes, calls.hypervisor_validate_params, kind.value, full)
        for outcome in found.values():
            outcome.get("hypervisor parameters")
    changed_os = op.os_name is not None and not op.force
    if changed_os or op.osparams or op.osparams_private:
        params = fill_osparams(
            config.cluster, instance.os, instance.osparams, private=instance.osparams_private
        )
        answers = services.rpc.all(
            nodes, calls.os_validate, True, instance.os, ["parameters"], params, op.force_variant
        )
        for answer in answers.values():
            answer.get(f"OS {instance.os}")


# Memory.


def _check_memory(services: Services, config: Snapshot, before: Instance, after: Instance) -> None:
    """Raised memory is there at the next start: NORES on the primary, STATE on a secondary."""
    old, new = (fill_beparams(config.cluster, one.beparams) for one in (before, after))
    if new["maxmem"] <= old["maxmem"]:
        return
    primary, *others = config.nodes_of(before)
    free = _free_memory(services, config, primary, before)
    if free is not None:
        found = instance_state.ask_info(services.rpc, config, before)
        info = found.get() if found.ok else None
        missing = int(new["maxmem"]) - (info.memory if info is not None else 0) - free
        if missing > 0:
            raise OpPrereqError(
                f"instance {after.name} could not be started any more: node {primary.name} lacks"
                f" {missing} MiB",
                Code.NORES,
                hint="--force records it all the same",
            )
    for node in others if new["auto_balance"] else []:
        free = _free_memory(services, config, node, before)
        if free is not None and free < int(new["maxmem"]):
            raise OpPrereqError(
                f"instance {after.name} could not fail over: secondary node {node.name} has"
                f" {free} MiB free",
                Code.STATE,
                hint="--force records it all the same",
            )


def _free_memory(
    services: Services, config: Snapshot, node: Node, instance: Instance
) -> int | None:
    """None, with a warning, when the node can't tell."""
    kind = instance.hypervisor
    outcome = services.rpc.ask(
        node, calls.node_info, [], [(kind.value, ask.cluster_hvparams(config, kind))]
    )
    if not outcome.ok:
        services.feedback(f"{WARNING}node {node.name} can't tell its memory: {outcome.error}")
        return None
    free = outcome.get().hypervisors[0].memory_free
    if not isinstance(free, int):
        services.feedback(f"{WARNING}node {node.name} tells no free memory")
        return None
    return free


def check_runtime_memory(
    services: Services, config: Snapshot, instance: Instance, wanted_mib: int, *, force: bool
) -> None:
    """The running instance may have so much memory now. STATE, INVAL, NORES.

    `instance` has its new parameters already.
    """
    primary = ask.primary_online(config, instance)
    info = instance_state.info(services.rpc, config, instance)
    if info is None or not instance_state.runs(info):
        raise OpPrereqError(f"instance {instance.name} is not running", Code.STATE)
    limits = fill_beparams(config.cluster, instance.beparams)
    if not limits["minmem"] <= wanted_mib <= limits["maxmem"]:
        text = (
            f"instance {instance.name} must have between {limits['minmem']} and"
            f" {limits['maxmem']} MiB of memory"
        )
        if not force:
            raise OpPrereqError(text, Code.INVAL, hint="--force gives it all the same")
        services.feedback(f"{INFO}{text}, and gets {wanted_mib}")
    more = wanted_mib - info.memory
    if more > 0:
        ask.memory(
            services.rpc,
            primary,
            instance.hypervisor,
            ask.cluster_hvparams(config, instance.hypervisor),
            more,
            f"more memory of {instance.name}",
        )
