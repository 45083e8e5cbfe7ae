"""Job filter rules in the configuration. Source: facts/jobs.md §13."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable

from ganeti.config.transaction import Draft
from ganeti.errors import GenericError
from ganeti.model.filter import JobFilter
from ganeti.serializer import Json

NS_PER_S = 1_000_000_000


def replace_filter(
    uuid: str | None,
    priority: int,
    predicates: Json,
    action: Json,
    reason: Json,
    watermark: int,
    now: float,
) -> Callable[[Draft], str]:
    """A transaction that adds a rule, or puts another in place of `uuid`; gives the uuid.

    `watermark` is the number of the newest job.
    """

    def change(draft: Draft) -> str:
        made = JobFilter(
            uuid=uuid or str(uuids.uuid4()),
            watermark=watermark,
            priority=priority,
            predicates=tuple(predicates),
            action=action,
            reason_trail=(*map(tuple, reason), ("luxid", "", round(now * NS_PER_S))),
        )
        if made.uuid in draft.snapshot.filters:
            draft.remove(draft.snapshot.filters[made.uuid])
        return draft.add(made).uuid

    return change


def delete_filter(uuid: str) -> Callable[[Draft], None]:
    """A transaction that removes a rule; GenericError when it does not exist."""

    def change(draft: Draft) -> None:
        found = draft.snapshot.filters.get(uuid)
        if found is None:
            raise GenericError(f"job filter {uuid!r} does not exist; gnt-filter list shows all")
        draft.remove(found)

    return change
