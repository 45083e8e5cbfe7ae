"""A rule that decides which jobs may start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.model.base import empty_map
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Fields as in facts/config-data.json, `filter`."""

    uuid: str
    watermark: int  # last job id when the rule was written
    priority: int  # lower is asked first
    predicates: tuple[Json, ...]  # [kind, filter]; kind is jobid, opcode or reason
    action: Json  # ACCEPT, CONTINUE, PAUSE, REJECT or [RATE_LIMIT, n]
    reason_trail: tuple[Json, ...]  # [source, text, nanoseconds]
    unknown: Mapping[str, Json] = field(default_factory=empty_map)
