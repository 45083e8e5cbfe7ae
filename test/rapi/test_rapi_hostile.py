"""Clients that mean harm: what one of them may cost the daemon, and the other clients."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from fakes.rapi_bed import on_loop
from fakes.rapi_stand import ADMIN, JSON, Stand, refused


def test_only_users_may_send_large_bodies_and_where_they_count(tmp_path: Path) -> None:
    large = json.dumps({"group_name": "g", "comment": "x" * 100_000})

    async def work() -> None:
        async with Stand(tmp_path).rapi() as bed:
            refused(await bed.ask("GET", "/version", large, JSON), 413)
            refused(await bed.ask("GET", "/version", large, ADMIN | JSON), 413)
            refused(await bed.ask("POST", "/2/groups", large, JSON), 401)
            assert (await bed.ask("POST", "/2/groups", large, ADMIN | JSON)).json == 17

    on_loop(work)


def test_credentials_that_are_no_text_are_wrong(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi() as bed:
            for login in (b"admin:\xff", b"nobody-known:\xff", b"hashed:\xff", b"\xff:\xff"):
                given = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
                refused(await bed.ask("GET", "/2/info", headers=given), 401)

    on_loop(work)
