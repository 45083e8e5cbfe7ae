"""What happens in the cluster, and figures for monitoring; both are ours."""

from __future__ import annotations

from ganeti.rapi.call import Call
from ganeti.rapi.events import CONTENT_TYPE, HEADERS
from ganeti.rapi.lists import reading
from ganeti.rapi.metrics import metrics
from ganeti.rapi.reply import Reply, bad_request
from ganeti.rapi.table import Argument, resource
from ganeti.types import EventKind

LONGEST_ID = 80

KINDS = Argument(
    name="kinds",
    kind="names",
    help=f"only these kinds of events: {', '.join(EventKind)}",
    since="4.0",
)
SINCE = Argument(
    name="since",
    kind="text",
    help="id of the last event that is known; the header Last-Event-ID counts before it",
    since="4.0",
)


async def events(call: Call) -> Reply:
    kinds = _kinds(call)
    since = call.headers.get("Last-Event-ID") or call.text(SINCE) or None
    if since is not None and (len(since) > LONGEST_ID or not since.isprintable()):
        raise bad_request(f"{since[:LONGEST_ID]!r} is no id of an event")
    return Reply(
        call.events.stream(kinds, since, call.is_welcome),
        headers=HEADERS,
        content_type=CONTENT_TYPE,
        live=True,
    )


def _kinds(call: Call) -> frozenset[str]:
    given = call.query.get("kinds")
    if not given:
        return frozenset(EventKind)
    names = frozenset(given[0].split(","))
    unknown = sorted(names - frozenset(EventKind))
    if unknown:
        raise bad_request(
            f"there are no events of kind {unknown[0]!r}; known are {', '.join(EventKind)}"
        )
    return names


RESOURCES = (
    resource(
        "/2/events",
        since="4.0",
        get=reading(
            events,
            help="What happens, as it happens: changes of jobs, instances, nodes, configuration.",
            permission="events.read",
            answer="server-sent events, without an end",
            arguments=(KINDS, SINCE),
        ),
    ),
    resource(
        "/metrics",
        handler="metrics",
        since="4.0",
        get=reading(
            metrics,
            help="Figures of the cluster for monitoring.",
            permission="metrics.read",
            answer="OpenMetrics text",
        ),
    ),
)
