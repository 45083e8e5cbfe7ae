"""Certificates of master candidates that did not tell theirs when they were promoted.

Nodes answer only to candidates whose certificates are listed. The job that promotes a node asks it
for its certificate (logic/roles.py: learn_certificates). A node that was away just then is asked
here: when it answers some other call, after each start of the master daemon, and every minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import GenericError
from ganeti.logic.roles import (
    NO_DIGEST,
    OWN_CERTIFICATE,
    enter_certificates,
    is_being_renewed,
    told_digest,
    without_certificate,
)
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.rpc.base import Call, Outcome, P, R, Target, target_of
from ganeti.utils.waking import is_set_within

logger = logging.getLogger(__name__)

PAUSE_S: Final = 1.0  # before a round: the job that promotes a node asks it first
RETRY_S: Final = 60.0  # a node that nobody else calls, or that refuses, is asked again by then
ANSWER_S: Final = 30.0  # a certificate is read from a file


class OneNodeRpc(Protocol):
    """The part of the RPC client that this uses."""

    async def ask(
        self, node: Target, call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Outcome[R]: ...


Commit = Callable[[Callable[[Draft], list[Node]]], Awaitable[list[Node]]]


class CertificateLearner:
    """Lives on the loop; one background task while there are candidates without an entry."""

    def __init__(self, rpc: OneNodeRpc, commit: Commit) -> None:
        self._rpc = rpc
        self._commit = commit
        self._parts: tuple[object, ...] = ()  # what `_strange` was computed from
        self._strange: dict[str, Node] = {}
        self._refusing: dict[str, float] = {}  # node uuid → when it is asked again, loop time
        self._heard: set[str] = set()  # who has answered something since it was asked last
        self._told: set[str] = set()  # who stands in the log as one that answers and does not tell
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def config_changed(self, config: Snapshot) -> None:
        """A snapshot is durable. Costs nothing unless candidates or certificates have changed."""
        parts = (config.cluster.candidate_certs, config.cluster.master_node, config.nodes)
        if len(self._parts) == len(parts) and all(a is b for a, b in zip(parts, self._parts)):
            return
        self._parts = parts
        strange = {node.uuid: node for node in to_be_asked(config)}
        if strange == self._strange:
            return
        self._strange = strange
        self._refusing = {}
        self._told &= strange.keys()
        self._wake.set()
        if strange and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    def node_answers(self, node: str) -> None:
        """A call to this node (its uuid) was answered. Called for every answer."""
        if node in self._strange and node not in self._refusing:
            self._heard.add(node)
            self._wake.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._strange:
            await asyncio.sleep(PAUSE_S)
            self._wake.clear()
            now = asyncio.get_running_loop().time()
            self._refusing = {uuid: at for uuid, at in self._refusing.items() if at > now}
            nodes = [node for uuid, node in self._strange.items() if uuid not in self._refusing]
            await asyncio.gather(*(self._learn(node) for node in nodes))
            if self._strange:
                await is_set_within(self._wake, RETRY_S)

    async def _learn(self, node: Node) -> None:
        self._heard.discard(node.uuid)
        outcome = await self._ask(node)
        digest = told_digest(outcome) if outcome is not None else None
        try:
            if digest is not None and await self._commit(partial(enter, told=[(node, digest)])):
                logger.info("node %s: its certificate is listed, now that it answers", node.name)
        except (OSError, GenericError) as error:
            logger.error("node %s: its certificate is not listed: %s", node.name, error)
            self._leave_alone(node)
        if digest is None and node.uuid in self._heard:
            why = (outcome.error if outcome is not None else None) or NO_DIGEST
            level = logging.DEBUG if node.uuid in self._told else logging.WARNING
            logger.log(level, "node %s does not tell its certificate's digest: %s", node.name, why)
            self._told.add(node.uuid)
            self._leave_alone(node)

    async def _ask(self, node: Node) -> Outcome[list[tuple[str, str]]] | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._rpc.ask(
                    target_of(node), calls.node_crypto_tokens, OWN_CERTIFICATE
                )
        except TimeoutError:
            return None

    def _leave_alone(self, node: Node) -> None:
        self._refusing[node.uuid] = asyncio.get_running_loop().time() + RETRY_S


def to_be_asked(config: Snapshot) -> list[Node]:
    """Who is a candidate without an entry.

    Nobody while certificates don't count: an empty map lets all nodes of the cluster in, and one
    with a few entries would lock the others out. Nobody during a renewal, which asks them all.
    """
    if not config.cluster.candidate_certs or is_being_renewed(config):
        return []
    return [node for node in without_certificate(config) if not node.offline]


def enter(draft: Draft, told: Sequence[tuple[Node, str]]) -> list[Node]:
    return [] if is_being_renewed(draft.snapshot) else enter_certificates(draft, told)
