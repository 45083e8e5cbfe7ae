"""Tags of all kinds of objects. Rules: facts/master.md §C."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from ganeti import constants
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError, TagError
from ganeti.locking.names import EXCLUSIVE, SHARED, Mode
from ganeti.logic import ask
from ganeti.logic.base import Held, LockRequest, LogicalUnit, QueryUnit
from ganeti.logic.registry import implements
from ganeti.model.cluster import Cluster
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.opcodes.pattern import Finder, pattern_problem
from ganeti.opcodes.tags import OpTagsDel, OpTagsGet, OpTagsSearch, OpTagsSet
from ganeti.serializer import Json
from ganeti.types import TagKind

Tagged = Cluster | NodeGroup | Node | Instance | Network
TagsOp = TypeVar("TagsOp", OpTagsSet, OpTagsDel)

_VALID = re.compile(r"[A-Za-z0-9_.+*/:@-]+")


def check_tag(tag: str) -> None:
    """TagError for a text that can't be a tag."""
    if not tag:
        raise TagError("a tag can't be empty")
    if len(tag) > constants.MAX_TAG_LENGTH:
        raise TagError(f"tag {tag[:20]!r}… has more than {constants.MAX_TAG_LENGTH} characters")
    if not _VALID.fullmatch(tag):
        raise TagError(f"tag {tag!r} has characters other than letters, digits and _.+*/:@-")


def find(config: Snapshot, kind: TagKind, name: str | None) -> Tagged:
    """The object that bears the tags."""
    if kind is TagKind.CLUSTER:
        return config.cluster
    if not name:
        raise OpPrereqError(f"no name of the {kind} is given", Code.INVAL)
    if kind is TagKind.NODE:
        return ask.node(config, name)
    if kind is TagKind.NODEGROUP:
        return ask.group(config, name)
    if kind is TagKind.INSTANCE:
        return ask.instance(config, name)
    return ask.network(config, name)


def lock_of(thing: Tagged, mode: Mode) -> LockRequest:
    """The object's own lock; the cluster has none."""
    match thing:
        case Instance():
            return LockRequest(instances={thing.name: mode})
        case Node():
            return LockRequest(nodes={thing.uuid: mode})
        case NodeGroup():
            return LockRequest(groups={thing.uuid: mode})
        case Network():
            return LockRequest(networks={thing.uuid: mode})
    return LockRequest()


def store(draft: Draft, thing: Tagged, tags: tuple[str, ...]) -> None:
    match thing:
        case Cluster():
            draft.update_cluster(replace(thing, tags=tags))
        case Instance():
            draft.update(replace(thing, tags=tags))
        case Node():
            draft.update(replace(thing, tags=tags))
        case NodeGroup():
            draft.update(replace(thing, tags=tags))
        case Network():
            draft.update(replace(thing, tags=tags))


@dataclass(frozen=True, slots=True)
class TagsPlan:
    """The tags that change, each once."""

    tags: tuple[str, ...]


class ChangeTags(LogicalUnit[TagsOp, TagsPlan]):
    """What adding and removing share."""

    def arguments(self) -> None:
        for tag in self.op.tags:
            check_tag(tag)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return lock_of(find(config, self.op.kind, self.op.name), EXCLUSIVE)


@implements(OpTagsSet)
class TagsSet(ChangeTags[OpTagsSet]):
    """Add tags; those that are there already stay."""

    def check(self, config: Snapshot) -> TagsPlan:
        find(config, self.op.kind, self.op.name)
        return TagsPlan(tuple(dict.fromkeys(self.op.tags)))

    def execute(self, plan: TagsPlan) -> Json:
        def add(draft: Draft) -> None:
            thing = find(draft.snapshot, self.op.kind, self.op.name)
            tags = (*thing.tags, *(tag for tag in plan.tags if tag not in thing.tags))
            if len(tags) > constants.MAX_TAGS_PER_OBJECT:
                raise OpExecError(
                    f"Error while setting tags: more than {constants.MAX_TAGS_PER_OBJECT} tags"
                )
            if tags != thing.tags:
                store(draft, thing, tags)

        self.commit(add)
        return None


@implements(OpTagsDel)
class TagsDel(ChangeTags[OpTagsDel]):
    """Remove tags, all of which must be there."""

    def check(self, config: Snapshot) -> TagsPlan:
        thing = find(config, self.op.kind, self.op.name)
        absent = sorted(set(self.op.tags) - set(thing.tags))
        if absent:
            raise OpPrereqError(
                f"Tag(s) {', '.join(repr(tag) for tag in absent)} not found", Code.NOENT
            )
        return TagsPlan(tuple(dict.fromkeys(self.op.tags)))

    def execute(self, plan: TagsPlan) -> Json:
        def remove(draft: Draft) -> None:
            thing = find(draft.snapshot, self.op.kind, self.op.name)
            store(draft, thing, tuple(tag for tag in thing.tags if tag not in plan.tags))

        self.commit(remove)
        return None


@implements(OpTagsGet)
class TagsGet(QueryUnit[OpTagsGet]):
    """The tags of one object."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        if not self.op.use_locking:
            return LockRequest()
        return lock_of(find(config, self.op.kind, self.op.name), SHARED)

    def execute(self, plan: None) -> Json:
        return list(find(self.services.snapshot(), self.op.kind, self.op.name).tags)


@implements(OpTagsSearch)
class TagsSearch(QueryUnit[OpTagsSearch]):
    """All objects with tags that match a regular expression: rows of [path, tag]."""

    def arguments(self) -> None:
        problem = pattern_problem(self.op.pattern)
        if problem:
            raise OpPrereqError(
                f"Invalid search pattern {self.op.pattern!r}: {problem}", Code.INVAL
            )

    def execute(self, plan: None) -> Json:
        finder = Finder(self.op.pattern)
        return [
            [path, tag]
            for path, tags in tagged_objects(self.services.snapshot())
            for tag in tags
            if finder.is_in(tag)
        ]


def tagged_objects(config: Snapshot) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Path and tags of every object."""
    yield "/cluster", config.cluster.tags
    for instance in config.instances.values():
        yield f"/instances/{instance.name}", instance.tags
    for node in config.nodes.values():
        yield f"/nodes/{node.name}", node.tags
    for group in config.groups.values():
        yield f"/nodegroup/{group.name}", group.tags
    for network in config.networks.values():
        yield f"/network/{network.name}", network.tags
