"""The list and list-fields commands of every kind of object.

Source: facts/cli-behaviour.md §7 and §8, facts/query_fields.json `filter_text`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganeti.cli import formats, table, text
from ganeti.cli.run import Run
from ganeti.cli.values import read_fields
from ganeti.constants import EXIT_SUCCESS, EXIT_UNKNOWN_FIELD
from ganeti.errors import Code, OpPrereqError
from ganeti.serializer import Json
from ganeti.types import QueryResource
from ganeti.utils.text import nice_sort_key

Formats = Mapping[str, Callable[[Any], str]]

KINDS = {
    "unknown": "Unknown", "text": "Text", "bool": "Boolean", "number": "Number",
    "float": "Floating-point number", "unit": "Storage size", "timestamp": "Timestamp",
    "other": "Custom",
}  # fmt: skip


class Listing:
    """What is particular to one kind of object: its resource, its default columns, its cells."""

    def __init__(
        self,
        resource: QueryResource,
        fields: Sequence[str],
        *,
        formats: Formats | None = None,
        name_field: str = "name",
        numeric: bool = False,
    ) -> None:
        self.resource = resource
        self.fields = list(fields)
        self.formats = dict(formats or {})
        self.name_field = name_field
        self.numeric = numeric

    def filter_of(self, names: Sequence[str], force: bool) -> Json:
        """The filter for the arguments of a list command; None lists everything."""
        if not names and not force:
            return None
        from ganeti.opcodes.filter import to_json
        from ganeti.opcodes.filter_text import from_arguments

        tree = from_arguments(
            names, force_filter=force, name_field=self.name_field, numeric=self.numeric
        )
        return to_json(tree)

    def show(
        self, run: Run, *, also: Json = None, extra_fields: Sequence[str] = (), units: bool = True
    ) -> int:
        """Query and print the list that the run's options ask for; the exit status.

        `also` is a further condition, `units` tells whether the command has --units.
        """
        options = run.options
        fields = read_fields(options.output, self.fields)
        fields = [*fields, *(name for name in extra_fields if name not in fields)]
        wanted = self.filter_of(run.names, getattr(options, "force_filter", False))
        conditions = [one for one in (wanted, also) if one is not None]
        both = ["&", *conditions] if len(conditions) > 1 else next(iter(conditions), None)
        answer = run.master.call("Query", str(self.resource), fields, both)
        return self.print_answer(run, answer, getattr(options, "units", None) if units else None)

    def print_answer(self, run: Run, answer: Json, units: str | None) -> int:
        """Print {fields, data}; the exit status tells of unknown fields."""
        options = run.options
        definitions, rows = answer["fields"], answer["data"]
        if options.format != "table":
            names = [field["name"] for field in definitions]
            values = [[value for _, value in row] for row in rows]
            print_data(run, names, values)
        else:
            separator = options.separator
            units = units or ("m" if separator else "h")
            columns = [table.column_of(field, units, self.formats) for field in definitions]
            texts = table.cells(rows, columns, getattr(options, "verbose", False))
            print_table(run, columns, texts)
        return warn_of_unknown(run, definitions)

    def show_fields(self, run: Run) -> int:
        """Print the fields that the object has, or the named ones; the exit status."""
        answer = run.master.call("QueryFields", str(self.resource), run.names or None)
        definitions = answer["fields"]
        if not run.names:
            definitions = sorted(definitions, key=lambda field: nice_sort_key(field["name"]))
        titles = ["Name", "Type", "Title", "Description"]
        rows = [
            [field["name"], KINDS.get(field["kind"], field["kind"]), field["title"], field["doc"]]
            for field in definitions
        ]
        if run.options.format != "table":
            print_data(run, [title.lower() for title in titles], rows)
        else:
            print_table(run, [table.Column(title) for title in titles], rows)
        return warn_of_unknown(run, definitions)


def print_table(
    run: Run, columns: Sequence[table.Column], rows: Sequence[Sequence[str]], *, old: bool = False
) -> None:
    """Print with the run's --no-headers and --separator."""
    for line in table.lines(
        columns,
        rows,
        headers=not run.options.no_headers,
        separator=getattr(run.options, "separator", None),
        old=old,
    ):
        run.out(line)


def print_data(run: Run, titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print in the form that --format asks for, which is not table."""
    form, headers = run.options.format, not run.options.no_headers
    run.world.stdout.write(formats.table(titles, rows, form, headers=headers))


def print_page(run: Run, value: Any) -> None:
    """Print an info page in the form that --format asks for."""
    from ganeti.cli import info

    form = run.options.format
    text = info.page(value) if form == "table" else formats.render(info.plain(value), form)
    run.world.stdout.write(text)


def warn_of_unknown(run: Run, definitions: Sequence[Mapping[str, Json]]) -> int:
    unknown = [field["name"] for field in definitions if field["kind"] == "unknown"]
    if not unknown:
        return EXIT_SUCCESS
    named = [name for name in unknown if name]
    if named:
        run.err(f"Warning: Queried for unknown fields {', '.join(named)}")
    if len(named) < len(unknown):
        run.err(
            "Warning: Queried for a field without a name: write them as NAME,NAME;"
            f" {run.program} list-fields shows all"
        )
    return EXIT_UNKNOWN_FIELD


def job_number(word: str) -> int:
    """A job's number; OpPrereqError INVAL if the word is none."""
    if word.isascii() and word.isdigit():
        return int(word)
    raise OpPrereqError(f"{word!r} is not the number of a job", Code.INVAL)


JOINED = text.joined

INSTANCES = Listing(
    QueryResource.INSTANCE,
    ["name", "hypervisor", "os", "pnode", "status", "oper_ram"],
    formats=dict.fromkeys(
        "disk.sizes nic.bridges nic.ips nic.links nic.macs nic.modes nic.networks snodes"
        " snodes.group snodes.group.uuid tags".split(),
        JOINED,
    ),
)
NODES = Listing(
    QueryResource.NODE,
    ["name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt"],
    formats=dict.fromkeys(["pinst_list", "sinst_list", "tags"], JOINED),
)
JOBS = Listing(
    QueryResource.JOB,
    ["id", "status", "summary"],
    formats={"summary": JOINED},
    name_field="id",
    numeric=True,
)
LOCKS = Listing(
    QueryResource.LOCK,
    ["name", "mode", "owner", "pending"],
    formats={
        "mode": lambda mode: mode or "-",
        "owner": lambda owners: JOINED(owners or ()) or "-",
        "pending": lambda waiting: (
            " ".join(f"{mode}:{JOINED(who)}" for mode, who in waiting or ()) or "-"
        ),
    },
)
