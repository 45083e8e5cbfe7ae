"""From a disk template to disk trees: names, sizes, space. Pure.

Sources: facts/storage.md §1 (forms and names), facts/config-data.md §7, facts/master.md (space).
Sizes are taken as asked for: whole MiB. LVM rounds up to its extents on the node, and what a device
really has is asked with blockdev_getdimensions.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ganeti.errors import Code, OpPrereqError
from ganeti.model.base import EMPTY, empty_map
from ganeti.model.disk import Disk
from ganeti.serializer import Json
from ganeti.types import DiskMode, DiskTemplate, FileDriver

DRBD_META_SIZE_MIB: Final = 128
DEFAULT_RBD_POOL: Final = "rbd"
BLOCKDEV_DRIVER: Final = "manual"
DEFAULT_FILE_DRIVER: Final = FileDriver.LOOP


@dataclass(frozen=True, slots=True)
class TemplateTraits:
    """What a disk template is like; callers ask here, never for a template's name."""

    nodes: int = 1  # how many nodes hold the data or see them; 0: as many as want
    mirrored: bool = False  # on two nodes, by the device itself
    shared: bool = False  # outside of the nodes: any node can use it
    file_based: bool = False  # files in a directory per instance
    growable: bool = True
    adopts: bool = False  # can take over what exists
    must_adopt: bool = False
    space: str | None = None  # storage type of the space it takes: lvm-vg, file, sharedfile
    snapshot: bool = False
    checks_space: bool = False  # free space is looked at before creating and growing
    access: bool = False  # hypervisors may open it by themselves (parameter access)
    own_params: bool = False  # a provider has parameters of its own, and checks them


