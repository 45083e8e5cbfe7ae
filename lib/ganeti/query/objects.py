"""Lists as the remote API shows them: objects, a part of them if wanted. Ours; not in the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ganeti.opcodes.filter import from_json
from ganeti.query.answer import Answer, Form
from ganeti.query.engine import QueryEngine
from ganeti.query.fields import Field
from ganeti.query.instance_row import InstanceRow
from ganeti.serializer import Json
from ganeti.types import QueryResource


def with_memory(row: InstanceRow) -> Mapping[str, Json]:
    """beparams, with the name that maxmem had before 2.6 as well."""
    beparams = row.beparams
    return {**beparams, "memory": beparams.get("maxmem")}


SHOWN_OTHERWISE: Final[Mapping[tuple[QueryResource, str], Any]] = {
    (QueryResource.INSTANCE, "beparams"): with_memory,
}


async def query_objects(
    engine: QueryEngine,
    what: QueryResource,
    names: Sequence[str],
    qfilter: Json,
    start: int,
    count: int | None,
) -> Answer[Any]:
    """Up to `count` objects from number `start` on. Raises what `QueryEngine.query` raises."""
    answer = await engine.query(what, names, from_json(qfilter))
    answer.fields = [_shown(what, field) for field in answer.fields]
    return answer.shown_as(Form.OBJECTS, start, count)


def _shown(what: QueryResource, field: Field[Any]) -> Field[Any]:
    get = SHOWN_OTHERWISE.get((what, field.name))
    return field if get is None else replace(field, get=get)
