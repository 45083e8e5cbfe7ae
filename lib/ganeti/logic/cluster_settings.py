"""Settings of the cluster other than inherited parameters, as OP_CLUSTER_SET_PARAMS changes them.

Source: facts/master.md §A6 (modify), §C; errors without a code are recorded ones. Pure, but for the
search of an allocator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic.network_pool import read_mac_prefix
from ganeti.logic.placement import BUILT_IN, is_installed
from ganeti.model.cluster import Cluster
from ganeti.model.params import is_normal_path
from ganeti.opcodes.cluster import OpClusterSetParams
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import ChangeAction, DiskTemplate, IpFamily

Ranges = Sequence[tuple[int, int]]

PLAIN_SETTINGS: Final = (
    "candidate_pool_size", "max_running_jobs", "max_tracked_jobs", "maintain_node_health",
    "prealloc_wipe_disks", "default_iallocator_params", "use_external_mip_script",
    "modify_etc_hosts", "enabled_user_shutdown", "instance_communication_network",
)  # fmt: skip
"""Taken as they are: fields of the same name in opcode and cluster."""

LVM: Final = frozenset({DiskTemplate.PLAIN, DiskTemplate.DRBD})
STORAGE_DIRS: Final[Mapping[DiskTemplate, str]] = {
    DiskTemplate.FILE: "file_storage_dir",
    DiskTemplate.SHARED_FILE: "shared_file_storage_dir",
    DiskTemplate.GLUSTER: "gluster_storage_dir",
}
MOST_UID: Final = 2**32 - 1
DEFAULT_DRBD_HELPER: Final = "/bin/true"

_TOOL = re.compile(r"[-_a-zA-Z0-9]+")
_URL = re.compile(r"(https?|ftp)://\S+")


def changed_settings(
    cluster: Cluster, config: Snapshot, op: OpClusterSetParams, paths: Paths
) -> Cluster:
    """The cluster with the settings of the request; OpPrereqError when they can't be."""
    given: dict[str, Json] = {
        name: getattr(op, name) for name in PLAIN_SETTINGS if getattr(op, name) is not None
    }
    made = replace(cluster, **given)
    if op.default_iallocator is not None:
        _check_allocator(paths, op.default_iallocator)
        made = replace(made, default_iallocator=op.default_iallocator)
    if op.mac_prefix is not None:
        made = replace(made, mac_prefix=read_mac_prefix(op.mac_prefix))
    made = replace(
        made,
        uid_pool=_uid_pool(made.uid_pool, op),
        hidden_os=_os_names(made.hidden_os, op.hidden_os or ()),
        blacklisted_os=_os_names(made.blacklisted_os, op.blacklisted_os or ()),
        data_collectors=_collectors(made, op),
        install_image=_image("Install image", op.install_image, made.install_image),
        zeroing_image=_image("Zeroing image", op.zeroing_image, made.zeroing_image),
    )
    if op.reserved_lvs is not None:
        made = replace(made, reserved_lvs=_patterns(op.reserved_lvs))
    if op.compression_tools is not None:
        made = replace(made, compression_tools=_tools(op.compression_tools))
    made = _master_address(made, op)
    return _storage(made, config, op)


def _check_allocator(paths: Paths, name: str) -> None:
    if name and name != BUILT_IN and not is_installed(paths, name):
        raise OpPrereqError(
            f"allocator {name!r} is not installed on the master",
            Code.INVAL,
            hint=f"{BUILT_IN} is built in",
        )


def _image(what: str, given: str | None, now: str) -> str:
    if given is None:
        return now
    if not (is_normal_path(given) or _URL.fullmatch(given)):
        raise OpPrereqError(f"{what} must be an absolute path or a URL, not {given!r}")
    return given


def _patterns(given: Sequence[str]) -> tuple[str, ...]:
    for pattern in given:
        try:
            re.compile(pattern)
        except re.error as error:
            raise OpPrereqError(
                f"reserved volumes: {pattern!r} is not a regular expression: {error}", Code.INVAL
            ) from error
    return tuple(given)


def _tools(given: Sequence[str]) -> tuple[str, ...]:
    for name in given:
        if _TOOL.fullmatch(name) is None:
            raise OpPrereqError(
                f"compression tool {name!r} has characters other than letters, digits, - and _",
                Code.INVAL,
            )
    if "none" in given:
        raise OpPrereqError("'none' means no compression and is no tool", Code.INVAL)
    if "gzip" not in given:
        raise OpPrereqError("the compression tool gzip must stay", Code.INVAL)
    return tuple(dict.fromkeys(given))


# User ids.


def _uid_pool(now: Ranges, op: OpClusterSetParams) -> tuple[tuple[int, int], ...]:
    pool = list(_ranges(now if op.uid_pool is None else op.uid_pool))
    for one in _ranges(op.add_uids or ()):
        if one in pool:
            raise OpPrereqError(f"user id range {_shown(one)} is in the pool already", Code.INVAL)
        pool.append(one)
    for one in _ranges(op.remove_uids or ()):
        if one not in pool:
            raise OpPrereqError(f"user id range {_shown(one)} is not in the pool", Code.INVAL)
        pool.remove(one)
    return tuple(sorted(pool))


def _ranges(given: Ranges) -> list[tuple[int, int]]:
    for low, high in given:
        if not 0 <= low <= high <= MOST_UID:
            raise OpPrereqError(
                f"user id range {_shown((low, high))} is not within 0 to {MOST_UID}, lowest first",
                Code.INVAL,
            )
    return [(low, high) for low, high in given]


