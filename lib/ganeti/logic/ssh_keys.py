"""SSH keys in step with the nodes and their roles: the master's node daemon spreads them.

What can't be spread is told and stops nothing; `gnt-cluster verify` finds it, a re-add mends it.
"""

from __future__ import annotations

from dataclasses import replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.logic.base import INFO, WARNING, Services
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome
from ganeti.types import SshKeyType
from ganeti.utils.ssh_keys import BITS, check_kind


def publish(services: Services, node: Node, *, readd: bool = False) -> None:
    """A node that has joined may log in where it should, and knows the others' keys."""
    config = services.snapshot()
    if not _are_managed(services, config):
        return
    if readd:
        _remove(services, config, node, readd=True)
    capable = node.master_capable
    _tell(
        services,
        node,
        services.rpc.ask(
            config.master(),
            calls.node_ssh_key_add,
            node.uuid,
            node.name,
            _potential(config),
            node.master_candidate,
            capable,
            capable,
        ),
    )


def withdraw(services: Services, node: Node) -> None:
    """A node that leaves may log in nowhere, and the candidates not on it."""
    config = services.snapshot()
    if _are_managed(services, config):
        _remove(services, config, node, readd=False)


def follow_roles(services: Services, before: Snapshot) -> None:
    """Keys of new candidates may log in everywhere, those of former ones no more."""
    config = services.snapshot()
    if not _are_managed(services, config):
        return
    old, new = (
        {uuid for uuid, node in one.nodes.items() if node.master_candidate}
        for one in (before, config)
    )
    potential = _potential(config)
    for uuid in sorted(new - old):
        if uuid in before.nodes:  # of a node that joins, it is published in the end
            node = config.nodes[uuid]
            _tell(
                services,
                node,
                services.rpc.ask(
                    config.master(),
                    calls.node_ssh_key_add,
                    *(uuid, node.name, potential, True, False, False),
                ),
            )
    for uuid in sorted(uuid for uuid in old - new if uuid in config.nodes):
        node = config.nodes[uuid]
        _tell(
            services,
            node,
            services.rpc.ask(
                config.master(),
                calls.node_ssh_key_remove,
                *(uuid, node.name, sorted(new), potential, True, False, False, False, False),
            ),
        )


def renew(
    services: Services, kind: SshKeyType | None, bits: int | None, *, verbose: bool = False
) -> None:
    """Every node that is online has a new key, of that type and length if it is given.

    `verbose`: each node that has one is told.
    """
    config = services.snapshot()
    cluster = config.cluster
    old = SshKeyType(cluster.ssh_key_type)
    new = kind or old
    new_bits = bits or (cluster.ssh_key_bits if new == old else BITS[new])
    check_kind(new, new_bits)
    if services.paths.is_virtual:
        services.feedback(f"{INFO}this is a virtual cluster: its nodes have no SSH keys")
        return
    nodes = sorted(config.online_nodes(), key=lambda node: node.name)
    failed = services.rpc.one(
        config.master(),
        calls.node_ssh_keys_renew,
        [node.uuid for node in nodes],
        [node.name for node in nodes],
        sorted(node.uuid for node in config.candidates()),
        _potential(config),
        str(old),
        str(new),
        new_bits,
    )
    for name, problem in failed:
        services.feedback(
            f"{WARNING}SSH key of node {name}: {problem}; gnt-node add --readd {name} mends it"
        )
    if verbose:
        for name in sorted({node.name for node in nodes} - {name for name, _ in failed}):
            services.feedback(f"{INFO}node {name} has a new SSH key: {new}, {new_bits} bits")
    if (new, new_bits) != (old, cluster.ssh_key_bits):

        def remember(draft: Draft) -> None:
            draft.update_cluster(
                replace(draft.snapshot.cluster, ssh_key_type=str(new), ssh_key_bits=new_bits)
            )

        services.commit(remember)


def _are_managed(services: Services, config: Snapshot) -> bool:
    return config.cluster.modify_ssh_setup and not services.paths.is_virtual


def _potential(config: Snapshot) -> list[str]:
    """Names of the nodes that may become master candidates."""
    return sorted(node.name for node in config.nodes.values() if node.master_capable)


def _remove(services: Services, config: Snapshot, node: Node, *, readd: bool) -> None:
    candidates = sorted(one.uuid for one in config.candidates())
    outcome = services.rpc.ask(
        config.master(),
        calls.node_ssh_key_remove,
        node.uuid,
        node.name,
        candidates,
        _potential(config),
        True,
        True,
        not readd,
        not readd,
        readd,
    )
    _tell(services, node, outcome)


def _tell(services: Services, node: Node, outcome: Outcome[list[tuple[str, str]]]) -> None:
    if not outcome.ok:
        services.feedback(f"{WARNING}SSH key of node {node.name}: {outcome.error}")
        return
    for name, problem in outcome.get():
        services.feedback(f"{WARNING}SSH key of node {node.name} on node {name}: {problem}")
