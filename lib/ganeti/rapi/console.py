"""Consoles over websockets: tickets, sessions and their limits.

A ticket is given to a user who may have the console, and opens one session: once, within seconds,
from the same address. A session ends with the guest, with the client, when nothing goes over it for
long, or when its user may no longer have it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from ganeti.luxi.pool import LuxiPool
from ganeti.paths import Paths
from ganeti.rapi.access import User, Users
from ganeti.rapi.console_line import BUFFER_BYTES, Line, find_target, open_line
from ganeti.rapi.reply import HttpError

logger = logging.getLogger(__name__)

PERMISSION: Final = "instance.console"
TICKET_BYTES: Final = 32
PIECE_BYTES: Final = 16 * 1024
CLOSE_S: Final = 2.0  # for the client to answer that the session is over


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """Times in seconds. Without `paths` there is no console proxy. `now`: of any beginning."""

    paths: Paths | None = None
    ticket_s: float = 30.0
    tickets: int = 256
    tickets_of_user: int = 64
    sessions: int = 64
    sessions_of_user: int = 16
    message_bytes: int = 64 * 1024
    idle_s: float = 900.0  # nothing in either direction
    check_s: float = 5.0  # between two looks at idle time and rights
    connect_s: float = 15.0
    take_s: float = 30.0  # for the client to take what the guest says
    ping_s: float = 30.0
    now: Callable[[], float] = time.monotonic
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Ticket:
    """What one was given for. `kind`: serial, vnc, or None for what the instance has."""

    user: User
    address: str
    instance: str
    kind: str | None
    until: float


@dataclass(slots=True, eq=False)
class Session:
    """One open console. `reason` is why it is to end."""

    ticket: Ticket
    last: float
    reason: tuple[int, str] | None = None


class Consoles:
    """All tickets and sessions of one daemon."""

    def __init__(self, master: LuxiPool, users: Users, settings: ConsoleSettings) -> None:
        self.master = master
        self.users = users
        self.settings = settings
        self.sessions: set[Session] = set()
        self._tickets: dict[bytes, Ticket] = {}  # by hash: a lookup tells nothing about them
        self._changed = asyncio.Event()

    def check_enabled(self) -> Paths:
        """HttpError 404 unless this daemon carries consoles."""
        if self.settings.paths is None:
            raise HttpError(404, "consoles are not carried here; ganeti-rapi --console-proxy does")
        return self.settings.paths

    def issue(self, user: User, address: str, instance: str, kind: str | None) -> str:
        """A new ticket; HttpError 503 when too many wait to be used."""
        now = self.settings.now()
        for old in [key for key, one in self._tickets.items() if one.until <= now]:
            del self._tickets[old]
        if len(self._tickets) >= self.settings.tickets:
            raise _too_many(f"{len(self._tickets)} tickets wait to be used", self.settings.ticket_s)
        own = sum(one.user.name == user.name for one in self._tickets.values())
        if own >= self.settings.tickets_of_user:
            raise _too_many(f"{own} tickets of user {user.name} are unused", self.settings.ticket_s)
        text = secrets.token_urlsafe(TICKET_BYTES)
        until = now + self.settings.ticket_s
        self._tickets[_key(text)] = Ticket(user, address, instance, kind, until)
        return text

    def redeem(self, text: str, user: User | None, address: str) -> Ticket:
        """What the ticket was given for; it is used up, whoever shows it. HttpError 403 for one
        that is not good."""
        ticket = self._tickets.pop(_key(text), None)
        if ticket is None or ticket.until <= self.settings.now() or ticket.address != address:
            raise HttpError(
                403,
                f"the ticket is unknown, used, older than {self.settings.ticket_s:g} s, or was"
                " given to another address; ask for another one",
            )
        if user is not None and user.name != ticket.user.name:
            raise HttpError(403, f"the ticket was not given to user {user.name!r}")
        if not self._may(ticket.user):
            raise HttpError(403, f"user {ticket.user.name!r} lacks the permission {PERMISSION!r}")
        return ticket

    def check_again(self) -> None:
        """Sessions look at the rights of their users now: the users file has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """All sessions end."""
        for session in self.sessions:
            session.reason = (WSCloseCode.GOING_AWAY, "the daemon ends")
        self.check_again()

    async def serve(self, raw: web.BaseRequest, ticket: Ticket) -> web.StreamResponse:
        """A session from its beginning to its end."""
        paths = self.check_enabled()
        socket = web.WebSocketResponse(
            timeout=CLOSE_S,
            autoclose=False,
            heartbeat=self.settings.ping_s,
            protocols=("binary",),
            compress=False,
            max_msg_size=self.settings.message_bytes + 1,  # the first size that is too large
            writer_limit=BUFFER_BYTES,
        )
        session = Session(ticket, self.settings.now())
        self._enter(session)
        try:
            target = await find_target(self.master, paths, ticket.instance, ticket.kind)
            (cluster,) = await self.master.call("QueryConfigValues", ["cluster_name"])
            line = await open_line(target, cluster, paths, self.settings.connect_s)
            told = f"console of {target.instance} ({target.kind}) for {ticket.user.name}"
            try:
                await socket.prepare(raw)
                logger.info("%s at %s: open", told, ticket.address)
                code, reason = await self._carry(session, socket, line)
            finally:
                await line.close()
            logger.info("%s at %s: %s", told, ticket.address, reason)
            await socket.close(code=code, message=reason.encode())
        finally:
            self.sessions.discard(session)
        return socket

    def _enter(self, session: Session) -> None:
        """HttpError 503 when there is no room for one more."""
        name = session.ticket.user.name
        own = sum(one.ticket.user.name == name for one in self.sessions)
        if len(self.sessions) >= self.settings.sessions:
            raise _too_many(f"{len(self.sessions)} consoles are open", self.settings.check_s)
        if own >= self.settings.sessions_of_user:
            raise _too_many(f"user {name} has {own} consoles open", self.settings.check_s)
        self.sessions.add(session)

    def _may(self, user: User) -> bool:
        again = self.users.again(user, self.settings.clock())
        return again is not None and again.rights.has(PERMISSION)

    async def _carry(
        self, session: Session, socket: web.WebSocketResponse, line: Line
    ) -> tuple[int, str]:
        """Bytes in both directions until one end is reached; the websocket's code and why."""
        tasks = [
            asyncio.create_task(work)
            for work in (
                self._from_guest(session, socket, line),
                self._to_guest(session, socket, line),
                self._watch(session),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _from_guest(
        self, session: Session, socket: web.WebSocketResponse, line: Line
    ) -> tuple[int, str]:
        try:
            while piece := await line.reader.read(PIECE_BYTES):
                session.last = self.settings.now()
                async with asyncio.timeout(self.settings.take_s):
                    await socket.send_bytes(piece)
        except TimeoutError:
            return WSCloseCode.POLICY_VIOLATION, "the client does not take what the guest says"
        except OSError as error:
            return WSCloseCode.OK, f"the line broke: {error}"
        return WSCloseCode.OK, "the guest's console has ended"

    async def _to_guest(
        self, session: Session, socket: web.WebSocketResponse, line: Line
    ) -> tuple[int, str]:
        """A guest that takes nothing holds up the client: what has not come is not lost."""
        try:
            async for message in socket:
                if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                    break
                data = message.data
                line.writer.write(data.encode() if isinstance(data, str) else data)
                await line.writer.drain()
                session.last = self.settings.now()
        except OSError:
            return WSCloseCode.OK, "the guest's console has ended"
        return WSCloseCode.OK, "the client has left"

    async def _watch(self, session: Session) -> tuple[int, str]:
        settings = self.settings
        while True:
            if session.reason is not None:
                return session.reason
            if not self._may(session.ticket.user):
                return WSCloseCode.POLICY_VIOLATION, "the user may no longer have this console"
            if settings.now() - session.last >= settings.idle_s:
                return WSCloseCode.OK, f"nothing happened for {settings.idle_s:g} s"
            try:
                async with asyncio.timeout(settings.check_s):
                    await self._changed.wait()
            except TimeoutError:
                pass


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _too_many(text: str, wait_s: float) -> HttpError:
    return HttpError(503, f"{text}; come again later", headers={"Retry-After": f"{wait_s:.0f}"})
