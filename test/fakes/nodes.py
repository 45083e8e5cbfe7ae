"""Nodes for tests: root directories, certificates, a clock that jumps."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

from ganeti.http.tls import client_context
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.node.daemon import NodeDaemon, make_directories
from ganeti.paths import Paths
from ganeti.rpc.base import Target
from ganeti.rpc.client import HttpTransport, RpcClient
from ganeti.utils import x509

MASTER = "node1.example.com"


class JumpingClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@functools.cache
def _server_pair(label: str) -> x509.Pair:
    return x509.make_server(time.time(), days=365)


@functools.cache
def _client_pair(name: str, label: str) -> x509.Pair:
    return x509.make_client(name, _server_pair(label), time.time(), days=365)


def server_pair(label: str = "ours") -> x509.Pair:
    """A cluster's certificate; another label is another cluster. Made once per test run."""
    return _server_pair(label)


def client_pair(name: str, label: str = "ours") -> x509.Pair:
    """A node's certificate, signed by its cluster's."""
    return _client_pair(name, label)


def a_root(root: Path, name: str = MASTER, *, label: str = "ours", client: bool = True) -> Paths:
    """The root directory of a node with its certificates."""
    paths = Paths(root)
    paths.data.mkdir(parents=True, exist_ok=True)
    paths.server_pem.write_bytes(server_pair(label).pem())
    if client:
        paths.client_pem.write_bytes(client_pair(name, label).pem())
    return paths


def allow_candidates(paths: Paths, *pairs: x509.Pair) -> None:
    """The node listens to the owners of these certificates only."""
    lines = [f"uuid-{index}={pair.digest}\n" for index, pair in enumerate(pairs)]
    paths.ssconf("master_candidates_certs").write_text("".join(lines))


def a_node(root: Path, name: str = MASTER, **settings: object) -> NodeContext:
    """The context of a virtual node, with a jumping clock."""
    made = NodeSettings(paths=Paths(root), hostname=name, **settings)  # type: ignore[arg-type]
    make_directories(made)
    return NodeContext(settings=made, clock=JumpingClock())


@dataclass(slots=True)
class RunningNode:
    """A node daemon that listens on a port of its own."""

    daemon: NodeDaemon
    target: Target
    paths: Paths

    async def stop(self) -> None:
        await self.daemon.stop()


async def start_node(
    root: Path, name: str = MASTER, *, limits: object = None, workers: int = 4
) -> RunningNode:
    """A daemon with the cluster's certificate that listens to the owner of client.pem."""
    paths = a_root(root, name)
    allow_candidates(paths, client_pair(name))
    settings = NodeSettings(paths=paths, hostname=name, bind="127.0.0.1", port=0, workers=workers)
    daemon = NodeDaemon(settings, limits=limits)  # type: ignore[arg-type]
    await daemon.start()
    return RunningNode(
        daemon, Target(f"uuid of {name}", name, "127.0.0.1", port=daemon.port), paths
    )


def a_client(paths: Paths, *, connect_s: float = 5.0) -> RpcClient:
    """A client with the certificates of a root directory."""
    return RpcClient(HttpTransport(client_context(paths), connect_s=connect_s))
