"""Who holds which lock of the cluster, and who waits.

Pure: no thread, no clock, no I/O. The shell asks, and wakes the owners that a call reports as
granted.

A lock exists while somebody holds it or waits for it; objects come and go without telling the
manager. Holding a whole level covers its present and future names.

*Fair*: nobody passes a waiting request that he is in conflict with, unless he is more urgent or
was there before. *Free of deadlocks*: an owner waits for one level only, while he holds nothing
of that level or a higher one; so who is waited for runs, or waits for a higher level. The place
of an owner (when he first asked) stays his until he has let everything go, so that one who has to
ask again is not the last.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ganeti.errors import LockError, ProgrammerError
from ganeti.locking.names import EXCLUSIVE, LEVELS, RANK, SHARED, Level, Mode, lock_name
from ganeti.locking.request import NOTHING, Held, Wanted, covers

Owner: TypeAlias = int
"""A job's number."""

Granted: TypeAlias = list[Owner]
"""Owners whose waiting request was granted by this call; wake them."""

Place: TypeAlias = tuple[int, int]
"""Priority (lower is more urgent), then when the owner first asked."""


@dataclass(frozen=True, slots=True)
class LockInfo:
    """One line of `gnt-debug locks`: owners sorted, waiters in their order."""

    name: str
    mode: Mode | None
    owners: tuple[Owner, ...]
    pending: tuple[tuple[Mode, tuple[Owner, ...]], ...]


class _Waiter:
    """A request that could not be granted at once."""

    __slots__ = ("owner", "level", "wanted", "at_least", "place")

    def __init__(
        self, owner: Owner, level: Level, wanted: Wanted, at_least: int | None, place: Place
    ) -> None:
        self.owner = owner
        self.level = level
        self.wanted = wanted
        self.at_least = at_least
        self.place = place

    @property
    def has_exclusive(self) -> bool:
        if isinstance(self.wanted, Mode):
            return self.wanted is EXCLUSIVE
        return EXCLUSIVE in self.wanted.values()


def _place(waiter: _Waiter) -> Place:
    return waiter.place


