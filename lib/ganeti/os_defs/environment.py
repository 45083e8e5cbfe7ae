"""The environment of OS scripts. Source: facts/node-behaviour.md §1, Environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ganeti.model.inherit import split_os
from ganeti.os_defs.find import API_VARIANTS, OsDefinition
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, NicMode

if TYPE_CHECKING:
    from ganeti.model.disk import Disk
    from ganeti.model.filled import FilledInstance
    from ganeti.model.nic import Nic

SCRIPT_PATH: Final = "/sbin:/bin:/usr/sbin:/usr/bin"

_FILE_KINDS: Final = (DiskTemplate.FILE, DiskTemplate.SHARED_FILE)


@dataclass(frozen=True, slots=True)
class ScriptDisk:
    """A disk as a script finds it: a path, an address for the hypervisor, or both."""

    disk: Disk
    path: str | None
    uri: str | None = None


def core_environment(
    definition: OsDefinition, os_name: str, osparams: Mapping[str, Json], debug_level: int
) -> dict[str, str]:
    """What every script gets. `osparams` holds all three kinds of parameters, merged."""
    _, variant = split_os(os_name)
    if not variant and definition.variants and definition.api_version >= API_VARIANTS:
        variant = definition.variants[0]
    made = {
        "OS_API_VERSION": str(definition.api_version),
        "OS_NAME": definition.name,
        "OS_VARIANT": variant or "",
        "DEBUG_LEVEL": str(debug_level),
        "PATH": SCRIPT_PATH,
    }
    for name, value in osparams.items():
        made[f"OSP_{name.upper().replace('-', '_')}"] = str(value)
    return made


def instance_environment(
    definition: OsDefinition,
    instance: FilledInstance,
    disks: Sequence[ScriptDisk],
    debug_level: int,
    osparams: Mapping[str, Json] | None = None,
) -> dict[str, str]:
    """What create, rename, import and export get. `osparams` replaces the instance's own."""
    params = instance.osparams if osparams is None else osparams
    made = core_environment(definition, instance.os, params, debug_level)
    made |= {
        "INSTANCE_NAME": instance.name,
        "INSTANCE_UUID": instance.uuid,
        "INSTANCE_OS": instance.os,
        "INSTANCE_CTIME": str(instance.ctime),
        "INSTANCE_MTIME": str(instance.mtime),
        "INSTANCE_PRIMARY_NODE": instance.primary_node,
        "INSTANCE_SECONDARY_NODES": " ".join(instance.secondary_nodes),
        "HYPERVISOR": str(instance.hypervisor),
        "DISK_COUNT": str(len(disks)),
        "NIC_COUNT": str(len(instance.nics)),
    }
    for index, disk in enumerate(disks):
        made |= _disk(index, disk, instance.hvparams)
    for index, nic in enumerate(instance.nics):
        made |= _nic(index, nic, instance.hvparams)
    made |= {f"INSTANCE_BE_{name}": str(value) for name, value in instance.beparams.items()}
    made |= {f"INSTANCE_HV_{name}": str(value) for name, value in instance.hvparams.items()}
    return made


def _disk(index: int, one: ScriptDisk, hvparams: Mapping[str, Json]) -> dict[str, str]:
    disk = one.disk
    backend = f"file:{disk.logical_id[0]}" if disk.dev_type in _FILE_KINDS else "block"
    values = {
        "PATH": one.path,
        "URI": one.uri,
        "ACCESS": str(disk.mode),
        "UUID": disk.uuid,
        "SIZE": str(disk.size),
        "NAME": disk.name,
        "FRONTEND_TYPE": hvparams.get("disk_type"),
        "BACKEND_TYPE": backend,
    }
    return {f"DISK_{index}_{word}": str(value) for word, value in values.items() if value}


_NETWORK_KEYS: Final = (
    ("NAME", "name"),
    ("UUID", "uuid"),
    ("SUBNET", "network"),
    ("GATEWAY", "gateway"),
    ("SUBNET6", "network6"),
    ("GATEWAY6", "gateway6"),
    ("MAC_PREFIX", "mac_prefix"),
)


def _nic(index: int, nic: Nic, hvparams: Mapping[str, Json]) -> dict[str, str]:
    mode = nic.nicparams.get("mode")
    link = nic.nicparams.get("link")
    values = {
        "MAC": nic.mac,
        "IP": nic.ip,
        "MODE": mode,
        "LINK": link,
        "BRIDGE": link if mode == NicMode.BRIDGED else None,
        "UUID": nic.uuid,
        "NAME": nic.name,
        "FRONTEND_TYPE": hvparams.get("nic_type"),
    }
    network = nic.netinfo
    if network:
        values |= {f"NETWORK_{word}": network.get(key) for word, key in _NETWORK_KEYS}
    made = {f"NIC_{index}_{word}": str(value) for word, value in values.items() if value}
    if network:
        made[f"NIC_{index}_NETWORK_TAGS"] = " ".join(network.get("tags") or ())
    return made


def transfer_environment(
    base: Mapping[str, str], script: str, disk: ScriptDisk, index: int
) -> dict[str, str]:
    """`base` and what the script, export or import, gets for its disk."""
    word = script.upper()
    made = {**base, f"{word}_INDEX": str(index)}
    if disk.path:
        made |= {f"{word}_DEVICE": disk.path, f"{word}_DISK_PATH": disk.path}
    if disk.uri:
        made[f"{word}_DISK_URI"] = disk.uri
    return made
