"""Levels, modes and names of locks. Source: facts/locks.json, facts/master.md §B."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """Kinds of locks, in the order in which an owner may ask for them."""

    CLUSTER = "cluster"
    INSTANCE = "instance"
    NODEGROUP = "nodegroup"
    NODE = "node"
    NODE_RES = "node-res"
    NETWORK = "network"


class Mode(StrEnum):
    """How a lock is held."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


SHARED = Mode.SHARED
EXCLUSIVE = Mode.EXCLUSIVE

LEVELS: tuple[Level, ...] = tuple(Level)
RANK: dict[Level, int] = {level: rank for rank, level in enumerate(LEVELS)}

BGL = "BGL"  # every opcode holds it, nearly all of them shared
WHOLE_LEVEL = "[lockset]"


def lock_name(level: Level, name: str = WHOLE_LEVEL) -> str:
    """What an administrator reads: `instance/web1.example.com`, `node/[lockset]`."""
    return f"{level}/{name}"
