"""Changes of who is a master candidate: the pool filled again, certificates and keys too.

Sources: facts/master.md §A4, facts/config-data.md §8.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.logic import ssh_keys
from ganeti.logic.base import INFO, WARNING, Services
from ganeti.logic.candidates import fill_pool, pool_stats
from ganeti.model.node import Node
from ganeti.rpc import calls

RENEWING = "-bootstrap"  # the master's former certificate, see cluster_renew_crypto


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
    """Candidates without an entry in the map of certificates are asked for their digests."""
    config = services.snapshot()
    strange = [
        node for node in config.candidates() if node.uuid not in config.cluster.candidate_certs
    ]
    digests = _digests(services, strange)
    if not digests:
        return

    def learn(draft: Draft) -> None:
        cluster = draft.snapshot.cluster
        draft.update_cluster(
            replace(cluster, candidate_certs={**cluster.candidate_certs, **digests})
        )

    services.commit(learn)


def _digests(services: Services, nodes: Sequence[Node]) -> Mapping[str, str]:
    if not nodes:
        return {}
    outcomes = services.rpc.all(nodes, calls.node_crypto_tokens, [("ssl", "get", None)])
    found = {}
    for uuid, outcome in outcomes.items():
        if outcome.ok:
            found[uuid] = str(outcome.get()[0][1])
        else:
            services.feedback(
                f"{WARNING}node {outcome.node.name} does not tell its certificate's digest, so it"
                f" can't become master yet: {outcome.error}"
            )
    return found
