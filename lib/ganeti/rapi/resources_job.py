"""Resources of jobs, job filters, and queries in general."""

from __future__ import annotations

from ganeti.opcodes.base import param
from ganeti.opcodes.checks import ANY, INT, STRING, optional, sequence
from ganeti.rapi.call import Call
from ganeti.rapi.lists import listing, one_row, reading, single
from ganeti.rapi.reply import Reply, bad_request, not_found
from ganeti.rapi.submit import checked_body
from ganeti.rapi.table import Access, Argument, Body, Method, own_params, resource
from ganeti.serializer import Json
from ganeti.types import QueryResource

BULK_FIELDS = (
    "id", "ops", "status", "summary", "opstatus", "received_ts", "start_ts", "end_ts",
)  # fmt: skip
FIELDS = (*BULK_FIELDS, "oplog", "opresult")
FILTER_FIELDS = ("watermark", "priority", "predicates", "action", "reason_trail", "uuid")
WAIT_S = 10.0

QUERIED = frozenset(QueryResource) - {
    QueryResource.CLUSTER,
    QueryResource.EXTSTORAGE,
    QueryResource.OS,
}
"""What can be asked for without a job."""


async def job(call: Call) -> Json:
    """A job that does not exist has null in every field but its number."""
    number = int(call.path["job_id"])
    rows = await call.ask("QueryJobs", [number], list(FIELDS))
    if not rows or rows[0] is None:
        return dict.fromkeys(FIELDS) | {"id": number}
    return dict(zip(FIELDS, rows[0], strict=True)) | {"id": number}


async def cancel(call: Call) -> Json:
    return await call.ask("CancelJob", int(call.path["job_id"]), False)


WAIT = own_params(
    fields=param("fields of the job to watch", check=sequence(STRING)),
    previous_job_info=param("their last known values", check=optional(sequence(ANY)), default=None),
    previous_log_serial=param("last message that is known", check=optional(INT), default=None),
)


async def wait(call: Call) -> Json:
    values = checked_body(call, WAIT)
    number = int(call.path["job_id"])
    changed = await call.ask("WaitForJobChange", number, *(values[name] for name in WAIT), WAIT_S)
    if not isinstance(changed, list):
        return None
    job_info, log_entries = changed
    return {"job_info": job_info, "log_entries": log_entries}


# Job filters.

FILTER = own_params(
    priority=param("rules with lower numbers come first", check=INT, default=0),
    predicates=param("conditions, all of which must hold", check=sequence(ANY), default=[]),
    action=param("what to do with a job", check=ANY, default="CONTINUE"),
    reason=param("reason trail", check=sequence(ANY), default=[]),
)


async def add_filter(call: Call) -> Json:
    return await _replace_filter(call, None)


async def change_filter(call: Call) -> Json:
    return await _replace_filter(call, call.path["uuid"])


async def _replace_filter(call: Call, uuid: str | None) -> Json:
    values = checked_body(call, FILTER)
    return await call.ask("ReplaceFilter", uuid, *(values[name] for name in FILTER))


async def remove_filter(call: Call) -> Json:
    await one_row(call, QueryResource.FILTER, call.path["uuid"], ["uuid"], "job filter")
    return await call.ask("DeleteFilter", call.path["uuid"])


# Queries.


async def query(call: Call) -> Reply:
    what = _resource(call)
    given = call.query.get("fields")
    if not given:
        raise bad_request("Missing 'fields' query argument")
    return call.pass_on("Query", what, given[0].split(","), None)


QUERY = own_params(
    fields=param("fields to show", check=optional(sequence(STRING)), default=None),
    qfilter=param("which objects", check=ANY, default=None),
    filter=param("older name of qfilter", check=ANY, default=None),
)


