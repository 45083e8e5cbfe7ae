"""Queries for opcodes: the same answers as over LUXI, as plain values."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.opcodes import filter as language
from ganeti.query.engine import QueryEngine, query_fields
from ganeti.query.instance_info import instance_data
from ganeti.serializer import Json
from ganeti.types import QueryResource


class MasterQueries:
    """What logical units ask of the query engine."""

    def __init__(self, engine: QueryEngine) -> None:
        self._engine = engine

    async def query(self, what: str, fields: Sequence[str], qfilter: Json) -> dict[str, Json]:
        answer = await self._engine.query(QueryResource(what), fields, language.from_json(qfilter))
        made: dict[str, Json] = answer.plain()
        return made

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Json]:
        return query_fields(QueryResource(what), fields)

    async def instance_data(self, names: Sequence[str], static: bool) -> Json:
        return await instance_data(self._engine, names, static=static)
