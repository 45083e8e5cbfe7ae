"""Changes of who is a master candidate: the pool filled again, certificates and keys too.

Sources: facts/master.md §A4, facts/config-data.md §8.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.logic import ssh_keys
from ganeti.logic.base import INFO, WARNING, Services
from ganeti.logic.candidates import fill_pool, pool_stats
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome

OWN_CERTIFICATE: Final[list[calls.TokenRequest]] = [("ssl", "get", None)]
NO_DIGEST: Final = "it has no client certificate"
RENEWING: Final = "-bootstrap"  # the master's former certificate, see cluster_renew_crypto


def demotes_too_many(config: Snapshot, node: Node) -> bool:
    """Whether too few candidates would be left without this one."""
    stats = pool_stats(config, [node.uuid])
    return stats.now < stats.wanted


def change_roles(
    services: Services,
    change: Callable[[Draft], object],
    *,
    promote: bool = True,
    without: Collection[str] = (),
) -> list[Node]:
    """Carry the change out and fill the pool of candidates in one step; the promoted nodes.

    `without` are nodes that are not promoted. Afterwards the map of candidates' certificates has
    exactly the candidates, as far as they answer.
    """

    def both(draft: Draft) -> list[Node]:
        change(draft)
        promoted = fill_pool(draft, without) if promote else []
        _forget_certificates(draft)
        return promoted

    before = services.snapshot()
    promoted = services.commit(both)
    if promoted:
        names = ", ".join(node.name for node in promoted)
        services.feedback(f"{INFO}Promoted nodes to master candidate role: {names}")
    stats = pool_stats(services.snapshot())
    if stats.now > stats.possible:
        services.feedback(
            f"{WARNING}there are {stats.now} master candidates, only {stats.possible} are possible"
        )
    learn_certificates(services)
    ssh_keys.follow_roles(services, before)
    return promoted


def _forget_certificates(draft: Draft) -> None:
    config = draft.snapshot
    certs = {
        uuid: digest
        for uuid, digest in config.cluster.candidate_certs.items()
        if uuid.endswith(RENEWING)
        or (uuid in config.nodes and _is_candidate(config, config.nodes[uuid]))
    }
    if certs != config.cluster.candidate_certs:
        draft.update_cluster(replace(config.cluster, candidate_certs=certs))


def _is_candidate(config: Snapshot, node: Node) -> bool:
    return node.master_candidate or node.uuid == config.cluster.master_node


def learn_certificates(services: Services) -> None:
    """Candidates without an entry in the map of certificates are asked for their digests.

    Who does not tell it now is asked again later (master/certificates.py).
    """
    strange = without_certificate(services.snapshot())
    if not strange:
        return
    outcomes = services.rpc.all(strange, calls.node_crypto_tokens, OWN_CERTIFICATE)
    told = []
    for node in strange:
        digest = told_digest(outcomes[node.uuid])
        if digest is not None:
            told.append((node, digest))
            continue
        services.feedback(
            f"{WARNING}node {node.name} does not tell its certificate's digest, so it can't become"
            f" master yet: {outcomes[node.uuid].error or NO_DIGEST}; it is asked again when it"
            " answers"
        )
    if told:
        services.commit(lambda draft: enter_certificates(draft, told))


def without_certificate(config: Snapshot) -> list[Node]:
    """Candidates that can't call other nodes, as nobody knows their certificates."""
    known = config.cluster.candidate_certs
    return [node for node in config.candidates() if node.uuid not in known]


def is_being_renewed(config: Snapshot) -> bool:
    """Whether the certificates of nodes are being exchanged for new ones."""
    return any(uuid.endswith(RENEWING) for uuid in config.cluster.candidate_certs)


def enter_certificates(draft: Draft, told: Iterable[tuple[Node, str]]) -> list[Node]:
    """List the digests; the nodes that have an entry now.

    Each node is given as it was when it was asked. One that has changed meanwhile is left out: it
    may be no candidate any more, have another address, or have joined anew with a new certificate.
    """
    cluster = draft.snapshot.cluster
    strange = {node.uuid: node for node in without_certificate(draft.snapshot)}
    fresh = [(node, digest) for node, digest in told if strange.get(node.uuid) == node]
    if fresh:
        certs = {**cluster.candidate_certs, **{node.uuid: digest for node, digest in fresh}}
        draft.update_cluster(replace(cluster, candidate_certs=certs))
    return [node for node, _ in fresh]


def told_digest(outcome: Outcome[list[tuple[str, str]]]) -> str | None:
    """What a node has answered to the question for its certificate; None: nothing of use."""
    match outcome.value:
        case [[_, str(digest), *_], *_] if digest:
            return digest
    return None
