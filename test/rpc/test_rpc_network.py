"""Client and node daemon over real TLS on loopback: who is let in, and what failures say."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fakes import virtual_time
from fakes.nodes import (
    MASTER,
    RunningNode,
    a_client,
    a_root,
    allow_candidates,
    client_pair,
    server_pair,
    start_node,
)
from ganeti.errors import OpExecError
from ganeti.http.client import PER_HOST, HttpAnswer, Unreachable
from ganeti.http.listener import loop_factory
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.base import Call, Outcome, Target
from ganeti.rpc.client import RpcClient, read_answer
from ganeti.utils import x509
from ganeti.version import CONFIG_VERSION

NODE = Target("u", "node9.example.com", "127.0.0.1")


def on_loop(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await work()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def version_asked_by(paths: Paths, root: Path, before: Callable[[RunningNode], None]) -> str | int:
    """What a client with the certificates of `paths` gets from a node: a version or an error."""
    got: list[Outcome[int]] = []

    async def work() -> None:
        node = await start_node(root)
        before(node)
        client = a_client(paths)
        got.append(await client.ask(node.target, calls.version))
        await client.close()
        await node.stop()

    on_loop(work)
    return got[0].value if got[0].value is not None else str(got[0].error)


def test_a_master_candidate_is_answered(tmp_path: Path) -> None:
    paths = a_root(tmp_path / "master")
    assert version_asked_by(paths, tmp_path / "node", lambda node: None) == CONFIG_VERSION


def test_another_clusters_certificate_is_refused(tmp_path: Path) -> None:
    paths = a_root(tmp_path / "stranger", label="theirs")
    text = str(version_asked_by(paths, tmp_path / "node", lambda node: None))
    assert "certificate is not accepted" in text


def test_a_foreign_client_certificate_is_refused_by_the_node(tmp_path: Path) -> None:
    paths = a_root(tmp_path / "stranger")
    paths.client_pem.write_bytes(client_pair("x", "theirs").pem())
    text = str(version_asked_by(paths, tmp_path / "node", lambda node: None))
    assert text.startswith("TLS: ") or "closed the connection" in text


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    paths = a_root(tmp_path / "late")
    expired = x509.make_client("late", server_pair(), time.time() - 2 * 86400, days=1)
    paths.client_pem.write_bytes(expired.pem())
    text = str(version_asked_by(paths, tmp_path / "node", lambda node: None))
    assert text.startswith("TLS: ") or "closed the connection" in text


def test_an_expired_server_certificate_is_refused_by_the_client(tmp_path: Path) -> None:
    old = x509.make_server(time.time() - 2 * 86400, days=1)
    paths = a_root(tmp_path / "node")
    paths.server_pem.write_bytes(old.pem())
    paths.client_pem.write_bytes(x509.make_client("x", old, time.time()).pem())
    other = a_root(tmp_path / "other")
    other.server_pem.write_bytes(old.pem())

    async def work() -> None:
        from ganeti.node.context import NodeSettings
        from ganeti.node.daemon import NodeDaemon

        daemon = NodeDaemon(NodeSettings(paths=other, hostname="x", bind="127.0.0.1", port=0))
        await daemon.start()
        client = a_client(paths)
        target = Target("u", "x", "127.0.0.1", port=daemon.port)
        outcome = await client.ask(target, calls.version)
        assert outcome.error == "its certificate is not accepted: certificate has expired"
        await client.close()
        await daemon.stop()

    on_loop(work)


def test_a_node_that_is_no_candidate_is_refused_with_its_digest(tmp_path: Path) -> None:
    paths = a_root(tmp_path / "plain", "node3.example.com")
    text = version_asked_by(paths, tmp_path / "node", lambda node: None)
    digest = client_pair("node3.example.com").digest
    assert str(text).startswith(f"certificate {digest} is not that of a master candidate; ")
    assert f"master={digest} into" in str(text) and "gnt-cluster renew-crypto" in str(text)


def test_a_new_candidate_is_let_in_without_a_restart(tmp_path: Path) -> None:
    paths = a_root(tmp_path / "plain", "node3.example.com")

    def promote(node: RunningNode) -> None:
        allow_candidates(node.paths, client_pair(MASTER), client_pair("node3.example.com"))

    assert version_asked_by(paths, tmp_path / "node", promote) == CONFIG_VERSION


def test_a_demoted_candidate_loses_its_kept_connection(tmp_path: Path) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        client = a_client(a_root(tmp_path / "master"))
        assert await client.one(node.target, calls.version) == CONFIG_VERSION
        allow_candidates(node.paths, client_pair("node2.example.com"))
        with pytest.raises(OpExecError, match="not that of a master candidate"):
            await client.one(node.target, calls.version)
        await client.close()
        await node.stop()

    on_loop(work)


@pytest.mark.parametrize("file", ["absent", "empty"])
def test_without_candidates_only_the_server_certificate_is_let_in(
    tmp_path: Path, file: str
) -> None:
    def forget(node: RunningNode) -> None:
        place = node.paths.ssconf("master_candidates_certs")
        place.unlink() if file == "absent" else place.write_text("")

    first = a_root(tmp_path / "first", client=False)
    assert version_asked_by(first, tmp_path / "node", forget) == CONFIG_VERSION
    other = a_root(tmp_path / "other")
    assert "not that of a master candidate" in str(
        version_asked_by(other, tmp_path / "node", forget)
    )


def test_one_connection_carries_many_calls(tmp_path: Path) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        client = a_client(a_root(tmp_path / "master"))
        for _ in range(20):
            await client.one(node.target, calls.version)
        assert node.daemon._server is not None
        assert len(node.daemon._server.connections) == 1
        await client.close()
        await node.stop()

    on_loop(work)


def test_many_calls_to_one_node_share_some_connections(tmp_path: Path) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        client = a_client(a_root(tmp_path / "master"))
        asked = (client.one(node.target, calls.version) for _ in range(300))
        assert set(await asyncio.gather(*asked)) == {CONFIG_VERSION}
        assert node.daemon._server is not None
        assert len(node.daemon._server.connections) <= PER_HOST
        await client.close()
        await node.stop()

    on_loop(work)


def test_a_failing_call_names_call_and_node(tmp_path: Path) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        client = a_client(a_root(tmp_path / "master"))
        with pytest.raises(OpExecError, match=f"test_delay: node {MASTER}: duration -1 s"):
            await client.one(node.target, calls.test_delay, -1.0)
        outcomes = await client.each({node.target: (-2.0,)}, calls.test_delay)
        assert "duration -2 s" in str(outcomes[node.target.uuid].error)
        await client.close()
        await node.stop()

    on_loop(work)


def test_an_offline_node_is_not_called(tmp_path: Path) -> None:
    async def work() -> None:
        client = a_client(a_root(tmp_path / "master"))
        target = Target("u", "n", "192.0.2.1", offline=True)
        outcome = await client.ask(target, calls.get_watcher_pause)
        assert (outcome.error, outcome.offline) == ("Node is marked offline", True)
        await client.close()

    on_loop(work)


def test_a_node_where_nothing_listens_fails_at_once_and_is_tried_again(tmp_path: Path) -> None:
    async def work() -> None:
        client = a_client(a_root(tmp_path / "master"))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            target = Target("u", "n", "127.0.0.1", port=unused.getsockname()[1])
            for _ in range(3):
                outcome = await client.ask(target, calls.get_watcher_pause)
                assert "Connection refused" in str(outcome.error)
        await client.close()

    on_loop(work)


def knocks(listener: socket.socket) -> int:
    """How many connections have come since this was last asked."""
    for number in itertools.count():
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return number
    raise AssertionError


def test_a_hanging_node_costs_its_time_once(tmp_path: Path) -> None:
    """It accepts and never says a word: the TLS handshake runs into the connect timeout."""

    async def work() -> None:
        client = a_client(a_root(tmp_path / "master"), connect_s=1.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            target = Target("u", "n", "127.0.0.1", port=silent.getsockname()[1])
            silent.setblocking(False)
            first = await client.ask(target, calls.get_watcher_pause)
            assert knocks(silent) > 0
            second = await client.ask(target, calls.get_watcher_pause)
            assert knocks(silent) == 0
        assert "can't connect" in str(first.error)
        assert "not tried again for" in str(second.error)
        await client.close()

    on_loop(work)


def test_a_fan_out_has_one_outcome_per_node_whatever_happens(tmp_path: Path) -> None:
    async def work() -> None:
        nodes = [await start_node(tmp_path / f"n{i}", f"n{i}.example.com") for i in range(3)]
        for node in nodes:
            allow_candidates(node.paths, client_pair(MASTER))
        dead = Target("dead", "dead", "127.0.0.1", port=1)
        offline = Target("off", "off", "127.0.0.1", offline=True)
        client = a_client(a_root(tmp_path / "master"))
        targets = [*(node.target for node in nodes), dead, offline]
        outcomes = await client.all(targets, calls.get_watcher_pause)
        assert set(outcomes) == {target.uuid for target in targets}
        assert [outcomes[target.uuid].ok for target in targets] == [True] * 3 + [False] * 2
        await client.close()
        for node in nodes:
            await node.stop()

    on_loop(work)


def test_long_calls_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    async def work() -> None:
        node = await start_node(tmp_path / "node")
        release = threading.Event()
        node.daemon.node.clock = BlockingClock(release)
        client = a_client(a_root(tmp_path / "master"))
        long = asyncio.create_task(client.ask(node.target, calls.test_delay, 1.0))
        assert await client.one(node.target, calls.version) == CONFIG_VERSION
        assert not long.done()
        release.set()
        assert (await long).ok
        await client.close()
        await node.stop()

    on_loop(work)


class BlockingClock:
    def __init__(self, release: threading.Event) -> None:
        self.release = release

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        assert self.release.wait(20)


class ScriptedTransport:
    """A network in memory that gives the same answer to everything."""

    def __init__(self, answer: HttpAnswer | Unreachable) -> None:
        self.answer = answer
        self.running = self.most = 0

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if isinstance(self.answer, Unreachable):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        pass


def test_a_fan_out_is_bounded() -> None:
    transport = ScriptedTransport(HttpAnswer(200, b"[true, 1]"))
    targets = [Target(str(i), str(i), "x") for i in range(200)]
    client = RpcClient(transport, fan_out=10)
    outcomes = asyncio.run(client.all(targets, calls.version))
    assert len(outcomes) == 200 and transport.most == 10


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{}", "invalid result type: dict"),
        (b"[true]", "invalid result length: 1"),
        (b'[false, ""]', "No error information"),
        (b"[false, null]", "No error information"),
        (b'[false, "full"]', "full"),
        (b'[false, ["OpPrereqError", ["no such disk", "unknown_entity"]]]', "no such disk"),
        (b'[true, "x"]', "answer of version: a whole number is expected, not 'x'"),
        (b"<html>", "answer of version is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_what_an_answer_means(body: bytes, error: str) -> None:
    assert read_answer(NODE, calls.version, HttpAnswer(200, body)).error == error


def test_an_answer_with_another_status_is_an_error_with_its_body() -> None:
    assert read_answer(NODE, calls.version, HttpAnswer(403, b"go away\n")).error == "go away"
    assert read_answer(NODE, calls.version, HttpAnswer(500, b"")).error == "HTTP status 500"


class HangingTransport:
    """A node that takes connections and never answers, until it is well again."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_well = False
        self.asked: list[tuple[str, float]] = []

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        self.asked.append((call, timeout_s))
        if self.is_well:
            return HttpAnswer(200, b"[true, null]")
        self.now += timeout_s
        raise Unreachable(f"no answer within {timeout_s:g} s", sent=True)

    async def close(self) -> None:
        pass


