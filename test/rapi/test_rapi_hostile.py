"""Clients that mean harm: what one of them may cost the daemon, and the other clients."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from fakes.rapi_bed import RapiBed, a_server, on_loop
from fakes.rapi_stand import ADMIN, ASK_ALL, JSON, Endless, Stand, none_left, refused
from ganeti.http.listener import REFUSALS, Limits, loop_factory
from ganeti.http.tls import digest_of, digest_of_pem, server_context
from ganeti.luxi.pool import LuxiPool
from ganeti.rapi.gate import GateSettings
from ganeti.rapi.service import ServiceSettings
from ganeti.utils import x509
from ganeti.utils.net import client_of


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


async def begin_list(bed: RapiBed) -> asyncio.StreamWriter:
    """The connection of a client that has got the beginning of a list without an end."""
    reader, writer = await bed.connect()
    writer.write(ASK_ALL)
    await reader.readuntil(b"\r\n\r\n")
    return writer


class Stubborn(Endless):
    """Lists have no end; other questions are answered at once."""

    async def handle(self, method: str, args: list[Any]) -> Any:
        return self.pieces() if method == "QueryObjects" else 17


def test_clients_that_go_away_leave_all_connections_free(tmp_path: Path) -> None:
    async def work() -> None:
        stand = Stand(tmp_path, Stubborn().handle)
        pool = LuxiPool(stand.socket, pieces_connections=10, slot_wait_s=60.0)
        master = await stand.start_master()
        async with a_server(pool, stand.users) as bed:
            for _ in range(20):
                for writer in [await begin_list(bed) for _ in range(10)]:
                    writer.transport.abort()
                await none_left(bed)
            for writer in [await begin_list(bed) for _ in range(10)]:  # all at the same time
                writer.transport.abort()
            await none_left(bed)
        await master.stop()

    on_loop(work)


def test_clients_that_read_slowly_keep_only_lists_waiting(tmp_path: Path) -> None:
    async def work() -> None:
        stand = Stand(tmp_path, Stubborn().handle)
        pool = LuxiPool(stand.socket, connections=2, pieces_connections=2, slot_wait_s=0.05)
        master = await stand.start_master()
        async with a_server(pool, stand.users) as bed:
            slow = [await begin_list(bed) for _ in range(2)]
            refused(await bed.ask("GET", "/2/instances?bulk=1"), 504)
            assert (await bed.ask("PUT", "/2/tags?tag=x", headers=ADMIN)).json == 17
            for writer in slow:
                writer.transport.abort()
            await none_left(bed)
        await master.stop()

    on_loop(work)


def test_a_list_that_is_given_up_frees_its_connection_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        stand = Stand(tmp_path, Stubborn().handle)
        master = await stand.start_master()
        pool = LuxiPool(stand.socket, pieces_connections=1, slot_wait_s=0.0)
        asked: list[Any] = ["instance", ["name"], None, 0, None]
        for _ in range(3):
            async with aclosing(pool.pieces("QueryObjects", *asked)) as pieces:
                await anext(pieces)
        await pool.close()
        await master.stop()

    on_loop(work)


ASK = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


def test_connections_that_have_asked_once_do_not_keep_others_out(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi(ServiceSettings(limits=Limits(connections=5))) as bed:
            kept = [await bed.connect() for _ in range(5)]
            for reader, writer in [*kept[1:], kept[0]]:  # the second is idle for longest
                writer.write(ASK)
                await reader.readuntil(b"\n2\n")
            assert (await bed.ask("GET", "/version")).json == 2
            assert (await kept[1][0].read()) == b""
            for reader, writer in (kept[0], *kept[2:]):
                writer.write(ASK)
                await reader.readuntil(b"\n2\n")
                writer.close()

    on_loop(work)


async def follow(bed: RapiBed) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that is busy: the beginning of a list without an end has come."""
    reader, writer = await bed.connect()
    writer.write(ASK_ALL)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


FEW = ServiceSettings(limits=Limits(connections=50, client_connections=5))
OTHER_CLIENT = ("127.0.0.2", 0)


def test_one_client_does_not_take_all_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with Stand(tmp_path, Stubborn().handle).rapi(FEW) as bed:
            busy = [await follow(bed) for _ in range(5)]
            for _ in range(3):
                answer = await bed.ask("GET", "/version")
                refused(answer, 503)
                assert int(answer.headers["retry-after"]) > 0
                assert "127.0.0.1 has 5 connections" in answer.json["message"]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", bed.server.port, local_addr=OTHER_CLIENT
            )
            writer.write(b"GET /version HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"\n2\n")
            silent = [await bed.connect() for _ in range(100)]
            held = REFUSALS + len(busy)
            while len(bed.server.connections) > held:
                await asyncio.sleep(0.001)
            for _, writer in [*busy, *silent]:
                writer.transport.abort()
            await none_left(bed)
            assert (await bed.ask("GET", "/version")).json == 2
            await none_left(bed)
            assert not bed.server.crowds and not bed.server.refused

    with caplog.at_level(logging.WARNING):
        on_loop(work)
    told = [one for one in caplog.messages if "connections of 127.0.0.1" in one]
    assert len(told) == 1  # not one for each


def test_an_idle_connection_of_a_client_gives_way_to_its_next(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path, Stubborn().handle).rapi(FEW) as bed:
            idle, _ = await bed.connect()
            for _ in range(4):
                await follow(bed)
            assert (await bed.ask("GET", "/version")).json == 2
            assert await idle.read() == b""

    on_loop(work)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_the_network_it_chooses_from(address: str, client: str) -> None:
    assert client_of(address) == client


def test_wrong_passwords_of_many_users_are_delayed_as_well(tmp_path: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    gate = GateSettings(now=lambda: 100.0, sleep=sleep)

    async def attempt(bed: RapiBed, name: str) -> int:
        login = base64.b64encode(f"{name}:guess".encode()).decode()
        return (
            await bed.ask("GET", "/version", headers={"Authorization": f"Basic {login}"})
        ).status

    async def work() -> None:
        async with Stand(tmp_path).rapi(ServiceSettings(gate=gate)) as bed:
            assert (await bed.ask("GET", "/version", headers=ADMIN)).json == 2
            seen = [await attempt(bed, f"user{number}") for number in range(60)]
            assert seen[:30] == [401] * 30 and seen[-1] == 429
            assert slept[:3] == [0.5, 1.0, 2.0]
            del slept[:]
            assert (await bed.ask("GET", "/version", headers=ADMIN)).json == 2
            assert slept == []

    on_loop(work)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, loop_factory()])
def test_renewed_certificates_leave_none_of_before(tmp_path: Path, new_loop: Any) -> None:
    async def seen(port: int) -> bytes | None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return shown

    async def work() -> None:
        pems = [tmp_path / f"{number}.pem" for number in range(4)]
        for number, pem in enumerate(pems, 1):
            pem.write_bytes(x509.make_server(1_700_000_000.0, serial=number).pem())
        stand = Stand(tmp_path)
        first, *later = map(server_context, pems)
        async with a_server(LuxiPool(stand.socket), stand.users, tls=first) as bed:
            for context in later:  # key, chain and certificate
                bed.server.renew_tls(context)
            shown = {await seen(bed.server.port) for _ in range(20)}
            assert [digest_of(one) for one in shown if one] == [digest_of_pem(pems[-1])]
            port = bed.server.port
        with pytest.raises(ConnectionRefusedError):  # those between do not listen any more
            await seen(port)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work())
