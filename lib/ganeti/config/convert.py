"""Converting `config.data` of another version: the steps of cfgupgrade (facts/config-data.md §10).

Works on the JSON document in place and reads nothing else. Each step stands alone: what fails is
recorded, the document is as before that step, and the next one goes on, so that one run tells
everything that is wrong. A document with a failed step must not be written.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ganeti.errors import ConfigurationError
from ganeti.model import ipolicy
from ganeti.version import CONFIG_VERSION, READABLE_CONFIG_VERSIONS

Object = dict[str, Any]

V2_FIRST, V2_LAST = (2, 0), (2, 16)
V3_FIRST: Final = (3, 0)
WITHOUT_XEN_CMD: Final = (3, 1)  # from this version on
COLLECTORS: Final = (
    "cpu-avg-load", "diskstats", "drbd", "inst-status-xen", "lv", "xen-cpu-avg-load",
)  # fmt: skip
COLLECTOR_INTERVAL_US: Final = 5_000_000
COMPRESSION_TOOLS: Final = ("gzip", "gzip-fast", "gzip-slow")
DEV_TYPES: Final = {"lvm": "plain", "drbd8": "drbd"}
XEN: Final = ("xen-pvm", "xen-hvm")
SPECS: Final = ("min", "max")


def split(version: int) -> tuple[int, int]:
    """Major and minor number."""
    return version // 1_000_000, version // 10_000 % 100


def text(version: int) -> str:
    major, minor = split(version)
    return f"{major}.{minor}"


@dataclass(slots=True)
class Conversion:
    """A document that is being converted. `problems`: one sentence for each step that failed."""

    raw: Object
    target: int
    new_uuid: Callable[[], str]
    problems: list[str] = field(default_factory=list)

    def run(self, steps: Mapping[str, Callable[[Conversion], None]]) -> None:
        for name, step in steps.items():
            before = copy.deepcopy(self.raw)
            try:
                step(self)
            except (
                LookupError,
                TypeError,
                ValueError,
                AttributeError,
                ConfigurationError,
            ) as error:
                self.raw.clear()
                self.raw.update(before)
                what = error if isinstance(error, ConfigurationError) else repr(error)
                self.problems.append(f"{name}: {what}")

    @property
    def at_least_3_1(self) -> bool:
        return split(self.target) >= WITHOUT_XEN_CMD

    def all(self, kind: str) -> Iterator[Object]:
        things = self.raw.get(kind) or {}
        yield from things.values()

    def embedded(self) -> Iterator[tuple[Object, int, Object]]:
        """(instance, index, disk) where disks still are part of their instance."""
        for instance in self.all("instances"):
            for index, disk in enumerate(instance.get("disks") or ()):
                if isinstance(disk, dict):
                    yield instance, index, disk


def version_of(raw: Any, where: str) -> int:
    """ConfigurationError unless this is a document with a version."""
    version = raw.get("version") if isinstance(raw, dict) else None
    if not isinstance(version, int) or not isinstance(raw.get("cluster"), dict):
        raise ConfigurationError(f"{where}: no configuration: 'version' or 'cluster' is missing")
    if "config_version" in raw["cluster"]:
        raise ConfigurationError(
            f"{where}: cluster.config_version is there, so this is of version 1.2 or was converted"
            " by halves; bring it to 2.0 first"
        )
    return version


def upgrade(raw: Object, where: str, new_uuid: Callable[[], str]) -> list[str] | None:
    """The document becomes one of this version; None: it needs no change.

    The problems, if there are any. ConfigurationError for a version that can't be converted.
    """
    found = version_of(raw, where)
    if found == CONFIG_VERSION or (found > CONFIG_VERSION and found in READABLE_CONFIG_VERSIONS):
        return None
    source, target = split(found), split(CONFIG_VERSION)
    older = source[0] == target[0] and source < target
    if not (older or (target[0] == V3_FIRST[0] and V2_FIRST <= source <= V2_LAST)):
        raise ConfigurationError(
            f"{where}: version {text(found)} can't become {text(CONFIG_VERSION)}; the versions"
            f" {_dotted(V2_FIRST)} to {_dotted(V2_LAST)} and older ones of {target[0]} can"
        )
    made = Conversion(raw, CONFIG_VERSION, new_uuid)
    made.run(UPGRADE)
    return made.problems


def downgrade(raw: Object, where: str) -> list[str] | None:
    """The document becomes one of the version before; None: it has the oldest form already."""
    found = version_of(raw, where)
    if found not in (CONFIG_VERSION, *READABLE_CONFIG_VERSIONS):
        raise ConfigurationError(
            f"{where}: version {text(found)} is not that of this software, {text(CONFIG_VERSION)};"
            " only that one can be converted back"
        )
    major, minor = split(found)
    if (major, minor) == V3_FIRST:
        return None
    made = Conversion(raw, major * 1_000_000 + (minor - 1) * 10_000, lambda: "")
    made.run(DOWNGRADE)
    return made.problems


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


# Steps.


def _set_version(made: Conversion) -> None:
    made.raw["version"] = made.target


def _networks(made: Conversion) -> None:
    made.raw.setdefault("networks", {})


def _cluster(made: Conversion) -> None:
    cluster: Object = made.raw["cluster"]
    cluster["ipolicy"] = _policy(cluster.get("ipolicy") or {}, for_group=False)
    absent: Object = {
        "default_iallocator_params": {},
        "candidate_certs": {},
        "instance_communication_network": "",
        "install_image": "",
        "zeroing_image": "",
        "compression_tools": list(COMPRESSION_TOOLS),
        "enabled_user_shutdown": False,
        "ssh_key_type": "dsa",
        "ssh_key_bits": 1024,
    }
    for key, value in absent.items():
        cluster.setdefault(key, value)
    collectors = cluster.setdefault("data_collectors", {})
    for name in COLLECTORS:
        collectors.setdefault(name, {"active": True, "interval": COLLECTOR_INTERVAL_US})
    if made.at_least_3_1:
        hvparams: Object = cluster.get("hvparams") or {}
        for name in XEN:
            (hvparams.get(name) or {}).pop("xen_cmd", None)
        _change_discard(hvparams.get("kvm"))


def _policy(policy: Object, *, for_group: bool) -> Object:
    """`min` and `max` become the one entry of `minmax`, with every spec; a cluster has all keys."""
    default: Object = ipolicy.default_ipolicy()
    made = dict(policy)
    old = {name: made.pop(name) for name in SPECS if name in made}
    if old:
        made.setdefault("minmax", [{name: dict(old.get(name) or {}) for name in SPECS}])
    for pair in made.get("minmax", ()):
        for name in SPECS:
            pair[name] = {**default["minmax"][0][name], **pair.get(name, {})}
    if for_group:
        made.pop("std", None)
        return made
    made["std"] = {**default["std"], **(made.get("std") or {})}
    return {**default, **made}


def _change_discard(hvparams: Any) -> None:
    if isinstance(hvparams, dict) and hvparams.get("disk_discard") == "default":
        hvparams["disk_discard"] = "ignore"


def _groups(made: Conversion) -> None:
    for group in made.all("nodegroups"):
        group.setdefault("networks", {})
        if group.get("ipolicy"):
            group["ipolicy"] = _policy(group["ipolicy"], for_group=True)


def _instances(made: Conversion) -> None:
    uuids = {network["name"]: network["uuid"] for network in made.all("networks")}
    for instance in made.all("instances"):
        for nic in instance.get("nics") or ():
            if nic.get("network"):
                nic["network"] = uuids.get(nic["network"], nic["network"])
        instance.setdefault("admin_state_source", "admin")
        if made.at_least_3_1:
            _change_discard(instance.get("hvparams"))
    for _, index, disk in made.embedded():
        disk["iv_name"] = f"disk/{index}"
        for part in _parts(disk):
            part.pop("physical_id", None)
            part["dev_type"] = DEV_TYPES.get(part.get("dev_type", ""), part.get("dev_type"))
            if not part.get("uuid"):
                part["uuid"] = made.new_uuid()


def _parts(disk: Object) -> Iterator[Object]:
    yield disk
    for child in disk.get("children") or ():
        yield from _parts(child)


def _disks(made: Conversion) -> None:
    if "disks" in made.raw:
        return
    disks: Object = {}
    for instance, _, disk in list(made.embedded()):
        times = {name: instance[name] for name in ("ctime", "mtime") if name in instance}
        disks[disk["uuid"]] = {**disk, "serial_no": 1, **times}
    for instance in made.all("instances"):
        instance["disks"] = [disk["uuid"] for disk in instance.get("disks") or ()]
    made.raw["disks"] = disks


def _nodes(made: Conversion) -> None:
    """Nodes by their uuid, which also stands where the name did."""
    uuids = {}
    for node in made.all("nodes"):
        if not node.get("uuid"):
            node["uuid"] = made.new_uuid()
        uuids[node["name"]] = node["uuid"]
    made.raw["nodes"] = {node["uuid"]: node for node in made.all("nodes")}
    cluster = made.raw["cluster"]
    cluster["master_node"] = uuids.get(cluster["master_node"], cluster["master_node"])
    for instance in made.all("instances"):
        primary = instance["primary_node"]
        instance["primary_node"] = uuids.get(primary, primary)
    for disk in made.all("disks"):
        for part in _parts(disk):
            logical_id = part.get("logical_id")
            if part.get("dev_type") == "drbd" and logical_id:
                ends = [uuids.get(name, name) for name in logical_id[:2]]
                part["logical_id"] = [*ends, *logical_id[2:]]


def _instances_by_uuid(made: Conversion) -> None:
    for instance in made.all("instances"):
        if not instance.get("uuid"):
            instance["uuid"] = made.new_uuid()
    made.raw["instances"] = {one["uuid"]: one for one in made.all("instances")}


def _filters(made: Conversion) -> None:
    made.raw.setdefault("filters", {})


def _disk_nodes(made: Conversion) -> None:
    """Which nodes a disk is on."""
    for instance in made.all("instances"):
        own = [made.raw["disks"][uuid] for uuid in instance.get("disks") or ()]
        nodes = [instance["primary_node"]]
        for disk in own:
            if disk.get("dev_type") == "drbd":
                nodes += [one for one in disk["logical_id"][:2] if one not in nodes]
        for disk in own:
            kind = disk.get("dev_type")
            if kind == "drbd":
                for part in _parts(disk):
                    part["nodes"] = list(nodes)
            else:
                disk["nodes"] = list(nodes) if kind in ("plain", "file") else []


def _disk_template(made: Conversion) -> None:
    for instance in made.all("instances"):
        instance.pop("disk_template", None)


def _add_xen_cmd(made: Conversion) -> None:
    hvparams = made.raw["cluster"].get("hvparams") or {}
    for name in XEN:
        if isinstance(hvparams.get(name), dict):
            hvparams[name]["xen_cmd"] = "xl"


UPGRADE: Final[Mapping[str, Callable[[Conversion], None]]] = {
    "version": _set_version,
    "networks": _networks,
    "cluster": _cluster,
    "node groups": _groups,
    "instances": _instances,
    "disks of their own": _disks,
    "nodes by uuid": _nodes,
    "instances by uuid": _instances_by_uuid,
    "filters": _filters,
    "nodes of disks": _disk_nodes,
    "disk template of instances": _disk_template,
}
DOWNGRADE: Final[Mapping[str, Callable[[Conversion], None]]] = {
    "version": _set_version,
    "xen_cmd": _add_xen_cmd,
}
