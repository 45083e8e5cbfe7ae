"""Another node becomes the master: what runs there while no master daemon does.

Order of checks and steps: facts/master.md §A5, in the classic process shape: the old master is
stopped before the configuration changes, so that nothing is lost when it still lives. When it
does not answer, a new term of the journal on the candidates keeps it from writing
(rpc/replicate.py), and the votes of the nodes keep it from starting. Each step may be repeated.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ganeti import constants
from ganeti.config.snapshot import Snapshot
from ganeti.config.store import ConfigStore, StoreSettings
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.http.tls import client_context
from ganeti.master import ballot, voting
from ganeti.master.ballot import Ballot
from ganeti.model.master_params import master_params
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.base import Target, target_of
from ganeti.rpc.client import HttpTransport, RpcClient, Transport
from ganeti.utils import daemons, net
from ganeti.utils.files import Disk, LocalDisk

ADDRESS_S: Final = 30.0  # for the master address to be gone from the old master, or up here
POLL_S: Final = 0.5

Say = Callable[[str], None]


class Unhealthy(Exception):
    """Too few nodes answer for a decision; args: the sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverSettings:
    """How the master role is taken over. `hostname`: of this node, the new master."""

    paths: Paths
    hostname: str
    say: Say
    no_voting: bool = False
    count_offline: bool = False  # offline nodes count among those that have to answer
    disk: Disk = field(default_factory=LocalDisk)
    transport: Callable[[Paths], Transport] = lambda paths: HttpTransport(client_context(paths))
    limits: StoreSettings = field(default_factory=StoreSettings)
    now: Callable[[], float] = time.time


def master_failover(settings: FailoverSettings) -> int:
    """This node is the master; the exit code: 1 when that is so, but something is left to do.

    Unhealthy or OpPrereqError: nothing was changed. ConfigurationError, OpExecError: the old
    master may have been stopped; repeat it.
    """
    return asyncio.run(_fail_over(settings))


async def _fail_over(settings: FailoverSettings) -> int:
    rpc = RpcClient(settings.transport(settings.paths))
    try:
        return await Failover(settings, rpc).run()
    finally:
        await rpc.close()


