"""Taking connections: addresses that are taken, and what happens without files for more."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fakes.loops import LOOPS, NewLoop, on_loop
from ganeti.http.acceptor import AT_ONCE, Acceptor


@contextmanager
def no_file_left() -> Iterator[None]:
    """The process can't open files. What is open stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    taken = []
    try:
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        yield
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@LOOPS
def test_without_files_connections_wait_until_there_are_some(new_loop: NewLoop) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[tuple[socket.socket, str]] = asyncio.Queue()
        lacks: asyncio.Queue[OSError] = asyncio.Queue()
        acceptor = Acceptor(
            lambda sock, address: came.put_nowait((sock, address)), lacks.put_nowait, pause_s=0.001
        )
        await acceptor.start("127.0.0.1", 0)
        with socket.socket() as client:
            client.setblocking(False)
            with no_file_left():
                await loop.sock_connect(client, ("127.0.0.1", acceptor.port))
                for _ in range(3):  # it tries again
                    assert (await lacks.get()).errno == errno.EMFILE
                assert came.empty()
            sock, address = await came.get()
            assert address == "127.0.0.1"
            sock.close()
        acceptor.stop()

    on_loop(new_loop, work)


@LOOPS
def test_an_acceptor_that_is_stopped_in_its_pause_does_not_go_on(new_loop: NewLoop) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        lacks: asyncio.Queue[OSError] = asyncio.Queue()
        passed = asyncio.Event()
        acceptor = Acceptor(lambda sock, address: sock.close(), lacks.put_nowait, pause_s=0.0)
        await acceptor.start("127.0.0.1", 0)
        port = acceptor.port
        with socket.socket() as client:
            client.setblocking(False)
            with no_file_left():
                await loop.sock_connect(client, ("127.0.0.1", port))
                await lacks.get()
                acceptor.stop()
        loop.call_later(0.0, passed.set)  # after the timer of the pause
        await passed.wait()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    on_loop(new_loop, work)


@LOOPS
def test_many_at_a_time_are_all_taken(new_loop: NewLoop) -> None:
    async def work() -> None:
        came: asyncio.Queue[socket.socket] = asyncio.Queue()
        acceptor = Acceptor(lambda sock, address: came.put_nowait(sock), lambda error: None)
        await acceptor.start("127.0.0.1", 0)
        address = ("127.0.0.1", acceptor.port)
        clients = [socket.create_connection(address) for _ in range(3 * AT_ONCE)]
        for client in clients:
            (await came.get()).close()
            client.close()
        acceptor.stop()

    on_loop(new_loop, work)


@LOOPS
def test_an_address_that_is_taken_leaves_nothing_open(new_loop: NewLoop) -> None:
    async def work() -> None:
        acceptor = Acceptor(lambda sock, address: sock.close(), lambda error: None)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(OSError, match="in use"):
                await acceptor.start("127.0.0.1", taken.getsockname()[1])
        await acceptor.start("127.0.0.1", 0)
        acceptor.stop()

    on_loop(new_loop, work)
