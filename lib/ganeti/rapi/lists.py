"""Methods that list objects or show one: what the older LUXI calls answer, as JSON objects.

`listing` gives names and addresses, or with `bulk=1` whole objects. Source: facts/rapi.json,
field_lists and field_formats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ganeti.rapi.call import Call
from ganeti.rapi.reply import not_found
from ganeti.rapi.table import Access, Argument, Body, Method
from ganeti.serializer import Json

Finish = Callable[[dict[str, Json]], dict[str, Json]]

BULK = Argument(name="bulk", kind="flag", help="whole objects", default=False)
LOCK = Argument(name="lock", kind="flag", help="not supported any more", default=False)


def listing(
    query: str,
    base: str,
    fields: Sequence[str],
    *,
    key: str = "id",
    named_by: str = "name",
    permission: str,
    help: str,
    lock: bool = False,
    finish: Finish = dict,
) -> Method:
    """Objects of the LUXI call `query`; `base` is the address below which each has its own."""

    async def serve(call: Call) -> Json:
        rest: list[Json] = [call.flag("lock")] if query in WITH_LOCK else []
        if call.flag("bulk"):
            rows = await call.master.call(query, _everything(query), list(fields), *rest)
            return [finish(dict(zip(fields, row, strict=True))) for row in rows]
        rows = await call.master.call(query, _everything(query), [named_by], *rest)
        return [{key: name, "uri": f"{base}/{name}"} for (name,) in rows]

    return Method(
        serve=serve,
        help=help,
        permission=permission,
        arguments=(BULK, LOCK) if lock else (BULK,),
        answer=f'list of {{"{key}", "uri"}}, or with bulk of objects',
    )


WITH_LOCK = frozenset({"QueryInstances", "QueryNodes", "QueryGroups", "QueryNetworks"})


def _everything(query: str) -> Json:
    return [] if query in WITH_LOCK else None


def single(
    query: str,
    placeholder: str,
    fields: Sequence[str],
    *,
    noun: str,
    permission: str,
    help: str,
    finish: Finish = dict,
) -> Method:
    """One object of the LUXI call `query`; 404 when there is none of that name."""

    async def serve(call: Call) -> Json:
        row = await one_row(call, query, call.path[placeholder], fields, noun)
        return finish(dict(zip(fields, row, strict=True)))

    return Method(
        serve=serve,
        help=help,
        permission=permission,
        arguments=(LOCK,) if query in WITH_LOCK else (),
        answer="object",
    )


async def one_row(
    call: Call, query: str, name: str, fields: Sequence[str], noun: str
) -> list[Json]:
    rest: list[Json] = [call.flag("lock")] if query in WITH_LOCK else []
    rows = await call.master.call(query, [name], list(fields), *rest)
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