class Failover:
    """One attempt, on the running loop."""

    def __init__(self, settings: FailoverSettings, rpc: RpcClient) -> None:
        self.settings = settings
        self.rpc = rpc
        self.problems = 0

    async def run(self) -> int:
        await self._check()
        store = self._make_store()
        majority = not self.settings.no_voting
        before = await store.recover(majority=majority)  # fails while the old master still lives
        await self._check_capable(before)
        await self._stop_old_master(before)
        await store.load()
        await store.recover(majority=majority)
        config = await store.take_over(majority=majority)
        await store.start()
        try:
            await store.commit(self._take_role)
            await store.flush()
        finally:
            await store.stop()
        self._check_told()
        await self._drop_drain_flag(config)
        await self._start_daemons(config)
        return constants.EXIT_FAILURE if self.problems else constants.EXIT_SUCCESS

    # Checks.

    async def _check(self) -> None:
        """OpPrereqError or Unhealthy unless this node may become the master."""
        me, voting = self.settings.hostname, not self.settings.no_voting
        old = self._ssconf("master_node").strip()
        if old == me:
            raise OpPrereqError(
                "the command must be run on the node that is to become the master;"
                f" {me} is already the master",
                Code.INVAL,
            )
        candidates = self._ssconf("master_candidates").split()
        if me not in candidates:
            raise OpPrereqError(
                f"node {me} is not a master candidate",
                Code.STATE,
                hint=f"run the command on one of these: {', '.join(candidates)}",
            )
        if voting:  # nodes answer to candidates only, so this comes last
            offline = set(self._ssconf("offline_nodes").split())
            rows = [line.split() for line in self._ssconf("node_primary_ips").splitlines()]
            targets = [Target(name, name, ip, name in offline) for name, ip in rows]
            refuse_other_master(old, await self._hold_ballot(targets))

    async def _hold_ballot(self, targets: Sequence[Target]) -> Ballot:
        """What all nodes say; Unhealthy when no master could start here after this."""
        held = await ballot.hold(self.rpc, targets)
        refuse_unhealthy(self.settings.hostname, held, count_offline=self.settings.count_offline)
        return held

    async def _check_capable(self, config: Snapshot) -> None:
        """The newest configuration allows it as well: that one counts when the master starts."""
        node = config.find_node(self.settings.hostname)
        if node is None or not node.master_candidate:
            raise OpPrereqError(
                f"node {self.settings.hostname} is not a master candidate in the newest"
                " configuration",
                Code.STATE,
            )
        if not self.settings.no_voting:
            await self._hold_ballot([target_of(node) for node in config.nodes.values()])

    def _ssconf(self, key: str) -> str:
        return self.settings.paths.ssconf(key).read_text()

    # Steps.

    def _make_store(self) -> ConfigStore:
        return ConfigStore(
            self.settings.paths,
            disk=self.settings.disk,
            rpc=self.rpc,
            now=self.settings.now,
            random=random.SystemRandom(),
            hostname=self.settings.hostname,
            settings=self.settings.limits,
        )

    async def _stop_old_master(self, config: Snapshot) -> None:
        """Its address is down and its daemons have ended, as far as it answers."""
        old = config.master()
        if old.name == self.settings.hostname:
            return  # an earlier attempt has come that far
        target = target_of(old)
        address, external = master_params(config.cluster), config.cluster.use_external_mip_script
        outcome = await self.rpc.ask(target, calls.node_deactivate_master_ip, address, external)
        if not outcome.ok:
            self._warn(f"the master address may still be up on node {old.name}: {outcome.error}")
        stopped = await self.rpc.ask(target, calls.node_stop_master)
        if not stopped.ok:
            self._warn(f"the master daemons may still run on node {old.name}: {stopped.error}")
        if outcome.ok:
            await self._await_address(config, up=False)

    def _take_role(self, draft: Draft) -> None:
        node = draft.snapshot.find_node(self.settings.hostname)
        if node is None:
            raise OpExecError(f"node {self.settings.hostname} has left the cluster")
        draft.update_cluster(replace(draft.snapshot.cluster, master_node=node.uuid))

    def _check_told(self) -> None:
        told = self._ssconf("master_node").strip()
        if told != self.settings.hostname:
            raise OpExecError(
                f"the node daemon of {self.settings.hostname} has not written the ssconf files,"
                f" which name {told} as the master; is it running? Then repeat the command"
            )

    async def _drop_drain_flag(self, config: Snapshot) -> None:
        targets = [target_of(node) for node in config.candidates() if not node.offline]
        outcomes = await self.rpc.all(targets, calls.jobqueue_set_drain_flag, False)
        mine = [one for one in outcomes.values() if one.node.name == self.settings.hostname]
        for outcome in mine:
            outcome.get("the drain flag of the job queue")

    async def _start_daemons(self, config: Snapshot) -> None:
        me = config.find_node(self.settings.hostname)
        assert me is not None  # `_take_role` has found it
        outcome = await self.rpc.ask(
            target_of(me), calls.node_start_master_daemons, self.settings.no_voting
        )
        if not outcome.ok:
            self._fail(f"the master daemons do not start here: {outcome.error}")
        elif daemons.running_pid(self.settings.paths, daemons.MASTERD) is None:
            self._fail("the master daemon has ended again; its log tells why")
        else:
            await self._await_address(config, up=True)

    async def _await_address(self, config: Snapshot, *, up: bool) -> None:
        """The master address answers, or no longer does; a virtual cluster has none."""
        if self.settings.paths.is_virtual:
            return
        address = config.cluster.master_ip
        end = time.monotonic() + ADDRESS_S
        while await asyncio.to_thread(net.is_port_open, address, constants.NODED_PORT) != up:
            if time.monotonic() > end:
                state = "does not answer" if up else "still answers"
                return self._fail(f"the master address {address} {state} after {ADDRESS_S:.0f} s")
            await asyncio.sleep(POLL_S)

    def _warn(self, text: str) -> None:
        self.settings.say(f"Warning: {text}")

    def _fail(self, text: str) -> None:
        self.problems += 1
        self.settings.say(f"Error: {text}")


# What the answers mean. Pure.


def refuse_unhealthy(me: str, held: Ballot, *, count_offline: bool) -> None:
    """Unhealthy unless `me` would win the vote at the start of its daemon.

    With `count_offline` more than half of all nodes, offline ones too, must answer besides.
    """
    votes, offline = held.votes, held.offline
    expected = voting.after_takeover(me, votes, offline)
    counted = votes if count_offline else voting.counting(me, expected, offline)
    silent = sorted(name for name in counted if votes[name] is None)
    can_start = voting.count(me, expected, offline) is voting.Verdict.WON
    if can_start and 2 * len(silent) < len(counted):
        return
    raise Unhealthy(
        "Master-failover with voting is only possible if the majority of nodes are still healthy;"
        " use the --no-voting option after ensuring by other means that you won't end up in a"
        f" dual-master scenario. Unhealthy nodes: {silent}"
        f" (expected: {voting.describe(me, expected, offline)})"
    )


def refuse_other_master(old: str, held: Ballot) -> None:
    """OpPrereqError unless the master of this node's ssconf is the one that most nodes name."""
    votes = {name: vote for name, vote in held.votes.items() if name not in held.offline}
    counted = Counter(vote for vote in votes.values() if vote is not None)
    top, count = counted.most_common(1)[0]
    if top != old:
        raise OpPrereqError(
            f"this node takes {old} for the master, but {count} of {len(votes)} nodes name {top}",
            Code.STATE,
            hint="bring the ssconf files of this node up to date: gnt-cluster redist-conf there",
        )
