"""Parameters that groups, nodes and instances inherit, as OP_CLUSTER_SET_PARAMS changes them.

The word `default` brings a value of the cluster back to that of the software. Sources:
facts/config-data.md §5, facts/master.md §A6 and §F. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic.param_changes import changed_disk_state, changed_hv_state, resets
from ganeti.model import ipolicy as policy
from ganeti.model.base import EMPTY
from ganeti.model.cluster import Cluster
from ganeti.model.inherit import (
    cluster_hvparams,
    fill_beparams,
    fill_hvparams,
    fill_ipolicy,
    fill_nic,
    os_hvparams,
    update_osparams,
    update_params,
)
from ganeti.model.params import DEFAULT_WORD, ParamTable, check_params, defaults
from ganeti.model.params_be import BE_PARAMS, check_beparams, split_memory
from ganeti.model.params_disk import DISK_PARAMS
from ganeti.model.params_hv import check_hvparams, check_own_hvparams, table_of
from ganeti.model.params_nic import NIC_PARAMS, check_nicparams, normalize_vlan
from ganeti.model.params_node import ND_PARAMS
from ganeti.opcodes.cluster import OpClusterSetParams
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, HypervisorKind, NicMode

Params = Mapping[str, Json]


def over_defaults(table: ParamTable, own: Params, given: Params) -> dict[str, Json]:
    """The cluster's values after a request; `default` brings back the software's."""
    typed = check_params(table, resets(given), allow_default=True)
    software = defaults(table)
    made = dict(own)
    for name, value in typed.items():
        back = isinstance(value, str) and value == DEFAULT_WORD
        made[name] = software[name] if back else value
    return made


def changed_inherited(cluster: Cluster, config: Snapshot, op: OpClusterSetParams) -> Cluster:
    """The cluster with the parameters of the request, checked also against what inherits them.

    TypeEnforcementError for wrong names and types, OpPrereqError for the rest.
    """
    made = _hypervisors(cluster, config, op)
    made = _os_parameters(made, op)
    if op.beparams:
        own = over_defaults(
            BE_PARAMS, made.beparams.get(DEFAULT_WORD, EMPTY), split_memory(op.beparams)
        )
        check_beparams({**defaults(BE_PARAMS), **own})
        made = replace(made, beparams={**made.beparams, DEFAULT_WORD: own})
        _check_instances_memory(made, config)
    if op.nicparams:
        made = _nicparams(made, config, op.nicparams)
    if op.ndparams:
        made = replace(made, ndparams=over_defaults(ND_PARAMS, made.ndparams, op.ndparams))
    if op.diskparams:
        made = _diskparams(made, op.diskparams)
    made = replace(
        made,
        hv_state_static=changed_hv_state(made.hv_state_static, op.hv_state or EMPTY),
        disk_state_static=changed_disk_state(made.disk_state_static, op.disk_state or EMPTY),
    )
    return _ipolicy(made, config, op)


# Hypervisors.


def _hypervisors(cluster: Cluster, config: Snapshot, op: OpClusterSetParams) -> Cluster:
    hvparams = {name: dict(values) for name, values in cluster.hvparams.items()}
    for name, given in (op.hvparams or {}).items():
        hvparams[name] = over_defaults(table_of(name), hvparams.get(name, EMPTY), given)
    made = replace(cluster, hvparams=hvparams, os_hvp=_os_hvp(cluster, op))
    if op.enabled_hypervisors is not None:
        made = replace(made, enabled_hypervisors=_enabled(cluster, config, op.enabled_hypervisors))
        missing = [kind for kind in made.enabled_hypervisors if kind not in hvparams]
        hvparams.update({kind.value: defaults(table_of(kind)) for kind in missing})
    changed = op.hvparams is not None or op.os_hvp is not None
    if changed or op.enabled_hypervisors is not None:
        _check_hvparams(made, config)
    return made


def _enabled(
    cluster: Cluster, config: Snapshot, wanted: Sequence[HypervisorKind]
) -> tuple[HypervisorKind, ...]:
    kinds = tuple(dict.fromkeys(wanted))
    if not kinds:
        raise OpPrereqError("at least one hypervisor must be enabled", Code.INVAL)
    for instance in config.instances.values():
        if instance.hypervisor in cluster.enabled_hypervisors and instance.hypervisor not in kinds:
            raise OpPrereqError(
                f"hypervisor {instance.hypervisor} is used by instance {instance.name} and stays"
                " enabled",
                Code.STATE,
            )
    return kinds


def _os_hvp(cluster: Cluster, op: OpClusterSetParams) -> dict[str, dict[str, Params]]:
    made = {name: dict(by_kind) for name, by_kind in cluster.os_hvp.items()}
    for os_name, by_kind in (op.os_hvp or {}).items():
        own = made.setdefault(os_name, {})
        for kind, given in by_kind.items():
            if given is None or given == DEFAULT_WORD:
                own.pop(kind, None)
                continue
            typed = check_own_hvparams(kind, resets(given), allow_default=True)
            own[kind] = update_params(own.get(kind, EMPTY), typed)
            if not own[kind]:
                del own[kind]
        if not own:
            del made[os_name]
    return made


def _check_hvparams(cluster: Cluster, config: Snapshot) -> None:
    """Complete parameters of the cluster, of OS definitions and of instances still fit together."""
    for kind in cluster.enabled_hypervisors:
        check_hvparams(kind, cluster_hvparams(cluster, kind))
        for os_name, by_kind in cluster.os_hvp.items():
            if kind in by_kind:
                check_hvparams(kind, os_hvparams(cluster, kind, os_name))
    for instance in config.instances.values():
        kind = instance.hypervisor
        full = fill_hvparams(cluster, kind, instance.os, instance.hvparams)
        before = fill_hvparams(config.cluster, kind, instance.os, instance.hvparams)
        if full != before:
            with _about(f"instance {instance.name}"):
                check_hvparams(kind, full)


@contextmanager
def _about(what: str) -> Iterator[None]:
    """What is refused inside is refused because of this object."""
    try:
        yield
    except OpPrereqError as error:
        raise OpPrereqError(f"{what}: {error.args[0]}", Code.INVAL) from error


# OS parameters.


def _os_parameters(cluster: Cluster, op: OpClusterSetParams) -> Cluster:
    return replace(
        cluster,
        osparams=_by_os(cluster.osparams, op.osparams),
        osparams_private_cluster=_by_os(
            cluster.osparams_private_cluster, op.osparams_private_cluster
        ),
    )


def _by_os(now: Mapping[str, Params], given: Mapping[str, Params] | None) -> dict[str, Params]:
    made = dict(now)
    for name, values in (given or {}).items():
        made[name] = update_osparams(made.get(name, EMPTY), values)
        if not made[name]:
            del made[name]
    return made


# Back end, interfaces, disks, policy.


def _check_instances_memory(cluster: Cluster, config: Snapshot) -> None:
    for instance in config.instances.values():
        full = fill_beparams(cluster, instance.beparams)
        if full != fill_beparams(config.cluster, instance.beparams):
            with _about(f"instance {instance.name}"):
                check_beparams(full)


def _nicparams(cluster: Cluster, config: Snapshot, given: Params) -> Cluster:
    own = over_defaults(NIC_PARAMS, cluster.nicparams.get(DEFAULT_WORD, EMPTY), given)
    full = {**defaults(NIC_PARAMS), **own, "vlan": normalize_vlan(str(own.get("vlan", "")))}
    check_nicparams(full)
    made = replace(cluster, nicparams={**cluster.nicparams, DEFAULT_WORD: full})
    for instance in config.instances.values():
        primary = config.nodes.get(instance.primary_node)
        group = config.group_of(primary) if primary else None
        for number, nic in enumerate(instance.nics):
            params = fill_nic(made, nic, group)
            with _about(f"instance {instance.name}, nic {number}"):
                check_nicparams(params)
            if params["mode"] == NicMode.ROUTED and not (nic.ip or nic.network):
                raise OpPrereqError(
                    f"instance {instance.name}, nic {number} would be routed and has no address",
                    Code.INVAL,
                )
    return made


def _diskparams(cluster: Cluster, given: Mapping[DiskTemplate, Params]) -> Cluster:
    made = {name: dict(values) for name, values in cluster.diskparams.items()}
    for template, values in given.items():
        table = DISK_PARAMS[template]
        unknown = sorted(values.keys() - table.keys())
        if unknown:
            raise OpPrereqError(
                f"disk parameters of {template.value}: unknown parameter {unknown[0]!r};"
                f" known: {', '.join(table) or 'none'}",
                Code.INVAL,
            )
        made[template.value] = over_defaults(table, made.get(template.value, EMPTY), values)
    return replace(cluster, diskparams=made)


def _ipolicy(cluster: Cluster, config: Snapshot, op: OpClusterSetParams) -> Cluster:
    if op.ipolicy:
        own = policy.check_ipolicy(op.ipolicy, for_group=False)
        cluster = replace(cluster, ipolicy=policy.merge(cluster.ipolicy, own))
    if not op.ipolicy and op.enabled_disk_templates is None:
        return cluster
    full = fill_ipolicy(cluster)
    policy.check_std(full)
    policy.check_enabled(full, cluster.enabled_disk_templates)
    for group in config.groups.values():
        if "disk-templates" in group.ipolicy:
            with _about(f"node group {group.name}"):
                policy.check_enabled(fill_ipolicy(cluster, group), cluster.enabled_disk_templates)
    return cluster
