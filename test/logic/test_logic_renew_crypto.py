"""A renewal of certificates that ends anywhere: the nodes go on to serve the master.

Real node daemons with TLS; only the configuration and its way to the nodes are in memory.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.nodes import a_root, client_pair
from fakes.services import FakeServices, a_cluster, run_unit
from ganeti.config.distribute import ssconf_of
from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.http.tls import client_context, digest_of_pem
from ganeti.logic.base import INFO
from ganeti.master.crypto import stage_cluster_certificate
from ganeti.model.node import Node
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.node.daemon import NodeDaemon
from ganeti.opcodes.cluster import OpClusterRenewCrypto
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome, Target
from ganeti.rpc.client import HttpTransport, RpcClient


class PowerCut(BaseException):
    """The master is gone: nothing of the unit runs any more, no undo either."""


class Renewing(FakeServices):
    """Nodes behind real TLS. At the `fail_at`th step the power fails."""

    def __init__(self, root: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(a_cluster(2), root / "node1.example.com")
        self.loop = loop
        self.daemons: dict[str, NodeDaemon] = {}
        self.roots: dict[str, Paths] = {}
        self.steps = 0
        self.fail_at = 0
        self.rpc: Any = self

    async def start(self) -> None:
        certs = {}
        for node in self.config.nodes.values():
            paths = self.roots[node.uuid] = a_root(self.paths.root.parent / node.name, node.name)
            certs[node.uuid] = digest_of_pem(paths.client_pem)
            settings = NodeSettings(paths=paths, hostname=node.name, bind="127.0.0.1", port=0)
            context = NodeContext(settings=settings, renew_tls=self._renewing(node.uuid))
            self.daemons[node.uuid] = NodeDaemon(settings, context=context)
        cluster = replace(self.config.cluster, candidate_certs=certs)
        nodes = {
            uuid: replace(node, master_candidate=True) for uuid, node in self.config.nodes.items()
        }
        self.config = Snapshot.of(replace(self.config.document(), cluster=cluster, nodes=nodes))
        self._write_ssconf()
        for daemon in self.daemons.values():
            await daemon.start()
        self.client = self.a_client()

    def _renewing(self, uuid: str) -> Any:
        def renew() -> None:
            task = self.daemons[uuid].renew_tls()
            asyncio.run_coroutine_threadsafe(task, self.loop).result(10)

        return renew

    def a_client(self) -> RpcClient:
        return RpcClient(HttpTransport(client_context(self.paths)))

    def target(self, node: Node) -> Target:
        port = self.daemons[node.uuid].port
        return Target(node.uuid, node.name, "127.0.0.1", node.offline, port)

    async def reached(self, client: RpcClient) -> set[str]:
        outcomes = await client.all(
            [self.target(node) for node in self.config.nodes.values()], calls.version
        )
        await client.close()
        return {uuid for uuid, outcome in outcomes.items() if outcome.ok}

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.fail_at:
            raise PowerCut

    # What the unit uses.

    def all(self, nodes: Any, call: Any, *args: Any) -> dict[str, Outcome[Any]]:
        self._step()
        targets = [self.target(node) for node in nodes]
        task = self.client.all(targets, call, *args)
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(30)

    def ask(self, node: Node, call: Any, *args: Any) -> Outcome[Any]:
        return self.all([node], call, *args)[node.uuid]

    def one(self, node: Node, call: Any, *args: Any) -> Any:
        return self.ask(node, call, *args).get()

    def commit(self, transaction: Any) -> Any:
        self._step()
        return super().commit(transaction)

    def distribute(self, *, anew: bool = False) -> None:
        self._step()
        self._write_ssconf()

    def _write_ssconf(self) -> None:
        text = ssconf_of(self.config)["master_candidates_certs"]
        for paths in self.roots.values():
            paths.ssconf("master_candidates_certs").write_text(text)

    def renew_tls(self) -> None:
        self._step()
        renewed = self.client.renew(HttpTransport(client_context(self.paths)))
        asyncio.run_coroutine_threadsafe(renewed, self.loop).result(10)

    async def run(self, **more: Any) -> None:
        op = OpClusterRenewCrypto(node_certificates=True, **more)
        await asyncio.to_thread(run_unit, self, op)

    async def stop(self) -> None:
        await self.client.close()
        for daemon in self.daemons.values():
            await daemon.stop()


async def broken_off(root: Path, fail_at: int) -> bool:
    """Whether the renewal got to its end without the fault; the promises are checked."""
    bed = Renewing(root, asyncio.get_running_loop())
    await bed.start()
    everybody = set(bed.config.nodes)
    thief = Paths(root / "thief")
    a_root(thief.root, "node1.example.com")
    bed.fail_at = fail_at
    stage_cluster_certificate(bed.paths, time.time())
    try:
        await bed.run()
        completed = True
    except PowerCut:
        completed = False
        assert await bed.reached(bed.a_client()) == everybody  # as a master that starts now
        bed._write_ssconf()  # what it sends first
        assert await bed.reached(bed.a_client()) == everybody
        if fail_at % 3:  # completing it each time costs seconds
            await bed.stop()
            return False
        bed.fail_at = 0
        await bed.client.close()
        bed.client = bed.a_client()
        stage_cluster_certificate(bed.paths, time.time())
        await bed.run()
    assert await bed.reached(bed.a_client()) == everybody
    assert await bed.reached(RpcClient(HttpTransport(client_context(thief)))) == set()
    certs = {uuid: digest_of_pem(paths.client_pem) for uuid, paths in bed.roots.items()}
    assert bed.config.cluster.candidate_certs == certs
    assert client_pair("node1.example.com").digest not in certs.values()
    left = [place.name for paths in bed.roots.values() for place in paths.data.glob("*.pem.*")]
    assert set(left) <= {"server.pem.former"}
    await bed.stop()
    return completed


def test_a_renewal_that_ends_anywhere_leaves_every_node_within_reach(tmp_path: Path) -> None:
    for fail_at in range(1, 40):
        place = tmp_path / str(fail_at)
        if asyncio.run(broken_off(place, fail_at)):
            assert fail_at > 10
            return
    raise AssertionError("the renewal has no end")


async def renewed_by_hand(root: Path, *, restarted: bool) -> None:
    """Somebody has put another client.pem on the master; then the certificates are renewed."""
    bed = Renewing(root, asyncio.get_running_loop())
    await bed.start()
    everybody = set(bed.config.nodes)
    stranger = Paths(root / "stranger")
    a_root(stranger.root, "stranger.example.com")
    bed.paths.client_pem.write_bytes(stranger.client_pem.read_bytes())
    if restarted:
        await bed.client.close()
        bed.client = bed.a_client()
        with pytest.raises(OpExecError, match="the master's own, does not tell"):
            await bed.run()
        digest = digest_of_pem(bed.paths.client_pem)
        for paths in bed.roots.values():  # as the refusal says
            place = paths.ssconf("master_candidates_certs")
            place.write_text(f"{place.read_text()}\nmaster={digest}\n")
    await bed.run()
    assert await bed.reached(bed.a_client()) == everybody
    assert await bed.reached(RpcClient(HttpTransport(client_context(stranger)))) == set()
    certs = {uuid: digest_of_pem(paths.client_pem) for uuid, paths in bed.roots.items()}
    assert bed.config.cluster.candidate_certs == certs
    await bed.stop()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_renewal_mends_a_certificate_that_was_put_there_by_hand(
    tmp_path: Path, restarted: bool
) -> None:
    asyncio.run(renewed_by_hand(tmp_path, restarted=restarted))


async def told(root: Path, **more: Any) -> list[str]:
    """What a renewal tells of single nodes."""
    bed = Renewing(root, asyncio.get_running_loop())
    await bed.start()
    await bed.run(**more)
    await bed.stop()
    return [text for text in bed.messages if text.startswith(INFO)]


def test_a_renewal_tells_as_much_as_is_asked_for(tmp_path: Path) -> None:
    assert asyncio.run(told(tmp_path / "plain")) == []
    more = asyncio.run(told(tmp_path / "verbose", verbose=True))
    assert len(more) > 4 and not any("digest" in text for text in more)
    most = asyncio.run(told(tmp_path / "debug", debug=True))
    assert len(most) == len(more) and all("(digest " in text for text in most)
