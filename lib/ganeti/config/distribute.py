"""Bringing the configuration to the other nodes.

Changes reach the master candidates through the journal. This is for the rest: `config.data` for
candidates whose copy is behind, and the ssconf files for all online nodes, when the computed set
has changed. Failures are logged only; who failed gets the next version.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from immutables import Map

from ganeti.config.checkpoint import Saved
from ganeti.config.snapshot import Snapshot
from ganeti.errors import ConfigurationError, GenericError, X509CertError
from ganeti.model.node import Node
from ganeti.model.ssconf import ssconf_values
from ganeti.rpc import calls
from ganeti.rpc.base import Call, Outcome, P, R, Target
from ganeti.rpc.calls import JournalState
from ganeti.rpc.follow import JournalRpc, send_file
from ganeti.utils import x509
from ganeti.utils.files import Disk
from ganeti.utils.offload import Offloader
from ganeti.version import RELEASE

logger = logging.getLogger(__name__)

CONFIG_DATA = "config.data"
INSTANCE_LIST = "instance_list"
CERTIFICATES = "master_candidates_certs"
SSCONF_GAP_S = 0.25  # between two sets of changes that follow each other
MISSED_PAUSE_S = 1.0  # for a node that answers, but can't write them


class FanOutRpc(JournalRpc, Protocol):
    """The part of the RPC client that distribution needs."""

    async def all(
        self, nodes: Sequence[Target], call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, Outcome[R]]: ...


def ssconf_of(snapshot: Snapshot) -> dict[str, str]:
    """ConfigurationError as in model/ssconf.py."""
    return ssconf_values(
        snapshot.cluster,
        snapshot.nodes.values(),
        snapshot.groups.values(),
        snapshot.instances.values(),
        snapshot.networks.values(),
        release=RELEASE,
    )


def ssconf_that_fits(snapshot: Snapshot) -> dict[str, str]:
    """The set; without the names of the instances when only they are more than a file may hold.

    Thousands of long names must not keep the list of nodes from the nodes.
    """
    try:
        return ssconf_of(snapshot)
    except ConfigurationError as error:
        values = ssconf_of(replace(snapshot, instances=Map()))
        del values[INSTANCE_LIST]
        logger.warning("%s; the nodes keep the one they have", error)
        return values


def without_lockout(values: Mapping[str, str], own: Path) -> dict[str, str]:
    """The set, but for a list of certificates that lacks the one of `own`, which this master shows.

    Nodes with that list would not listen to this master any more, so that nobody could correct it.
    """
    listed = values.get(CERTIFICATES, "")
    if not listed or not own.exists():
        return dict(values)
    try:
        digest = x509.digest(x509.load_certificate(own))
    except X509CertError as error:
        logger.error("the nodes keep their list of certificates: %s", error)
    else:
        if digest in {line.partition("=")[2] for line in listed.splitlines()}:
            return dict(values)
        logger.error(
            "the nodes keep their list of certificates: the configuration lists another one than"
            " %s, of %s; gnt-cluster renew-crypto --new-node-certificates makes new ones",
            digest,
            own,
        )
    return {key: value for key, value in values.items() if key != CERTIFICATES}


class Distributor:
    """Lives on the loop. One piece of work at a time for each of the two parts; what comes
    meanwhile is done together afterwards."""

    def __init__(
        self,
        path: Path,
        *,
        disk: Disk,
        rpc: FanOutRpc,
        offload: Offloader,
        target_of: Callable[[Node], Target],
        generation: Callable[[], str],
        certificate: Path,
    ) -> None:
        """`path`: config.data; `certificate`: what this master shows the nodes."""
        self._path = path
        self._certificate = certificate
        self._disk = disk
        self._rpc = rpc
        self._offload = offload
        self._target_of = target_of
        self._generation = generation
        self._saved: Saved | None = None
        self._has: dict[str, int] = {}  # node uuid → checksum of its config.data
        self._sending: dict[str, asyncio.Lock] = {}
        self._followers: Sequence[Target] = ()
        self._parts: tuple[object, ...] = ()  # what the last ssconf set was computed from
        self._values: dict[str, str] = {}
        self._targets: Mapping[str, Target] = {}  # the nodes that have to have it
        self._missed: dict[str, float] = {}  # node uuid → when it may be tried again, loop time
        self._ssconf: asyncio.Task[None] | None = None
        self._next: Snapshot | None = None
        self._hurry = asyncio.Event()  # somebody waits for the ssconf files
        self._push: asyncio.Task[None] | None = None

    # config.data.

    def set_followers(self, targets: Sequence[Target]) -> None:
        self._followers = tuple(targets)
        known = {target.uuid for target in targets}
        self._has = {uuid: crc for uuid, crc in self._has.items() if uuid in known}

    def saved(self, saved: Saved) -> None:
        """The local file was written anew."""
        self._saved = saved

    async def ensure(self, target: Target) -> None:
        """The candidate has our config.data; OSError or GenericError when it can't be brought."""
        async with self._sending.setdefault(target.uuid, asyncio.Lock()):
            saved = self._saved
            if saved is None or self._has.get(target.uuid) == saved.crc:
                return
            if target.uuid not in self._has:
                outcome = await self._rpc.ask(target, calls.journal_state, CONFIG_DATA, True)
                state = outcome.get("journal_state")
                if state.size == saved.size and state.crc == saved.crc:
                    self._has[target.uuid] = saved.crc
                    return
            data = await self._offload(lambda: self._disk.read(self._path))
            self._has.pop(target.uuid, None)
            answer = await send_file(self._rpc, target, CONFIG_DATA, self._generation(), data)
            problem = answer.refused if isinstance(answer, JournalState) else answer
            if problem:
                raise ConfigurationError(f"node {target.name}: config.data: {problem}")
            self._has[target.uuid] = saved.crc

    def push_soon(self) -> None:
        """All candidates get the file, in the background."""
        if self._push is None or self._push.done():
            self._push = asyncio.get_running_loop().create_task(self._push_all())

    async def _push_all(self) -> None:
        while True:
            saved = self._saved
            await self.push()
            if saved is self._saved:
                return

    async def push(self) -> None:
        """Every candidate that can be reached has the file as it was when this was called."""
        results = await asyncio.gather(*(self._try(target) for target in self._followers))
        for target, problem in zip(self._followers, results):
            if problem:
                logger.warning("config.data was not brought to node %s: %s", target.name, problem)

    async def _try(self, target: Target) -> str:
        try:
            await self.ensure(target)
        except (OSError, GenericError) as error:
            return str(error)
        return ""

    # ssconf.

    def changed(self, snapshot: Snapshot) -> None:
        """A new snapshot is durable. Costs nothing unless something of ssconf may have changed."""
        parts = (
            snapshot.cluster,
            snapshot.nodes,
            snapshot.groups,
            snapshot.networks,
            snapshot.index.instance_names,
        )
        if len(self._parts) == len(parts) and all(a is b for a, b in zip(parts, self._parts)):
            return
        self._parts = parts
        self._next = snapshot
        if self._ssconf is None or self._ssconf.done():
            self._ssconf = asyncio.get_running_loop().create_task(self._write_ssconf())

    async def _write_ssconf(self) -> None:
        while self._next is not None:
            snapshot, self._next = self._next, None
            try:
                values = await self._offload(partial(self._ssconf_of, snapshot))
            except ConfigurationError as error:
                logger.error("ssconf files can't be computed: %s", error)
                continue
            if values == self._values:
                continue
            self._values = values
            targets = [self._target_of(node) for node in snapshot.online_nodes()]
            self._targets = {target.uuid: target for target in targets}
            self._missed = {}
            await self._send_ssconf(targets)
            await self._pause()

    async def _pause(self) -> None:
        """What changes meanwhile is sent together; no longer than until somebody waits for it."""
        try:
            async with asyncio.timeout(SSCONF_GAP_S):
                await self._hurry.wait()
        except TimeoutError:
            return

    def _ssconf_of(self, snapshot: Snapshot) -> dict[str, str]:
        return without_lockout(ssconf_that_fits(snapshot), self._certificate)

    async def _send_ssconf(self, targets: Sequence[Target]) -> None:
        outcomes = await self._rpc.all(
            targets, calls.write_ssconf_files, self._values, self._generation()
        )
        again = asyncio.get_running_loop().time() + MISSED_PAUSE_S
        for uuid, outcome in outcomes.items():
            if outcome.error is None:
                self._missed.pop(uuid, None)
                continue
            if uuid not in self._missed:
                logger.warning(
                    "ssconf files were not written on node %s: %s; it gets them when it answers",
                    outcome.node.name,
                    outcome.error,
                )
            self._missed[uuid] = again

    def node_answers(self, node: str) -> None:
        """A call to this node (its uuid) was answered; it gets the ssconf files if it missed them.

        Called for every answer, so it looks first.
        """
        due = self._missed.get(node)
        if due is None or (self._ssconf is not None and not self._ssconf.done()):
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= due and node in self._targets:
            self._missed[node] = loop.time() + MISSED_PAUSE_S
            self._ssconf = loop.create_task(self._send_missed(self._targets[node]))

    async def _send_missed(self, target: Target) -> None:
        await self._send_ssconf([target])
        await self._write_ssconf()  # what has changed meanwhile; never two at a time on a node

    def send_again(self, snapshot: Snapshot) -> None:
        """All online nodes get the ssconf files, even if the set is the one sent last."""
        self._values = {}
        self._parts = ()
        self.changed(snapshot)

    # Waiting and ending.

    async def flush(self) -> None:
        """Candidates have the file and nodes the ssconf files, or a failure was logged."""
        await self.push()
        await _done(self._push)
        self._hurry.set()
        try:
            await _done(self._ssconf)
        finally:
            self._hurry.clear()

    async def stop(self) -> None:
        tasks = [task for task in (self._push, self._ssconf) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _done(task: Awaitable[None] | None) -> None:
    if task is not None:
        await task
