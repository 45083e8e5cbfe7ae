"""Inheritance of parameters: software < cluster < group, OS < object (facts/config-data.md §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ganeti.errors import Code, OpPrereqError
from ganeti.model import ipolicy as policy
from ganeti.model.base import EMPTY
from ganeti.model.cluster import Cluster
from ganeti.model.disk import Disk
from ganeti.model.group import NodeGroup
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.model.params import DEFAULT_WORD, NONE_WORD, ParamTable, defaults
from ganeti.model.params_be import BE_PARAMS
from ganeti.model.params_disk import DISK_PARAMS, annotate
from ganeti.model.params_hv import HV_GLOBALS, HV_PARAMS
from ganeti.model.params_nic import NIC_PARAMS
from ganeti.model.params_node import ND_PARAMS
from ganeti.serializer import Json

Params = Mapping[str, Json]

_NO_PARAMS: Final[ParamTable] = {}


def update_params(own: Params, changes: Params, *, reset: str = DEFAULT_WORD) -> dict[str, Json]:
    """An object's own parameters after a request: values replace, `reset` or null drops.

    `reset` is `default` for be, hv, nic, nd and disk parameters, `none` for OS parameters. A text
    `none` of a be … parameter is a value and must have been converted before (params.convert).
    """
    made = dict(own)
    for name, value in changes.items():
        if value == reset and isinstance(value, str) or (reset == NONE_WORD and value is None):
            made.pop(name, None)
        else:
            made[name] = value
    return made


def update_osparams(own: Params, changes: Params) -> dict[str, Json]:
    """`update_params` for OS parameters: `none` and null drop a parameter."""
    return update_params(own, changes, reset=NONE_WORD)


def split_os(name: str) -> tuple[str, str | None]:
    """OS and variant of `os[+variant]`."""
    base, plus, variant = name.partition("+")
    return base, variant if plus else None


# Hypervisor parameters.


def cluster_hvparams(cluster: Cluster, hypervisor: str) -> dict[str, Json]:
    """Software defaults under the cluster's."""
    return {
        **defaults(HV_PARAMS.get(hypervisor, _NO_PARAMS)),
        **cluster.hvparams.get(hypervisor, EMPTY),
    }


def os_hvparams(cluster: Cluster, hypervisor: str, os_name: str | None) -> dict[str, Json]:
    """What an instance with this OS would have without parameters of its own."""
    made = cluster_hvparams(cluster, hypervisor)
    if os_name:
        made.update(cluster.os_hvp.get(os_name, EMPTY).get(hypervisor, EMPTY))
    return made


def fill_hvparams(
    cluster: Cluster,
    hypervisor: str,
    os_name: str | None,
    own: Params,
    *,
    skip_globals: bool = False,
) -> dict[str, Json]:
    """Complete hypervisor parameters of an instance. `skip_globals`: without the cluster-wide."""
    made = {**os_hvparams(cluster, hypervisor, os_name), **own}
    if skip_globals:
        return {name: value for name, value in made.items() if name not in HV_GLOBALS}
    return made


# Back-end, NIC, node and disk parameters.

_BE_DEFAULTS: Final = defaults(BE_PARAMS)  # made once: lists fill 10,000 instances
_NIC_DEFAULTS: Final = defaults(NIC_PARAMS)


def fill_beparams(cluster: Cluster, own: Params) -> dict[str, Json]:
    """Complete back-end parameters."""
    return {**_BE_DEFAULTS, **cluster.beparams.get(DEFAULT_WORD, EMPTY), **own}


def fill_nicparams(
    cluster: Cluster, own: Params, group: NodeGroup | None = None, network: str | None = None
) -> dict[str, Json]:
    """Complete parameters of an interface.

    `network` (uuid): the group's connection gives mode, link and vlan below the interface's own.
    """
    made = {**_NIC_DEFAULTS, **cluster.nicparams.get(DEFAULT_WORD, EMPTY)}
    if group is not None and network is not None:
        made.update(group.networks.get(network, EMPTY))
    return {**made, **own}


