"""What the lists of what nodes have (storage units, logical volumes) share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from ganeti.errors import Code, OpPrereqError
from ganeti.model.node import Node
from ganeti.rpc.base import Outcome

T = TypeVar("T")


def check_fields(wanted: Sequence[str], known: Sequence[str]) -> None:
    """OpPrereqError INVAL naming the fields that there are not."""
    unknown = [field for field in wanted if field not in known]
    if unknown:
        raise OpPrereqError(
            f"unknown fields: {', '.join(unknown)}; known: {', '.join(known)}", Code.INVAL
        )


def answered(
    nodes: Sequence[Node],
    outcomes: Mapping[str, Outcome[T]],
    what: str,
    warn: Callable[[str], None],
) -> Iterator[tuple[Node, T]]:
    """Each node that answers, with its answer. The others are left out: those that are not marked
    offline with a warning."""
    for node in nodes:
        outcome = outcomes[node.uuid]
        if outcome.ok:
            yield node, outcome.get()
        elif not outcome.offline:
            warn(f"node {node.name} does not tell its {what}: {outcome.error}")
