"""What changes in the cluster, as numbered events; the newest are kept. Pure.

The id of an event is `<start>-<number>`: `start` belongs to one run of the master daemon, numbers
grow by one. A reader says which event it has seen last and gets the later ones, or is told that
some are gone: then it has to read anew what it wants to know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Final

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Delta
from ganeti.jobs.job import Job
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.query.node import role_of
from ganeti.serializer import Json
from ganeti.types import EventKind as Kind

KEPT_EVENTS: Final = 8192  # some 4 MiB; a busy cluster makes them in minutes


@dataclass(frozen=True, slots=True)
class Event:
    number: int
    kind: Kind
    data: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Part:
    """What a reader gets. `last`: the id to ask with next. `reset`: events before it are gone."""

    last: str
    events: tuple[Event, ...] = ()
    reset: bool = False


class Ring:
    """The newest events of one run of the daemon."""

    def __init__(self, start: str, size: int = KEPT_EVENTS) -> None:
        self._start = start
        self._events: deque[Event] = deque(maxlen=size)
        self._newest = 0  # number of the last event, kept or not

    def add(self, kind: Kind, data: dict[str, Json]) -> None:
        self._newest += 1
        self._events.append(Event(self._newest, kind, data))

    def forget(self) -> None:
        """Nobody can go on from an event of before: what comes now was not watched."""
        self._events.clear()
        self._newest += 1

    def identify(self, number: int) -> str:
        return f"{self._start}-{number}"

    def after(self, last: str | None, kinds: frozenset[str] | None, most: int) -> Part:
        """The events behind `last`, at most so many; without `last` just where the ring is."""
        newest = self.identify(self._newest)
        if last is None:
            return Part(newest)
        number = self._number(last)
        if number is None:
            return Part(newest, reset=True)
        found = []
        for event in self._behind(number):
            if kinds is None or event.kind in kinds:
                found.append(event)
                if len(found) == most:
                    return Part(self.identify(event.number), tuple(found))
        return Part(newest, tuple(found))

    def _number(self, last: str) -> int | None:
        """Of an id after which nothing is missing here; None for all others."""
        start, _, digits = last.rpartition("-")
        if start != self._start or not digits.isascii() or not digits.isdigit():
            return None
        number = int(digits)
        return number if self._newest - len(self._events) <= number <= self._newest else None

    def _behind(self, number: int) -> Iterator[Event]:
        """From the near end: most readers lack the last few only."""
        newest = list(islice(reversed(self._events), self._newest - number))
        return reversed(newest)


# What events tell.


def job_place(job: Job) -> tuple[str, int | None]:
    """What must change for an event: the job's status, or the opcode that it is at."""
    return job.status.value, job.next_index


def job_data(job: Job) -> dict[str, Json]:
    index = job.next_index
    return {
        "id": job.id,
        "status": job.status.value,
        "summary": [op.summary for op in job.ops],
        "opcode": index,
        "opstatus": None if index is None else job.ops[index].status.value,
        "archived": job.archived,
    }


def config_events(
    before: Snapshot, after: Snapshot, delta: Delta
) -> Iterator[tuple[Kind, dict[str, Json]]]:
    """What one transaction changed; takes time in proportion to that, not to the cluster."""
    for uuid, more in _touched(before, after, delta, "nodes").items():
        was, now = before.nodes.get(uuid), after.nodes.get(uuid)
        yield from _changes(Kind.NODE, _node(before, was), _node(after, now), was, now, more)
    if after.cluster.master_node != before.cluster.master_node:
        yield from _new_master(before, after, delta)
    for uuid, more in _touched(before, after, delta, "instances").items():
        old, new = before.instances.get(uuid), after.instances.get(uuid)
        data = _instance(before, old), _instance(after, new)
        yield from _changes(Kind.INSTANCE, *data, old, new, more)
    yield Kind.CONFIG, {"serial_no": after.serial_no, "cluster": after.cluster.uuid}


def _touched(
    before: Snapshot, after: Snapshot, delta: Delta, kind: str
) -> dict[str, dict[str, None]]:
    """uuid → fields that changed outside of the object itself."""
    found: dict[str, dict[str, None]] = {one.uuid: {} for one in delta.put.get(kind, ())}
    found.update((uuid, {}) for uuid in delta.drop.get(kind, ()))
    if kind == "instances":
        disks = [one.uuid for one in delta.put.get("disks", ())]
        for disk in [*disks, *delta.drop.get("disks", ())]:
            for owner in after.index.disk_owners.get(disk, ()):
                found.setdefault(owner, {})["disks"] = None
        for uuid, more in found.items():
            if before.index.secondaries.get(uuid) != after.index.secondaries.get(uuid):
                more["secondary_nodes"] = None
    return found


def _new_master(
    before: Snapshot, after: Snapshot, delta: Delta
) -> Iterator[tuple[Kind, dict[str, Json]]]:
    told = {one.uuid for one in delta.put.get("nodes", ())}
    for uuid in (before.cluster.master_node, after.cluster.master_node):
        now = after.nodes.get(uuid)
        if now is not None and uuid not in told and uuid in before.nodes:
            yield Kind.NODE, {**_node(after, now), "change": "changed", "fields": ["role"]}


def _node(config: Snapshot, node: Node | None) -> dict[str, Json]:
    if node is None:
        return {}
    group = config.groups.get(node.group)
    return {
        "name": node.name,
        "uuid": node.uuid,
        "role": role_of(config, node),
        "offline": node.offline,
        "drained": node.drained,
        "group": group.name if group is not None else node.group,
    }


def _instance(config: Snapshot, instance: Instance | None) -> dict[str, Json]:
    if instance is None:
        return {}
    nodes = [node.name for node in config.nodes_of(instance)]
    return {
        "name": instance.name,
        "uuid": instance.uuid,
        "admin_state": instance.admin_state.value,
        "primary_node": nodes[0] if nodes else None,
        "secondary_nodes": nodes[1:],
    }


COUNTERS: Final = frozenset({"serial_no", "ctime", "mtime"})


def _changes(
    kind: Kind,
    old: dict[str, Json],
    new: dict[str, Json],
    was: Any,
    now: Any,
    more: dict[str, None],
) -> Iterator[tuple[Kind, dict[str, Json]]]:
    """One event, or none when nothing differs. Names of fields, never values: some are secret."""
    if was is None and now is None:
        return
    if was is None:
        yield kind, {**new, "change": "added"}
    elif now is None:
        yield kind, {**old, "change": "removed"}
    else:
        names = [one.name for one in fields(now) if one.name not in COUNTERS]
        differ = [name for name in names if getattr(was, name) != getattr(now, name)]
        seen = dict.fromkeys([*differ, *more, *(name for name in new if new[name] != old[name])])
        if seen:
            yield kind, {**new, "change": "changed", "fields": list(seen)}
