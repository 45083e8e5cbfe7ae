"""What `gnt-cluster verify` asks the nodes of a group: arguments of the call node_verify.

Sources: facts/node-rpc.json (node_verify_items), facts/master.md §A7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganeti.config.distribute import ssconf_that_fits
from ganeti.config.snapshot import Snapshot
from ganeti.logic.ancillary import MASTER_IP_SCRIPT, ancillary_files, hypervisor_files
from ganeti.model.group import NodeGroup
from ganeti.model.inherit import cluster_hvparams, fill_hvparams, fill_ndparams, fill_nic
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.ssconf import KEYS, file_content
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, NicMode

ASSESSMENT = "hvparam_assessment"


def questions(
    config: Snapshot,
    paths: Paths,
    group: NodeGroup,
    instances: Collection[Instance],
    *,
    skipped: Collection[str],
    clutter: bool,
) -> dict[str, Json]:
    """Everything that the online nodes of the group are asked."""
    cluster = config.cluster
    nodes = config.nodes_in(group.uuid)
    online = [node for node in nodes if not node.offline]
    candidates = [node.name for node in config.candidates()]
    hypervisors = enabled(config)
    wanted: dict[str, Json] = {
        "filelist": [
            *(path for rule in file_rules(config, paths) for path in rule.paths),
            *(paths.virtual(paths.ssconf(key)) for key in KEYS),
        ],
        "nodelist": [[one.name for one in online], ssh_targets(config, group), candidates],
        "node-net-test": [
            [[one.name, one.primary_ip, one.secondary_ip] for one in online],
            candidates,
        ],
        "hypervisor": hypervisors,
        "instancelist": hypervisors,
        "version": None,
        "hvinfo": hypervisors[0],
        "nodesetup": None,
        "time": None,
        "client-cert": None,
        "oslist": None,
        "nonvmnodes": [node.name for node in nodes if not node.vm_capable],
        "allowed-file-storage-paths": config.master().name,
    }
    if ASSESSMENT not in skipped:
        wanted["hvparms"] = list(_hvparams(config, instances))
    programs = _oob_programs(config)
    if programs:
        wanted["oob-paths"] = programs
    if cluster.use_external_mip_script:
        wanted["user-scripts"] = [paths.virtual(paths.conf / MASTER_IP_SCRIPT)]
    if not paths.is_virtual:
        wanted["master-ip"] = [config.master().name, cluster.master_ip, candidates]
        wanted["bridges"] = sorted(bridges_of(config, group, instances))
        if cluster.modify_ssh_setup:
            wanted["ssh-setup"] = [_key_owners(config), cluster.ssh_key_type]
            if clutter:
                wanted["ssh-clutter"] = None
    if DiskTemplate.FILE in cluster.enabled_disk_templates:
        wanted["file-storage-path"] = cluster.file_storage_dir
    if DiskTemplate.SHARED_FILE in cluster.enabled_disk_templates:
        wanted["shared-file-storage-path"] = cluster.shared_file_storage_dir
    return wanted


def enabled(config: Snapshot) -> list[str]:
    return [str(hypervisor) for hypervisor in config.cluster.enabled_hypervisors]


@dataclass(frozen=True, slots=True)
class FileRule:
    """Files that are the same wherever they are; `on`, `tolerated_on`: names of nodes, None all.

    An `optional` one may also be on none of them.
    """

    paths: Sequence[str]
    optional: bool = False
    on: Collection[str] | None = None
    tolerated_on: Collection[str] = ()


def file_rules(config: Snapshot, paths: Paths) -> list[FileRule]:
    """What nodes hold (facts/config-data.md §11), but for the ssconf files."""
    may_be_absent = {paths.rapi_users, paths.rapi_roles, paths.rapi_tokens, paths.known_hosts}
    files = [*ancillary_files(config, paths), paths.server_pem]
    optional = [path for path in files if path in may_be_absent]
    if {DiskTemplate.FILE, DiskTemplate.SHARED_FILE} & {*config.cluster.enabled_disk_templates}:
        optional.append(paths.file_storage_paths)
    able = [node.name for node in config.nodes.values() if node.vm_capable]
    candidates = [node.name for node in config.candidates()]

    def shown(some: Iterable[Path]) -> list[str]:
        return [paths.virtual(path) for path in some]

    return [
        FileRule(shown(path for path in files if path not in may_be_absent)),
        FileRule(shown(optional), optional=True),
        FileRule(
            shown(hypervisor_files(config, paths)),
            optional=True,
            on=able,
            tolerated_on=[config.master().name],  # from there they come
        ),
        FileRule(shown([paths.config_data]), on=candidates),
    ]


def ssconf_checksums(before: Snapshot, after: Snapshot, paths: Paths) -> dict[str, str]:
    """SHA1 by path of the ssconf files that every node has to have.

    What was changed between the two is left out: nobody knows which one a node has answered with.
    """
    then, now = ssconf_that_fits(before), ssconf_that_fits(after)
    return {
        paths.virtual(paths.ssconf(key)): hashlib.sha1(file_content(value).encode()).hexdigest()
        for key, value in now.items()
        if then.get(key) == value
    }


def ssh_targets(config: Snapshot, group: NodeGroup) -> dict[str, Json]:
    """One online node of each other group per node of this one, in turn; key: node name."""
    mine = [node.name for node in config.nodes_in(group.uuid) if not node.offline]
    others: list[list[str]] = []
    for uuid in sorted(config.groups):
        if uuid != group.uuid:
            names = [node.name for node in config.nodes_in(uuid) if not node.offline]
            others += [names] if names else []
    return {name: [names[turn % len(names)] for names in others] for turn, name in enumerate(mine)}


def bridges_of(config: Snapshot, group: NodeGroup, instances: Collection[Instance]) -> set[str]:
    """Bridges that the group's instances use."""
    used = set()
    for instance in instances:
        for nic in instance.nics:
            params = fill_nic(config.cluster, nic, group)
            if params["mode"] == NicMode.BRIDGED:
                used.add(str(params["link"]))
    return used


