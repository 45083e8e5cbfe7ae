"""Opening `config.data`: version, defaults, decoding (facts/config-data.md §1 and §4)."""

from __future__ import annotations

import logging
import marshal
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from ganeti.constants import DEFAULT_GROUP
from ganeti.errors import ConfigurationError, ConfigVersionMismatch, GenericError, ParseError
from ganeti.model import ipolicy
from ganeti.model.config import ConfigDocument
from ganeti.model.params import ParamTable, defaults
from ganeti.model.params_be import BE_PARAMS
from ganeti.model.params_disk import DISK_PARAMS
from ganeti.model.params_hv import HV_GLOBALS, HV_PARAMS
from ganeti.model.params_nic import NIC_PARAMS
from ganeti.model.params_node import ND_PARAMS
from ganeti.serializer import Json, decode, loads
from ganeti.types import AdminStateSource
from ganeti.version import CONFIG_VERSION, READABLE_CONFIG_VERSIONS

logger = logging.getLogger(__name__)

Object = dict[str, Any]

MAPS: Final = ("nodes", "nodegroups", "instances", "disks", "networks", "filters")
TEMPLATE_ORDER: Final = (
    "blockdev",
    "diskless",
    "drbd",
    "ext",
    "file",
    "plain",
    "rbd",
    "sharedfile",
    "gluster",
)
LEGACY_TYPES: Final = {"lvm": "plain", "drbd8": "drbd"}
WITHOUT_REFERENCES: Final = 2  # version of marshal's form in which equal values look the same
USERMODE_HELPER: Final = "/bin/true"


class Opened:
    """A document, and whether opening changed it."""

    __slots__ = ("changed", "document")

    def __init__(self, document: ConfigDocument, changed: bool) -> None:
        self.document = document
        self.changed = changed


def open_document(data: bytes, where: str, *, new_uuid: Callable[[], str], now: float) -> Opened:
    """The document in the file, with defaults filled in.

    Raises ConfigVersionMismatch, or ConfigurationError that names `where` and the place in it.
    """
    try:
        raw = loads(data, where)
        check_form(raw, where)
        before = _checksum(raw)
        fill_defaults(raw, new_uuid=new_uuid, now=now, where=where)
        return Opened(decode(ConfigDocument, raw, where), _checksum(raw) != before)
    except ParseError as error:
        raise ConfigurationError(str(error)) from error


def _checksum(raw: Json) -> int:
    """Of the values; much smaller and faster than a second copy to compare with."""
    return zlib.crc32(marshal.dumps(raw, WITHOUT_REFERENCES))


def check_form(raw: Json, where: str) -> None:
    """A document of a version that this program reads, with the objects it can't do without."""
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where}: an object is expected")
    version = raw.get("version")
    if not isinstance(version, int):
        raise ConfigurationError(f"{where}: key 'version' is missing or no number")
    if version not in READABLE_CONFIG_VERSIONS:
        raise ConfigVersionMismatch(CONFIG_VERSION, version)
    cluster = raw.get("cluster")
    if not isinstance(cluster, dict) or "rsahostkeypub" not in cluster:
        raise ConfigurationError(f"{where}: incomplete: cluster.rsahostkeypub is missing")
    for name in MAPS:
        objects = raw.get(name)
        if not isinstance(objects, dict):
            raise ConfigurationError(f"{where}: {name}: an object is expected")
        for key, thing in objects.items():
            if not isinstance(thing, dict):
                raise ConfigurationError(f"{where}: {name}.{key}: an object is expected")


def fill_defaults(raw: Object, *, new_uuid: Callable[[], str], now: float, where: str) -> None:
    """Fill `raw` in place. ConfigurationError for instance policies with unknown keys."""
    _fill_uuids(raw, new_uuid)
    cluster: Object = raw["cluster"]
    _fill_groups(raw, new_uuid, now)
    for disk in raw["disks"].values():
        _fill_disk(disk)
    for instance in raw["instances"].values():
        _fill_instance(instance)
    for node in raw["nodes"].values():
        if "exclusive_storage" in node.get("ndparams", {}):
            logger.warning("node %s: its own exclusive_storage is dropped", node.get("name"))
            node["ndparams"] = {
                key: value for key, value in node["ndparams"].items() if key != "exclusive_storage"
            }
    _fill_cluster_params(cluster)
    _fill_templates(raw, where)


def _fill_uuids(raw: Object, new_uuid: Callable[[], str]) -> None:
    for thing in (raw["cluster"], *_all_objects(raw)):
        if not thing.get("uuid"):
            thing["uuid"] = new_uuid()


def _all_objects(raw: Object) -> Iterator[Object]:
    for name in MAPS:
        for key, thing in raw[name].items():
            thing.setdefault("uuid", key)
            yield thing
    for instance in raw["instances"].values():
        yield from instance.get("nics") or ()
    for disk in raw["disks"].values():
        yield from _children(disk)


def _children(disk: Object) -> Iterator[Object]:
    for child in disk.get("children") or ():
        yield child
        yield from _children(child)