def fill_nic(cluster: Cluster, nic: Nic, group: NodeGroup | None = None) -> dict[str, Json]:
    """`fill_nicparams` of one interface."""
    return fill_nicparams(cluster, nic.nicparams, group, nic.network)


def fill_ndparams(
    cluster: Cluster, group: NodeGroup | None = None, node: Node | None = None
) -> dict[str, Json]:
    """Complete parameters of a node, of a group's nodes, or of the cluster's.

    A node's own exclusive_storage is ignored: it is set for clusters and groups only.
    """
    made = {**defaults(ND_PARAMS), **cluster.ndparams}
    if group is not None:
        made.update(group.ndparams)
    if node is not None:
        made.update(
            (name, value)
            for name, value in node.ndparams.items()
            if name not in ND_PARAMS or not ND_PARAMS[name].cluster_only
        )
    return made


def fill_diskparams(cluster: Cluster, group: NodeGroup | None, template: str) -> dict[str, Json]:
    """Complete parameters of a disk template; there are none per instance."""
    made = {
        **defaults(DISK_PARAMS.get(template, _NO_PARAMS)),
        **cluster.diskparams.get(template, EMPTY),
    }
    if group is not None:
        made.update(group.diskparams.get(template, EMPTY))
    return made


def annotate_disk(cluster: Cluster, group: NodeGroup | None, disk: Disk) -> Disk:
    """The disk with the parameters that a node needs, in each of its devices."""
    return annotate(disk, fill_diskparams(cluster, group, disk.dev_type))


def fill_ipolicy(cluster: Cluster, group: NodeGroup | None = None) -> dict[str, Json]:
    """The complete instance policy of the cluster, or of a group."""
    made = policy.merge(policy.default_ipolicy(), cluster.ipolicy)
    if group is not None:
        made = policy.merge(made, {k: v for k, v in group.ipolicy.items() if k != "std"})
    return made


# OS parameters.


def _of_os(by_os: Mapping[str, Params], os_name: str | None) -> dict[str, Json]:
    if not os_name:
        return {}
    base, _ = split_os(os_name)
    return {**by_os.get(base, EMPTY), **by_os.get(os_name, EMPTY)}


def fill_osparams(
    cluster: Cluster,
    os_name: str | None,
    own: Params,
    *,
    private: Params = EMPTY,
    secret: Params = EMPTY,
) -> dict[str, Json]:
    """Complete OS parameters of all visibilities: OS < OS+variant < instance.

    `private` are the instance's private ones, `secret` those of the job. OpPrereqError INVAL when
    one name is in two visibilities.
    """
    layers = (
        ("public", {**_of_os(cluster.osparams, os_name), **own}),
        ("private", {**_of_os(cluster.osparams_private_cluster, os_name), **private}),
        ("secret", dict(secret)),
    )
    made: dict[str, Json] = {}
    seen: dict[str, str] = {}
    for visibility, values in layers:
        for name, value in values.items():
            if name in seen:
                raise OpPrereqError(
                    f"OS parameter {name!r} is both {seen[name]} and {visibility}", Code.INVAL
                )
            seen[name] = visibility
            made[name] = value
    return made


def fill_public_osparams(cluster: Cluster, os_name: str | None, own: Params) -> dict[str, Json]:
    """Complete public OS parameters only, as lists show them."""
    return {**_of_os(cluster.osparams, os_name), **own}


def fill_private_osparams(cluster: Cluster, os_name: str | None, own: Params) -> dict[str, Json]:
    """Complete private OS parameters only; never to be shown."""
    return {**_of_os(cluster.osparams_private_cluster, os_name), **own}


# Static state.


def fill_hv_state(
    cluster: Cluster, group: NodeGroup | None, node: Node | None, hypervisor: str
) -> dict[str, Json]:
    """Static state of a node's hypervisor: cluster < group < node, by single values."""
    made: dict[str, Json] = dict(cluster.hv_state_static.get(hypervisor, EMPTY))
    for level in (group, node):
        if level is not None:
            made.update(level.hv_state_static.get(hypervisor, EMPTY))
    return made
