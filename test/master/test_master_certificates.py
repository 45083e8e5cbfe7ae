"""Certificates of candidates that were away when they were promoted. Schedules on virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.candidates import CandidateTransport, FakeNetwork, uuid_of
from fakes.configs import PATHS, a_disk, a_store, example, with_candidates
from fakes.faulty_disk import FaultyDisk
from fakes.short_root import short_root
from fakes.small_cluster import SmallCluster, node_name, node_uuid
from fakes.virtual_time import run
from ganeti.config.store import ConfigStore
from ganeti.config.transaction import Draft
from ganeti.master.certificates import PAUSE_S, RETRY_S, CertificateLearner
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.rpc.client import RpcClient
from ganeti.utils import x509

NODE2, NODE3 = uuid_of(2), uuid_of(3)
ASK = ("node3", "node_crypto_tokens")
DIGEST = "dd:03"


@dataclass
class Stand:
    """A master's configuration and its two other candidates; nobody knows node3's certificate."""

    disk: FaultyDisk
    network: FakeNetwork
    transport: CandidateTransport
    rpc: RpcClient
    store: ConfigStore
    learner: CertificateLearner
    deposed: list[str]

    @property
    def certs(self) -> dict[str, str]:
        return dict(self.store.snapshot.cluster.candidate_certs)

    @property
    def asked(self) -> int:
        return self.transport.calls.count(ASK)

    async def change_node3(self, **values: Any) -> None:
        def change(draft: Draft) -> None:
            draft.update(replace(draft.snapshot.nodes[NODE3], **values))

        await self.store.commit(change)

    async def speak(self, times: int = 1) -> None:
        """The master has something to ask node3."""
        for _ in range(times):
            await self.rpc.ask(self.network["node3"].target, calls.version)

    async def cut_off(self) -> None:
        """Node3 is silent, and the master leaves it alone for a while."""
        self.network["node3"].up = False
        await self.speak()
        assert self.rpc.health.refusal(NODE3, asyncio.get_running_loop().time()) is not None

    async def stop(self) -> None:
        await self.learner.stop()
        await self.store.stop()
        await self.rpc.close()


def a_document() -> dict[str, Any]:
    """node3 is no candidate. The certificate of node2 is known, as is the master's."""
    raw = with_candidates(example(), ["node2", "node3"])
    raw["cluster"]["candidate_certs"] = {raw["cluster"]["master_node"]: "dd:01", NODE2: "dd:02"}
    raw["nodes"][NODE3]["master_candidate"] = False
    return raw


async def a_stand(
    disk: FaultyDisk | None = None, network: FakeNetwork | None = None, seed: int = 1
) -> Stand:
    disk = disk or a_disk(a_document())
    network = network or FakeNetwork(["node2", "node3"])
    network["node3"].digest = DIGEST
    transport = CandidateTransport(network)
    rpc = RpcClient(transport, now=asyncio.get_running_loop().time)
    deposed: list[str] = []
    store = a_store(
        disk,
        rpc=rpc,
        random=random.Random(seed),
        on_change=lambda config: learner.config_changed(config),
        on_deposed=deposed.append,
    )
    learner = CertificateLearner(rpc, store.commit)
    rpc.health.listeners.append(learner.node_answers)
    await store.start()
    learner.config_changed(store.snapshot)
    return Stand(disk, network, transport, rpc, store, learner, deposed)


def a_schedule(schedule: Callable[[Stand], Awaitable[None]]) -> None:
    async def main() -> None:
        stand = await a_stand()
        await schedule(stand)
        await stand.stop()

    run(main())


async def promote_while_away(stand: Stand) -> None:
    """The breaker is open, so nobody hears the question of the job that promotes."""
    await stand.cut_off()
    await stand.change_node3(master_candidate=True)
    outcome = await stand.rpc.ask(
        stand.network["node3"].target, calls.node_crypto_tokens, [("ssl", "get", None)]
    )
    assert outcome.error is not None and "not tried again" in outcome.error
    assert stand.asked == 0


