"""May this node be the master? The count, and a daemon that asks."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.small_cluster import QUICK, SmallCluster, add_tags, node_name
from ganeti.errors import ConfigurationError
from ganeti.master import daemon, voting
from ganeti.master.daemon import NotMaster
from ganeti.master.voting import Verdict
from ganeti.rpc.follow import ReplicationSettings

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


def test_silence_is_named() -> None:
    votes = {"node1": "node1", "node2": None, "node3": "node9"}
    assert voting.describe("node1", votes) == (
        "1 of 3 nodes for node1; 1 for node9; no answer from node2"
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