def _fill_groups(raw: Object, new_uuid: Callable[[], str], now: float) -> None:
    groups: dict[str, Object] = raw["nodegroups"]
    if not groups:
        uuid = new_uuid()
        groups[uuid] = {
            "uuid": uuid,
            "name": DEFAULT_GROUP,
            "serial_no": 1,
            "ctime": now,
            "mtime": now,
        }
    if len(groups) == 1:
        only = next(iter(groups))
        for node in raw["nodes"].values():
            if not node.get("group"):
                node["group"] = only
    for group in groups.values():
        if group.get("members"):
            group["members"] = []  # a node names its group, see model/group.py


def _fill_disk(disk: Object) -> None:
    for part in (disk, *_children(disk)):
        kind = part.get("dev_type")
        part["dev_type"] = LEGACY_TYPES.get(kind, kind) if isinstance(kind, str) else kind
        part.setdefault("serial_no", 1)


def _fill_instance(instance: Object) -> None:
    admin_up = instance.pop("admin_up", None)
    if "admin_state" not in instance and admin_up is not None:
        instance["admin_state"] = "up" if admin_up else "down"
    instance.setdefault("admin_state_source", AdminStateSource.ADMIN.value)
    if "disks_active" not in instance:
        instance["disks_active"] = instance.get("admin_state") == "up"
    beparams = instance.get("beparams")
    if isinstance(beparams, dict) and "memory" in beparams:
        memory = beparams.pop("memory")
        beparams.setdefault("minmem", memory)
        beparams.setdefault("maxmem", memory)
    hvparams = instance.get("hvparams")
    if isinstance(hvparams, dict):
        for name in HV_GLOBALS & set(hvparams):
            del hvparams[name]
    for field in ("osparams", "osparams_private"):
        if instance.get(field) is None:
            instance[field] = {}


def _over(table: ParamTable, stored: Any) -> Object:
    """Software defaults under what is stored."""
    return {**defaults(table), **(stored if isinstance(stored, dict) else {})}


def _fill_cluster_params(cluster: Object) -> None:
    bridge = cluster.pop("default_bridge", None)
    hypervisor = cluster.pop("default_hypervisor", None)
    enabled = cluster.get("enabled_hypervisors")
    if hypervisor and isinstance(enabled, list):
        cluster["enabled_hypervisors"] = [hypervisor, *(h for h in enabled if h != hypervisor)]
    stored = cluster.get("hvparams") or {}
    cluster["hvparams"] = {
        **stored, **{name: _over(table, stored.get(name)) for name, table in HV_PARAMS.items()}
    }  # fmt: skip
    beparams = (cluster.get("beparams") or {}).get("default") or {}
    if "memory" in beparams:
        memory = beparams.pop("memory")
        beparams = {"minmem": memory, "maxmem": memory, **beparams}
    cluster["beparams"] = {"default": _over(BE_PARAMS, beparams)}
    nicparams = (cluster.get("nicparams") or {}).get("default") or {}
    if not nicparams and bridge:
        nicparams = {"link": bridge}
    cluster["nicparams"] = {"default": _over(NIC_PARAMS, nicparams)}
    cluster["ndparams"] = _over(ND_PARAMS, cluster.get("ndparams"))
    stored = cluster.get("diskparams") or {}
    cluster["diskparams"] = {
        **stored, **{name: _over(table, stored.get(name)) for name, table in DISK_PARAMS.items()}
    }  # fmt: skip


def _fill_templates(raw: Object, where: str) -> None:
    cluster: Object = raw["cluster"]
    enabled = cluster.get("enabled_disk_templates")
    if not enabled:
        enabled = cluster["enabled_disk_templates"] = _templates_in_use(raw)
    if "drbd" in enabled and not cluster.get("drbd_usermode_helper"):
        cluster["drbd_usermode_helper"] = USERMODE_HELPER
    stored = cluster.get("ipolicy") or {}
    _check_policy(stored, f"{where}.cluster.ipolicy", for_group=False)
    full = ipolicy.merge(ipolicy.default_ipolicy(), stored)
    cluster["ipolicy"] = ipolicy.restrict_templates(full, enabled)
    for uuid, group in raw["nodegroups"].items():
        own = group.get("ipolicy") or {}
        _check_policy(own, f"{where}.nodegroups.{uuid}.ipolicy", for_group=True)
        if own:
            group["ipolicy"] = ipolicy.restrict_templates(own, enabled)


def _check_policy(policy: Any, where: str, *, for_group: bool) -> None:
    try:
        ipolicy.check_ipolicy(policy, for_group=for_group)
    except (GenericError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _templates_in_use(raw: Object) -> list[str]:
    used = {disk.get("dev_type") for disk in raw["disks"].values()}
    if any(not instance.get("disks") for instance in raw["instances"].values()):
        used.add("diskless")
    if raw["cluster"].get("volume_group_name"):
        used |= {"drbd", "plain"}
    return [name for name in TEMPLATE_ORDER if name in used]
