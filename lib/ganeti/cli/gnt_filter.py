"""gnt-filter: rules that decide which jobs may start."""

from __future__ import annotations

from typing import Any

from ganeti.cli import info, options
from ganeti.cli.app import Program, many, one
from ganeti.cli.lists import Listing, print_page
from ganeti.cli.run import NANOSECONDS, Run
from ganeti.types import QueryResource

PROGRAM = Program("gnt-filter")

PRIORITY = options.value(
    "--priority",
    dest="priority",
    kind="int",
    default=0,
    help="rules with smaller numbers are asked first",
)
PREDICATES = options.value(
    "--predicates",
    dest="predicates",
    kind="json",
    default=[],
    help='which jobs: a JSON list such as [["jobid", [">", "id", "watermark"]]]',
)
ACTION = options.value(
    "--action",
    dest="action",
    kind="filteraction",
    default="CONTINUE",
    help="ACCEPT, PAUSE, REJECT, CONTINUE or 'RATE_LIMIT n'",
)
RULE = (PRIORITY, PREDICATES, ACTION)

FILTERS = Listing(
    QueryResource.FILTER,
    ["uuid", "watermark", "priority", "predicates", "action", "reason_trail"],
    name_field="uuid",
)


@PROGRAM.command(
    "list",
    args=many("filter"),
    options=[
        options.NO_HEADERS,
        options.SEPARATOR,
        options.OUTPUT,
        options.VERBOSE,
        options.FORMAT,
    ],
)
def list_filters(run: Run) -> int:
    """List the rules in the order in which they are asked; all, or the named ones."""
    return FILTERS.show(run)


@PROGRAM.command("list-fields", args=many("free"), options=options.FIELD_LISTING)
def list_fields(run: Run) -> int:
    """List the fields that rules have."""
    return FILTERS.show_fields(run)


@PROGRAM.command("info", args=many("filter"), options=[options.FORMAT])
def show_info(run: Run) -> None:
    """Show rules; all, or those with the uuids."""
    rows = run.master.call("QueryFilters", run.names or None, FILTERS.fields)
    pages = [_page(dict(zip(FILTERS.fields, row))) for row in rows if row is not None]
    if run.options.format != "table":
        print_page(run, pages)
        return
    for (_, uuid), *others in pages:
        run.out(f"UUID: {uuid}")
        for title, value in others:
            run.out(f"  {title}: {value}")


def _page(rule: dict[str, Any]) -> info.Fields:
    titles = ("UUID", "Watermark", "Priority", "Predicates", "Action", "Reason trail")
    return info.Fields(zip(titles, (rule[name] for name in FILTERS.fields)))


@PROGRAM.command("add", options=RULE)
def add(run: Run) -> None:
    """Add a rule and print its uuid."""
    _write(run, None)


@PROGRAM.command("replace", args=one("filter"), options=RULE)
def replace(run: Run) -> None:
    """Replace a rule: what is not given gets its default."""
    _write(run, run.names[0])


def _write(run: Run, uuid: str | None) -> None:
    wanted = run.options
    reason = []
    if wanted.reason:
        reason.append(["gnt:user", wanted.reason, int(run.world.now() * NANOSECONDS)])
    made = run.master.call(
        "ReplaceFilter", uuid, wanted.priority, wanted.predicates, wanted.action, reason
    )
    run.out(str(made))


@PROGRAM.command("delete", args=one("filter"))
def delete(run: Run) -> None:
    """Delete a rule."""
    run.master.call("DeleteFilter", run.names[0])
