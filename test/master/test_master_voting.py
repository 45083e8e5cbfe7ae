"""May this node be the master? The count, and a daemon that asks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.small_cluster import QUICK, SmallCluster, a_document, add_tags, node_name
from ganeti.errors import ConfigurationError
from ganeti.http.client import HttpAnswer
from ganeti.master import ballot, daemon, voting
from ganeti.master.ballot import Ballot
from ganeti.master.daemon import NotMaster
from ganeti.master.failover import Unhealthy, refuse_unhealthy
from ganeti.master.voting import Verdict
from ganeti.paths import Paths
from ganeti.rpc.base import Target
from ganeti.rpc.client import RpcClient
from ganeti.rpc.follow import ReplicationSettings
from ganeti.serializer import dump_bytes

ME = "node1"


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        ([ME], Verdict.WON),
        ([None], Verdict.UNDECIDED),
        (["other"], Verdict.LOST),
        ([ME, None], Verdict.UNDECIDED),
        ([ME, "other"], Verdict.LOST),
        ([ME, ME, None], Verdict.WON),
        ([ME, None, None], Verdict.UNDECIDED),
        ([ME, "other", None], Verdict.UNDECIDED),
        ([ME, "other", "other"], Verdict.LOST),
        ([ME, ME, "other", "other"], Verdict.LOST),
        ([None, None, "other", "other"], Verdict.LOST),
    ],
)
def test_more_than_half_of_all_nodes_decide(votes: list[str | None], verdict: Verdict) -> None:
    assert voting.count(ME, {f"node{n}": vote for n, vote in enumerate(votes, 1)}) is verdict


def test_two_nodes_never_win_at_the_same_time() -> None:
    for votes in itertools.product(["a", "b", None], repeat=4):
        given = {str(n): vote for n, vote in enumerate(votes)}
        wins = [name for name in ("a", "b") if voting.count(name, given) is Verdict.WON]
        assert len(wins) <= 1


NAMES = ("a", "b", "c", "d")  # a and b both take themselves for the master


def some_of(names: tuple[str, ...]) -> list[frozenset[str]]:
    sizes = range(len(names) + 1)
    return [frozenset(s) for n in sizes for s in itertools.combinations(names, n)]


def worlds() -> Iterator[dict[str, str]]:
    for rest in itertools.product("ab", repeat=2):
        yield dict(zip(NAMES, ("a", "b", *rest), strict=True))


def wins(me: str, truth: dict[str, str], heard: frozenset[str], offline: frozenset[str]) -> bool:
    seen = {node: vote if node in heard else None for node, vote in truth.items()}
    return voting.count(me, seen, offline) is Verdict.WON


def test_a_net_that_is_cut_anywhere_has_no_two_masters() -> None:
    for truth, offline in itertools.product(worlds(), some_of(NAMES)):
        winners = [
            {wins(me, truth, heard, offline) for heard in some_of(NAMES)} for me in ("a", "b")
        ]
        assert not all(True in each for each in winners), (truth, offline)


def test_nodes_that_hear_everybody_never_both_win_whoever_is_offline_for_them() -> None:
    everybody = frozenset(NAMES)
    for truth in worlds():
        for here, there in itertools.product(some_of(NAMES), repeat=2):
            both = wins("a", truth, everybody, here) and wins("b", truth, everybody, there)
            assert not both, (truth, here, there)


def test_who_takes_over_can_also_start() -> None:
    """Whatever the others said before, and whether the silent ones have learnt of it or not."""
    accepted = 0
    for said in itertools.product(["a", "b", "c", None], repeat=4):
        votes = dict(zip(NAMES, said, strict=True))
        for offline in some_of(NAMES):
            held = Ballot(votes, offline, {})
            try:
                refuse_unhealthy("b", held, count_offline=False)
            except Unhealthy:
                continue
            accepted += 1
            then = {
                node: "b" if vote is not None and node not in offline else vote
                for node, vote in votes.items()
            }
            assert voting.count("b", then, offline) is Verdict.WON, (votes, offline)
    assert accepted > 1000


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        ([ME, ME, None, None], Verdict.WON),
        ([ME, ME, "node2", "node2"], Verdict.WON),  # node2 knows better than those
        ([ME, ME, "node9", "node9"], Verdict.WON),
        ([ME, "node2", ME, ME], Verdict.LOST),  # offline nodes help nobody
        ([ME, None, ME, ME], Verdict.UNDECIDED),
        ([ME, ME, "node3", "node3"], Verdict.LOST),  # node3 is alive and thinks it is the master
        ([ME, ME, "node3", None], Verdict.WON),
    ],
)
def test_offline_nodes_count_only_for_another_master_that_lives(
    votes: list[str | None], verdict: Verdict
) -> None:
    given = {f"node{n}": vote for n, vote in enumerate(votes, 1)}
    assert voting.count(ME, given, {"node3", "node4"}) is verdict


def test_a_failover_is_refused_where_no_master_could_start() -> None:
    votes = {"node1": None, "node2": "node1", "node3": "node1", "node4": None}
    with pytest.raises(Unhealthy, match=r"Unhealthy nodes: \['node1'\] .*1 of 2 nodes for node2"):
        refuse_unhealthy(
            "node2", Ballot(votes, frozenset({"node3", "node4"}), {}), count_offline=False
        )
    half = Ballot({**votes, "node1": "node1", "node3": None}, frozenset({"node3", "node4"}), {})
    refuse_unhealthy("node2", half, count_offline=False)
    with pytest.raises(Unhealthy, match=r"Unhealthy nodes: \['node3', 'node4'\]"):
        refuse_unhealthy("node2", half, count_offline=True)


def with_offline_nodes(root: Path, *numbers: int) -> SmallCluster:
    """Four nodes, of which some are marked offline and have no power."""
    made = a_document(4, Paths(root / "n1"))
    offline = {
        uuid: replace(node, offline=True, master_candidate=False)
        for uuid, node in made.nodes.items()
        if node.name in [node_name(number) for number in numbers]
    }
    cluster = SmallCluster(root, 4, document=replace(made, nodes={**made.nodes, **offline}))
    for number in numbers:
        cluster.machines[node_name(number)].up = False
    return cluster


def test_half_of_the_nodes_may_be_offline(tmp_path: Path) -> None:
    cluster = with_offline_nodes(tmp_path, 3, 4)

    async def start() -> None:
        async with cluster.master() as client:
            assert await client.run(add_tags("here")) == "success"

    asyncio.run(start())
    asked = [text for text, _ in cluster.steps.order if text.startswith("call master_node_name")]
    assert {"call master_node_name to node3", "call master_node_name to node4"} <= set(asked)


def test_an_offline_node_that_hangs_is_not_waited_for() -> None:
    async def hold() -> Ballot:
        never = asyncio.Event()

        class Hanging:
            async def post(
                self, node: Target, call: str, body: bytes, timeout_s: float
            ) -> HttpAnswer:
                if node.name == "node2":
                    await never.wait()
                return HttpAnswer(200, dump_bytes([True, ME]))

            async def close(self) -> None:
                pass

        nodes = [Target(f"u{n}", f"node{n}", "", offline=n == 2) for n in (1, 2)]
        return await ballot.hold(RpcClient(Hanging()), nodes, offline_s=0.0)

    held = asyncio.run(hold())
    assert held.votes == {"node1": ME, "node2": None} and held.offline == {"node2"}
    assert "node2" in held.errors


def test_silence_is_named() -> None:
    votes = {"node1": "node1", "node2": None, "node3": "node9"}
    assert voting.describe("node1", votes) == (
        "1 of 3 nodes for node1; 1 for node9; no answer from node2"
    )
    assert voting.describe("node1", votes, {"node2", "node3"}) == (
        "1 of 1 nodes for node1; offline: node2, node3"
    )


def test_a_master_whose_nodes_are_silent_does_not_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = SmallCluster(tmp_path)
    for number in (2, 3):
        cluster.machines[node_name(number)].up = False

    async def start() -> None:
        async with cluster.master(vote_pause_s=0.0):
            pass

    with pytest.raises(NotMaster, match=r"no answer from node2\.example\.com, node3"):
        asyncio.run(start())
    assert "vote of node node2.example.com: " in caplog.text, "the log tells why"
    asked = [text for text, _ in cluster.steps.order if text.startswith("call ")]
    assert set(asked) == {f"call master_node_name to node{n}" for n in (2, 3)} | {
        "call master_node_name to node1",
        "call master_node_name to node1 answered",
    }
    assert sum(text.endswith("to node2") for text in asked) == voting.ATTEMPTS
    assert not cluster.paths.config_journal.exists()


def test_a_master_that_the_others_do_not_know_tells_them_nothing(tmp_path: Path) -> None:
    cluster = SmallCluster(tmp_path)
    for number in (2, 3):
        paths = cluster.machines[node_name(number)].paths
        paths.ssconf("master_node").write_text(f"{node_name(2)}\n")

    async def start() -> None:
        async with cluster.master():
            pass

    with pytest.raises(NotMaster, match="2 for node2"):
        asyncio.run(start())
    for number in (2, 3):
        assert not cluster.machines[node_name(number)].paths.config_journal.exists()


def test_without_voting_a_lone_master_works_degraded(tmp_path: Path) -> None:
    cluster = SmallCluster(tmp_path)
    for number in (2, 3):
        cluster.machines[node_name(number)].up = False

    async def start() -> str:
        quick = ReplicationSettings(deadline_s=0.1, first_retry_s=0.01, stop_s=0.1)
        async with cluster.master(
            no_voting=True, limits=replace(QUICK, replication=quick)
        ) as client:
            status = await client.run(add_tags("alone"))
            assert client.master.store.degraded
            return status

    assert asyncio.run(start()) == "success"


def test_ssconf_of_another_master_is_obeyed(tmp_path: Path) -> None:
    cluster = SmallCluster(tmp_path)
    cluster.paths.ssconf("master_node").write_text("node2.example.com\n")
    with pytest.raises(NotMaster, match=r"the master of this cluster is node2\.example\.com"):
        daemon.check_is_master(cluster.paths, node_name(1))
    cluster.paths.ssconf("master_node").unlink()
    with pytest.raises(NotMaster, match="not part of a cluster"):
        daemon.check_is_master(cluster.paths, node_name(1))


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    cluster = SmallCluster(tmp_path)
    cluster.paths.config_data.unlink()

    async def start() -> None:
        async with cluster.master():
            pass

    with pytest.raises(ConfigurationError, match=r"config\.data does not exist"):
        asyncio.run(start())