def test_a_node_that_was_away_is_asked_when_it_answers() -> None:
    async def schedule(stand: Stand) -> None:
        await promote_while_away(stand)
        await asyncio.sleep(RETRY_S / 2)
        assert NODE3 not in stand.certs
        stand.network["node3"].up = True
        await asyncio.sleep(RETRY_S / 8)  # nobody has called it yet
        await stand.speak()
        await asyncio.sleep(PAUSE_S + 0.1)
        assert stand.certs[NODE3] == DIGEST
        asked = stand.asked
        await stand.speak(20)
        await asyncio.sleep(10 * RETRY_S)
        assert stand.asked == asked
        listed = stand.network["node2"].ssconf["master_candidates_certs"]
        assert f"{NODE3}={DIGEST}" in listed.splitlines()

    a_schedule(schedule)


def test_a_node_that_nobody_calls_is_asked_every_minute() -> None:
    async def schedule(stand: Stand) -> None:
        await promote_while_away(stand)
        stand.network["node3"].up = True
        await asyncio.sleep(2 * RETRY_S)
        assert stand.certs[NODE3] == DIGEST

    a_schedule(schedule)


def test_a_node_that_is_demoted_before_it_answers_is_not_asked() -> None:
    async def schedule(stand: Stand) -> None:
        await promote_while_away(stand)
        await stand.change_node3(master_candidate=False)
        stand.network["node3"].up = True
        await asyncio.sleep(PAUSE_S + 5)
        await stand.speak()
        await asyncio.sleep(3 * RETRY_S)
        assert stand.asked == 0 and NODE3 not in stand.certs

    a_schedule(schedule)


def test_a_node_that_goes_offline_is_asked_when_it_is_back() -> None:
    async def schedule(stand: Stand) -> None:
        await promote_while_away(stand)
        await stand.change_node3(master_candidate=False, offline=True)
        await asyncio.sleep(2 * RETRY_S)
        stand.network["node3"].up = True
        await stand.change_node3(master_candidate=True, offline=False)
        await asyncio.sleep(PAUSE_S + 5)
        await stand.speak()
        await asyncio.sleep(PAUSE_S + 0.1)
        assert stand.certs[NODE3] == DIGEST

    a_schedule(schedule)


@pytest.mark.parametrize(
    "values", [{"master_candidate": False}, {"primary_ip": "198.51.100.77"}], ids=str
)
def test_an_answer_counts_only_for_the_node_that_was_asked(values: dict[str, Any]) -> None:
    """It changes after the question was sent; as a candidate it is asked anew, where it is now."""

    async def schedule(stand: Stand) -> None:
        async def change(node: str, call: str) -> None:
            if (node, call) == ASK:
                stand.transport.on_call = None
                await stand.change_node3(**values)

        await promote_while_away(stand)
        stand.network["node3"].up = True
        stand.transport.on_call = change
        await asyncio.sleep(PAUSE_S + 5)
        await stand.speak()
        await asyncio.sleep(3 * RETRY_S)
        is_candidate = stand.store.snapshot.nodes[NODE3].master_candidate
        assert (NODE3 in stand.certs) == is_candidate
        assert stand.asked == 1 + is_candidate

    a_schedule(schedule)


def test_an_entry_that_came_meanwhile_stays() -> None:
    async def schedule(stand: Stand) -> None:
        async def change(node: str, call: str) -> None:
            if (node, call) == ASK:
                await stand.store.commit(with_certificates({**stand.certs, NODE3: "dd:99"}))

        await promote_while_away(stand)
        stand.network["node3"].up = True
        stand.transport.on_call = change
        await asyncio.sleep(3 * RETRY_S)
        assert (stand.asked, stand.certs[NODE3]) == (1, "dd:99")

    a_schedule(schedule)


def with_certificates(certs: dict[str, str]) -> Callable[[Draft], list[Node]]:
    def change(draft: Draft) -> list[Node]:
        draft.update_cluster(replace(draft.snapshot.cluster, candidate_certs=certs))
        return []

    return change


def test_a_node_without_certificate_is_told_once_and_asked_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def schedule(stand: Stand) -> None:
        stand.network["node3"].digest = ""
        await stand.change_node3(master_candidate=True)
        for _ in range(int(5 * RETRY_S)):
            await asyncio.sleep(1)
            await stand.speak()
        assert 4 <= stand.asked <= 6
        stand.network["node3"].digest = DIGEST
        await asyncio.sleep(RETRY_S + 2)
        await stand.speak()
        await asyncio.sleep(PAUSE_S + 0.1)
        assert stand.certs[NODE3] == DIGEST

    a_schedule(schedule)
    assert caplog.text.count("client.pem does not exist") == 1