class _Line:
    """Waiters in the order of their places."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: list[_Waiter] = []

    def add(self, waiter: _Waiter) -> None:
        insort(self.waiters, waiter, key=_place)

    def remove(self, waiter: _Waiter) -> None:
        del self.waiters[bisect_left(self.waiters, waiter.place, key=_place)]

    def before(self, place: Place) -> Iterator[_Waiter]:
        for waiter in self.waiters:
            if waiter.place >= place:
                return
            yield waiter


class _Lock:
    """Holders and waiters of one name."""

    __slots__ = ("holders", "line")

    def __init__(self) -> None:
        self.holders: dict[Owner, Mode] = {}
        self.line = _Line()

    def is_free(self, name: str, mode: Mode, owner: Owner, place: Place) -> bool:
        if any(h != owner and _conflict(m, mode) for h, m in self.holders.items()):
            return False
        return not any(
            _conflict(_mode_of(waiter, name), mode) for waiter in self.line.before(place)
        )

    def leaders(self, name: str) -> Iterator[_Waiter]:
        """The waiters that no other waiter for this name stops."""
        for number, waiter in enumerate(self.line.waiters):
            exclusive = _mode_of(waiter, name) is EXCLUSIVE
            if number == 0 or not exclusive:
                yield waiter
            if exclusive:
                return


def _mode_of(waiter: _Waiter, name: str) -> Mode:
    return waiter.wanted if isinstance(waiter.wanted, Mode) else waiter.wanted[name]


def _conflict(one: Mode, other: Mode) -> bool:
    return one is EXCLUSIVE or other is EXCLUSIVE


class _LevelLocks:
    """Everything about one level."""

    def __init__(self) -> None:
        self.locks: dict[str, _Lock] = {}
        self.named: dict[Owner, dict[str, Mode]] = {}
        self.writers: set[Owner] = set()  # owners with an exclusive name
        self.whole: dict[Owner, Mode] = {}
        self.line = _Line()  # all waiters but the opportunistic ones
        self.whole_line = _Line()
        self.hungry = _Line()  # opportunistic: they stop nobody

    # Questions.
    def covers(self, owner: Owner, wanted: Wanted) -> bool:
        whole = self.whole.get(owner)
        if isinstance(wanted, Mode):
            return covers(whole, wanted)
        mine = self.named.get(owner, NOTHING)
        return all(covers(whole, m) or covers(mine.get(n), m) for n, m in wanted.items())

    def is_free(self, waiter: _Waiter) -> bool:
        if isinstance(waiter.wanted, Mode):
            return self._whole_is_free(waiter, waiter.wanted)
        return all(self._name_is_free(waiter, n, m) for n, m in waiter.wanted.items())

    def free_names(self, waiter: _Waiter) -> dict[str, Mode]:
        assert not isinstance(waiter.wanted, Mode)
        return {n: m for n, m in waiter.wanted.items() if self._name_is_free(waiter, n, m)}

    def _name_is_free(self, waiter: _Waiter, name: str, mode: Mode) -> bool:
        for owner, whole in self.whole.items():
            if owner != waiter.owner and _conflict(whole, mode):
                return False
        for other in self.whole_line.before(waiter.place):
            if _conflict(_mode_of(other, name), mode):
                return False
        lock = self.locks.get(name)
        return lock is None or lock.is_free(name, mode, waiter.owner, waiter.place)

    def _whole_is_free(self, waiter: _Waiter, mode: Mode) -> bool:
        for owner, whole in self.whole.items():
            if owner != waiter.owner and _conflict(whole, mode):
                return False
        in_the_way: Collection[Owner] = self.named if mode is EXCLUSIVE else self.writers
        if len(in_the_way) > (waiter.owner in in_the_way):
            return False
        return not any(
            mode is EXCLUSIVE or other.has_exclusive for other in self.line.before(waiter.place)
        )

    # Changes.
    def hold(self, owner: Owner, wanted: Wanted) -> None:
        if isinstance(wanted, Mode):
            self.whole[owner] = wanted
            return
        if not wanted:
            return
        mine = self.named.setdefault(owner, {})
        for name, mode in wanted.items():
            mine[name] = mode
            self.locks.setdefault(name, _Lock()).holders[owner] = mode
            if mode is EXCLUSIVE:
                self.writers.add(owner)

    def drop(self, owner: Owner, names: Iterable[str]) -> list[str]:
        """Lets go of these names; those that were held."""
        mine = self.named.get(owner)
        if mine is None:
            return []
        dropped = [name for name in names if mine.pop(name, None) is not None]
        for name in dropped:
            del self.locks[name].holders[owner]
        self._settle(owner, dropped)
        return dropped

    def _settle(self, owner: Owner, names: Iterable[str]) -> None:
        """Forgets what nobody holds or waits for any more."""
        mine = self.named.get(owner)
        if mine is not None and not mine:
            del self.named[owner]
        if owner in self.writers and EXCLUSIVE not in (mine or {}).values():
            self.writers.discard(owner)
        for name in names:
            lock = self.locks.get(name)
            if lock is not None and not lock.holders and not lock.line.waiters:
                del self.locks[name]

    def share(self, owner: Owner) -> list[str]:
        """Exclusive names of the owner become shared; which."""
        mine = self.named.get(owner, {})
        names = [name for name, mode in mine.items() if mode is EXCLUSIVE]
        for name in names:
            mine[name] = self.locks[name].holders[owner] = SHARED
        self.writers.discard(owner)
        return names

    def enqueue(self, waiter: _Waiter) -> None:
        if waiter.at_least is not None:
            self.hungry.add(waiter)
            return
        self.line.add(waiter)
        if isinstance(waiter.wanted, Mode):
            self.whole_line.add(waiter)
        else:
            for name in waiter.wanted:
                self.locks.setdefault(name, _Lock()).line.add(waiter)

    def dequeue(self, waiter: _Waiter) -> None:
        if waiter.at_least is not None:
            self.hungry.remove(waiter)
            return
        self.line.remove(waiter)
        if isinstance(waiter.wanted, Mode):
            self.whole_line.remove(waiter)
            return
        for name in waiter.wanted:
            self.locks[name].line.remove(waiter)
        self._settle(waiter.owner, waiter.wanted)

    def candidates(self, touched: Wanted | Collection[str]) -> list[_Waiter]:
        """Waiters that a change of these names (a mode: of the level) may have set free."""
        if isinstance(touched, Mode):
            found = {waiter.owner: waiter for waiter in self.line.waiters}
        else:
            found = {waiter.owner: waiter for waiter in self.whole_line.waiters}
            for name in touched:
                lock = self.locks.get(name)
                if lock is not None:
                    found.update((waiter.owner, waiter) for waiter in lock.leaders(name))
        found.update((waiter.owner, waiter) for waiter in self.hungry.waiters)
        return sorted(found.values(), key=_place)


class LockManager:
    """All locks of the cluster. The owner is a job; a job runs one opcode at a time."""

    def __init__(self) -> None:
        self._levels = {level: _LevelLocks() for level in LEVELS}
        self._waiting: dict[Owner, _Waiter] = {}
        self._arrival: dict[Owner, int] = {}
        self._arrivals = 0

    def ask(
        self,
        owner: Owner,
        level: Level,
        wanted: Wanted,
        *,
        priority: int = 0,
        at_least: int | None = None,
    ) -> bool:
        """True: held now. False: queued, a later call reports the owner as granted.

        All of it is granted at once, or nothing; with `at_least` so many names or more, whatever
        is free then. What is held already is granted again. LockError: something of this level or
        a higher one is held and does not cover the request; release it before.
        """
        if owner in self._waiting:
            raise ProgrammerError(f"job {owner} asks for locks while it waits for others")
        if at_least is not None and isinstance(wanted, Mode):
            raise ProgrammerError("an opportunistic request names its locks")
        if at_least is None and self._levels[level].covers(owner, wanted):
            return True
        self._refuse_wrong_order(owner, level)
        arrival = self._arrival.get(owner)
        if arrival is None:
            self._arrivals += 1
            arrival = self._arrival[owner] = self._arrivals
        waiter = _Waiter(owner, level, wanted, at_least, (priority, arrival))
        if self._grant(waiter):
            return True
        self._waiting[owner] = waiter
        self._levels[level].enqueue(waiter)
        return False

    def release(self, owner: Owner, level: Level, names: Collection[str] | None = None) -> Granted:
        """Lets go of these names, or of everything at the level. Names not held are no error."""
        locks = self._levels[level]
        if names is not None:
            return self._wake(level, locks.drop(owner, names))
        whole = locks.whole.pop(owner, None)
        dropped = locks.drop(owner, list(locks.named.get(owner, ())))
        return self._wake(level, whole or dropped)

    def reduce(self, owner: Owner, level: Level, names: Collection[str]) -> Granted:
        """Keeps only these names of the level, with the mode they had; the whole level becomes
        these names."""
        locks = self._levels[level]
        whole = locks.whole.pop(owner, None)
        if whole is not None:
            locks.hold(owner, dict.fromkeys(names, whole))
            return self._wake(level, whole)
        keep = set(names)
        return self.release(
            owner, level, [name for name in locks.named.get(owner, ()) if name not in keep]
        )

    def downgrade(self, owner: Owner, level: Level) -> Granted:
        """Everything the owner holds of the level is shared."""
        locks = self._levels[level]
        shared = locks.share(owner)
        if locks.whole.get(owner) is EXCLUSIVE:
            locks.whole[owner] = SHARED
            return self._wake(level, SHARED)
        return self._wake(level, shared)

    def release_all(self, owner: Owner, *, keep_place: bool = False) -> Granted:
        """Nothing is held or waited for any more; highest level first.

        `keep_place`: the owner will ask again and is then where he was in the line.
        """
        granted = self.cancel(owner)
        for level in reversed(LEVELS):
            granted += self.release(owner, level)
        if not keep_place:
            self._arrival.pop(owner, None)
        return granted

    def cancel(self, owner: Owner) -> Granted:
        """The waiting request is taken back; what is held stays, and so does the place."""
        waiter = self._waiting.pop(owner, None)
        if waiter is None:
            return []
        self._levels[waiter.level].dequeue(waiter)
        return self._wake(waiter.level, waiter.wanted)

    def set_priority(self, owner: Owner, priority: int) -> Granted:
        """The waiting request moves to where its new priority belongs."""
        waiter = self._waiting.get(owner)
        if waiter is None:
            return []
        locks = self._levels[waiter.level]
        locks.dequeue(waiter)
        waiter.place = (priority, waiter.place[1])
        locks.enqueue(waiter)
        return self._wake(waiter.level, waiter.wanted)

    def is_waiting(self, owner: Owner) -> bool:
        return owner in self._waiting

    def held(self, owner: Owner) -> Held:
        """What the owner holds now; a copy."""
        names = {
            level: dict(locks.named[owner])
            for level, locks in self._levels.items()
            if owner in locks.named
        }
        whole = {
            level: locks.whole[owner]
            for level, locks in self._levels.items()
            if owner in locks.whole
        }
        return Held(names, whole)

    def describe(self) -> list[LockInfo]:
        """Every lock that is held or waited for, in the order of levels and names."""
        return [info for level in LEVELS for info in self._describe_level(level)]

    def _describe_level(self, level: Level) -> Iterator[LockInfo]:
        locks = self._levels[level]
        for name in sorted(locks.locks):
            lock = locks.locks[name]
            waiters = ((w.place, _mode_of(w, name), w.owner) for w in lock.line.waiters)
            yield _info(lock_name(level, name), lock.holders, waiters)
        if locks.whole or locks.whole_line.waiters:
            waiters = ((w.place, _mode_of(w, ""), w.owner) for w in locks.whole_line.waiters)
            yield _info(lock_name(level), locks.whole, waiters)

    def _refuse_wrong_order(self, owner: Owner, level: Level) -> None:
        for higher in LEVELS[RANK[level] :]:
            locks = self._levels[higher]
            if owner in locks.named or owner in locks.whole:
                raise LockError(
                    f"job {owner} asks for more locks of level {level} while it holds locks of"
                    f" level {higher}"
                )

    def _grant(self, waiter: _Waiter) -> bool:
        locks = self._levels[waiter.level]
        wanted = waiter.wanted
        if waiter.at_least is not None:
            wanted = locks.free_names(waiter)
            if len(wanted) < waiter.at_least:
                return False
        elif not locks.is_free(waiter):
            return False
        locks.hold(waiter.owner, wanted)
        return True

    def _wake(self, level: Level, touched: Wanted | Collection[str]) -> Granted:
        """Grants what a change has set free; one pass, since a grant sets nobody free."""
        if not touched:
            return []
        locks = self._levels[level]
        granted: Granted = []
        for waiter in locks.candidates(touched):
            if self._grant(waiter):
                locks.dequeue(waiter)
                del self._waiting[waiter.owner]
                granted.append(waiter.owner)
        return granted


def _info(
    name: str, holders: Mapping[Owner, Mode], waiters: Iterable[tuple[Place, Mode, Owner]]
) -> LockInfo:
    groups: list[tuple[int, Mode, list[Owner]]] = []
    for (priority, _), mode, owner in waiters:
        if groups and mode is SHARED and groups[-1][:2] == (priority, mode):
            groups[-1][2].append(owner)
        else:
            groups.append((priority, mode, [owner]))
    return LockInfo(
        name,
        next(iter(holders.values()), None),
        tuple(sorted(holders)),
        tuple((mode, tuple(owners)) for _, mode, owners in groups),
    )
