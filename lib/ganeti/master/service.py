"""What the master answers to each LUXI method. Source: facts/luxi.json, facts/jobs.md §9 and §10.

Arguments have been checked by luxi/methods.py. Methods that only read are served from memory; the
others go to the queue or the configuration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from ganeti.config.store import ConfigStore
from ganeti.errors import GenericError
from ganeti.jobs.queue import JobQueue
from ganeti.master.filters import delete_filter, replace_filter
from ganeti.master.state import MasterState
from ganeti.opcodes.base import Opcode
from ganeti.query import calls as queries
from ganeti.query.answer import Answer
from ganeti.query.engine import QueryEngine
from ganeti.serializer import Json

Result = Json | AsyncIterator[bytes]
Method = Callable[..., Awaitable[Json]]

SHORT_ROWS = 200  # an answer up to so many rows is encoded in one step


class LuxiService:
    """The handler of the LUXI server."""

    def __init__(
        self,
        queue: JobQueue,
        engine: QueryEngine,
        store: ConfigStore,
        state: MasterState,
        more: Mapping[str, Method],
    ) -> None:
        """`more`: what serves the methods that need none of these."""
        self._queue = queue
        self._engine = engine
        self._store = store
        self._state = state
        self._methods: Mapping[str, Method] = {
            "SubmitJob": self._submit_job,
            "SubmitJobToDrainedQueue": self._submit_to_drained,
            "SubmitManyJobs": self._submit_many,
            "WaitForJobChange": queue.wait_for_change,
            "CancelJob": self._cancel,
            "ArchiveJob": queue.archive,
            "AutoArchiveJobs": self._autoarchive,
            "ChangeJobPriority": self._change_priority,
            "SetDrainFlag": self._set_drain_flag,
            "SetWatcherPause": self._set_watcher_pause,
            "ReplaceFilter": self._replace_filter,
            "DeleteFilter": self._delete_filter,
            **more,
        }

    async def handle(self, method: str, args: Sequence[Json]) -> Result:
        """The result of one call; GenericError for what the client should see."""
        if method in queries.METHODS:
            return _readable(await queries.METHODS[method](self._engine, *args))
        serve = self._methods.get(method)
        if serve is None:
            raise GenericError(f"LUXI call {method!r} is not served")
        return await serve(*args)

    async def _submit_job(self, job: Sequence[Opcode]) -> Json:
        return await self._queue.submit(job)

    async def _submit_to_drained(self, job: Sequence[Opcode]) -> Json:
        return await self._queue.submit(job, to_drained=True)

    async def _submit_many(self, jobs: Sequence[Sequence[Opcode]]) -> Json:
        return [[True, number] for number in await self._queue.submit_many(jobs)]

    async def _cancel(self, job: int, kill: bool) -> Json:
        return await self._queue.cancel(job, kill=kill)

    async def _autoarchive(self, age: float, timeout: float) -> Json:
        return await self._queue.auto_archive(age, timeout)

    async def _change_priority(self, job: int, priority: int) -> Json:
        return await self._queue.change_priority(job, priority)

    async def _set_drain_flag(self, flag: bool) -> Json:
        await self._queue.set_drained(flag)
        return True

    async def _set_watcher_pause(self, until: float | None) -> Json:
        await self._state.set_watcher_pause(until)
        return until

    async def _replace_filter(
        self, uuid: str | None, priority: int, predicates: Json, action: Json, reason: Json
    ) -> Json:
        change = replace_filter(
            uuid, priority, predicates, action, reason, self._queue.serial, self._state.now()
        )
        return await self._store.commit(change)

    async def _delete_filter(self, uuid: str) -> Json:
        await self._store.commit(delete_filter(uuid))
        return None


def _readable(result: Answer[Any] | Json) -> Result:
    """Long answers in pieces, so that the loop stays free."""
    if not isinstance(result, Answer):
        return result
    return result.plain() if len(result.rows) <= SHORT_ROWS else result.pieces()
