"""The server against good and bad clients, and the client against good and bad servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ganeti import errors
from ganeti.luxi.client import Client, socket_path
from ganeti.luxi.server import Limits, LuxiServer
from ganeti.opcodes.test import OpTestDelay
from ganeti.paths import Paths
from ganeti.serializer import Json

TAGS = b'{"method": "QueryTags", "args": ["cluster", ""]}\x03'
ANSWER = b'{"success":true,"result":["one"]}\x03'
WAIT_S = 10.0


async def pieces(*texts: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for text in texts:
        yield text
    if error is not None:
        raise error


async def handle(method: str, args: list[Json]) -> Json | AsyncIterator[bytes]:
    """A master with one tag, that fails on demand."""
    match method, args:
        case "QueryTags", ["cluster", _]:
            return ["one"]
        case "QueryTags", ["instance", name]:
            raise errors.OpPrereqError(f"instance {name} is unknown", errors.Code.NOENT)
        case "QueryTags", ["node", _]:
            raise ZeroDivisionError("a mistake")
        case "QueryConfigValues", [["big"]]:
            return pieces(b"[", *[b'"' + b"x" * 100_000 + b'",'] * 20, b"1]")
        case "QueryConfigValues", [["fails late"]]:
            return pieces(b"[1", error=errors.OpExecError("no"))
        case "QueryConfigValues", [["fails early"]]:
            return pieces(error=errors.OpExecError("no"))
        case "SubmitJob", [[OpTestDelay()]]:
            return 7
        case "WaitForJobChange", [_, _, previous, _, _]:
            return [previous or ["running"], []]
        case "CancelJob", [number, kill]:
            return [kill, f"job {number}"]
    return None


def run(
    tmp_path: Path,
    scene: Callable[[Path, LuxiServer], Awaitable[None]],
    limits: Limits | None = None,
) -> None:
    """Play a scene against a started server, and find nothing left behind."""

    async def play() -> None:
        paths = [tmp_path / "ganeti-master", tmp_path / "ganeti-query"]
        server = LuxiServer(paths, handle, limits)
        await server.start()
        try:
            async with asyncio.timeout(WAIT_S):
                await scene(paths[1], server)
        finally:
            await server.stop()
        assert server.connections == 0

    asyncio.run(play())
    assert list(tmp_path.iterdir()) == []


async def talk(path: Path, *sent: bytes) -> bytes:
    """Send everything, and read until the server closes or has answered all requests."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    wanted = b"".join(sent).count(b"\x03")
    received = b""
    for piece in sent:
        writer.write(piece)
    while received.count(b"\x03") < wanted:
        try:
            more = await reader.read(100_000)
        except ConnectionResetError:
            more = b""  # closed before it had read all
        if not more:
            received += b"(closed)"
            break
        received += more
    writer.close()
    return received


def plain(answer: bytes) -> bytes:
    """Without blanks between tokens."""
    return answer.replace(b'": ', b'":').replace(b', "', b',"')