def test_a_node_that_hung_is_asked_for_its_version_before_it_gets_a_long_call() -> None:
    transport = HangingTransport()
    client = RpcClient(transport, now=lambda: transport.now)

    def ask() -> Outcome[float | None]:
        transport.asked.clear()
        return asyncio.run(client.ask(NODE, calls.get_watcher_pause))

    assert "no answer within" in str(ask().error)
    assert "not tried again for" in str(ask().error) and transport.asked == []
    transport.now += 3
    assert str(ask().error) == "no answer within 10 s"
    assert transport.asked == [("version", 10.0)]
    transport.now += 5
    transport.is_well = True
    assert ask().ok and [call for call, _ in transport.asked] == ["version", "get_watcher_pause"]
    assert ask().ok and transport.asked[0][0] == "get_watcher_pause"


class SilentTransport(HangingTransport):
    """Answers nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        self.asked.append((call, timeout_s))
        await self.answers.wait()
        return HttpAnswer(200, b"[true, null]")


def test_who_asks_a_node_that_is_still_dead_does_not_wait_for_the_probe() -> None:
    async def work() -> None:
        transport = SilentTransport()
        client = RpcClient(transport, now=lambda: transport.now)
        client.health.failed(NODE.uuid, transport.now, 5.0, "no answer")
        transport.now += 3
        first = await client.ask(NODE, calls.get_watcher_pause)
        assert first.error == "no answer (being tried again)"
        second = await client.ask(NODE, calls.get_watcher_pause)
        assert second.error == first.error
        assert [call for call, _ in transport.asked] == ["version"]
        transport.answers.set()
        while client.health.is_probed(NODE.uuid):
            await asyncio.sleep(0)
        assert (await client.ask(NODE, calls.get_watcher_pause)).ok
        await client.close()

    virtual_time.run(work())


class DeafTransport:
    """Implements `Transport`: no call is ever answered."""

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("call", "patience_s", "counts"),
    [
        (calls.version, 2.5, True),
        (calls.version, 0.5, False),  # who waits that shortly knows nothing
        (calls.get_watcher_pause, 900.0, False),  # not express: it may wait for a worker
    ],
)
def test_only_a_short_call_that_was_given_up_late_counts_as_a_failure(
    call: Call[[], object], patience_s: float, counts: bool
) -> None:
    async def work() -> None:
        client = RpcClient(DeafTransport(), now=asyncio.get_running_loop().time)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(patience_s):
                await client.ask(NODE, call)
        refusal = client.health.refusal(NODE.uuid, asyncio.get_running_loop().time())
        assert ("no answer to version within 2.5 s" in str(refusal)) == counts
        assert (refusal is not None) == counts

    virtual_time.run(work())


def test_a_node_that_is_restarted_during_a_long_call_is_tried_again_at_once() -> None:
    gone = Unreachable("the node closed the connection before it answered", sent=True, closed=True)
    transport = ScriptedTransport(gone)
    times = iter(range(0, 1000, 100))  # each look at the clock is 100 s later
    client = RpcClient(transport, now=lambda: next(times))
    for _ in range(2):
        outcome = asyncio.run(client.ask(NODE, calls.get_watcher_pause))
        assert outcome.error == str(gone)
