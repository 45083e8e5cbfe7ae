"""A breaker per node, so that a dead node costs its deadline once and not once per job. Pure.

closed ── a failure that cost time ──▶ open until some time ──▶ half open: one call is let through
as a probe ── it succeeds ──▶ closed, ── it fails ──▶ open, for a quarter of the time since the node
was found dead: who is away for a moment is back within seconds. Before that call the client asks
for the node's version, for which the caller waits but shortly. A failure that came at once
(connection refused: noded restarts) costs nobody anything and opens nothing. A call that was
cancelled says nothing, unless it is an express one: those are short, so silence is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

COSTLY_S = 1.0  # a failure that took less is not worth avoiding
FIRST_PAUSE_S = 2.0
PAUSE_PER_OUTAGE = 0.25
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """One node: how long it is left alone, and why. Times are of a monotonic clock."""

    open_until: float | None = None  # None: closed
    since: float = 0.0  # when it was noticed
    probing: bool = False
    reason: str = ""


CLOSED = Breaker()


class Health:
    """The breakers of all nodes, by uuid. Only the loop changes them.

    Each of `listeners` is called with the uuid of a node that has answered; often, so it must be
    quick.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[str], None]] = []
        self._nodes: dict[str, Breaker] = {}

    def refusal(self, node: str, now: float) -> str | None:
        """Why the node is not called now; None: call it, and report what came of it."""
        breaker = self._nodes.get(node, CLOSED)
        if breaker.open_until is None:
            return None
        if now < breaker.open_until:
            left = breaker.open_until - now
            return f"{breaker.reason} (not tried again for {left:.0f} s)"
        if breaker.probing:
            return f"{breaker.reason} (being tried again)"
        self._nodes[node] = replace(breaker, probing=True)
        return None

    def is_probed(self, node: str) -> bool:
        """Whether a call that is let through now is a probe."""
        return self._nodes.get(node, CLOSED).probing

    def succeeded(self, node: str) -> None:
        self._nodes.pop(node, None)
        for listener in self.listeners:
            listener(node)

    def failed(self, node: str, now: float, cost_s: float, reason: str) -> None:
        """A call got no answer; it took `cost_s` to find out."""
        breaker = self._nodes.get(node, CLOSED)
        if cost_s < COSTLY_S:
            self._nodes.pop(node, None)
        elif breaker.open_until is not None and now < breaker.open_until:
            pass  # one of several that were on their way when the first one failed
        else:
            since = now if breaker.open_until is None else breaker.since
            pause = min(max(FIRST_PAUSE_S, PAUSE_PER_OUTAGE * (now - since)), LONGEST_PAUSE_S)
            self._nodes[node] = Breaker(now + pause, since, False, reason)

    def given_up(self, node: str) -> None:
        """A call, perhaps a probe, was cancelled: nothing is known, the next one probes."""
        breaker = self._nodes.get(node)
        if breaker is not None:
            self._nodes[node] = replace(breaker, probing=False)

    def forget(self, node: str) -> None:
        """The node was changed (new address, back online): try it at once."""
        self._nodes.pop(node, None)