def test_requests_in_one_go_or_in_halves_are_answered_in_order(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        assert plain(await talk(path, TAGS)) == ANSWER
        assert plain(await talk(path, TAGS + TAGS)) == ANSWER * 2
        assert plain(await talk(path, TAGS[:9], TAGS[9:] + TAGS[:5], TAGS[5:])) == ANSWER * 2

    run(tmp_path, scene)


def test_both_sockets_have_mode_0660(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        for name in ("ganeti-master", "ganeti-query"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o660
            assert plain(await talk(tmp_path / name, TAGS)) == ANSWER

    run(tmp_path, scene)


@pytest.mark.parametrize(
    "request_",
    [b"nonsense", b"", b"[]", b" " + TAGS[:-1], b'{"method": "NoSuch", "args": []}']
    + [b'{"method": "QueryTags", "args": []}', b'{"method": "QueryTags"}'],
)
def test_a_bad_request_gets_a_plain_text_and_is_closed(tmp_path: Path, request_: bytes) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        received = await talk(path, request_ + b"\x03", TAGS)
        answer, rest = received.split(b"\x03")
        assert rest == b"(closed)"
        value = json.loads(answer)
        assert value["success"] is False and isinstance(value["result"], str)

    run(tmp_path, scene)


def test_a_failing_request_leaves_the_connection_usable(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        bad = b'{"method": "QueryTags", "args": ["instance", "x"]}\x03'
        first, second, _ = (await talk(path, bad + TAGS)).split(b"\x03")
        assert json.loads(first)["result"] == [
            "OpPrereqError",
            ["instance x is unknown", "unknown_entity"],
        ]
        assert json.loads(second)["success"] is True

    run(tmp_path, scene)


def test_a_mistake_in_the_master_is_told_and_survived(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        bad = b'{"method": "QueryTags", "args": ["node", "x"]}\x03'
        first, second, _ = (await talk(path, bad + TAGS)).split(b"\x03")
        assert "a mistake" in json.loads(first)["result"]
        assert json.loads(second)["success"] is True

    run(tmp_path, scene)


def test_the_version_of_a_request_comes_back(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        asked = b'{"method": "QueryTags", "args": ["cluster", ""], "version": 2010000}\x03'
        assert json.loads((await talk(path, asked))[:-1])["version"] == 2_010_000
        assert "version" not in json.loads((await talk(path, TAGS))[:-1])

    run(tmp_path, scene)


def test_internal_methods_are_refused_with_an_error(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        answer = await talk(path, b'{"method": "PickupJob", "args": [1]}\x03')
        assert json.loads(answer[:-1])["result"][0] == "GenericError"

    run(tmp_path, scene)


def asking(field: str) -> bytes:
    return json.dumps({"method": "QueryConfigValues", "args": [[field]], "version": 5}).encode()


def test_a_long_answer_goes_out_in_pieces_and_arrives_whole(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        value = json.loads((await talk(path, asking("big") + b"\x03"))[:-1])
        assert value["version"] == 5
        assert [len(one) for one in value["result"][:-1]] == [100_000] * 20

    run(tmp_path, scene)


def test_an_answer_in_pieces_that_fails_is_an_error_or_a_closed_connection(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        early = await talk(path, asking("fails early") + b"\x03")
        assert json.loads(early[:-1])["result"] == ["OpExecError", ["no"]]
        assert (await talk(path, asking("fails late") + b"\x03")).endswith(b"[1(closed)")

    run(tmp_path, scene)


def test_a_huge_message_is_refused_at_the_limit(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        received = await talk(path, b"x" * 2000, b"\x03\x03")
        assert b"longer than 1000 bytes" in received

    run(tmp_path, scene, Limits(message_bytes=1000))


@pytest.mark.parametrize("half", [b"", TAGS[:20], TAGS + TAGS[:20]])
def test_a_client_that_hangs_is_let_go(tmp_path: Path, half: bytes) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(half)
        received = await reader.read()
        assert received.count(b"\x03") == half.count(b"\x03")
        assert plain(await talk(path, TAGS)) == ANSWER
        writer.close()

    run(tmp_path, scene, Limits(idle_s=0.05, message_s=0.05))


def test_dripping_bytes_does_not_prolong_a_message(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        closed = asyncio.create_task(reader.read())
        while not closed.done():
            writer.write(b"x")
            await asyncio.wait([closed], timeout=0.01)
        with contextlib.suppress(ConnectionResetError):  # what it sent last was not read
            assert await closed == b""
        writer.close()

    run(tmp_path, scene, Limits(message_s=0.1))


def test_a_client_that_never_reads_is_let_go(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1000)
        writer.write((asking("big") + b"\x03") * 3)
        while server.connections == 0:
            await asyncio.sleep(0)
        while server.connections:
            await asyncio.sleep(0.01)
        assert plain(await talk(path, TAGS)) == ANSWER
        writer.close()

    run(tmp_path, scene, Limits(write_s=0.05))


def test_clients_that_vanish_do_no_harm(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        for sent in (b"", TAGS[:10], TAGS, asking("big") + b"\x03"):
            _, writer = await asyncio.open_unix_connection(str(path))
            writer.write(sent)
            writer.transport.abort()
        assert plain(await talk(path, TAGS)) == ANSWER

    run(tmp_path, scene)


def test_more_clients_than_the_limit_are_turned_away(tmp_path: Path) -> None:
    async def scene(path: Path, server: LuxiServer) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(TAGS)
        await reader.readuntil(b"\x03")
        assert await talk(path, TAGS) == b"(closed)"
        writer.close()

    run(tmp_path, scene, Limits(connections=1))


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ganeti-query"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def scene(path: Path, server: LuxiServer) -> None:
        other = LuxiServer([path], handle)
        with pytest.raises(errors.LockError, match="another daemon"):
            await other.start()
        await other.stop()
        assert plain(await talk(path, TAGS)) == ANSWER

    run(tmp_path, scene)


def test_a_path_longer_than_a_socket_name_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()

    async def scene(path: Path, server: LuxiServer) -> None:
        with Client(path) as client:
            assert await asyncio.to_thread(client.query_tags, "cluster") == ["one"]

    run(deep, scene)


def form(answers: bytes) -> list[Any]:
    """Of each answer: whether it succeeded, and which kind of error it is."""
    found = []
    for answer in answers.removesuffix(b"(closed)").split(b"\x03")[:-1]:
        value = json.loads(answer)
        result = value["result"]
        kind = result[0] if isinstance(result, list) else type(result).__name__
        found.append((value["success"], None if value["success"] else kind))
    return found


def test_recorded_connections_go_the_same_way(tmp_path: Path, samples: Path) -> None:
    lines = (samples / "luxi" / "connection.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]

    async def replay(path: Path, steps: list[dict[str, Any]]) -> None:
        sent = [step["send"].encode("latin-1") for step in steps]
        received = await talk(path, *sent)
        recorded = "".join(step.get("recv", "") for step in steps).encode()
        assert form(received) == form(recorded), steps
        assert received.endswith(b"(closed)") == any(step.get("closed") for step in steps)

    async def scene(path: Path, server: LuxiServer) -> None:
        for record in records:
            await replay(path, record["steps"])

    assert len(records) > 10
    run(tmp_path, scene)


# The client.


def test_the_client_calls_and_gets_results_and_errors(tmp_path: Path) -> None:
    def use(path: Path) -> None:
        with Client(path) as client:
            assert client.query_tags("cluster") == ["one"]
            assert client.submit_job([OpTestDelay(duration=1)]) == 7
            assert client.cancel_job(5, kill=True) == (True, "job 5")
            assert client.wait_for_job_change(5, ["status"], None, None) == (["running"], [])
            assert client.wait_for_job_change(5, ["status"], ["running"], 3) is None
            assert len(client.query_config_values(["big"])) == 21
            with pytest.raises(errors.OpPrereqError, match="x is unknown"):
                client.query_tags("instance", "x")
            with pytest.raises(errors.RequestError, match="parse"):
                client.query_tags("dog", "x")
            assert client.query_tags("cluster") == ["one"]

    async def scene(path: Path, server: LuxiServer) -> None:
        await asyncio.to_thread(use, path)

    run(tmp_path, scene)


class Pauses:
    """A clock that only sleeping moves."""

    def __init__(self, then: Callable[[float], None] = lambda now: None) -> None:
        self.now = 0.0
        self.taken: list[float] = []
        self.then = then

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.taken.append(seconds)
        self.then(self.now)


def client_of(path: Path, pauses: Pauses, *, on_master: bool, **more: Any) -> Client:
    return Client(
        path, on_master=lambda: on_master, clock=lambda: pauses.now, sleep=pauses.sleep, **more
    )


def test_no_socket_means_no_master_at_once_on_other_nodes(tmp_path: Path) -> None:
    pauses, path = Pauses(), tmp_path / "none"
    with pytest.raises(errors.NoMasterError) as caught:
        client_of(path, pauses, on_master=False).call("QueryClusterInfo")
    assert caught.value.args == (str(path),)
    assert pauses.taken == []


def test_on_the_master_a_missing_daemon_is_waited_for(tmp_path: Path) -> None:
    pauses = Pauses()
    with pytest.raises(errors.NoMasterError):
        client_of(tmp_path / "none", pauses, on_master=True).call("QueryClusterInfo")
    assert pauses.taken == [1.0] * 30


def test_a_socket_that_may_not_be_opened_is_a_permission_error(tmp_path: Path) -> None:
    class Refused(Client):
        def _connect(self) -> socket.socket:
            self._bear(PermissionError(13, "no"), until=1.0)
            raise AssertionError("not reached")

    with pytest.raises(errors.LuxiPermissionError) as caught:
        Refused(tmp_path / "s").call("QueryClusterInfo")
    assert caught.value.args == (str(tmp_path / "s"),)


def listening(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(5)
    return server


def test_a_silent_master_is_a_timeout(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening(path), pytest.raises(errors.LuxiTimeoutError):
        Client(path, read_timeout_s=0.05).call("QueryClusterInfo")


@pytest.mark.parametrize(
    ("method", "error", "pauses"),
    [
        ("ArchiveJob", errors.ConnectionClosedError, []),
        ("QueryClusterInfo", errors.NoMasterError, [5.0 * n for n in range(1, 16)]),
    ],
)
def test_only_reading_methods_are_tried_again_when_the_master_goes_away(
    tmp_path: Path, method: str, error: type[Exception], pauses: list[float]
) -> None:
    slept = Pauses()
    client = client_of(tmp_path / "s", slept, on_master=False, read_timeout_s=WAIT_S)
    with listening(tmp_path / "s") as server:
        client.connect()
        server.accept()[0].close()
    with pytest.raises(error):
        client.call(method)
    assert slept.taken == pauses


def test_a_reading_method_goes_on_when_the_master_is_back(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()

    def use(path: Path, back: Callable[[float], None]) -> list[str]:
        client = client_of(path, Pauses(back), on_master=False, read_timeout_s=WAIT_S)
        with listening(path) as server:
            client.connect()
            server.accept()[0].close()
        path.unlink()
        with client:
            return client.query_tags("cluster")

    async def scene(path: Path, server: LuxiServer) -> None:
        away = old / "s"

        def back(now: float) -> None:
            away.symlink_to(path)

        assert await asyncio.to_thread(use, away, back) == ["one"]
        away.unlink()
        old.rmdir()

    run(tmp_path, scene)


def test_the_environment_may_choose_the_socket(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert socket_path(paths, {}) == str(paths.query_socket)
    assert socket_path(paths, {"FORCE_LUXI_SOCKET": "query"}) == str(paths.query_socket)
    assert socket_path(paths, {"FORCE_LUXI_SOCKET": "master"}) == str(paths.master_socket)
    assert socket_path(paths, {"FORCE_LUXI_SOCKET": "/x/y"}) == "/x/y"
    assert Client(paths).path == str(paths.query_socket)
