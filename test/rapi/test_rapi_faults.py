"""Bad requests, bad clients, and a master daemon that is away, full or half dead."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.rapi_bed import USERS, RapiBed, a_server, on_loop
from fakes.rapi_stand import ADMIN, ASK_ALL, JSON, Endless, Stand, none_left, refused
from ganeti.errors import Code, GenericError, JobQueueDrainError, JobQueueFull, OpPrereqError
from ganeti.http.listener import Limits
from ganeti.http.tls import server_context
from ganeti.luxi.pool import LuxiPool
from ganeti.rapi.access import Users
from ganeti.rapi.gate import GateSettings
from ganeti.rapi.service import RapiServer, ServiceSettings
from ganeti.utils import x509

WRONG = {"Authorization": "Basic YWRtaW46d3Jvbmc="}
QUICK = Limits(first_request_s=0.2, idle_s=0.2, body_s=0.2, answer_s=0.2, body_bytes=1000)

BODIES = [
    ("POST /2/groups", b"{", 400),
    ("POST /2/groups", b"\xff\xfe", 400),
    ("POST /2/groups", b"[" * 100_000, 400),
    ("POST /2/groups", b'{"group_name": ' + b"9" * 5000 + b"}", 400),
    ("POST /2/groups", b"[]", 400),
    ("POST /2/groups", b'"text"', 400),
    ("POST /2/groups", b"5", 400),
    ("POST /2/groups", b"null", 400),
    ("POST /2/groups", b'{"group_name": 5}', 400),
    ("POST /2/groups", b'{"group_name": ""}', 400),
    ("POST /2/groups", b'{"group_name": null}', 400),
    ("POST /2/groups", b'{"group_name": "g", "nosuch": 1}', 400),
    ("POST /2/groups", b'{"group_name": "g", "name": "g"}', 400),
    ("POST /2/groups", b'{"group_name": "g", "dry_run": true}', 400),
    ("POST /2/groups", b'{"group_name": "g", "OP_ID": "OP_GROUP_REMOVE"}', 400),
    ("POST /2/groups", b'{"group_name": "g", "depends": "x"}', 400),
    ("POST /2/groups", b'{"group_name": "g", "priority": 99}', 400),
    ("POST /2/groups", b'{"group_name": "g", "reason": []}', 400),
    ("PUT /2/modify", b'{"compression_tools": ["gzip"]}', 403),
    ("PUT /2/instances/web1/shutdown", b'{"instance_name": "web2"}', 400),
    ("PUT /2/instances/web1/modify", b"", 400),
    ("PUT /2/nodes/node1/role", b'"nosuch"', 400),
    ("POST /2/instances-multi-alloc", b'{"instances": [1]}', 400),
    ("POST /2/instances-multi-alloc", b'{"instances": {"a": 1}}', 400),
    ("GET /2/jobs/1/wait", b'{"fields": "status"}', 400),
    ("POST /2/filters", b'{"priority": "x"}', 400),
    ("POST /2/filters", b'{"action": "NOSUCH"}', 400),
    ("PUT /2/query/node", b'{"fields": ["name"], "qfilter": ["=", "name"]}', 400),
    ("PUT /2/query/node", b'{"fields": ["name"], "qfilter": ["="], "filter": ["="]}', 400),
    ("PUT /2/query/node", b'{"fields": [1]}', 400),
    ("GET /2/jobs/" + "9" * 5000, b"", 404),
    ("GET /2/instances?bulk=" + "9" * 5000, b"", 400),
    ("GET /2/instances?limit=-1&bulk=1", b"", 400),
    ("GET /2/instances?filter=((&bulk=1", b"", 400),
    ("GET /2/instances?fields=nosuch&bulk=1", b"", 400),
    ("POST /2/instances/web1/reboot?type=nosuch", b"", 400),
    ("PUT /2/instances/web1/startup?force=x", b"", 400),
    ("PUT /2/nodes/node1/storage/repair?storage_type=lvm-vg", b"", 400),
]


def test_wrong_bodies_and_arguments_are_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi() as bed:
            for line, body, status in BODIES:
                method, path = line.split(" ", 1)
                answer = await bed.ask(method, path, body or None, ADMIN | JSON)
                assert answer.status == status, (line[:60], body[:60], answer.body[:300])
                refused(answer, status)
            fine = await bed.ask("POST", "/2/groups", '{"name": "\\ud800", "depends": null}',
                                 ADMIN | JSON)  # fmt: skip
            assert fine.json == 17

    on_loop(work)


def test_a_job_may_depend_on_others_even_where_no_body_is_looked_at(tmp_path: Path) -> None:
    submitted: list[Any] = []

    async def master(method: str, args: list[Any]) -> Any:
        submitted.append(args)
        return 17

    async def work() -> None:
        async with Stand(tmp_path, master).rapi() as bed:
            body = '{"depends": [[5, ["success"]]], "force": true}'
            answer = await bed.ask("PUT", "/2/instances/web1/startup", body, ADMIN | JSON)
            assert answer.json == 17
            (op,) = submitted[0][0]
            sent = op if isinstance(op, dict) else op.to_json()
            assert sent["depends"] == [[5, ["success"]]] and sent["force"] is False

    on_loop(work)


def test_a_body_without_its_type_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi() as bed:
            refused(await bed.ask("POST", "/2/groups", "{}", ADMIN), 415)
            refused(await bed.ask("POST", "/2/groups", "{}", ADMIN | {"Content-Type": "x"}), 415)

    on_loop(work)


HEAD = b"POST /2/groups HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46RXhhbXBsZTE=\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((), b""),  # silent
        ((HEAD,), b""),  # half a head
        ((HEAD + b"Content-Length: 5000\r\n\r\n",), b"413"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n800\r\n" + b"x" * 2048,), b"413"),
        ((HEAD + b"Content-Length: 50\r\n\r\nhalf",), b"408"),
        ((HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",), b"400"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",), b"400"),
        ((HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",), b"415"),
        ((b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",), b"400"),
        ((b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",), b"400"),
        ((b"GET / HTTP/1.1\r\n\r\n",), b"400"),
        ((b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",), b"505"),
        ((b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",), b"501"),
        ((b"\x16\x03\x01 garbage \r\n\r\n",), b"400"),
        ((b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",), b"400"),
    ],
)
def test_what_is_no_request_gets_a_sentence_and_no_traceback(
    tmp_path: Path, pieces: tuple[bytes, ...], status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        limits = replace(QUICK, field_bytes=4096)
        async with Stand(tmp_path).rapi(ServiceSettings(limits=limits)) as bed:
            said = await bed.raw(*pieces)
            assert said[9:12] == status
            if status:
                assert b"Content-Type: application/json\r\n" in said
                assert b'{"code":' + status in said
            assert (await bed.ask("GET", "/version")).json == 2

    with caplog.at_level(logging.DEBUG):
        on_loop(work)
    assert [one for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR] == []


def test_a_client_may_ask_before_it_sends_a_body(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi() as bed:
            reader, writer = await bed.connect()
            writer.write(
                HEAD
                + b"Content-Type: application/json\r\nExpect: 100-continue\r\n"
                + b"Content-Length: 13\r\nConnection: close\r\n\r\n"
            )
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b'{"name": "g"}')
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
            writer.close()

    on_loop(work)


def test_thousands_of_idle_connections_do_not_keep_others_out(tmp_path: Path) -> None:
    async def work() -> None:
        limits = Limits(connections=500)
        async with Stand(tmp_path).rapi(ServiceSettings(limits=limits)) as bed:
            idle = [await bed.connect() for _ in range(2000)]
            for _ in range(3):
                assert (await bed.ask("GET", "/version")).json == 2
            assert len(bed.server.connections) <= 500
            for _, writer in idle:
                writer.close()

    on_loop(work)


def test_a_client_that_asks_is_not_dropped_for_new_ones(tmp_path: Path) -> None:
    async def work() -> None:
        async with Stand(tmp_path).rapi(ServiceSettings(limits=Limits(connections=5))) as bed:
            reader, writer = await bed.connect()
            ask = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
            for _ in range(3):
                writer.write(ask)
                assert (await reader.readuntil(b"\n2\n")).startswith(b"HTTP/1.1 200")
                idle = [await bed.connect() for _ in range(10)]
                for _, other in idle:
                    other.close()
            writer.close()

    on_loop(work)


# TLS.


def tls_client(**versions: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    for name, version in versions.items():
        setattr(context, name, version)
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_tls_of_today_is_spoken(tmp_path: Path) -> None:
    pem = tmp_path / "rapi.pem"
    pem.write_bytes(x509.make_server(1_700_000_000.0, serial=1).pem())
    users = tmp_path / "users"
    users.write_text(USERS)

    async def work() -> None:
        limits = Limits(first_request_s=0.3)
        server = RapiServer((), LuxiPool(tmp_path / "none"), Users(users),
                            ServiceSettings(limits=limits), tls=server_context(pem))  # fmt: skip
        await server.start("127.0.0.1", 0)
        old, middle, new = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        for lowest, highest, fine in ((old, old, False), (middle, middle, True), (new, new, True)):
            context = tls_client(minimum_version=lowest, maximum_version=highest)
            bed = RapiBed(server, server.master, context)
            if fine:
                assert (await bed.ask("GET", "/nosuch")).status == 404
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await bed.ask("GET", "/nosuch")
        assert await RapiBed(server, server.master).raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        await server.stop()

    on_loop(work)


# Passwords and rates.


def test_wrong_passwords_are_delayed_after_repeats_and_then_refused(tmp_path: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    settings = ServiceSettings(gate=GateSettings(now=lambda: 100.0, sleep=sleep))

    async def work() -> None:
        async with Stand(tmp_path).rapi(settings) as bed:
            for _ in range(3):
                answer = await bed.ask("GET", "/version", headers=WRONG)
                refused(answer, 401)
                assert answer.headers["www-authenticate"] == 'Basic realm="Ganeti Remote API"'
            assert slept == []
            answers = [await bed.ask("GET", "/version", headers=WRONG) for _ in range(12)]
            assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0]
            assert [one.status for one in answers] == [401] * 7 + [429] * 5
            assert int(answers[-1].headers["retry-after"]) > 30
            assert (await bed.ask("GET", "/version")).status == 200  # others are not affected

    on_loop(work)


def test_more_requests_than_the_rate_are_told_to_come_again(tmp_path: Path) -> None:
    gate = GateSettings(requests_per_s=2, now=lambda: 100.0)

    async def work() -> None:
        async with Stand(tmp_path).rapi(ServiceSettings(gate=gate)) as bed:
            answers = [await bed.ask("GET", "/version") for _ in range(12)]
            assert [one.status for one in answers] == [200] * 10 + [429] * 2
            refused(answers[-1], 429)
            assert answers[-1].headers["retry-after"] == "1"
            assert (await bed.ask("GET", "/version", headers=ADMIN)).status == 200

    on_loop(work)


# The master daemon.


def test_a_master_that_is_away_is_told_and_its_return_is_noticed(tmp_path: Path) -> None:
    stand = Stand(tmp_path)

    async def work() -> None:
        async with a_server(LuxiPool(stand.socket), stand.users) as bed:
            answer = await bed.ask("GET", "/2/info")
            refused(answer, 502)
            assert int(answer.headers["retry-after"]) > 0
            for _ in range(2):  # kept connections are to the one before
                master = await stand.start_master()
                assert (await bed.ask("GET", "/2/networks")).json == []
                put = await bed.ask("PUT", "/2/tags?tag=x", headers=ADMIN)
                assert put.json == 17
                await master.stop()
                refused(await bed.ask("PUT", "/2/tags?tag=x", headers=ADMIN), 502)
            assert (await bed.ask("GET", "/version")).json == 2

    on_loop(work)


def test_requests_that_run_end_when_the_master_goes(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def silent(method: str, args: list[Any]) -> Any:
        begun.set()
        await asyncio.Event().wait()

    stand = Stand(tmp_path, silent)

    async def work() -> None:
        async with a_server(LuxiPool(stand.socket), stand.users) as bed:
            master = await stand.start_master()
            asking = asyncio.create_task(bed.ask("PUT", "/2/tags?tag=x", headers=ADMIN))
            await begun.wait()
            await master.stop()
            answer = await asking
            refused(answer, 502)
            assert "retry-after" in answer.headers

    on_loop(work)


def test_a_master_that_does_not_answer_in_time(tmp_path: Path) -> None:
    async def silent(method: str, args: list[Any]) -> Any:
        await asyncio.Event().wait()

    async def work() -> None:
        async with Stand(tmp_path, silent).rapi(read_timeout_s=0.05) as bed:
            refused(await bed.ask("GET", "/2/info"), 504)

    on_loop(work)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (JobQueueFull("the queue holds 5000 jobs"), 503),
        (JobQueueDrainError("the queue is drained"), 503),
        (GenericError("Queue drained"), 503),
        (OpPrereqError("no tag", Code.INVAL), 400),
        (OpPrereqError("wrong state", Code.STATE), 500),
    ],
)
def test_what_the_master_refuses(tmp_path: Path, error: Exception, status: int) -> None:
    async def refusing(method: str, args: list[Any]) -> Any:
        raise error

    async def work() -> None:
        async with Stand(tmp_path, refusing).rapi() as bed:
            answer = await bed.ask("PUT", "/2/tags?tag=x", headers=ADMIN)
            refused(answer, status)
            assert ("retry-after" in answer.headers) == (status == 503)

    on_loop(work)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OpPrereqError("no node is named nosuch", Code.NOENT), 404),
        (OpPrereqError("node1 may be several nodes", Code.INVAL), 400),
    ],
)
def test_names_in_the_filter_of_a_query(tmp_path: Path, error: Exception, status: int) -> None:
    async def refusing(method: str, args: list[Any]) -> Any:
        raise error

    async def work() -> None:
        async with Stand(tmp_path, refusing).rapi() as bed:
            body = '{"fields": ["name"], "qfilter": ["=", "name", "nosuch"]}'
            refused(await bed.ask("PUT", "/2/query/node", body, ADMIN | JSON), status)
            refused(await bed.ask("GET", "/2/query/node?fields=name", headers=ADMIN), status)

    on_loop(work)


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("GET /2/instances?bulk=1", None),
        ("GET /2/query/instance?fields=name", None),
        ("PUT /2/query/instance", b'{"fields": ["name"], "qfilter": null}'),
    ],
)
def test_long_answers_are_passed_on_as_they_come(
    tmp_path: Path, line: str, body: bytes | None
) -> None:
    async def work() -> None:
        async with Stand(tmp_path, Endless().handle).rapi() as bed:
            reader, writer = await bed.connect()
            writer.write(request(line, body))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and b"Transfer-Encoding: chunked" in head
            await reader.readexactly(1024 * 1024)  # of an answer that has no end
            writer.transport.abort()
            await none_left(bed)

    on_loop(work)


def request(line: str, body: bytes | None) -> bytes:
    given = {"Host": "x", **ADMIN, **JSON, "Content-Length": str(len(body or b""))}
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


@pytest.mark.parametrize("count", [1000, 1001, 2000, 20_000])
def test_lists_of_names_are_whole_however_long(tmp_path: Path, count: int) -> None:
    names = [f"instance{number}.example.com" for number in range(count)]

    async def master(method: str, args: list[Any]) -> Any:
        return [{"name": name} for name in names]

    async def work() -> None:
        async with Stand(tmp_path, master).rapi() as bed:
            answer = await bed.ask("GET", "/2/instances")
            assert answer.json == [{"id": one, "uri": f"/2/instances/{one}"} for one in names]
            assert ("transfer-encoding" in answer.headers) == (count == 20_000)
            assert answer.body.endswith(b"]\n")

    on_loop(work)


def test_half_an_answer_has_no_end(tmp_path: Path) -> None:
    async def work() -> None:
        endless = Endless()
        stand = Stand(tmp_path, endless.handle)
        async with a_server(LuxiPool(stand.socket), stand.users) as bed:
            master = await stand.start_master()
            reader, writer = await bed.connect()
            writer.write(ASK_ALL)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Transfer-Encoding: chunked" in head
            stopping = asyncio.create_task(master.stop())
            try:
                rest = await reader.read()
            except ConnectionResetError:
                rest = b""
            assert not rest.endswith(b"\r\n0\r\n\r\n") and b"HTTP/1.1" not in rest
            await stopping
            writer.close()
            refused(await bed.ask("GET", "/2/info"), 502)

    on_loop(work)


def test_a_client_that_goes_away_ends_its_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        endless = Endless()
        stand = Stand(tmp_path, endless.handle)
        async with stand.rapi() as bed:
            reader, writer = await bed.connect()
            writer.write(ASK_ALL)
            await reader.readuntil(b"\r\n\r\n")
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
            await none_left(bed)
            assert (await bed.ask("GET", "/version")).json == 2

    with caplog.at_level(logging.INFO):
        on_loop(work)
    assert [one for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR] == []


def test_a_client_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    async def work() -> None:
        endless = Endless()
        stand = Stand(tmp_path, endless.handle)
        async with stand.rapi(ServiceSettings(limits=replace(QUICK, answer_s=0.1))) as bed:
            reader, writer = await asyncio.open_connection("127.0.0.1", bed.server.port, limit=1024)
            writer.write(ASK_ALL)
            await endless.begun.wait()
            await none_left(bed)
            writer.close()

    on_loop(work)