async def query_with_filter(call: Call) -> Reply:
    what = _resource(call)
    values = checked_body(call, QUERY)
    fields = values["fields"]
    if fields is None and call.query.get("fields"):
        fields = call.query["fields"][0].split(",")
    if fields is None:
        raise bad_request("parameter 'fields' is missing: fields to show")
    if values["qfilter"] is not None and values["filter"] not in (None, values["qfilter"]):
        raise bad_request("parameter 'qfilter' was also given as 'filter'; give one")
    qfilter = values["filter"] if values["qfilter"] is None else values["qfilter"]
    return call.pass_on("Query", what, fields, qfilter)


async def query_fields(call: Call) -> Json:
    given = call.query.get("fields")
    names = given[0].split(",") if given else None
    return await call.ask("QueryFields", _resource(call), names)


def _resource(call: Call) -> str:
    what = call.path["resource"]
    if what not in QUERIED:
        known = ", ".join(sorted(QUERIED))
        raise not_found(f"{what!r} can't be queried here; known are {known}")
    return what


QUERY_FIELDS = Argument(name="fields", kind="names", help="fields to show", required=True)
SOME_FIELDS = Argument(name="fields", kind="names", help="fields to describe; none: all")


def _changing_filter(serve: object, help: str, *, takes_body: bool = True) -> Method:
    return Method(
        serve=serve,  # type: ignore[arg-type]
        help=help,
        permission="filter.modify",
        access=Access.WRITE,
        body=Body(params=FILTER) if takes_body else None,
        takes_body=takes_body,
        answer="uuid of the rule" if takes_body else "null",
        since="2.13",
    )


JOBS = (
    resource(
        "/2/jobs",
        get=listing(
            QueryResource.JOB,
            "/2/jobs",
            BULK_FIELDS,
            named_by="id",
            live=frozenset(BULK_FIELDS),
            permission="job.read",
            help="All jobs that are not archived.",
        ),
    ),
    resource(
        "/2/jobs/{job_id}",
        get=reading(job, help="One job.", permission="job.read", answer="object"),
        delete=Method(
            serve=cancel,
            help="Cancel a job that has not begun.",
            permission="job.cancel",
            access=Access.WRITE,
            answer="[whether it was canceled, text]",
        ),
    ),
    resource(
        "/2/jobs/{job_id}/wait",
        get=reading(
            wait,
            help="Wait for a change of a job, for at most 10 s.",
            permission="job.wait",
            access=Access.WRITE,
            body=Body(params=WAIT),
            answer='{"job_info", "log_entries"} or null',
        ),
        since="2.1",
    ),
)

FILTERS = (
    resource(
        "/2/filters",
        get=listing(
            QueryResource.FILTER,
            "/2/filters",
            FILTER_FIELDS,
            key="uuid",
            named_by="uuid",
            permission="filter.read",
            help="All job filter rules.",
        ),
        post=_changing_filter(add_filter, "Add a job filter rule."),
        since="2.13",
    ),
    resource(
        "/2/filters/{uuid}",
        get=single(
            QueryResource.FILTER,
            "uuid",
            FILTER_FIELDS,
            noun="job filter",
            permission="filter.read",
            help="One job filter rule.",
        ),
        put=_changing_filter(change_filter, "Replace a job filter rule."),
        delete=_changing_filter(remove_filter, "Remove a job filter rule.", takes_body=False),
        since="2.13",
    ),
)

QUERIES = (
    resource(
        "/2/query/{resource}",
        get=reading(
            query,
            help="Fields of all objects of one kind.",
            permission="query.read",
            access=Access.READ,
            arguments=(QUERY_FIELDS,),
            answer='{"fields", "data"}',
        ),
        put=reading(
            query_with_filter,
            help="Fields of the objects that a filter lets through.",
            permission="query.read",
            access=Access.READ,
            arguments=(SOME_FIELDS,),
            body=Body(params=QUERY),
            answer='{"fields", "data"}',
        ),
        since="2.5",
    ),
    resource(
        "/2/query/{resource}/fields",
        get=reading(
            query_fields,
            help="What fields there are.",
            permission="query.read",
            arguments=(SOME_FIELDS,),
            answer='{"fields"}',
        ),
        since="2.5",
    ),
)

RESOURCES = (*JOBS, *FILTERS, *QUERIES)
