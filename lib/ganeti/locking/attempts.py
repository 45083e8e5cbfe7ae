"""How long one attempt to get the locks of a level lasts. Source: facts/master.md §B.

After the last attempt the opcode becomes one step more urgent and the list begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

FIRST_S = 5.0
LONGEST_S = 75.0
SUM_S = 1800.0
JITTER = 0.05  # so that jobs which were stopped together don't come back together


def attempt_timeouts(jitter: Callable[[], float]) -> Iterator[float]:
    """Timeouts in seconds of one round; `jitter` gives numbers from -1 to 1."""
    timeout, total = FIRST_S, 0.0
    while total < SUM_S:
        yield timeout * (1.0 + JITTER * jitter())
        total += timeout
        timeout = min(LONGEST_S, max(FIRST_S, (timeout * 1.05) ** 1.25))
