"""Trying again, with an end. Time comes in as functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


class RetryTimeout(Exception):
    """The time is over; `last` is what the last attempt raised, if it raised anything."""

    def __init__(self, text: str, last: Exception | None = None) -> None:
        super().__init__(text)
        self.last = last


class TryAgain(Exception):
    """Raised by an attempt that wants another one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between attempts: `first`, then each `factor` times longer, at most `longest`."""

    first_s: float = 0.1
    factor: float = 1.5
    longest_s: float = 5.0

    def after(self, attempts: int) -> float:
        """The pause after that many attempts (1, 2, …)."""
        return float(min(self.first_s * self.factor ** min(attempts - 1, 64), self.longest_s))


def retry(
    attempt: Callable[[], T],
    *,
    timeout_s: float,
    what: str,
    now: Callable[[], float],
    sleep: Callable[[float], None],
    pace: Pace = Pace(),
    on: tuple[type[Exception], ...] = (TryAgain,),
) -> T:
    """The first result of `attempt` that does not raise one of `on`.

    RetryTimeout "what: …" when `timeout_s` is over; the attempt then running is not interrupted.
    Any other error goes through.
    """
    deadline = now() + timeout_s
    attempts = 0
    while True:
        try:
            return attempt()
        except on as error:
            attempts += 1
            left = deadline - now()
            if left <= 0:
                reason = f": {error}" if str(error) else ""
                raise RetryTimeout(
                    f"{what}: not so after {timeout_s:g} s and {attempts} attempts{reason}", error
                ) from error
            sleep(min(pace.after(attempts), left))
