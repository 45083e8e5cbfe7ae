"""A disk of an instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ganeti.errors import ConfigurationError
from ganeti.model.base import OMIT_NONE, ConfigObject, SharedText
from ganeti.serializer import Json
from ganeti.types import DiskMode, DiskTemplate


class DrbdId(NamedTuple):
    """The logical id of a DRBD disk."""

    node_a: str
    node_b: str
    port: int
    minor_a: int
    minor_b: int
    secret: str

    def minor_on(self, node_uuid: str) -> int:
        """The minor on one of the two nodes; ConfigurationError for any other node."""
        if node_uuid == self.node_a:
            return self.minor_a
        if node_uuid == self.node_b:
            return self.minor_b
        raise ConfigurationError(f"DRBD disk is not on node {node_uuid}")

    def peer_of(self, node_uuid: str) -> str:
        return self.node_b if node_uuid == self.node_a else self.node_a


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk(ConfigObject):
    """A disk tree; fields as in facts/config-data.json, `disk`.

    `logical_id` depends on `dev_type` (facts/config-data.json, `disk_logical_id`). A DRBD disk has
    two children, data and meta volume. `dynamic_params` only exists on the way to a node.
    """

    dev_type: DiskTemplate
    logical_id: tuple[Json, ...]
    children: tuple[Disk, ...] = ()
    nodes: tuple[SharedText, ...] = ()  # node uuids; empty for externally mirrored storage
    iv_name: SharedText = ""  # disk/N of an attached disk
    size: int  # MiB
    mode: DiskMode = DiskMode.READ_WRITE
    name: str | None = field(default=None, metadata=OMIT_NONE)
    spindles: int | None = field(default=None, metadata=OMIT_NONE)
    params: Mapping[str, Json] | None = field(default=None, metadata=OMIT_NONE)
    physical_id: tuple[Json, ...] | None = field(default=None, metadata=OMIT_NONE)  # legacy
    pci: int | None = field(default=None, metadata=OMIT_NONE)
    hvinfo: Mapping[str, Json] | None = field(default=None, metadata=OMIT_NONE)
    forthcoming: bool | None = field(default=None, metadata=OMIT_NONE)
    dynamic_params: Mapping[str, Json] | None = field(default=None, metadata=OMIT_NONE)

    @property
    def drbd(self) -> DrbdId:
        """The logical id of a DRBD disk by names; ConfigurationError for other kinds."""
        if self.dev_type is not DiskTemplate.DRBD or len(self.logical_id) != 6:
            raise ConfigurationError(f"disk {self.uuid} has no DRBD logical id")
        return DrbdId(*self.logical_id)

    def walk(self) -> Iterator[Disk]:
        """This disk and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


def template_of(disks: Sequence[Disk]) -> str:
    """The disk template of an instance: common kind of its disks, `diskless`, or `mixed`."""
    kinds = {disk.dev_type for disk in disks}
    if not kinds:
        return DiskTemplate.DISKLESS.value
    return kinds.pop().value if len(kinds) == 1 else "mixed"
