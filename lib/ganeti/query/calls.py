"""The query calls of LUXI, and what refuses them (facts/luxi.json, `methods`).

Arguments have been read by then (luxi/methods.py): right number, right types.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from ganeti.errors import Code, GenericError, OpPrereqError
from ganeti.model.cluster import Cluster
from ganeti.model.group import NodeGroup
from ganeti.model.instance import Instance
from ganeti.model.network import Network
from ganeti.model.node import Node
from ganeti.opcodes.filter import from_json
from ganeti.query.answer import Answer
from ganeti.query.cluster import cluster_info, config_values
from ganeti.query.engine import QueryEngine, ambiguous, not_found, query_fields
from ganeti.query.objects import query_objects
from ganeti.serializer import Json
from ganeti.types import QueryResource, TagKind

T = TypeVar("T")

Result: TypeAlias = Answer[Any] | Json
"""A table that may be long, or a short value."""

BY_OPCODE_ONLY: Final = frozenset(
    {QueryResource.CLUSTER, QueryResource.EXTSTORAGE, QueryResource.OS}
)
"""Not listed here but by OP_QUERY and its kin (query_fields.json, `resources_by_transport`)."""


async def query(engine: QueryEngine, what: str, fields: Sequence[str], qfilter: Json) -> Result:
    return await engine.query(_resource("Query", what), fields, from_json(qfilter))


async def objects(
    engine: QueryEngine,
    what: str,
    names: Sequence[str],
    qfilter: Json,
    start: int,
    count: int | None,
) -> Result:
    return await query_objects(
        engine, _resource("QueryObjects", what), names, qfilter, start, count
    )


async def serial(engine: QueryEngine) -> Result:
    """Changes whenever the configuration does."""
    config = engine.config()
    return [config.cluster.uuid, config.serial_no]


async def fields(engine: QueryEngine, what: str, names: Sequence[str] | None) -> Result:
    return query_fields(_resource("QueryFields", what), names)


def _objects(what: QueryResource) -> Handler:
    async def handler(
        engine: QueryEngine, names: Sequence[str], wanted: Sequence[str], use_locking: bool
    ) -> Result:
        _refuse_locking(use_locking)
        return await engine.older(what, names, wanted)

    return handler


async def exports(engine: QueryEngine, nodes: Sequence[str], use_locking: bool) -> Result:
    """Rows `[node, export]`; unlike 3.0.2 once each when nodes are asked for by name."""
    _refuse_locking(use_locking)
    config = engine.config()
    for name in nodes:
        _found(config.find_node(name), "Node", name, config.nodes_like(name))
    return await engine.older(QueryResource.EXPORT, nodes, ["node", "export"])


async def jobs(engine: QueryEngine, ids: Sequence[int] | None, wanted: Sequence[str]) -> Result:
    return await engine.older(QueryResource.JOB, ids or [], wanted)


async def filters(
    engine: QueryEngine, uuids: Sequence[str] | None, wanted: Sequence[str]
) -> Result:
    return await engine.older(QueryResource.FILTER, uuids or [], wanted)


async def cluster(engine: QueryEngine, *ignored: Json) -> Result:
    return cluster_info(engine.config(), engine.state)


async def values(engine: QueryEngine, names: Sequence[str]) -> Result:
    return config_values(engine.config(), engine.state, names)


async def tags(engine: QueryEngine, kind: str, name: str) -> Result:
    return sorted(_tagged(engine, TagKind(kind), name).tags)


Handler: TypeAlias = Callable[..., Awaitable[Result]]

METHODS: Final[Mapping[str, Handler]] = {
    "Query": query,
    "QueryFields": fields,
    "QueryObjects": objects,
    "QueryConfigSerial": serial,
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
"""Every query call by its name; `METHODS[name](engine, *arguments)`."""


async def serve(
    engine: QueryEngine, method: str, arguments: Sequence[Json]
) -> Json | AsyncIterator[bytes]:
    """The result as the LUXI server takes it: a value, or its JSON text in pieces."""
    result = await METHODS[method](engine, *arguments)
    return result.pieces() if isinstance(result, Answer) else result


def _resource(method: str, what: str) -> QueryResource:
    resource = QueryResource(what)
    if resource in BY_OPCODE_ONLY:
        raise GenericError(f"{method} {what!s} is not supported here; submit an opcode for it")
    return resource


def _refuse_locking(use_locking: bool) -> None:
    if use_locking:
        raise OpPrereqError("Sync queries are not allowed", Code.INVAL)


def _found(thing: T | None, noun: str, name: str, like: Sequence[str] = ()) -> T:
    """`like`: what a shortened name may stand for."""
    if thing is None:
        raise ambiguous(noun, name, like) if like else not_found(noun, name)
    return thing


def _tagged(
    engine: QueryEngine, kind: TagKind, name: str
) -> Cluster | Node | NodeGroup | Instance | Network:
    config = engine.config()
    match kind:
        case TagKind.CLUSTER:
            return config.cluster
        case TagKind.NODE:
            return _found(config.find_node(name), "Node", name, config.nodes_like(name))
        case TagKind.NODEGROUP:
            return _found(config.find_group(name), "NodeGroup", name)
        case TagKind.INSTANCE:
            found = config.find_instance(name)
            return _found(found, "Instance", name, config.instances_like(name))
        case TagKind.NETWORK:
            return _found(config.find_network(name), "Network", name)
