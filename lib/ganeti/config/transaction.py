"""A change of the configuration: a function of a draft, all of it or nothing.

Serial numbers and times follow facts/config-data.md §3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar, cast

from immutables import Map

from ganeti.config import index
from ganeti.config.check import describe_clash, problems_of, problems_of_removal
from ganeti.config.index import Clash, Entry
from ganeti.config.snapshot import ConfigThing, Snapshot
from ganeti.errors import ConfigurationError
from ganeti.model.cluster import Cluster
from ganeti.model.disk import Disk
from ganeti.model.filter import JobFilter
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node

T = TypeVar("T", Node, NodeGroup, Instance, Disk, Network, JobFilter)

KINDS: Final[dict[type, str]] = {
    Node: "nodes",
    NodeGroup: "groups",
    Instance: "instances",
    Disk: "disks",
    Network: "networks",
    JobFilter: "filters",
}
"""Class → field of the snapshot."""

WORDS: Final = {
    "nodes": "node",
    "groups": "node group",
    "instances": "instance",
    "disks": "disk",
    "networks": "network",
    "filters": "job filter",
}

SERIALISED_BY_CLUSTER: Final = frozenset({"nodes", "groups", "instances", "networks"})
"""Adding or removing one of these counts as a change of the cluster, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What a transaction changed; `put` and `drop` go by the snapshot's field names."""

    serial_no: int  # of the whole configuration, after the change
    mtime: float
    cluster: Cluster | None = None
    put: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    drop: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Draft:
    """The newest configuration and the changes that a transaction makes to it.

    `now` is the time of the change in Unix seconds. Methods raise ConfigurationError and leave
    the draft as it was.
    """

    def __init__(self, base: Snapshot, now: float) -> None:
        self.now = now
        self._base = base
        self._cluster = base.cluster
        self._maps: dict[str, Map[str, Any]] = {}  # of the kinds that changed
        self._touched: dict[tuple[str, str], Any] = {}  # (kind, uuid) → as it was, or None
        self._bump_cluster = False
        self._made: tuple[Snapshot, list[Clash]] | None = (base, [])

    @property
    def snapshot(self) -> Snapshot:
        """The configuration with the changes so far."""
        return self._current()[0]

    @property
    def differs(self) -> bool:
        """Whether anything was changed so far."""
        return bool(self._touched) or self._cluster is not self._base.cluster

    def add(self, thing: T) -> T:
        """The object is in the configuration, with serial number 1 and both times now."""
        kind = KINDS[type(thing)]
        if thing.uuid in self._map(kind):
            raise ConfigurationError(f"{WORDS[kind]} {label(thing)}: uuid {thing.uuid} is taken")
        if not isinstance(thing, JobFilter):
            thing = replace(thing, serial_no=1, ctime=self.now, mtime=self.now)
        self._put(kind, thing)
        self._bump_cluster |= kind in SERIALISED_BY_CLUSTER
        return thing

    def update(self, thing: T) -> T:
        """The object replaces the one of its uuid; serial number + 1, mtime now.

        An object equal to the stored one changes nothing. ConfigurationError when it is not
        known, or when its serial number is not the stored one: somebody else has changed it since
        it was read.
        """
        kind = KINDS[type(thing)]
        stored = cast("T | None", self._map(kind).get(thing.uuid))
        if stored is None:
            raise ConfigurationError(
                f"{WORDS[kind]} {label(thing)}: uuid {thing.uuid} is not in the configuration"
            )
        updated: T = _updated(stored, thing, f"{WORDS[kind]} {label(stored)}", self.now)
        if updated is not stored:
            self._put(kind, updated)
            renamed = kind == "instances" and label(stored) != label(updated)
            regrouped = kind == "groups" and label(stored) != label(updated)
            self._bump_cluster |= kind == "nodes" or renamed or regrouped
        return updated

    def remove(self, thing: Node | NodeGroup | Instance | Disk | Network | JobFilter) -> None:
        """The object is gone; by its uuid, whatever its serial number."""
        kind = KINDS[type(thing)]
        if thing.uuid not in self._map(kind):
            raise ConfigurationError(
                f"{WORDS[kind]} {label(thing)}: uuid {thing.uuid} is not in the configuration"
            )
        self._note(kind, thing.uuid)
        self._maps[kind] = self._map(kind).delete(thing.uuid)
        self._bump_cluster |= kind in SERIALISED_BY_CLUSTER or kind == "disks"

    def update_cluster(self, cluster: Cluster) -> Cluster:
        """The same rules as `update`."""
        self._cluster = _updated(self._cluster, cluster, "cluster", self.now)
        self._made = None
        return self._cluster

    def finish(self) -> tuple[Snapshot, Delta | None]:
        """The next snapshot and what differs; None if nothing does.

        Raises ConfigurationError when the changed objects are not valid or clash with others.
        """
        if self._bump_cluster:
            if self._cluster is self._base.cluster or (
                self._cluster.serial_no == self._base.cluster.serial_no
            ):
                self._cluster = replace(
                    self._cluster, serial_no=self._cluster.serial_no + 1, mtime=self.now
                )
                self._made = None
            self._bump_cluster = False
        made, clashes = self._current()
        self._refuse_problems(made, clashes)
        delta = self._delta(made)
        if delta is None:
            return self._base, None
        return replace(made, serial_no=delta.serial_no, mtime=delta.mtime), delta

    # Inside.

    def _map(self, kind: str) -> Map[str, Any]:
        found = self._maps.get(kind)
        return cast("Map[str, Any]", getattr(self._base, kind) if found is None else found)

    def _put(self, kind: str, thing: Any) -> None:
        self._note(kind, thing.uuid)
        self._maps[kind] = self._map(kind).set(thing.uuid, thing)

    def _note(self, kind: str, uuid: str) -> None:
        self._touched.setdefault((kind, uuid), getattr(self._base, kind).get(uuid))
        self._made = None

    def _current(self) -> tuple[Snapshot, list[Clash]]:
        if self._made is None:
            changed: dict[str, Any] = dict(self._maps)
            plain = replace(self._base, cluster=self._cluster, **changed)
            indexes, clashes = index.apply(
                self._base.index, self._entries(self._base), self._entries(plain)
            )
            secondaries = self._secondaries(plain)
            if secondaries is not indexes.secondaries:
                indexes = replace(indexes, secondaries=secondaries)
            self._made = (replace(plain, index=indexes), clashes)
        return self._made

    def _instances(self) -> dict[str, None]:
        """Instances whose entries may differ: changed ones, and owners of changed disks."""
        found: dict[str, None] = {}
        for kind, uuid in self._touched:
            if kind == "instances":
                found[uuid] = None
            elif kind == "disks":
                found.update(dict.fromkeys(self._base.index.disk_owners.get(uuid, ())))
        return found

    def _entries(self, side: Snapshot) -> Iterator[Entry]:
        """What the touched objects claim in `side`: the base, or the new configuration."""
        if self._cluster is not self._base.cluster:
            yield from index.cluster_entries(side.cluster)
        for kind, uuid in self._touched:
            thing = getattr(side, kind).get(uuid)
            if isinstance(thing, Node):
                yield from index.node_entries(thing)
            elif isinstance(thing, NodeGroup):
                yield from index.group_entries(thing)
            elif isinstance(thing, Network):
                yield from index.network_entries(thing)
            elif isinstance(thing, Disk):
                yield from index.disk_entries(thing)
        for uuid in self._instances():
            instance = side.instances.get(uuid)
            if instance is not None:
                disks = index.known_disks(side.disks, instance)
                yield from index.instance_entries(instance, disks)

    def _secondaries(self, plain: Snapshot) -> Map[str, tuple[str, ...]]:
        found = self._base.index.secondaries
        for uuid in self._instances():
            instance = plain.instances.get(uuid)
            now: tuple[str, ...] = ()
            if instance is not None:
                now = index.secondaries(instance, index.known_disks(plain.disks, instance))
            if now != found.get(uuid, ()):
                found = found.set(uuid, now) if now else found.delete(uuid)
        return found

    def _refuse_problems(self, made: Snapshot, clashes: list[Clash]) -> None:
        """ConfigurationError for what is wrong now and was not before."""
        problems = [describe_clash(made, clash) for clash in clashes]
        if self._cluster is not self._base.cluster:
            old = set(problems_of(self._base, self._base.cluster))
            problems += [text for text in problems_of(made, made.cluster) if text not in old]
        for (kind, uuid), stored in self._touched.items():
            thing: ConfigThing | None = getattr(made, kind).get(uuid)
            if thing is not None:
                old = set() if stored is None else set(problems_of(self._base, stored))
                problems += [text for text in problems_of(made, thing) if text not in old]
            elif stored is not None:
                problems += problems_of_removal(made, stored)
        if problems:
            raise ConfigurationError("; ".join(dict.fromkeys(problems)))

    def _delta(self, made: Snapshot) -> Delta | None:
        put: dict[str, list[Any]] = {}
        drop: dict[str, list[str]] = {}
        for (kind, uuid), stored in self._touched.items():
            thing = getattr(made, kind).get(uuid)
            if thing is None:
                if stored is not None:
                    drop.setdefault(kind, []).append(uuid)
            elif thing is not stored:
                put.setdefault(kind, []).append(thing)
        cluster = self._cluster if self._cluster is not self._base.cluster else None
        if not put and not drop and cluster is None:
            return None
        return Delta(
            serial_no=self._base.serial_no + 1,
            mtime=self.now,
            cluster=cluster,
            put={kind: tuple(things) for kind, things in put.items()},
            drop={kind: tuple(uuids) for kind, uuids in drop.items()},
        )


def _updated(stored: Any, given: Any, what: str, now: float) -> Any:
    """What is stored after an update: `stored` itself when nothing differs."""
    if isinstance(stored, JobFilter):
        return stored if given == stored else given
    if given.serial_no != stored.serial_no:
        raise ConfigurationError(
            f"{what} was changed since it was read: serial number {given.serial_no} was read,"
            f" {stored.serial_no} is stored"
        )
    same_times = replace(given, ctime=stored.ctime, mtime=stored.mtime)
    if same_times == stored:
        return stored
    if isinstance(stored, Instance) and isinstance(same_times, Instance):
        if replace(same_times, primary_node=stored.primary_node) == stored:
            return same_times  # a switch of the primary node does not count
    return replace(same_times, serial_no=stored.serial_no + 1, mtime=now)


def label(thing: object) -> str:
    """Name of an object for a message; its uuid when it has none."""
    return str(getattr(thing, "name", None) or getattr(thing, "uuid", thing))
