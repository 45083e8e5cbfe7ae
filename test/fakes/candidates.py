"""Master candidates in memory: the real node side of journals behind a network that may fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.faulty_disk import FaultyDisk
from ganeti.errors import GenericError, OpExecError
from ganeti.http.client import HttpAnswer, Unreachable
from ganeti.model.node import Node
from ganeti.node.journal import TEXT, JournalStore
from ganeti.paths import Paths
from ganeti.rpc.base import CALLS, Call, Outcome, Target
from ganeti.serializer import dump_bytes, loads
from ganeti.version import CONFIG_VERSION

ROOT = Path("/candidate")


@dataclass
class Candidate:
    """One node with its disk. While it is not `up`, calls fail."""

    target: Target
    disk: FaultyDisk = field(default_factory=FaultyDisk)
    paths: Paths = field(default_factory=lambda: Paths(ROOT))
    up: bool = True
    ssconf: dict[str, str] = field(default_factory=dict)
    digest: str = ""  # of its client certificate; without one it refuses to tell it

    def __post_init__(self) -> None:
        self.disk.mkdir(self.paths.data)
        self.disk.mkdir(self.paths.queue)

    def crash(self) -> None:
        """The machine stopped: what was not synced is lost."""
        self.up = False
        self.disk = self.disk.crash()

    def serve(self, call: str, args: tuple[Any, ...]) -> Any:
        store = JournalStore(self.paths, self.disk)
        if call == "journal_append":
            name, generation, offset, data = args
            return store.append(name, generation, offset, data.encode(TEXT))
        if call == "journal_promise":
            return store.promise(*args)
        if call == "journal_state":
            return store.state(*args)
        if call == "journal_read":
            return store.read(*args).decode(TEXT)
        if call == "journal_replace":
            name, generation, offset, data, total, crc = args
            return store.replace(name, generation, offset, data.encode(TEXT), total, crc)
        if call == "journal_job_files":
            return store.job_files()
        if call == "jobqueue_update":
            self.disk.replace(self.paths.below(args[0]), args[1][1].encode())
            return None
        if call == "write_ssconf_files":
            self.ssconf = dict(args[0])
            return None
        if call == "version":
            return CONFIG_VERSION
        if call == "node_crypto_tokens":
            if not self.digest:
                raise OpExecError("client.pem does not exist")
            return [("ssl", self.digest)]
        raise AssertionError(f"unexpected call {call}")

    def file(self, path: Path) -> bytes:
        return self.disk.read(path) if self.disk.exists(path) else b""


class FakeNetwork:
    """Implements the part of RpcClient that replication and distribution use.

    `delay()` gives seconds for each way, `loses()` says whether a message is lost; a call whose
    answer is lost was served.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        delay: Callable[[], float] = lambda: 0.001,
        loses: Callable[[], bool] = lambda: False,
        timeout_s: float = 1.0,
    ) -> None:
        self.candidates: dict[str, Candidate] = {}
        for number, name in enumerate(names, 2):
            target = Target(uuid_of(number), name, f"192.0.2.{number}")
            self.candidates[target.uuid] = Candidate(target)
        self.calls: list[tuple[str, str]] = []
        self.delay = delay
        self.loses = loses
        self.timeout_s = timeout_s

    @property
    def targets(self) -> list[Target]:
        return [one.target for one in self.candidates.values()]

    def __getitem__(self, name: str) -> Candidate:
        return next(one for one in self.candidates.values() if one.target.name == name)

    async def ask(self, node: Target, call: Call[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls.append((node.name, call.name))
        await asyncio.sleep(self.delay())
        candidate = self.candidates.get(node.uuid)
        if candidate is None or not candidate.up:
            return Outcome(node, error="connection refused")
        if self.loses():
            await asyncio.sleep(self.timeout_s)
            return Outcome(node, error="no answer")
        wire = call.decode_arguments(call.encode_arguments(call.positional(args, kwargs)))
        try:
            value = candidate.serve(call.name, tuple(wire))
        except (OSError, GenericError) as error:
            return Outcome(node, error=str(error))
        answer = call.decode_result(call.encode_result(value))
        await asyncio.sleep(self.delay())
        if self.loses():
            await asyncio.sleep(self.timeout_s)
            return Outcome(node, error="no answer")
        return Outcome(node, value=answer)

    async def all(
        self, nodes: Sequence[Target], call: Call[..., Any], *args: Any, **kwargs: Any
    ) -> Mapping[str, Any]:
        known = [node for node in nodes if node.uuid in self.candidates]
        outcomes = await asyncio.gather(*(self.ask(node, call, *args) for node in known))
        return {outcome.node.uuid: outcome for outcome in outcomes}


class CandidateTransport:
    """A `rpc.client.Transport` to these candidates: who is down costs `silence_s`.

    `on_call` is told of each call that is answered, before the answer comes.
    """

    def __init__(self, network: FakeNetwork, silence_s: float = 5.0) -> None:
        self.calls: list[tuple[str, str]] = []
        self.on_call: Callable[[str, str], Awaitable[None]] | None = None
        self._network = network
        self._silence_s = silence_s

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        self.calls.append((node.name, call))
        candidate = self._network.candidates.get(node.uuid)
        if candidate is None or not candidate.up:
            await asyncio.sleep(self._silence_s)
            raise Unreachable(f"can't connect to {node.address}", sent=False)
        await asyncio.sleep(self._network.delay())
        if self.on_call is not None:
            await self.on_call(node.name, call)
        declared = CALLS[call]
        try:
            value = candidate.serve(call, tuple(declared.decode_arguments(loads(body))))
        except (OSError, GenericError) as error:
            return HttpAnswer(200, dump_bytes([False, str(error)]))
        return HttpAnswer(200, dump_bytes([True, declared.encode_result(value)]))

    async def close(self) -> None:
        pass


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def unreliable(seed: int, loss: float) -> tuple[Callable[[], float], Callable[[], bool]]:
    """Delays and losses of a seeded schedule."""
    chance = random.Random(seed)
    return (lambda: chance.uniform(0.0005, 0.02)), (lambda: chance.random() < loss)


def target_of(node: Node) -> Target:
    return Target(node.uuid, node.name, node.primary_ip, offline=node.offline)
