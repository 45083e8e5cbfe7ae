"""Asks and answers: filter, order, live data of the nodes.

What is known without asking reduces the rows first; then the nodes of those that are left are
asked once, for what the fields and the filter need; then the rest of the filter decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Final, TypeAlias, TypeVar

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError, ParameterError
from ganeti.opcodes.filter import Filter, requested_names
from ganeti.query import (
    cluster,
    export,
    extstorage,
    group,
    guest_os,
    instance,
    job,
    lock,
    network,
    node,
)
from ganeti.query import filter as filter_rules
from ganeti.query.answer import Answer, Form, give_way
from ganeti.query.fields import Field, Need, needs_of, select
from ganeti.query.match import RowFilter
from ganeti.query.order import nice_key
from ganeti.query.sources import JobSource, LiveSource, LockSource, MasterState
from ganeti.query.table import Table
from ganeti.serializer import Json
from ganeti.types import QueryResource

R = TypeVar("R")

FIELDS: Final[Mapping[QueryResource, Mapping[str, Field[Any]]]] = {
    QueryResource.CLUSTER: cluster.FIELDS,
    QueryResource.EXPORT: export.FIELDS,
    QueryResource.EXTSTORAGE: extstorage.FIELDS,
    QueryResource.FILTER: filter_rules.FIELDS,
    QueryResource.GROUP: group.FIELDS,
    QueryResource.INSTANCE: instance.FIELDS,
    QueryResource.JOB: job.FIELDS,
    QueryResource.LOCK: lock.FIELDS,
    QueryResource.NETWORK: network.FIELDS,
    QueryResource.NODE: node.FIELDS,
    QueryResource.OS: guest_os.FIELDS,
}
"""All that can be listed."""

STEP_ROWS: Final = 150  # looked at before others on the loop get a chance: a ms or so


def query_fields(what: QueryResource, names: Sequence[str] | None) -> dict[str, Json]:
    """The answer of QueryFields: definitions in the order asked, or all by name."""
    return {"fields": [field.definition() for field in select(FIELDS[what], names)]}


def check_fields(fields: Mapping[str, Field[Any]], names: Sequence[str]) -> None:
    """The older calls refuse unknown fields."""
    unknown = [name for name in names if name not in fields]
    if unknown:
        text = f"Unknown output fields selected: {', '.join(unknown)}"
        raise OpPrereqError(text, Code.INVAL)


@dataclass(frozen=True)
class QueryEngine:
    """Answers queries on the loop. `config` gives the newest snapshot."""

    config: Callable[[], Snapshot]
    nodes: LiveSource
    jobs: JobSource
    locks: LockSource
    state: MasterState

    async def query(
        self, what: QueryResource, names: Sequence[str], tree: Filter | None = None
    ) -> Answer[Any]:
        """`names` are fields; no filter: all objects.

        Objects that are asked for by name come in that order, all others by name. ParameterError:
        the filter names an unknown field, or compares what can't be compared. OpPrereqError NOENT:
        no object has a name that is asked for.
        """
        fields = FIELDS[what]
        filter_ = None if tree is None else RowFilter(tree, fields)
        wanted = requested_names(tree, _name_field(what))
        columns = select(fields, names) if names else []
        needs = needs_of(columns) | (filter_.needs if filter_ else frozenset())
        table = await self._open(what, wanted, needs)
        if wanted is not None:
            rows: Sequence[Any] = find_all(table, wanted, names_like(self.config(), what))
            filter_ = None
        else:
            rows = await collect(table, filter_.may_pass if filter_ else None)
        if needs:
            rows = await table.fetch(rows, needs)
        if filter_ and filter_.needs:
            rows = await keep(rows, filter_.passes)
        return Answer(columns, rows)

    async def older(
        self, what: QueryResource, objects: Sequence[str | int], names: Sequence[str]
    ) -> Answer[Any]:
        """The older calls: objects by name ([]: all), unknown ones left out, bare values.

        OpPrereqError INVAL: an unknown field; NOENT: a shortened name that several have.
        """
        fields = FIELDS[what]
        check_fields(fields, names)
        columns = select(fields, names) if names else []
        needs = needs_of(columns)
        table = await self._open(what, objects or None, needs)
        if objects:
            like = names_like(self.config(), what)
            rows = [row for name in objects if (row := find(table, str(name), like)) is not None]
        else:
            rows = await collect(table, None)
        if needs:
            rows = list(await table.fetch(rows, needs))
        return Answer(columns, rows, form=Form.VALUES)

    async def _open(
        self, what: QueryResource, names: Sequence[str | int] | None, needs: frozenset[Need]
    ) -> Table[Any]:
        config = self.config()
        match what:
            case QueryResource.INSTANCE:
                return instance.InstanceTable(config, self.nodes)
            case QueryResource.NODE:
                return node.NodeTable(config, self.nodes)
            case QueryResource.GROUP:
                return group.GroupTable(config)
            case QueryResource.NETWORK:
                return network.NetworkTable(config)
            case QueryResource.FILTER:
                return filter_rules.FilterTable(config)
            case QueryResource.EXPORT:
                return export.ExportTable(config, self.nodes)
            case QueryResource.LOCK:
                return lock.LockTable(self.locks)
            case QueryResource.CLUSTER:
                return cluster.ClusterTable(config, self.state)
            case QueryResource.OS:
                return await guest_os.OsTable.open(config, self.nodes)
            case QueryResource.EXTSTORAGE:
                return await extstorage.ExtStorageTable.open(config, self.nodes)
            case QueryResource.JOB:
                ids = None if names is None else [job_number(name) for name in names]
                return await job.JobTable.open(self.jobs, ids, archived=Need.ARCHIVE in needs)


def _name_field(what: QueryResource) -> str:
    match what:
        case QueryResource.JOB:
            return "id"
        case QueryResource.FILTER:
            return "uuid"
        case QueryResource.EXPORT:
            return "node"
        case _:
            return "name"


def job_number(value: str | int) -> int:
    """ParameterError when it is none."""
    if isinstance(value, str) and not value.isdecimal():
        raise ParameterError(f"{value!r} is not the number of a job")
    return int(value)


Like: TypeAlias = Callable[[str], Sequence[str]]
"""Full names that a shortened one may stand for."""


def names_like(config: Snapshot, what: QueryResource) -> Like:
    """Only nodes and instances have shortened names."""
    if what is QueryResource.INSTANCE:
        return config.instances_like
    if what in (QueryResource.NODE, QueryResource.EXPORT):
        return config.nodes_like
    return lambda name: ()


def ambiguous(noun: str, name: str, like: Sequence[str]) -> OpPrereqError:
    return OpPrereqError(
        f"{noun} name {name} is ambiguous: {', '.join(like)}",
        Code.NOENT,
        hint="give the full name, or the uuid",
    )


def not_found(noun: str, name: str) -> OpPrereqError:
    hint = "options come before names" if name.startswith("-") else ""
    return OpPrereqError(f"{noun} name {name} not found", Code.NOENT, hint=hint)


def find(table: Table[R], name: str, like: Like) -> R | None:
    """The row of this name; OpPrereqError NOENT when the name fits several."""
    row = table.find(name)
    if row is None and (several := like(name)):
        raise ambiguous(str(table.noun), name, several)
    return row


def find_all(table: Table[R], names: Iterable[str | int], like: Like) -> list[R]:
    """In the order of the names. OpPrereqError NOENT where the kind of object demands it."""
    rows = []
    for name in names:
        row = find(table, str(name), like)
        if row is not None:
            rows.append(row)
        elif table.noun is not None:
            raise not_found(table.noun, str(name))
    return rows


async def collect(table: Table[R], test: Callable[[R], bool] | None) -> list[R]:
    """The rows that pass, in the order of lists."""
    keyed: list[tuple[str, R]] = []
    source = iter(table.all())
    name_of = table.name_of
    while step := list(islice(source, STEP_ROWS)):
        if test is not None:
            step = [row for row in step if test(row)]
        keyed += [(nice_key(name_of(row)), row) for row in step]
        await give_way()
    keyed.sort(key=itemgetter(0))
    return [row for _, row in keyed]


async def keep(rows: Sequence[R], test: Callable[[R], bool]) -> list[R]:
    """The rows that pass, in their order."""
    kept: list[R] = []
    for start in range(0, len(rows), STEP_ROWS):
        kept += [row for row in rows[start : start + STEP_ROWS] if test(row)]
        await give_way()
    return kept
