"""What the master adds to the query engine: the queue as a source, and queries for opcodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ganeti.jobs.job import Job
from ganeti.jobs.queue import JobQueue
from ganeti.opcodes import filter as language
from ganeti.query import cluster
from ganeti.query.engine import QueryEngine, query_fields
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

    def cluster_info(self) -> dict[str, Json]:
        return cluster.cluster_info(self._engine.config(), self._engine.state)

    def config_values(self, fields: Sequence[str]) -> list[Json]:
        return cluster.config_values(self._engine.config(), self._engine.state, fields)


class JobsOf:
    """The job queue as the engine reads it; see query.sources.JobSource."""

    def __init__(self, queue: Callable[[], JobQueue]) -> None:
        self._queue = queue

    async def find_jobs(self, ids: Sequence[int]) -> Mapping[int, Job]:
        return await self._queue().find_jobs(ids)

    async def all_jobs(self, archived: bool) -> Sequence[Job]:
        return await self._queue().all_jobs(archived)
