"""How often somebody may ask, and how often be wrong. Pure: times come from the caller.

Whoever is counted is a pair, such as (user, address). Memory is bounded: of many, those that were
not heard of for longest are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MOST_KNOWN = 4096
LONGEST_WAIT_S = 30.0  # who would have to wait longer is told to come again

Who = tuple[str, str]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rates:
    """So many requests a second each, and `burst_s` seconds' worth of them at once."""

    def __init__(self, per_second: float, burst_s: float = 5.0, most: int = MOST_KNOWN) -> None:
        self.per_second = per_second
        self._full = max(1.0, per_second * burst_s)
        self._most = most
        self._buckets: OrderedDict[Who, _Bucket] = OrderedDict()

    def wait_s(self, who: Who, now: float) -> float:
        """0 when the request is in order (it is counted then), else seconds until one is."""
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = _Bucket(self._full, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(who)
        gained = (now - bucket.at) * self.per_second
        bucket.tokens, bucket.at = min(self._full, bucket.tokens + gained), now
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / self.per_second
        bucket.tokens -= 1.0
        return 0.0

    def __len__(self) -> int:
        return len(self._buckets)


@dataclass(slots=True)
class _Guesses:
    wrong: int = 0
    next_at: float = 0.0  # no attempt is looked at before
    at: float = 0.0  # of the last wrong one


class Guesses:
    """Wrong passwords. After `free` of them each further attempt waits for the one before it, so
    that many at once are no faster than one after the other."""

    FREE = 3
    FIRST_S = 0.5  # doubled with each wrong one
    LONGEST_S = 8.0
    FORGOTTEN_S = 900.0

    def __init__(self, most: int = MOST_KNOWN, free: int = FREE) -> None:
        self._most = most
        self._free = free
        self._known: OrderedDict[Who, _Guesses] = OrderedDict()

    def wait_s(self, who: Who, now: float) -> float:
        """Seconds that an attempt has to wait before it is looked at. Its place is kept, unless it
        is to come again: those that are not looked at don't make the others wait."""
        wait_s = self.queue_s(who, now)
        if wait_s <= LONGEST_WAIT_S:
            self.keep_place(who, now)
        return wait_s

    def queue_s(self, who: Who, now: float) -> float:
        """As `wait_s`, without a place."""
        known = self._known.get(who)
        if known is None or known.wrong < self._free:
            return 0.0
        if now - known.at > self.FORGOTTEN_S:
            del self._known[who]
            return 0.0
        return max(0.0, known.next_at - now)

    def keep_place(self, who: Who, now: float) -> None:
        """The next attempt waits for this one."""
        known = self._known.get(who)
        if known is not None and known.wrong >= self._free:
            known.next_at = max(now, known.next_at) + self._pause_s(known.wrong)

    def was_wrong(self, who: Who, now: float) -> None:
        known = self._known.get(who)
        if known is None:
            known = self._known[who] = _Guesses()
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(who)
        known.wrong, known.at = known.wrong + 1, now
        if known.wrong == self._free:
            known.next_at = now + self._pause_s(known.wrong)

    def was_right(self, who: Who) -> None:
        self._known.pop(who, None)

    def _pause_s(self, wrong: int) -> float:
        return float(min(self.LONGEST_S, self.FIRST_S * 2 ** min(wrong - self._free, 10)))

    def __len__(self) -> int:
        return len(self._known)


class Attempts:
    """Attempts to log in, counted for each user at each address, and for the address: whoever
    tries many names waits as well.

    A user who has logged in there before does not wait for what others at the address try, until
    the user's own password was wrong once.
    """

    FREE_OF_ADDRESS = 30  # people that share an address, programs with old passwords

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._users = Guesses(most)
        self._addresses = Guesses(most, self.FREE_OF_ADDRESS)
        self._trusted: OrderedDict[Who, None] = OrderedDict()

    def wait_s(self, who: Who, now: float) -> float:
        """As `Guesses.wait_s`, for a user (first) at an address: both places are kept, or none."""
        queues = [(self._users, who)]
        if who not in self._trusted:
            queues.append((self._addresses, _address(who)))
        wait_s = max(guesses.queue_s(one, now) for guesses, one in queues)
        if wait_s <= LONGEST_WAIT_S:
            for guesses, one in queues:
                guesses.keep_place(one, now)
        return wait_s

    def was_wrong(self, who: Who, now: float) -> None:
        self._trusted.pop(who, None)
        self._users.was_wrong(who, now)
        self._addresses.was_wrong(_address(who), now)

    def was_right(self, who: Who) -> None:
        """What the address did counts on: else a user could guess the passwords of others."""
        self._users.was_right(who)
        self._trusted[who] = None
        self._trusted.move_to_end(who)
        if len(self._trusted) > self._most:
            self._trusted.popitem(last=False)

    def __len__(self) -> int:
        return len(self._users) + len(self._addresses) + len(self._trusted)


def _address(who: Who) -> Who:
    return ("", who[1])
