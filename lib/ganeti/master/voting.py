"""May this node be the master? Pure; the shell asks the nodes. Source: facts/master.md §A1."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

ATTEMPTS = 7  # the first and six more
PAUSE_S = 10.0


class Verdict(Enum):
    """What the votes say."""

    WON = "won"
    LOST = "lost"
    UNDECIDED = "undecided"


def count(me: str, votes: Mapping[str, str | None]) -> Verdict:
    """Verdict for the node named `me`.

    `votes`: per node, this one included, the name of the master it knows of; None: no answer.
    Won with more than half of all nodes; undecided as long as the silent ones could give that.
    """
    favour = sum(vote == me for vote in votes.values())
    silent = sum(vote is None for vote in votes.values())
    if 2 * favour > len(votes):
        return Verdict.WON
    if 2 * (favour + silent) > len(votes):
        return Verdict.UNDECIDED
    return Verdict.LOST


def describe(me: str, votes: Mapping[str, str | None]) -> str:
    """Who voted for whom, for the log and the terminal."""
    others = sorted({vote for vote in votes.values() if vote not in (None, me)}, key=str)
    silent = sorted(node for node, vote in votes.items() if vote is None)
    parts = [f"{sum(vote == me for vote in votes.values())} of {len(votes)} nodes for {me}"]
    parts += [f"{sum(v == other for v in votes.values())} for {other}" for other in others]
    if silent:
        parts.append(f"no answer from {', '.join(silent[:5])}{' …' if len(silent) > 5 else ''}")
    return "; ".join(parts)
