"""A new instance as it was asked for: from the opcode's values to typed ones. Pure.

Order of checks and codes: facts/master.md D1, CheckPrereq steps 3 to 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, HypervisorError, OpPrereqError, StorageError, TypeEnforcementError
from ganeti.hypervisor import registry as hypervisors
from ganeti.hypervisor.base import HvCapabilities
from ganeti.logic.create_nics import NicRequest, check_device_names, read_nics
from ganeti.logic.disk_checks import check_provider
from ganeti.logic.tags import check_tag
from ganeti.model.cluster import Cluster
from ganeti.model.inherit import (
    fill_beparams,
    fill_hvparams,
    fill_osparams,
    fill_public_osparams,
    os_hvparams,
    split_os,
    update_osparams,
    update_params,
)
from ganeti.model.params import Kind, check_params, convert
from ganeti.model.params_be import BE_PARAMS, check_beparams, split_memory
from ganeti.model.params_hv import check_hvparams, check_own_hvparams
from ganeti.opcodes.instance import OpInstanceCreate
from ganeti.serializer import Json
from ganeti.storage import registry as storage
from ganeti.storage.layout import TRAITS, DiskSpec
from ganeti.types import DiskMode, DiskTemplate, HypervisorKind

MAX_DISKS = 16  # facts/master.md §C, limits
AUTO = "auto"  # of a back-end parameter: follow the cluster
OS_IMAGE = "os-image"

DISK_KEYS = frozenset(
    {
        *("access", "adopt", "dev_type", "metavg", "mode", "name"),
        *("provider", "size", "spindles", "vg"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRequest:
    """What is known before it is known where the instance will be.

    hvparams, beparams, osparams are the instance's own ones, `filled_*` the complete ones.
    """

    name: str
    template: DiskTemplate
    hypervisor: HypervisorKind
    os: str
    hvparams: Mapping[str, Json]
    beparams: Mapping[str, Json]
    osparams: Mapping[str, Json]
    osparams_private: Mapping[str, Json]
    filled_hvparams: Mapping[str, Json]
    filled_beparams: Mapping[str, Json]
    filled_osparams: Mapping[str, Json]
    nics: tuple[NicRequest, ...]
    disks: tuple[DiskSpec, ...]
    tags: tuple[str, ...]

    @property
    def memory_mib(self) -> int:
        return int(self.filled_beparams["maxmem"])

    @property
    def wants_port(self) -> bool:
        """Its hypervisor gives each instance a port of the cluster, for the console."""
        return capabilities(self.hypervisor).console_port


def read_request(
    config: Snapshot, op: OpInstanceCreate, name: str, address: str | None
) -> InstanceRequest:
    """The typed request. `name` is the full name, `address` the one it resolves to, if it was.

    OpPrereqError, TagError or TypeEnforcementError.
    """
    cluster = config.cluster
    template = template_of_request(cluster, op)
    check_storage(cluster, template)
    hypervisor = hypervisor_of_request(cluster, op)
    for tag in op.tags:
        check_tag(tag)
    os_name = os_of_request(cluster, op)
    hvparams, filled_hvparams = read_hvparams(cluster, op, hypervisor, os_name)
    beparams, filled_beparams = read_beparams(cluster, op)
    osparams = update_osparams({}, op.osparams)
    private = update_osparams({}, op.osparams_private or {})
    filled_osparams = fill_osparams(
        cluster, os_name, osparams, private=private, secret=op.osparams_secret or {}
    )
    nics = read_nics(config, op, name, address)
    disks = read_disks(config, op, template)
    made = InstanceRequest(
        name=name,
        template=template,
        hypervisor=hypervisor,
        os=os_name,
        hvparams=hvparams,
        beparams=beparams,
        osparams=osparams,
        osparams_private=private,
        filled_hvparams=filled_hvparams,
        filled_beparams=filled_beparams,
        filled_osparams=filled_osparams,
        nics=nics,
        disks=disks,
        tags=tuple(dict.fromkeys(op.tags)),
    )
    return _without_defaults(cluster, made) if op.identify_defaults else made


# Kinds.


def template_of_request(cluster: Cluster, op: OpInstanceCreate) -> DiskTemplate:
    """The disk template, which is enabled and which this version can make."""
    template = op.disk_template or cluster.enabled_disk_templates[0]
    if template not in cluster.enabled_disk_templates:
        raise OpPrereqError(
            f"disk template {template} is not enabled in the cluster; enabled are"
            f" {', '.join(cluster.enabled_disk_templates)}",
            hint="gnt-cluster modify --enabled-disk-templates enables others",
        )
    if template is not DiskTemplate.DISKLESS:
        try:
            storage.driver_class(template)
        except StorageError as error:
            raise OpPrereqError(str(error), Code.ENVIRON) from error
    return template


def check_storage(cluster: Cluster, template: DiskTemplate) -> None:
    """The cluster has a place for such disks; STATE."""
    if template in (DiskTemplate.PLAIN, DiskTemplate.DRBD) and not cluster.volume_group_name:
        raise OpPrereqError(
            f"the cluster has no volume group, template {template} needs one", Code.STATE
        )
    if TRAITS[template].file_based and not storage_directory(cluster, template):
        raise OpPrereqError(
            f"the cluster has no directory for disks of template {template}",
            Code.STATE,
            hint="gnt-cluster modify sets one",
        )


def storage_directory(cluster: Cluster, template: DiskTemplate) -> str:
    """Where files of this template lie; empty when it has none."""
    if template is DiskTemplate.FILE:
        return cluster.file_storage_dir
    return cluster.shared_file_storage_dir if template is DiskTemplate.SHARED_FILE else ""


def hypervisor_of_request(cluster: Cluster, op: OpInstanceCreate) -> HypervisorKind:
    kind = op.hypervisor or cluster.enabled_hypervisors[0]
    if kind not in cluster.enabled_hypervisors:
        raise OpPrereqError(
            f"hypervisor {kind} is not enabled in the cluster; enabled are"
            f" {', '.join(cluster.enabled_hypervisors)}",
            Code.STATE,
        )
    capabilities(kind)
    return kind


def capabilities(kind: HypervisorKind) -> HvCapabilities:
    """What the hypervisor can do; ENVIRON when this version has no driver for it."""
    try:
        return hypervisors.driver_class(kind).capabilities
    except HypervisorError as error:
        raise OpPrereqError(str(error), Code.ENVIRON) from error


def os_of_request(cluster: Cluster, op: OpInstanceCreate) -> str:
    if op.os_type is None:
        if OS_IMAGE in op.osparams:
            raise OpPrereqError(
                f"{OS_IMAGE}: this release can't make an instance from an image yet",
                Code.ENVIRON,
                hint="name an OS definition",
            )
        raise OpPrereqError(
            "no guest OS is named", Code.INVAL, hint="gnt-os list shows those that all nodes have"
        )
    if split_os(op.os_type)[0] in cluster.blacklisted_os:
        raise OpPrereqError(
            f"OS {op.os_type} is blacklisted", Code.STATE, hint="gnt-os modify --blacklisted=no"
        )
    return op.os_type


# Parameters.


def read_hvparams(
    cluster: Cluster, op: OpInstanceCreate, hypervisor: HypervisorKind, os_name: str
) -> tuple[dict[str, Json], dict[str, Json]]:
    """(own, complete)."""
    typed = check_own_hvparams(hypervisor, op.hvparams, allow_default=True)
    own = update_params({}, typed)
    full = fill_hvparams(cluster, hypervisor, os_name, own)
    check_hvparams(hypervisor, full)
    return own, full


def read_beparams(
    cluster: Cluster, op: OpInstanceCreate
) -> tuple[dict[str, Json], dict[str, Json]]:
    """(own, complete); `auto` follows the cluster."""
    given = {name: value for name, value in op.beparams.items() if value != AUTO}
    own = update_params({}, check_params(BE_PARAMS, split_memory(given), allow_default=True))
    full = fill_beparams(cluster, own)
    check_beparams(full)
    return own, full


def _without_defaults(cluster: Cluster, made: InstanceRequest) -> InstanceRequest:
    """Own values that equal those of the cluster are left out, so that they follow it."""
    return replace(
        made,
        hvparams=_differing(made.hvparams, os_hvparams(cluster, made.hypervisor, made.os)),
        beparams=_differing(made.beparams, fill_beparams(cluster, {})),
        osparams=_differing(made.osparams, fill_public_osparams(cluster, made.os, {})),
        nics=tuple(nic.without_defaults(cluster) for nic in made.nics),
    )


def _differing(own: Mapping[str, Json], defaults: Mapping[str, Json]) -> dict[str, Json]:
    return {
        name: value
        for name, value in own.items()
        if name not in defaults or defaults[name] != value
    }


# Disks.


def read_disks(
    config: Snapshot, op: OpInstanceCreate, template: DiskTemplate
) -> tuple[DiskSpec, ...]:
    """The disks; INVAL, STATE for too many."""
    if template is DiskTemplate.DISKLESS and op.disks:
        raise OpPrereqError("a diskless instance has no disks", Code.INVAL)
    if len(op.disks) > MAX_DISKS:
        raise OpPrereqError(f"{len(op.disks)} disks, at most {MAX_DISKS} can be", Code.STATE)
    made = tuple(read_disk(number, disk, template) for number, disk in enumerate(op.disks))
    check_device_names(config, "disk", [spec.name for spec in made])
    check_adoption(made, template)
    return made


def read_disk(number: int, given: Mapping[str, str | int], template: DiskTemplate) -> DiskSpec:
    what = f"disk {number}"
    own = {name: value for name, value in given.items() if name not in DISK_KEYS}
    traits = TRAITS[template]
    if own and not traits.own_params:
        raise OpPrereqError(f"{what}: unknown parameter {sorted(own)[0]!r}", Code.INVAL)
    for name, possible in (("provider", traits.own_params), ("access", traits.access)):
        if name in given and not possible:
            raise OpPrereqError(f"{what}: template {template} has no {name}", Code.INVAL)
    if traits.own_params and not _text(given, "provider"):
        raise OpPrereqError(f"{what}: template {template} needs a provider", Code.INVAL)
    check_provider(what, _text(given, "provider"))
    if given.get("dev_type", template) != template:
        raise OpPrereqError(f"{what}: is not of template {template}", Code.INVAL)
    if "access" in given:
        own["access"] = given["access"]
    return DiskSpec(
        size_mib=_size(what, given),
        mode=_mode(what, given.get("mode", DiskMode.READ_WRITE)),
        name=_text(given, "name"),
        vg=_text(given, "vg"),
        metavg=_text(given, "metavg"),
        spindles=_spindles(what, given),
        adopt=_text(given, "adopt"),
        provider=_text(given, "provider"),
        params=own,
    )


def _text(given: Mapping[str, str | int], name: str) -> str | None:
    value = given.get(name)
    return None if value is None or value == "none" else str(value)


def _size(what: str, given: Mapping[str, str | int]) -> int:
    if "size" not in given:
        if "adopt" in given:
            return 0
        raise OpPrereqError(f"{what}: has no size", Code.INVAL)
    try:
        return int(convert(Kind.SIZE, given["size"], f"{what} size"))
    except TypeEnforcementError as error:
        raise OpPrereqError(str(error), Code.INVAL) from error


def _mode(what: str, value: str | int) -> DiskMode:
    try:
        return DiskMode(str(value))
    except ValueError:
        raise OpPrereqError(
            f"{what}: mode {value!r} is neither {' nor '.join(DiskMode)}", Code.INVAL
        ) from None


def _spindles(what: str, given: Mapping[str, str | int]) -> int | None:
    if "spindles" not in given:
        return None
    try:
        number = int(given["spindles"])
    except ValueError:
        number = -1
    if number < 0:
        raise OpPrereqError(f"{what}: spindles {given['spindles']!r} is no number", Code.INVAL)
    return number


def check_adoption(disks: Sequence[DiskSpec], template: DiskTemplate) -> None:
    """All disks are adopted or none, as the template can; INVAL."""
    adopted = [disk for disk in disks if disk.adopt]
    traits = TRAITS[template]
    if adopted and len(adopted) != len(disks):
        raise OpPrereqError("either all disks are adopted, or none", Code.INVAL)
    if adopted and not traits.adopts:
        raise OpPrereqError(f"template {template} can't adopt disks", Code.INVAL)
    if traits.must_adopt and not adopted:
        raise OpPrereqError(f"template {template} can only adopt disks", Code.INVAL)


def check_exclusive_storage(request: InstanceRequest, exclusive: bool) -> None:
    """What nodes with exclusive storage take; STATE, INVAL."""
    if exclusive and request.template is not DiskTemplate.PLAIN:
        raise OpPrereqError(
            f"nodes with exclusive storage take no disks of template {request.template}",
            Code.STATE,
        )
    for number, disk in enumerate(request.disks):
        if exclusive and disk.spindles is None:
            raise OpPrereqError(
                f"disk {number}: exclusive storage needs a number of spindles", Code.INVAL
            )
        if not exclusive and disk.spindles is not None:
            raise OpPrereqError(
                f"disk {number}: spindles are for nodes with exclusive storage only", Code.INVAL
            )
