"""Tickets and sessions of the console proxy, with real child processes and connections."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.client_exceptions import WSServerHandshakeError
from fakes.console_stand import OPS, OTHER, VIEWER, Stand, end_of, read_until, with_stand
from fakes.consoles import Guest


def test_bytes_go_both_ways_unchanged(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        console = await stand.console()
        everything = bytes(range(256))
        await console.send_bytes(everything)
        assert await read_until(console, everything) == everything
        await console.send_str("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
        await read_until(console, b"caf\xc3\xa9")

    with_stand(tmp_path, work)


def test_without_the_option_there_is_nothing(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        assert (await stand.post())[0] == 404
        assert await stand.refusal("/2/console?ticket=x") == 404

    with_stand(tmp_path, work, off=True)


def test_a_ticket_needs_the_right_to_a_console(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        assert (await stand.post(login=None))[0] == 401
        assert (await stand.post(login=VIEWER))[0] == 403
        assert (await stand.post(login=OTHER))[0] == 200

    with_stand(tmp_path, work)


def test_a_ticket_is_for_a_running_instance_with_such_a_console(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        guests = stand.master.guests
        guests["down"] = Guest(["cat"], running=False)
        guests["mute"] = Guest()
        guests["local"] = Guest(port=5901, vnc_bind_address="/var/run/vnc")
        answers = {name: await stand.post(name) for name in ("nosuch", "down", "mute", "local")}
        assert {name: status for name, (status, _) in answers.items()} == {
            "nosuch": 404, "down": 503, "mute": 503, "local": 503,
        }  # fmt: skip
        assert "no console here" in answers["mute"][1]["message"]
        assert (await stand.post(body={"kind": "vnc"}))[0] == 503
        assert (await stand.post(body={"kind": "spice"}))[0] == 400
        assert (await stand.post(body={"speed": 1}))[0] == 400

    with_stand(tmp_path, work)


def test_a_ticket_opens_one_session(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        path = await stand.ticket()
        await stand.open(path)
        assert await stand.refusal(path) == 403
        assert await stand.refusal("/2/console?ticket=") == 403
        assert await stand.refusal("/2/console") == 400

    with_stand(tmp_path, work)


def test_an_old_ticket_opens_nothing(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        path = await stand.ticket()
        stand.clock.now += 30.0
        assert await stand.refusal(path) == 403

    with_stand(tmp_path, work)


def test_a_ticket_shown_from_another_address_is_used_up(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        path = await stand.ticket()
        async with ClientSession(connector=TCPConnector(local_addr=("127.0.0.2", 0))) as elsewhere:
            with pytest.raises(WSServerHandshakeError) as caught:
                await elsewhere.ws_connect(stand.url + path)
        assert caught.value.status == 403
        assert await stand.refusal(path) == 403

    with_stand(tmp_path, work)


def test_a_ticket_of_another_user_is_refused(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        assert await stand.refusal(await stand.ticket(), headers=OTHER) == 403
        await stand.open(await stand.ticket(), headers=OPS)

    with_stand(tmp_path, work)


def test_a_ticket_without_a_websocket_is_not_used(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        path = await stand.ticket()
        async with stand.http.get(stand.url + path) as answer:
            assert answer.status == 426
        await stand.open(path)

    with_stand(tmp_path, work)


def test_tickets_and_sessions_are_bounded(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        paths = [await stand.ticket() for _ in range(3)]
        status, answer = await stand.post()
        assert status == 503 and "3 tickets" in answer["message"]
        first = await stand.open(paths[0])
        assert await stand.refusal(paths[1]) == 503
        await first.close()
        while stand.bed.server.consoles.sessions:
            await asyncio.sleep(0)
        await stand.open(paths[2])

    with_stand(tmp_path, work, tickets=3, sessions_of_user=1)


def test_one_user_does_not_take_all_tickets(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        for _ in range(2):
            await stand.ticket()
        status, answer = await stand.post()
        assert status == 503 and "2 tickets of user" in answer["message"]

    with_stand(tmp_path, work, tickets=3, tickets_of_user=2)


def test_the_session_ends_with_the_guest(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        stand.master.guests["web"] = Guest(["sh", "-c", "echo login:; read x; exit 0"])
        console = await stand.console()
        await read_until(console, b"login:")
        await console.send_bytes(b"\n")
        assert await end_of(console) == (1000, "the guest's console has ended")

    with_stand(tmp_path, work)


def test_no_process_is_left_when_the_client_has_gone(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        script = "echo $$; trap '' TERM; cat; cat"
        stand.master.guests["web"] = Guest(["sh", "-c", script])
        console = await stand.console()
        pid = int(await read_until(console, b"\n"))
        handle = os.pidfd_open(pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, ended.set)
        await console.close()
        await ended.wait()
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)

    with_stand(tmp_path, work)


def test_a_console_that_says_nothing_for_long_is_closed(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        console = await stand.console()
        consoles = stand.bed.server.consoles
        stand.clock.now += 899.0
        consoles.check_again()
        await console.send_bytes(b"x")
        await read_until(console, b"x")
        stand.clock.now += 900.0
        consoles.check_again()
        assert await end_of(console) == (1000, "nothing happened for 900 s")

    with_stand(tmp_path, work)


@pytest.mark.parametrize("users", ["ops pw read\n", "other pw write\n", ""])
def test_who_loses_the_right_loses_the_console(tmp_path: Path, users: str) -> None:
    async def work(stand: Stand) -> None:
        console, unused = await stand.console(), await stand.ticket()
        stand.users.write_text(users)
        stand.bed.server.gate.users.load()
        stand.bed.server.consoles.check_again()
        assert (await end_of(console))[0] == 1008
        assert await stand.refusal(unused) == 403

    with_stand(tmp_path, work)


def test_a_long_message_ends_the_session(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        console = await stand.console()
        await console.send_bytes(b"x" * 65536)
        await read_until(console, b"x")
        await console.send_bytes(b"x" * 65537)
        assert (await end_of(console))[0] == 1009

    with_stand(tmp_path, work)


FLOOD = "import os, sys\nwhile True: os.write(1, b'y' * 65536)"


def test_a_client_that_reads_nothing_holds_up_the_guest_and_is_dropped(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        stand.master.guests["web"] = Guest([sys.executable, "-c", FLOOD])
        path = await stand.ticket()
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", stand.bed.server.port, limit=1024
        )
        writer.write(head.encode())
        assert b"101" in await reader.readline()
        consoles = stand.bed.server.consoles
        while not consoles.sessions:
            await asyncio.sleep(0)
        (session,) = consoles.sessions
        while session in consoles.sessions:
            await asyncio.sleep(0)
        writer.close()

    with_stand(tmp_path, work, take_s=0.5)


def test_vnc_is_carried_by_tcp(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"RFB 003.008\n")
            assert await reader.readexactly(12) == b"RFB 003.003\n"
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        stand.master.guests["web"] = Guest(port=port, vnc_bind_address="0.0.0.0")
        console = await stand.console()
        await read_until(console, b"RFB 003.008\n")
        await console.send_bytes(b"RFB 003.003\n")
        assert (await end_of(console))[0] == 1000
        server.close()
        assert await stand.refusal(await stand.ticket()) == 502  # nobody listens

    with_stand(tmp_path, work)


def test_sessions_end_with_the_daemon(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        console = await stand.console()
        stopping = asyncio.create_task(stand.bed.server.stop())
        assert (await end_of(console))[0] == 1001
        await stopping

    with_stand(tmp_path, work)
