"""Who asks, and whether now: credentials, waits after wrong ones, and rates of requests."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ganeti.rapi.access import CHALLENGE, User, Users, may, parse_basic, parse_bearer
from ganeti.rapi.limits import LONGEST_WAIT_S, Attempts, Rates
from ganeti.rapi.reply import HttpError
from ganeti.rapi.table import Access, Method
from ganeti.rapi.tokens import public_part
from ganeti.utils.net import client_of

REQUESTS_PER_S = 2000.0  # of one user from one address: a guard against loops, no quota


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """`require_authentication`: reads need a login, too. `now`: seconds, of any beginning.
    `clock`: Unix time."""

    require_authentication: bool = False
    requests_per_s: float = REQUESTS_PER_S
    now: Callable[[], float] = time.monotonic
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Gate:
    """Lets requests in. One per daemon."""

    def __init__(self, users: Users, settings: GateSettings) -> None:
        self.users = users
        self.settings = settings
        self.attempts = Attempts()
        self.rates = Rates(settings.requests_per_s)

    async def user(self, headers: Mapping[str, str], address: str) -> User | None:
        """Who asks; None when nobody says so.

        HttpError: 401 for credentials that are not right, even where none are needed; 429 for too
        many requests.
        """
        given = headers.get("Authorization")
        login = parse_basic(given) if given is not None else None
        token = parse_bearer(given) if given is not None else None
        who = (login[0] if login else public_part(token or ""), client_of(address))
        self._check_rate(who)
        if given is None:
            return None
        await self._wait_for_turn(who)
        user = self.users.find(*login) if login else None
        if token is not None:
            user = self.users.find_token(token, self.settings.clock())
        if user is None:
            self.attempts.was_wrong(who, self.settings.now())
            raise HttpError(401, headers=CHALLENGE)
        self.attempts.was_right(who)
        return user

    def is_welcome(self, user: User | None) -> bool:
        """Whether somebody who was let in would be now: is still a user, with a valid token."""
        return user is None or self.users.again(user, self.settings.clock()) is not None

    def claimed(self, headers: Mapping[str, str]) -> tuple[str, str]:
        """Who the request says it is, right or not: a user's name, a token's number."""
        given = headers.get("Authorization") or ""
        login = parse_basic(given)
        return (login[0] if login else "", public_part(parse_bearer(given) or ""))

    def check(self, user: User | None, method: Method) -> None:
        """HttpError unless this user may do this."""
        if user is None:
            strict = self.settings.require_authentication and not method.by_ticket
            if strict or method.access != Access.NONE:
                raise HttpError(401, headers=CHALLENGE)
        elif not may(user, method):
            raise HttpError(403, f"user {user.name!r} lacks the permission {method.permission!r}")

    def _check_rate(self, who: tuple[str, str]) -> None:
        wait_s = self.rates.wait_s(who, self.settings.now())
        if wait_s > 0:
            limit = f"{self.rates.per_second:g} requests a second"
            raise too_many(f"more than {limit} of one user from {who[1]}", wait_s)

    async def _wait_for_turn(self, who: tuple[str, str]) -> None:
        wait_s = self.attempts.wait_s(who, self.settings.now())
        if wait_s > LONGEST_WAIT_S:
            raise too_many(f"too many wrong passwords from {who[1]}", wait_s)
        if wait_s > 0:
            await self.settings.sleep(wait_s)


def too_many(text: str, wait_s: float) -> HttpError:
    return HttpError(429, text, headers={"Retry-After": str(math.ceil(wait_s))})
