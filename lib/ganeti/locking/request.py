"""What an opcode wants to lock, and what it holds: values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from ganeti.locking.names import BGL, EXCLUSIVE, LEVELS, SHARED, Level, Mode

Wanted: TypeAlias = Mapping[str, Mode] | Mode
"""Names of one level with their modes; a bare mode is the whole level, future names included."""

NOTHING: Mapping[str, Mode] = MappingProxyType({})


def _nothing() -> Mapping[str, Mode]:
    return NOTHING


def covers(held: Mode | None, wanted: Mode) -> bool:
    """Whether holding `held` is enough for `wanted`."""
    return held is EXCLUSIVE or held is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """Locks of one opcode: `LockRequest(instances={"web1": EXCLUSIVE}, nodes=SHARED)`.

    Keys are instance names, and uuids of groups, nodes and networks. Every request has the
    cluster lock. `opportunistic` names levels of which only what is free is taken, but at least
    so many names.
    """

    cluster: Mode = SHARED
    instances: Wanted = field(default_factory=_nothing)
    groups: Wanted = field(default_factory=_nothing)
    nodes: Wanted = field(default_factory=_nothing)
    node_res: Wanted = field(default_factory=_nothing)
    networks: Wanted = field(default_factory=_nothing)
    opportunistic: Mapping[Level, int] = field(default_factory=lambda: MappingProxyType({}))

    def at(self, level: Level) -> Wanted:
        """What is wanted of one level; an empty mapping for nothing."""
        match level:
            case Level.CLUSTER:
                return {BGL: self.cluster}
            case Level.INSTANCE:
                return self.instances
            case Level.NODEGROUP:
                return self.groups
            case Level.NODE:
                return self.nodes
            case Level.NODE_RES:
                return self.node_res
            case Level.NETWORK:
                return self.networks

    def levels(self) -> Iterator[Level]:
        """Levels of which something is wanted, in locking order."""
        return (level for level in LEVELS if self.at(level))

    def at_least(self, level: Level) -> int | None:
        """Smallest number of names that an opportunistic request is content with, or None."""
        return self.opportunistic.get(level)

    def is_within(self, held: Held) -> bool:
        """Whether all of it is held; of an opportunistic level enough names have to be."""
        return all(self._level_is_within(held, level) for level in self.levels())

    def _level_is_within(self, held: Held, level: Level) -> bool:
        wanted, enough = self.at(level), self.at_least(level)
        if enough is not None and not isinstance(wanted, Mode):
            return sum(held.covers(level, name, mode) for name, mode in wanted.items()) >= enough
        return held.covers_all(level, wanted)


@dataclass(frozen=True, slots=True)
class Held:
    """The locks of one owner at one moment."""

    names: Mapping[Level, Mapping[str, Mode]] = field(default_factory=dict)
    whole: Mapping[Level, Mode] = field(default_factory=dict)

    def covers(self, level: Level, name: str, mode: Mode) -> bool:
        """Whether `name` is held in this mode or a stronger one."""
        if covers(self.whole.get(level), mode):
            return True
        return covers(self.names.get(level, NOTHING).get(name), mode)

    def covers_all(self, level: Level, wanted: Wanted) -> bool:
        """Whether everything `wanted` of the level is held."""
        if isinstance(wanted, Mode):
            return covers(self.whole.get(level), wanted)
        return all(self.covers(level, name, mode) for name, mode in wanted.items())

    def of(self, level: Level) -> Wanted:
        """What is held of one level, in the form of a request."""
        whole = self.whole.get(level)
        return whole if whole is not None else self.names.get(level, NOTHING)
