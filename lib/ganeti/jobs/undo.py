"""Undo steps of opcodes: data, journalled before what they undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ganeti.serializer import Json


@dataclass(frozen=True, slots=True)
class Step:
    """A declared call and its arguments in JSON form; must bear a step that was never begun.

    `node` is the uuid of the node to call, empty for a step on the master itself.
    """

    call: str
    arguments: tuple[Json, ...] = ()
    node: str = ""


Steps: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A step that could not be carried out, and why, as a sentence.

    `away`: its node does not answer; the step may be tried again when it does.
    """

    step: Step
    text: str
    away: bool = False
