"""Parameters of clusters, groups and nodes as requests change them: checks, and what is stored.

Sources: facts/master.md §C and §F, facts/config-data.md §5. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic.verify_instance import spec_of
from ganeti.model import ipolicy as policy
from ganeti.model.base import EMPTY
from ganeti.model.cluster import Cluster
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import fill_ipolicy, update_params
from ganeti.model.params import DEFAULT_WORD, check_params
from ganeti.model.params_disk import DISK_PARAMS
from ganeti.model.params_node import DISK_STATE_PARAMS, HV_STATE_PARAMS, ND_PARAMS
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, HypervisorKind
from ganeti.utils.text import nice_sorted

Params = Mapping[str, Json]
ByName = Mapping[str, Params]


def resets(given: Params) -> dict[str, Json]:
    """The request with the word `default` where it has null (`-key` on the command line)."""
    return {name: DEFAULT_WORD if value is None else value for name, value in given.items()}


def changed_ndparams(own: Params, given: Params, *, of_a_node: bool = False) -> dict[str, Json]:
    """Node parameters of a group or a node after a request; `default` drops one."""
    typed = check_params(ND_PARAMS, resets(given), allow_default=True)
    for name in typed:
        if of_a_node and ND_PARAMS[name].cluster_only:
            raise OpPrereqError(
                f"node parameter {name!r} can't be set for one node",
                Code.INVAL,
                hint="set it for the cluster or the node group",
            )
    return update_params(own, typed)


def changed_diskparams(own: ByName, given: Mapping[DiskTemplate, Params]) -> dict[str, Params]:
    """Disk parameters of a group by template after a request."""
    made: dict[str, Params] = dict(own)
    for template, values in given.items():
        typed = check_params(DISK_PARAMS[template], resets(values), allow_default=True)
        left = update_params(own.get(template, EMPTY), typed)
        made[template.value] = left
        if not left:
            del made[template.value]
    return made


def changed_hv_state(own: ByName, given: Params) -> dict[str, Params]:
    """Static figures of hypervisors after a request: {hypervisor: {figure: value}}."""
    made: dict[str, Params] = dict(own)
    for name, values in given.items():
        if name not in set(HypervisorKind):
            raise OpPrereqError(f"hypervisor state: unknown hypervisor {name!r}", Code.INVAL)
        typed = check_params(HV_STATE_PARAMS, _mapping(name, values), allow_default=True)
        made[name] = update_params(own.get(name, EMPTY), typed)
    return made


def changed_disk_state(own: ByName, given: Params) -> dict[str, Params]:
    """Static figures of storage after a request: {disk template: {name: {figure: value}}}."""
    made: dict[str, Params] = dict(own)
    for template, by_name in given.items():
        if template not in (DiskTemplate.PLAIN, DiskTemplate.DRBD):
            raise OpPrereqError(
                f"disk state: {template!r} has no figures; those that have: plain, drbd", Code.INVAL
            )
        before = own.get(template, EMPTY)
        after: dict[str, Json] = dict(before)
        for name, values in _mapping(template, by_name).items():
            typed = check_params(DISK_STATE_PARAMS, _mapping(name, values), allow_default=True)
            after[name] = update_params(before.get(name, EMPTY), typed)
        made[template] = after
    return made


def _mapping(name: str, value: Json) -> Params:
    if not isinstance(value, Mapping):
        raise OpPrereqError(f"state of {name}: figures by name are expected", Code.INVAL)
    return value


def changed_group_ipolicy(cluster: Cluster, own: Params, given: Params) -> dict[str, Json]:
    """A group's own policy after a request; `default` drops a key. INVAL when it can't be."""
    made = dict(own)
    for key, value in policy.check_ipolicy(given, for_group=True, allow_default=True).items():
        if isinstance(value, str) and value == DEFAULT_WORD:
            made.pop(key, None)
        else:
            made[key] = value
    if "disk-templates" in made:
        policy.check_enabled(made, cluster.enabled_disk_templates)
    return made


def new_violations(
    config: Snapshot, cluster: Cluster, groups: Collection[tuple[NodeGroup, NodeGroup]]
) -> list[str]:
    """Names of instances that fit the policy now and would not fit the coming one.

    `cluster` is the coming one, `groups` are pairs of a group as it is and as it will be.
    """
    found = []
    for before, after in groups:
        old = fill_ipolicy(config.cluster, before)
        new = fill_ipolicy(cluster, after)
        if old == new:
            continue
        for node in config.nodes_in(before.uuid):
            for instance in config.primary_instances(node.uuid):
                spec = spec_of(config, instance)
                if policy.violations(new, spec) and not policy.violations(old, spec):
                    found.append(instance.name)
    return nice_sorted(found)


def policy_warning(names: Collection[str]) -> str:
    return f"After the ipolicy change the following instances violate them: {', '.join(names)}"
