"""OP_QUERY: which locks it takes. Source: facts/locks.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.services import FakeServices, a_cluster
from ganeti.locking.names import SHARED
from ganeti.locking.request import Held, LockRequest
from ganeti.logic.query import Query
from ganeti.opcodes.query import OpQuery
from ganeti.types import QueryResource


@pytest.mark.parametrize(
    ("what", "fields", "locks"),
    [
        (QueryResource.INSTANCE, ["name", "oper_ram"], {"instances": SHARED, "nodes": SHARED}),
        (QueryResource.NODE, ["name", "mfree"], {"nodes": SHARED}),
        (QueryResource.NODE, ["name"], {}),
        (QueryResource.GROUP, ["name"], {}),
    ],
)
def test_locks_are_taken_on_wish_when_nodes_are_asked(
    tmp_path: Path, what: QueryResource, fields: list[str], locks: Any
) -> None:
    services = FakeServices(a_cluster(), tmp_path)
    for wish, wanted in ((True, locks), (False, {})):
        unit = Query(OpQuery(what=what, fields=fields, use_locking=wish), services)
        assert unit.locks(services.config, Held()) == LockRequest(**wanted)