TRAITS: Final[Mapping[DiskTemplate, TemplateTraits]] = {
    DiskTemplate.DISKLESS: TemplateTraits(nodes=0, shared=True, growable=False),
    DiskTemplate.PLAIN: TemplateTraits(
        adopts=True, space="lvm-vg", snapshot=True, checks_space=True
    ),
    DiskTemplate.DRBD: TemplateTraits(
        nodes=2, mirrored=True, space="lvm-vg", snapshot=True, checks_space=True
    ),
    DiskTemplate.FILE: TemplateTraits(file_based=True, space="file"),
    DiskTemplate.SHARED_FILE: TemplateTraits(
        nodes=0, shared=True, file_based=True, space="sharedfile"
    ),
    DiskTemplate.BLOCKDEV: TemplateTraits(
        nodes=0, shared=True, growable=False, adopts=True, must_adopt=True
    ),
    DiskTemplate.RBD: TemplateTraits(nodes=0, shared=True, access=True),
    DiskTemplate.EXT: TemplateTraits(
        nodes=0, shared=True, snapshot=True, access=True, own_params=True
    ),
    DiskTemplate.GLUSTER: TemplateTraits(nodes=0, shared=True, file_based=False, access=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """One disk as it was asked for. `adopt` is a volume or device that becomes the disk."""

    size_mib: int
    mode: DiskMode = DiskMode.READ_WRITE
    name: str | None = None
    vg: str | None = None
    metavg: str | None = None
    spindles: int | None = None
    adopt: str | None = None
    provider: str | None = None  # ext
    params: Mapping[str, Json] = field(default_factory=empty_map)  # ext: the provider's own


@dataclass(frozen=True, slots=True)
class DrbdNumbers:
    """What the cluster reserves for one DRBD disk: port, minor on either node, shared secret."""

    port: int
    minor_a: int
    minor_b: int
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose disks these are and where they go.

    `nodes` are uuids, primary first. `file_directory` is the instance's own directory (see
    `file_directory`). `first_index` is the number of the first new disk.
    """

    instance_uuid: str
    nodes: Sequence[str]
    vg: str = ""
    metavg: str = ""
    file_directory: str = ""
    file_driver: str = DEFAULT_FILE_DRIVER
    first_index: int = 0
    now: float = 0.0


def file_directory(storage_directory: str, extra: str | None, instance_name: str) -> str:
    """`<storage dir>[/<--file-storage-dir>]/<instance>`; `extra` may not lead outside."""
    if extra:
        if extra.startswith("/") or ".." in extra.split("/"):
            raise OpPrereqError(
                f"file storage directory {extra!r} is not a path below {storage_directory}",
                Code.INVAL,
            )
        storage_directory = posixpath.join(storage_directory, extra)
    return posixpath.normpath(posixpath.join(storage_directory, instance_name))


def plan_disks(
    template: DiskTemplate,
    specs: Sequence[DiskSpec],
    place: Place,
    new_uuid: Callable[[], str],
    drbd: Sequence[DrbdNumbers] = (),
) -> tuple[Disk, ...]:
    """The disk trees of an instance, in the order of `specs`.

    `new_uuid` gives fresh uuids (for the disks and for the names in their logical ids). `drbd` has
    one entry per disk for the drbd template.
    """
    traits = TRAITS[template]
    if traits.mirrored and (len(place.nodes) != 2 or len(drbd) != len(specs)):
        raise OpPrereqError(
            f"disk template {template} needs two nodes, and numbers for each disk", Code.INVAL
        )
    if template is DiskTemplate.DISKLESS:
        if specs:
            raise OpPrereqError("a diskless instance has no disks", Code.INVAL)
        return ()
    made = []
    for offset, spec in enumerate(specs):
        index = place.first_index + offset
        if template is DiskTemplate.DRBD:
            made.append(_drbd_disk(spec, place, index, new_uuid, drbd[offset]))
        else:
            logical_id = _logical_id(template, spec, place, index, new_uuid())
            made.append(_disk(template, logical_id, spec, place, index, new_uuid()))
    return tuple(made)


def _disk(
    template: DiskTemplate,
    logical_id: tuple[Json, ...],
    spec: DiskSpec,
    place: Place,
    index: int,
    uuid: str,
    children: tuple[Disk, ...] = (),
) -> Disk:
    params = {**spec.params, "provider": spec.provider} if spec.provider else dict(spec.params)
    return Disk(
        uuid=uuid,
        ctime=place.now,
        mtime=place.now,
        dev_type=template,
        logical_id=logical_id,
        children=children,
        nodes=() if TRAITS[template].shared else tuple(place.nodes),
        iv_name=f"disk/{index}",
        size=spec.size_mib,
        mode=spec.mode,
        name=spec.name,
        spindles=spec.spindles,
        params=params or EMPTY,
    )


def _logical_id(
    template: DiskTemplate, spec: DiskSpec, place: Place, index: int, unique: str
) -> tuple[Json, ...]:
    if template is DiskTemplate.PLAIN:
        return (spec.vg or place.vg, f"{unique}.disk{index}")
    if template in (DiskTemplate.FILE, DiskTemplate.SHARED_FILE):
        name = f"{unique}.{template}.disk{index}"
        return (str(place.file_driver), posixpath.join(place.file_directory, name))
    if template is DiskTemplate.GLUSTER:
        return (str(place.file_driver), f"ganeti/{place.instance_uuid}.{index}")
    if template is DiskTemplate.RBD:
        return (DEFAULT_RBD_POOL, f"{unique}.rbd.disk{index}")
    if template is DiskTemplate.EXT:
        if not spec.provider:
            raise OpPrereqError(f"disk {index}: template ext needs a provider", Code.INVAL)
        return (spec.provider, f"{unique}.ext.disk{index}")
    if not spec.adopt:
        raise OpPrereqError(f"disk {index}: template blockdev needs a device to adopt", Code.INVAL)
    return (BLOCKDEV_DRIVER, spec.adopt)


def _drbd_disk(
    spec: DiskSpec, place: Place, index: int, new_uuid: Callable[[], str], numbers: DrbdNumbers
) -> Disk:
    unique = new_uuid()
    data, meta = (
        Disk(
            uuid=new_uuid(),
            ctime=place.now,
            mtime=place.now,
            dev_type=DiskTemplate.PLAIN,
            logical_id=(group, f"{unique}.disk{index}_{part}"),
            nodes=tuple(place.nodes),
            size=size,
            params=EMPTY,
        )
        for part, group, size in (
            ("data", spec.vg or place.vg, spec.size_mib),
            ("meta", spec.metavg or place.metavg or place.vg, DRBD_META_SIZE_MIB),
        )
    )
    logical_id = (
        *(place.nodes[0], place.nodes[1], numbers.port),
        *(numbers.minor_a, numbers.minor_b, numbers.secret),
    )
    return _disk(DiskTemplate.DRBD, logical_id, spec, place, index, new_uuid(), (data, meta))


# Space.


def required_space(
    template: DiskTemplate, specs: Sequence[DiskSpec], place: Place
) -> dict[tuple[str, str], int]:
    """MiB that a node needs, by (storage type, volume group or directory).

    What is adopted needs nothing. For drbd both nodes need the same.
    """
    kind = TRAITS[template].space
    needed: dict[tuple[str, str], int] = {}
    if kind is None:
        return needed

    def add(key: str, size_mib: int) -> None:
        needed[(str(kind), key)] = needed.get((str(kind), key), 0) + size_mib

    for spec in specs:
        if spec.adopt:
            continue
        if TRAITS[template].file_based:
            add(place.file_directory, spec.size_mib)
            continue
        add(spec.vg or place.vg, spec.size_mib)
        if TRAITS[template].mirrored:
            add(spec.metavg or place.metavg or place.vg, DRBD_META_SIZE_MIB)
    return needed


def total_space_mib(template: DiskTemplate, sizes_mib: Sequence[int]) -> int:
    """`disk_space_total` of an allocator request: what one node gives, meta volumes counted."""
    if template in (DiskTemplate.DISKLESS, DiskTemplate.BLOCKDEV):
        return 0
    extra = DRBD_META_SIZE_MIB if TRAITS[template].mirrored else 0
    return sum(sizes_mib) + extra * len(sizes_mib)
