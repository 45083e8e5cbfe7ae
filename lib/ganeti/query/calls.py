"""The query calls of LUXI: arguments in, answer out (facts/luxi.json, `methods`).

Arguments of a wrong number or type are ParseError: to a client they are a request that can't be
read, which is another answer than a refused one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from ganeti.errors import Code, GenericError, OpPrereqError, ParseError
from ganeti.model.cluster import Cluster
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.opcodes import filter as language
from ganeti.opcodes.checks import Mismatch
from ganeti.query.answer import Answer
from ganeti.query.cluster import cluster_info, config_values
from ganeti.query.engine import QueryEngine, query_fields
from ganeti.serializer import Json
from ganeti.types import QueryResource, TagKind

E = TypeVar("E", QueryResource, TagKind)

Result: TypeAlias = Answer[Any] | Json
"""A long answer that is to be read in pieces, or a short value."""

OVER_LUXI: Final = frozenset(
    {
        QueryResource.EXPORT,
        QueryResource.FILTER,
        QueryResource.GROUP,
        QueryResource.INSTANCE,
        QueryResource.JOB,
        QueryResource.LOCK,
        QueryResource.NETWORK,
        QueryResource.NODE,
    }
)
"""The others are listed by opcodes only (query_fields.json, `resources_by_transport`)."""


async def query(engine: QueryEngine, args: Sequence[Json]) -> Result:
    what, fields, tree = _some(args, 3)
    return await engine.query(_luxi_resource(what, "Query"), _texts(fields), _filter(tree))


async def fields(engine: QueryEngine, args: Sequence[Json]) -> Result:
    what, names = _some(args, 2)
    wanted = None if names is None else _texts(names)
    return query_fields(_luxi_resource(what, "QueryFields"), wanted)


def _objects(what: QueryResource) -> Handler:
    async def handler(engine: QueryEngine, args: Sequence[Json]) -> Result:
        names, wanted, use_locking = _some(args, 3)
        found = _texts(names), _texts(wanted)
        _refuse_locking(use_locking)
        return await engine.older(what, *found)

    return handler


async def exports(engine: QueryEngine, args: Sequence[Json]) -> Result:
    names, use_locking = _some(args, 2)
    nodes = _texts(names)
    _refuse_locking(use_locking)
    config = engine.config()
    for name in nodes:
        _found(config.find_node(name), "Node", name)
    return await engine.older(QueryResource.EXPORT, nodes, ["node", "export"])


async def jobs(engine: QueryEngine, args: Sequence[Json]) -> Result:
    ids, wanted = _some(args, 2)
    numbers = [_job_id(one) for one in _list(ids or [])]
    return await engine.older(QueryResource.JOB, numbers, _texts(wanted))


async def filters(engine: QueryEngine, args: Sequence[Json]) -> Result:
    uuids, wanted = _some(args, 2)
    return await engine.older(QueryResource.FILTER, _texts(uuids or []), _texts(wanted))


async def cluster(engine: QueryEngine, args: Sequence[Json]) -> Result:
    """Arguments are not looked at."""
    return cluster_info(engine.config(), engine.state)


async def values(engine: QueryEngine, args: Sequence[Json]) -> Result:
    (names,) = _some(args, 1)
    return config_values(engine.config(), engine.state, _texts(names))


async def tags(engine: QueryEngine, args: Sequence[Json]) -> Result:
    kind, name = _some(args, 2)
    if not isinstance(name, str):
        raise ParseError(f"a name is expected, not {name!r}")
    return sorted(_tagged(engine, _enum(TagKind, kind), name).tags)


Handler: TypeAlias = Callable[[QueryEngine, Sequence[Json]], Awaitable[Result]]

METHODS: Final[Mapping[str, Handler]] = {
    "Query": query,
    "QueryFields": fields,
    "QueryInstances": _objects(QueryResource.INSTANCE),
    "QueryNodes": _objects(QueryResource.NODE),
    "QueryGroups": _objects(QueryResource.GROUP),
    "QueryNetworks": _objects(QueryResource.NETWORK),
    "QueryExports": exports,
    "QueryJobs": jobs,
    "QueryFilters": filters,
    "QueryClusterInfo": cluster,
    "QueryConfigValues": values,
    "QueryTags": tags,
}
"""Every query call by its name."""


def _some(args: Sequence[Json], count: int) -> Sequence[Json]:
    if not isinstance(args, (list, tuple)) or len(args) != count:
        raise ParseError(f"a list of {count} arguments is expected, not {args!r}")
    return args


def _list(value: Json) -> Sequence[Json]:
    if not isinstance(value, (list, tuple)):
        raise ParseError(f"a list is expected, not {value!r}")
    return value


def _texts(value: Json) -> list[str]:
    texts = list(_list(value))
    for one in texts:
        if not isinstance(one, str):
            raise ParseError(f"a list of texts is expected, not {value!r}")
    return texts


def _job_id(value: Json) -> int:
    match value:
        case bool():
            pass
        case int() if value > 0:
            return value
        case str() if value.isdecimal() and int(value) > 0:
            return int(value)
    raise ParseError(f"{value!r} is not the number of a job")


def _enum(kind: type[E], value: Json) -> E:
    try:
        return kind(value)
    except ValueError:
        raise ParseError(f"one of {', '.join(kind)} is expected, not {value!r}") from None


def _luxi_resource(value: Json, method: str) -> QueryResource:
    what = _enum(QueryResource, value)
    if what not in OVER_LUXI:
        raise GenericError(f"{method} {what!s} is not supported here; submit an opcode for it")
    return what


def _filter(value: Json) -> language.Filter | None:
    try:
        return language.from_json(value)
    except Mismatch as error:
        raise ParseError(f"filter: {error.fact}") from error


def _refuse_locking(use_locking: Json) -> None:
    if not isinstance(use_locking, bool):
        raise ParseError(f"true or false is expected, not {use_locking!r}")
    if use_locking:
        raise OpPrereqError("Sync queries are not allowed", Code.INVAL)


Found = TypeVar("Found")


def _found(thing: Found | None, noun: str, name: str) -> Found:
    if thing is None:
        raise OpPrereqError(f"{noun} name {name} not found", Code.NOENT)
    return thing


def _tagged(
    engine: QueryEngine, kind: TagKind, name: str
) -> Cluster | Node | NodeGroup | Instance | Network:
    config = engine.config()
    match kind:
        case TagKind.CLUSTER:
            return config.cluster
        case TagKind.NODE:
            return _found(config.find_node(name), "Node", name)
        case TagKind.NODEGROUP:
            return _found(config.find_group(name), "NodeGroup", name)
        case TagKind.INSTANCE:
            return _found(config.find_instance(name), "Instance", name)
        case TagKind.NETWORK:
            return _found(config.find_network(name), "Network", name)
