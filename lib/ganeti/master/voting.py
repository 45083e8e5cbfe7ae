"""May this node be the master? Pure; the shell (ballot.py) asks the nodes.

Source: facts/master.md §A1 and §A5, which count offline nodes differently at the start of a master
and at a failover. Here one rule serves both, so that whoever takes the role over can also start:

* More than half of the nodes that are not marked offline must name this one. With one view of who
  is offline, two nodes never have that at the same time, whatever nodes they can reach.
* Offline nodes are asked too. They get no news, so their word for this node counts nothing, and
  their word for another one only when that one says itself that it is the master: then it counts
  against. So two nodes that hear everybody never both win, even when they take different nodes
  for offline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeAlias

ATTEMPTS = 7  # the first and six more
PAUSE_S = 10.0

Votes: TypeAlias = Mapping[str, str | None]
"""Per node, this one included, the name of the master that it knows of; None: no answer."""


class Verdict(Enum):
    """What the votes say."""

    WON = "won"
    LOST = "lost"
    UNDECIDED = "undecided"


def count(me: str, votes: Votes, offline: Collection[str] = ()) -> Verdict:
    """Verdict for the node named `me`; `offline` names nodes that are marked so.

    Won with more than half of all that count; undecided as long as the silent ones could give
    that.
    """
    counted = counting(me, votes, offline)
    favour = sum(vote == me for vote in counted.values())
    silent = sum(vote is None for vote in counted.values())
    if 2 * favour > len(counted):
        return Verdict.WON
    if 2 * (favour + silent) > len(counted):
        return Verdict.UNDECIDED
    return Verdict.LOST


def counting(me: str, votes: Votes, offline: Collection[str]) -> Votes:
    """The votes that count: of nodes that are not offline, or for another that claims the role."""
    return {
        node: vote
        for node, vote in votes.items()
        if node not in offline or (vote not in (None, me) and votes.get(str(vote)) == vote)
    }


def after_takeover(me: str, votes: Votes, offline: Collection[str]) -> Votes:
    """What the nodes will say once `me` has taken the role: who answers and is not offline gets
    to know of it."""
    return {
        node: me if node not in offline and vote is not None else vote
        for node, vote in votes.items()
    }


def describe(me: str, votes: Votes, offline: Collection[str] = ()) -> str:
    """Who voted for whom, for the log and the terminal."""
    counted = counting(me, votes, offline)
    others = sorted({vote for vote in counted.values() if vote not in (None, me)}, key=str)
    parts = [f"{sum(vote == me for vote in counted.values())} of {len(counted)} nodes for {me}"]
    parts += [f"{sum(v == other for v in counted.values())} for {other}" for other in others]
    silent = [node for node, vote in counted.items() if vote is None]
    left_out = [node for node in votes if node not in counted]
    if silent:
        parts.append(f"no answer from {_some(silent)}")
    if left_out:
        parts.append(f"offline: {_some(left_out)}")
    return "; ".join(parts)


def _some(names: Collection[str]) -> str:
    return f"{', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}"
