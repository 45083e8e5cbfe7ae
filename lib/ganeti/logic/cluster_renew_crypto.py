"""OP_CLUSTER_RENEW_CRYPTO: new certificates and SSH keys for the nodes, while the cluster works.

At every moment, and after a crash at any, the master and each node that took part accept each
other's certificates, be they the old or the new ones (node/certificates.py). A node that is down
keeps the old ones and is told; `gnt-node add --readd` brings it back. So does it with the SSH key.

The client asks for a new cluster certificate by putting it at server.pem.new on the master. Source
of the opcode: facts/opcodes.json, facts/master.md §A6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ssh_keys
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.node import Node
from ganeti.opcodes.cluster import OpClusterRenewCrypto
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome
from ganeti.serializer import Json
from ganeti.utils.ssh_keys import check_kind
from ganeti.utils.text import nice_sort_key

TRIES: Final = 3  # facts/master.md §A6
DONE: Final = {
    "get": "has told its certificate",
    "stage": "has a new certificate",
    "activate": "uses its new certificate",
    "finish": "accepts new certificates only",
}
BOOTSTRAP: Final = "bootstrap"  # facts/constants.json, CRYPTO_BOOTSTRAP


@dataclass(frozen=True, slots=True)
class RenewPlan:
    """The master, the other nodes that take part, those that can't, and the new server.pem."""

    master: Node
    others: tuple[Node, ...]
    offline: tuple[Node, ...]
    server: str | None

    @property
    def readd(self) -> str:
        return "it keeps what it has; bring it back with gnt-node add --readd"


