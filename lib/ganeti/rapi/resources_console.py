"""Consoles over websockets; they are ours, and off unless the daemon is told otherwise."""

from __future__ import annotations

from aiohttp import web

from ganeti.opcodes.base import param
from ganeti.opcodes.checks import optional, words
from ganeti.rapi.call import Call
from ganeti.rapi.console import PERMISSION
from ganeti.rapi.console_line import SERIAL, VNC, find_target
from ganeti.rapi.reply import HttpError, Upgrade
from ganeti.rapi.submit import checked_body
from ganeti.rapi.table import Access, Argument, Body, Method, own_params, resource
from ganeti.serializer import Json

PATH = "/2/console"
TICKET = Argument(
    name="ticket",
    kind="text",
    help="the ticket, as it was given",
    required=True,
    since="4.0",
)
WANTED = own_params(
    kind=param(
        f"{SERIAL} or {VNC}; without it what the instance has, {SERIAL} first",
        check=optional(words("console", (SERIAL, VNC))),
        default=None,
    ),
)


async def ticket(call: Call) -> Json:
    """A ticket for the console of a running instance."""
    paths = call.consoles.check_enabled()
    wanted = checked_body(call, WANTED)["kind"]
    target = await find_target(call.master, paths, call.path["instance"], wanted)
    assert call.user is not None  # the method needs a right
    text = call.consoles.issue(call.user, call.peer, target.instance, target.kind)
    return {
        "ticket": text,
        "path": f"{PATH}?{TICKET.name}={text}",
        "kind": target.kind,
        "instance": target.instance,
        "expires_in_s": call.consoles.settings.ticket_s,
    }


async def console(call: Call) -> Upgrade:
    """The websocket of a ticket."""
    consoles = call.consoles
    consoles.check_enabled()
    if call.headers.get("Upgrade", "").lower() != "websocket":
        raise HttpError(426, "a websocket is spoken here", headers={"Upgrade": "websocket"})
    given = consoles.redeem(str(call.text(TICKET)), call.user, call.peer)

    async def serve(raw: web.BaseRequest) -> web.StreamResponse:
        return await consoles.serve(raw, given)

    return Upgrade(serve, given.user)


RESOURCES = (
    resource(
        "/2/instances/{instance}/console-ticket",
        since="4.0",
        post=Method(
            serve=ticket,
            help="A one-time ticket for a websocket with the instance's console.",
            permission=PERMISSION,
            access=Access.WRITE,
            body=Body(params=WANTED),
            takes_body=True,
            answer="the ticket, and the path of the websocket",
            since="4.0",
        ),
    ),
    resource(
        PATH,
        since="4.0",
        get=Method(
            serve=console,
            help="A websocket that carries an instance's console in binary messages.",
            permission=PERMISSION,
            arguments=(TICKET,),
            by_ticket=True,
            answer="a websocket",
            since="4.0",
        ),
    ),
)
