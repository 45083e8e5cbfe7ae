"""A master begins a term of a journal: a majority of the candidates promise to obey no older one.

The promises come first, the newest copy is fetched afterwards (rpc/recover.py): what an older
master still gets acknowledged was there when a majority promised, so it is found. See
doc/design-journal.rst, Promises.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from ganeti.errors import ConfigurationError, ParseError
from ganeti.rpc import calls
from ganeti.rpc.base import Call, Outcome, P, Target
from ganeti.rpc.calls import JournalState
from ganeti.rpc.follow import JournalRpc
from ganeti.rpc.promise import Promise
from ganeti.utils.journal import Generation
from ganeti.utils.offload import Offloader

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 8
LONGEST_PAUSE_S: Final = 0.5  # of two masters that want the same term one comes first next time


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Getting a term. `others`: the configured candidates without this node."""

    name: str
    identity: str
    promise: Promise
    rpc: JournalRpc
    offload: Offloader
    others: Sequence[Target]
    answer_s: float

    async def run(self) -> Generation:
        """A generation whose term no other master has or will get.

        With no majority that answers the promises of the others are missing: the journal will be
        degraded then, and promises nothing. ConfigurationError when other masters begin at the
        same time again and again.
        """
        term = max(*self._terms(await self._states()), await self.offload(self._term_here))
        for attempt in range(ATTEMPTS):
            wanted = Generation(term + 1, 0, self.identity)
            refused_here = await self.offload(partial(self._promise_here, wanted))
            states = [] if refused_here else await self._promises(wanted)
            given = sum(not state.refused for state in states) + (not refused_here)
            if given >= (len(self.others) + 1) // 2 + 1:
                return wanted
            if not refused_here and given == len(states) + 1:
                return self._without_majority(wanted, given)
            term = max(term, *self._terms(states), await self.offload(self._term_here))
            await asyncio.sleep(self._pause_s(attempt))
        raise ConfigurationError(
            f"journal {self.name}: another master begins at the same time; see on which other"
            " candidates a master daemon starts, and start it on one node only"
        )

    async def renew(self, claimed: Generation) -> bool:
        """Whether a majority of `others`, this node counted, has promised this very term.

        When there are other candidates than those that were asked first. True also when so few
        answer that nobody can know.
        """
        states = await self._promises(claimed)
        given = 1 + sum(not state.refused for state in states)
        return given >= (len(self.others) + 1) // 2 + 1 or given == len(states) + 1

    def _without_majority(self, wanted: Generation, given: int) -> Generation:
        logger.warning(
            "journal %s: term %d begins with the promises of %d of %d master candidates",
            *(self.name, wanted.term, given, len(self.others) + 1),
        )
        return wanted

    def _promise_here(self, wanted: Generation) -> str:
        with self.promise.held():
            return self.promise.give(wanted)

    def _term_here(self) -> int:
        with self.promise.held():
            known = self.promise.known()
        return known.term if known is not None else 0

    async def _states(self) -> list[JournalState]:
        return await self._ask(calls.journal_state, self.name, False)

    async def _promises(self, wanted: Generation) -> list[JournalState]:
        return await self._ask(calls.journal_promise, self.name, str(wanted))

    async def _ask(
        self, call: Call[P, JournalState], *args: P.args, **kwargs: P.kwargs
    ) -> list[JournalState]:
        """What the candidates say that answer in time."""

        async def ask(target: Target) -> Outcome[JournalState] | None:
            try:
                async with asyncio.timeout(self.answer_s):
                    return await self.rpc.ask(target, call, *args, **kwargs)
            except TimeoutError:
                return None

        found = await asyncio.gather(*(ask(target) for target in self.others))
        return [one.value for one in found if one is not None and one.value is not None]

    def _terms(self, states: Sequence[JournalState]) -> list[int]:
        terms = [0]
        for text in (text for state in states for text in (state.generation, state.promised)):
            try:
                terms.append(Generation.parse(text).term if text else 0)
            except ParseError:
                continue
        return terms

    def _pause_s(self, attempt: int) -> float:
        chance = zlib.crc32(f"{self.identity} {attempt}".encode()) / 2**32
        return float(chance * LONGEST_PAUSE_S)