def _hvparams(config: Snapshot, instances: Collection[Instance]) -> Iterator[Sequence[Json]]:
    """Rows of source, hypervisor and all its parameters: those that may differ on the nodes."""
    cluster, hypervisors = config.cluster, enabled(config)
    for hypervisor in hypervisors:
        yield ["cluster", hypervisor, cluster_hvparams(cluster, hypervisor)]
    for os_name, by_hypervisor in sorted(cluster.os_hvp.items()):
        for hypervisor in sorted(by_hypervisor):
            if hypervisor in hypervisors:
                full = fill_hvparams(cluster, hypervisor, os_name, {})
                yield [f"os {os_name}", hypervisor, full]
    for instance in instances:
        if instance.hvparams and instance.hypervisor in hypervisors:
            full = fill_hvparams(cluster, instance.hypervisor, instance.os, instance.hvparams)
            yield [f"instance {instance.name}", str(instance.hypervisor), full]


def _oob_programs(config: Snapshot) -> list[str]:
    """Out-of-band programs of all nodes: whoever is master runs them."""
    programs = {
        str(fill_ndparams(config.cluster, config.groups.get(node.group), node)["oob_program"])
        for node in config.nodes.values()
    }
    return sorted(programs - {""})


def _key_owners(config: Snapshot) -> list[Json]:
    """Of each node: uuid, name, is it candidate, may it become one, is it online."""

    def row(node: Node) -> Json:
        is_candidate = node.master_candidate or node.uuid == config.cluster.master_node
        return [node.uuid, node.name, is_candidate, node.master_capable, not node.offline]

    return [row(node) for node in sorted(config.nodes.values(), key=lambda one: one.name)]