def _shown(one: tuple[int, int]) -> str:
    return f"{one[0]}-{one[1]}"


# Names of OS definitions, collectors.


def _os_names(now: Sequence[str], changes: Sequence[tuple[ChangeAction, str]]) -> tuple[str, ...]:
    """Adding what is there and removing what is not changes nothing."""
    names = dict.fromkeys(now)
    for action, name in changes:
        if action is ChangeAction.ADD:
            names[name] = None
        elif action is ChangeAction.REMOVE:
            names.pop(name, None)
        else:
            raise OpPrereqError(f"OS {name}: {action} is neither add nor remove", Code.INVAL)
    return tuple(names)


def _collectors(cluster: Cluster, op: OpClusterSetParams) -> Mapping[str, Mapping[str, Json]]:
    made = {name: dict(values) for name, values in cluster.data_collectors.items()}
    for key, given in (
        ("active", op.enabled_data_collectors),
        ("interval", op.data_collector_interval),
    ):
        for name, value in (given or {}).items():
            if name not in made:
                raise OpPrereqError(
                    f"unknown data collector {name!r}; known: {', '.join(sorted(made))}", Code.INVAL
                )
            if key == "interval" and value <= 0:
                raise OpPrereqError(f"data collector {name}: interval {value} µs", Code.INVAL)
            made[name][key] = value
    return made


# The master's address.


def _master_address(cluster: Cluster, op: OpClusterSetParams) -> Cluster:
    if op.master_netdev is not None:
        if not op.master_netdev:
            raise OpPrereqError("the network device of the master address is empty", Code.INVAL)
        cluster = replace(cluster, master_netdev=op.master_netdev)
    if op.master_netmask is not None:
        most = 32 if IpFamily(cluster.primary_ip_family) is IpFamily.IPV4 else 128
        if not 0 < op.master_netmask <= most:
            raise OpPrereqError(
                f"netmask {op.master_netmask} is not within 1 to {most}", Code.INVAL
            )
        cluster = replace(cluster, master_netmask=op.master_netmask)
    return cluster


# Storage.


def used_templates(config: Snapshot) -> dict[DiskTemplate, str]:
    """Disk templates that instances have, each with the name of one of them."""
    found: dict[DiskTemplate, str] = {}
    for instance in config.instances.values():
        if not instance.disks:
            found.setdefault(DiskTemplate.DISKLESS, instance.name)
        for disk in config.disks_of(instance):
            found.setdefault(disk.dev_type, instance.name)
    return found


def _storage(cluster: Cluster, config: Snapshot, op: OpClusterSetParams) -> Cluster:
    used = used_templates(config)
    if op.enabled_disk_templates is not None:
        wanted = tuple(dict.fromkeys(op.enabled_disk_templates))
        if not wanted:
            raise OpPrereqError("at least one disk template must be enabled", Code.INVAL)
        for template in cluster.enabled_disk_templates:
            if template not in wanted and template in used:
                raise OpPrereqError(
                    f"disk template {template} is used by instance {used[template]} and stays"
                    " enabled",
                    Code.STATE,
                )
        cluster = replace(cluster, enabled_disk_templates=wanted)
    cluster = _volume_group(cluster, used, op)
    cluster = _drbd_helper(cluster, used, op)
    return _directories(cluster, op)


def _volume_group(
    cluster: Cluster, used: Mapping[DiskTemplate, str], op: OpClusterSetParams
) -> Cluster:
    if op.vg_name is not None:
        if not op.vg_name and LVM & used.keys():
            user = next(used[template] for template in used if template in LVM)
            raise OpPrereqError(
                f"instance {user} has disks on LVM, so the volume group stays", Code.INVAL
            )
        cluster = replace(cluster, volume_group_name=op.vg_name or None)
    touched = op.vg_name is not None or op.enabled_disk_templates is not None
    needed = touched and LVM & set(cluster.enabled_disk_templates)
    if needed and not cluster.volume_group_name:
        raise OpPrereqError(
            "disk templates on LVM are enabled and there is no volume group",
            Code.INVAL,
            hint="name one with --vg-name, or disable plain and drbd",
        )
    return cluster


def _drbd_helper(
    cluster: Cluster, used: Mapping[DiskTemplate, str], op: OpClusterSetParams
) -> Cluster:
    enabled = DiskTemplate.DRBD in cluster.enabled_disk_templates
    if op.drbd_helper is not None:
        if not op.drbd_helper and (DiskTemplate.DRBD in used or enabled):
            raise OpPrereqError(
                "the DRBD helper is needed as long as DRBD is enabled or used", Code.INVAL
            )
        return replace(cluster, drbd_usermode_helper=op.drbd_helper or None)
    if enabled and not cluster.drbd_usermode_helper:
        return replace(cluster, drbd_usermode_helper=DEFAULT_DRBD_HELPER)
    return cluster


def _directories(cluster: Cluster, op: OpClusterSetParams) -> Cluster:
    for template, name in STORAGE_DIRS.items():
        given = getattr(op, name)
        if given is not None:
            if given and not is_normal_path(given):
                raise OpPrereqError(
                    f"storage directory {given!r} is not an absolute path in its shortest form",
                    Code.INVAL,
                )
            cluster = replace(cluster, **{name: given})
        touched = given is not None or op.enabled_disk_templates is not None
        needed = touched and template in cluster.enabled_disk_templates
        if needed and not getattr(cluster, name):
            raise OpPrereqError(
                f"disk template {template} is enabled and has no directory", Code.INVAL
            )
    return cluster
