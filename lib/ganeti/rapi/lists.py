"""Methods that list objects or show one.

`listing` gives names and addresses, or with `bulk=1` whole objects. Beyond the classic a list may
be a part (`limit`, `offset`), filtered (`filter`, in the language of the commands), of some fields
(`fields`), and has an entity tag where it shows nothing but the configuration. Long lists are
passed on as the master daemon sends them. Source: facts/rapi.json, field_lists and field_formats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from ganeti.errors import GenericError
from ganeti.luxi.methods import read_arguments
from ganeti.opcodes.filter import to_json
from ganeti.opcodes.filter_text import parse
from ganeti.rapi.call import Call
from ganeti.rapi.reply import Reply, bad_request, not_found
from ganeti.rapi.table import Access, Argument, Body, Method
from ganeti.serializer import Json, dump_bytes
from ganeti.types import QueryResource

Finish = Callable[[dict[str, Json]], dict[str, Json]]

BULK = Argument(name="bulk", kind="flag", help="whole objects", default=False)
LOCK = Argument(name="lock", kind="flag", help="not supported any more", default=False)
PARTS = (
    Argument(name="fields", kind="names", help="only these fields of each object", since="4.0"),
    Argument(name="filter", kind="text", help="only objects that this filter lets through; it has"
             " the language of the commands' --filter", since="4.0"),
    Argument(name="limit", kind="number", help="at most so many objects", since="4.0"),
    Argument(name="offset", kind="number", help="leave out so many first", default=0, since="4.0"),
)  # fmt: skip
OLD_CALLS = {
    QueryResource.INSTANCE: "QueryInstances",
    QueryResource.NODE: "QueryNodes",
    QueryResource.GROUP: "QueryGroups",
    QueryResource.NETWORK: "QueryNetworks",
    QueryResource.FILTER: "QueryFilters",
}
WITH_LOCK = frozenset(OLD_CALLS) - {QueryResource.FILTER}


def listing(
    what: QueryResource,
    base: str,
    fields: Sequence[str],
    *,
    key: str = "id",
    named_by: str = "name",
    live: frozenset[str] = frozenset(),
    has_lock: bool = False,
    permission: str,
    help: str,
) -> Method:
    """Objects of one kind; `base` is the address below which each has its own.

    `live` fields are not of the configuration.
    """

    async def serve(call: Call) -> Reply | Json:
        if has_lock and call.flag("lock"):
            await call.master.call(OLD_CALLS[what], [], [named_by], True)  # refuses it
        is_bulk = call.flag("bulk")
        shown = _asked_fields(call, fields) if is_bulk else [named_by]
        qfilter = _filter(call)
        part = (call.number("offset"), _limit(call))
        tag = ""
        if is_bulk and qfilter is None and not live.intersection(shown):
            tag = await _entity_tag(call, what, shown, part)
            if tag in _tags_that_client_has(call):
                return Reply(b"", 304, {"ETag": tag})
        if qfilter is not None:
            read_arguments("QueryObjects", [what.value, shown, qfilter, *part])
        if is_bulk:
            pieces = call.master.pieces("QueryObjects", what.value, shown, qfilter, *part)
            return Reply(pieces, headers={"ETag": tag} if tag else {})
        rows = await call.master.call("QueryObjects", what.value, shown, qfilter, *part)
        names = [row[named_by] for row in rows]
        return [{key: name, "uri": f"{base}/{name}"} for name in names]

    return Method(
        serve=serve,
        help=help,
        permission=permission,
        arguments=(BULK, LOCK, *PARTS) if has_lock else (BULK, *PARTS),
        answer=f'list of {{"{key}", "uri"}}, or with bulk of objects',
    )


def _asked_fields(call: Call, known: Sequence[str]) -> list[str]:
    given = call.query.get("fields")
    if not given:
        return list(known)
    names = given[0].split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise bad_request(f"field {unknown[0]!r} is not shown here; known are {', '.join(known)}")
    return names


def _filter(call: Call) -> Json:
    given = call.query.get("filter")
    if not given:
        return None
    try:
        return to_json(parse(given[0]))
    except GenericError as error:
        raise bad_request(f"filter: {error}") from error


def _limit(call: Call) -> int | None:
    limit = call.number("limit")
    if limit < 0 or call.number("offset") < 0:
        raise bad_request("limit and offset can't be negative")
    return limit if "limit" in call.query else None


async def _entity_tag(call: Call, what: QueryResource, *rest: Json) -> str:
    """Changes whenever the configuration does, and with what is asked for."""
    serial = await call.master.call("QueryConfigSerial")
    return f'"{sha256(dump_bytes([serial, what.value, *rest])).hexdigest()[:32]}"'


def _tags_that_client_has(call: Call) -> list[str]:
    given = call.headers.get("If-None-Match", "")
    return [one.strip().removeprefix("W/") for one in given.split(",")]


def single(
    what: QueryResource,
    placeholder: str,
    fields: Sequence[str],
    *,
    noun: str,
    permission: str,
    help: str,
    finish: Finish = dict,
) -> Method:
    """One object; 404 when there is none of that name."""

    async def serve(call: Call) -> Json:
        row = await one_row(call, what, call.path[placeholder], fields, noun)
        return finish(dict(zip(fields, row, strict=True)))

    return Method(
        serve=serve,
        help=help,
        permission=permission,
        arguments=(LOCK,) if what in WITH_LOCK else (),
        answer="object",
    )


async def one_row(
    call: Call, what: QueryResource, name: str, fields: Sequence[str], noun: str
) -> list[Json]:
    rest: list[Json] = [call.flag("lock")] if what in WITH_LOCK else []
    rows = await call.master.call(OLD_CALLS[what], [name], list(fields), *rest)
    if not rows:
        raise not_found(f"{noun} {name} not found")
    row: list[Json] = rows[0]
    return row


def reading(
    serve: Callable[[Call], object],
    *,
    help: str,
    permission: str,
    answer: str,
    access: Access = Access.NONE,
    arguments: Sequence[Argument] = (),
    body: Body | None = None,
) -> Method:
    """A method of its own kind that changes nothing."""
    return Method(
        serve=serve,  # type: ignore[arg-type]
        help=help,
        permission=permission,
        access=access,
        arguments=arguments,
        answer=answer,
        body=body,
        takes_body=body is not None,
    )