def test_nobody_is_asked_while_certificates_do_not_count_or_are_renewed() -> None:
    async def schedule(stand: Stand) -> None:
        known = stand.certs
        for certs in ({}, {**known, "x-bootstrap": "dd:00"}):
            await stand.store.commit(with_certificates(certs))
            await stand.change_node3(master_candidate=True)
            await asyncio.sleep(3 * RETRY_S)
            assert stand.asked == 0 and stand.certs == certs
            await stand.change_node3(master_candidate=False)
        await stand.change_node3(master_candidate=True)
        await stand.store.commit(with_certificates(known))
        await asyncio.sleep(PAUSE_S + 0.1)
        assert stand.certs == {**known, NODE3: DIGEST}

    a_schedule(schedule)


@pytest.mark.parametrize("orderly", [True, False])
def test_a_master_that_is_started_anew_asks(orderly: bool) -> None:
    async def main() -> None:
        stand = await a_stand()
        await promote_while_away(stand)
        if orderly:
            await stand.stop()
        else:
            await stand.learner.stop()
        stand.network["node3"].up = True
        again = await a_stand(stand.disk.crash(), stand.network)
        await asyncio.sleep(PAUSE_S + 0.1)
        assert again.certs[NODE3] == DIGEST
        await again.stop()

    run(main())


def test_the_new_master_asks_and_a_former_one_changes_nothing_any_more() -> None:
    async def main() -> None:
        old = await a_stand()
        await promote_while_away(old)
        network = old.network
        new = await a_stand(old.disk.crash(), network, seed=2)
        network["node3"].up = True
        await asyncio.sleep(PAUSE_S + 5)
        await old.speak()
        await asyncio.sleep(3 * RETRY_S)
        assert new.certs[NODE3] == DIGEST and not new.deposed
        assert network["node2"].file(network["node2"].paths.config_journal) == new.disk.read(
            PATHS.config_journal
        )
        await old.learner.stop()
        await new.stop()

    run(main())


# A whole master daemon with real nodes.


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    with short_root() as root:
        yield SmallCluster(root)


def a_certificate(cluster: SmallCluster) -> str:
    """Node 3 has one; its digest."""
    pair = x509.make_client(node_name(3), x509.make_server(0.0), 0.0)
    cluster.machines[node_name(3)].paths.client_pem.write_bytes(pair.pem())
    return pair.digest


def set_candidate(wanted: bool) -> dict[str, Any]:
    return {
        "OP_ID": "OP_NODE_SET_PARAMS",
        "node_name": node_name(3),
        "master_candidate": wanted,
        "auto_promote": False,
        "force": True,
        "reason": [],
    }


@pytest.mark.parametrize("restarted", [False, True])
def test_a_node_is_promoted_while_it_is_down(cluster: SmallCluster, restarted: bool) -> None:
    machine = cluster.machines[node_name(3)]
    digest = a_certificate(cluster)

    async def until_listed(client: Any) -> None:
        machine.up = True
        async with asyncio.timeout(20):
            while True:
                certs = client.master.store.snapshot.cluster.candidate_certs
                if certs.get(node_uuid(3)) == digest:
                    return
                await asyncio.sleep(0.01)
                await client("QueryNodes", [node_name(3)], ["mfree"], False)

    async def promote() -> None:
        async with cluster.master() as client:
            assert await client.run(set_candidate(False)) == "success"
            machine.up = False
            number = await client.submit(set_candidate(True))
            assert await client.wait(number) == "success"
            assert "asked again when it answers" in str(client.master.queue.jobs[number].ops[0].log)
            if not restarted:
                await until_listed(client)

    async def start_again() -> None:
        async with cluster.master() as client:
            await until_listed(client)

    asyncio.run(promote())
    if restarted:
        assert (
            node_uuid(3)
            not in json.loads(Path(cluster.paths.config_data).read_text())["cluster"][
                "candidate_certs"
            ]
        )
        asyncio.run(start_again())
