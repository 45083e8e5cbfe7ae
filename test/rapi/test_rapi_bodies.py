"""Long bodies: a common budget, and parsing that leaves the loop free."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from fakes.rapi_bed import RapiBed, on_loop
from fakes.rapi_stand import ADMIN, JSON, Stand, refused
from ganeti.errors import ParseError
from ganeti.rapi.bodies import LONG_BYTES, SHORT_BYTES, Bodies, Share
from ganeti.rapi.reply import HttpError
from ganeti.rapi.service import ServiceSettings
from ganeti.serializer import loads, loads_beside_loop

BUDGET = 100_000


def group(size: int) -> str:
    return json.dumps({"group_name": "g", "comment": "x" * size})


async def begin(bed: RapiBed, body: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    """A connection that has sent all of its request but the last byte, which is returned."""
    reader, writer = await bed.connect()
    lines = [f"{name}: {value}" for name, value in (ADMIN | JSON).items()]
    head = ["POST /2/groups HTTP/1.1", "Host: x", "Connection: close", *lines]
    head.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*head, "", body[:-1]]).encode())
    while bed.server.bodies.used_bytes < len(body) - 1 - SHORT_BYTES:
        await asyncio.sleep(0.001)
    return reader, writer, body[-1]


def test_long_bodies_share_a_budget_and_short_ones_come_through(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi(ServiceSettings(bodies_bytes=BUDGET)) as bed:
            reader, writer, rest = await begin(bed, group(BUDGET))
            answer = await bed.ask("POST", "/2/groups", group(BUDGET), ADMIN | JSON)
            refused(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["connection"] == "close"
            for size in (10, SHORT_BYTES // 2):
                short = await bed.ask("POST", "/2/groups", group(size), ADMIN | JSON)
                assert short.json == 17
            writer.write(rest.encode())
            assert (await reader.read()).endswith(b"17\n")
            writer.close()
            assert bed.server.bodies.used_bytes == 0
            again = await bed.ask("POST", "/2/groups", group(BUDGET), ADMIN | JSON)
            assert again.json == 17

    on_loop(work)


def test_clients_that_go_away_leave_no_part_of_the_budget_taken(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi(ServiceSettings(bodies_bytes=BUDGET)) as bed:
            for _ in range(3):
                _, writer, _ = await begin(bed, group(BUDGET))
                writer.transport.abort()
                while bed.server.bodies.used_bytes:
                    await asyncio.sleep(0.001)

    on_loop(work)


def test_only_what_is_beyond_a_short_body_counts() -> None:
    bodies = Bodies(most_bytes=10)
    with Share(bodies) as share:
        for _ in range(4):
            share.came(SHORT_BYTES // 4)
        assert bodies.used_bytes == 0
        share.came(10)
        assert bodies.used_bytes == 10
        with pytest.raises(HttpError), Share(bodies) as other:
            other.came(SHORT_BYTES + 1)
        assert bodies.used_bytes == 10
    assert bodies.used_bytes == 0


def test_a_long_body_is_parsed_beside_the_loop() -> None:
    async def parsed_at_once(content: bytes) -> bool:
        task = asyncio.create_task(Bodies().parse(content, "application/json"))
        await asyncio.sleep(0)
        at_once = task.done()
        assert await task == json.loads(content)
        return at_once

    async def work() -> None:
        assert await parsed_at_once(b"[1, 2, 3]")
        assert not await parsed_at_once(b"[%s]" % b", ".join([b"1"] * LONG_BYTES))

    on_loop(work)


def calls_within(text: bytes) -> int:
    """How often the interpreter had a turn while the text was parsed."""
    turns = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal turns
        turns += event == "call"

    sys.setprofile(note)
    try:
        loads_beside_loop(text)
    finally:
        sys.setprofile(None)
    return turns


@pytest.mark.parametrize("item", [b"17", b"-1.5e3", b'{"a": "b"}', b"[]"])
def test_parsing_beside_the_loop_gives_others_their_turn(item: bytes) -> None:
    assert calls_within(b"[%s]" % b",".join([item] * 1000)) >= 1000


@pytest.mark.parametrize(
    "text",
    [
        *(b"null", b"17", b"1.5", b"1e999", b'"x"', b"[]", b"{}", b'{"a": 1, "b": {}, "a": 2}'),
        *(b"[true, false, null]", b'["\\ud800"]', b"NaN", b"{", b"[" * 100_000, b"\xff"),
        *(b"9" * 5000, b"", b"[1,]"),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_both_ways_of_parsing_give_the_same(text: bytes) -> None:
    assert outcome(loads, text) == outcome(loads_beside_loop, text)


def outcome(parse: Any, text: bytes) -> str:
    try:
        return repr(parse(text, "it"))
    except ParseError as error:
        return f"refused: {error}"