@implements(OpClusterRenewCrypto)
class ClusterRenewCrypto(LogicalUnit[OpClusterRenewCrypto, RenewPlan]):
    """The master's node comes last in each step, and nothing goes on without it."""

    def arguments(self) -> None:
        if not (self.op.node_certificates or self.op.renew_ssh_keys):
            raise OpPrereqError("nothing is to be renewed", Code.INVAL)
        check_kind(self.op.ssh_key_type, self.op.ssh_key_bits)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(nodes=EXCLUSIVE)

    def check(self, config: Snapshot) -> RenewPlan:
        if self.op.renew_ssh_keys and not config.cluster.modify_ssh_setup:
            raise OpPrereqError(
                "SSH keys of this cluster are not managed (it was made with --no-ssh-init)",
                Code.STATE,
                hint="renew them as you made them",
            )
        nodes = sorted(config.nodes.values(), key=lambda node: nice_sort_key(node.name))
        master = config.master()
        place = self.services.paths.server_pem_new
        return RenewPlan(
            master,
            tuple(node for node in nodes if not node.offline and node.uuid != master.uuid),
            tuple(node for node in nodes if node.offline),
            place.read_text() if place.exists() else None,
        )

    def execute(self, plan: RenewPlan) -> Json:
        for node in plan.offline:
            self.warn(f"node {node.name} is offline: {plan.readd} {node.name}")
        if self.op.node_certificates:
            self._renew_certificates(plan)
        if self.op.renew_ssh_keys:
            ssh_keys.renew(
                self.services,
                self.op.ssh_key_type,
                self.op.ssh_key_bits,
                verbose=self.op.verbose or self.op.debug,
            )
        return None

    def _renew_certificates(self, plan: RenewPlan) -> None:
        told = self._tell([plan.master], "get")
        if plan.master.uuid not in told:
            raise OpExecError(
                f"node {plan.master.name}, the master's own, does not tell its certificate (see"
                " above); nothing was changed"
            )
        former = told[plan.master.uuid]
        if former not in self.services.snapshot().cluster.candidate_certs.values():
            self._list_own(plan, former)
        digests = self._prepare(plan)
        part = [node for node in plan.others if node.uuid in digests]
        self._list_digests(plan, digests, {f"{plan.master.uuid}-{BOOTSTRAP}": former})
        self.services.distribute()
        self.feedback("* Taking the new certificates into use")
        done = self._tell(part, "activate")
        if plan.master.uuid not in self._tell([plan.master], "activate"):
            raise OpExecError(
                f"node {plan.master.name} does not take its new certificate into use; all nodes"
                " accept the old one and the new one: look into its node-daemon.log, and repeat"
                " the renewal"
            )
        self.services.renew_tls()
        reached = [plan.master, *(node for node in part if node.uuid in done)]
        self._list_digests(plan, {node.uuid: digests[node.uuid] for node in reached}, {})
        self.services.distribute()
        self._tell(reached, "finish")
        self.services.renew_tls()
        self._summarize(plan, reached)

    def _prepare(self, plan: RenewPlan) -> dict[str, str]:
        """Digests of the new client certificates, by node uuid; the master's is among them."""
        what = "cluster certificate and node certificates" if plan.server else "node certificates"
        self.feedback(f"* Bringing new {what} to the nodes")
        options = {"server": plan.server}
        with self.undo() as undo:
            for node in (plan.master, *plan.others):
                undo.before(node, calls.node_crypto_tokens, [("ssl", "discard", None)])
            digests = self._tell([plan.master], "stage", options)
            if not digests:
                raise OpExecError(f"node {plan.master.name} can't make a new certificate")
            self.services.renew_tls()  # from here on the successor's signature counts, too
            digests |= self._tell(plan.others, "stage", options)
            undo.settle()  # else a later failure would take away what nodes already use
        return digests

    def _tell(
        self, nodes: Sequence[Node], action: str, options: Mapping[str, Json] | None = None
    ) -> dict[str, str]:
        """Digests by node uuid of those that did it; the others are told after three tries.

        With `verbose` the former are told, too, with `debug` also each try and the digests.
        """
        digests: dict[str, str] = {}
        left = list(nodes)
        for number in range(TRIES):
            outcomes = self.rpc.all(left, calls.node_crypto_tokens, [("ssl", action, options)])
            for uuid, outcome in outcomes.items():
                if outcome.ok:
                    digests[uuid] = outcome.get()[0][1]
            self._detail(left, action, outcomes)
            left = [node for node in left if node.uuid not in digests]
            if not left:
                break
            if number == TRIES - 1:
                for node in left:
                    self.warn(f"{action} on node {node.name}: {outcomes[node.uuid].error}")
        return digests

    def _detail(
        self, nodes: Sequence[Node], action: str, outcomes: Mapping[str, Outcome[Any]]
    ) -> None:
        for node in nodes:
            outcome = outcomes[node.uuid]
            if not outcome.ok:
                if self.op.debug:
                    self.info(f"node {node.name}: {action}: {outcome.error}")
            elif self.op.verbose or self.op.debug:
                digest = f" (digest {outcome.get()[0][1]})" if self.op.debug else ""
                self.info(f"node {node.name} {DONE[action]}{digest}")

    def _list_own(self, plan: RenewPlan, digest: str) -> None:
        """The master's client.pem was replaced by hand: it is listed while nodes still listen to
        the one that masterd has in memory, beside all others."""

        def change(draft: Draft) -> None:
            cluster = draft.snapshot.cluster
            certs = {**cluster.candidate_certs, f"{plan.master.uuid}-{BOOTSTRAP}": digest}
            draft.update_cluster(replace(cluster, candidate_certs=certs))

        self.commit(change)
        self.services.distribute()

    def _list_digests(
        self, plan: RenewPlan, digests: Mapping[str, str], more: Mapping[str, str]
    ) -> None:
        """Who may call nodes: the candidates with their new certificates, and `more`.

        One that took no part stays in the list with its old certificate, which goes on to count
        unless the cluster's is new.
        """

        def change(draft: Draft) -> None:
            config = draft.snapshot
            names = [node.uuid for node in config.candidates()]
            old = {} if plan.server else config.cluster.candidate_certs
            certs = {uuid: old[uuid] for uuid in names if uuid in old}
            certs |= {uuid: digests[uuid] for uuid in names if uuid in digests}
            certs |= more
            draft.update_cluster(replace(config.cluster, candidate_certs=certs))

        self.commit(change)

    def _summarize(self, plan: RenewPlan, reached: Sequence[Node]) -> None:
        uuids = {node.uuid for node in reached}
        for node in plan.others:
            if node.uuid not in uuids:
                self.warn(f"node {node.name} did not take part: {plan.readd} {node.name}")
        self.feedback(f"* {len(reached)} of {len(plan.others) + 1} nodes have new certificates")
