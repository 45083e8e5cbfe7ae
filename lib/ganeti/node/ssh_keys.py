"""Making nodes' SSH keys known on the others, and unknown again. Run on the master.

It brings each node its part with the helper `ssh-update`, over SSH: a key that has to be spread
can't be used yet, but the master's can. Source: facts/node-behaviour.md §6, facts/master.md §A3.
"""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.build import LIBDIR
from ganeti.errors import OpExecError
from ganeti.node.context import NodeContext
from ganeti.node.verify import ssh_port
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.serializer import Json, dump_bytes
from ganeti.utils import ssh_keys
from ganeti.utils.ssh_command import ssh_argv
from ganeti.utils.ssh_keys import Keys

HELPER = f"{LIBDIR}/ssh-update"
UPDATE_S = 30.0

Failures = list[tuple[str, str]]


@serves(calls.node_ssh_key_add)
def node_ssh_key_add(
    node: NodeContext,
    node_uuid: str,
    node_name: str,
    potential_master_candidates: Sequence[str],
    to_authorized_keys: bool,
    to_public_keys: bool,
    get_public_keys: bool,
) -> Failures:
    """The key of a node that has just joined stands in the ring under its name."""
    if node.is_virtual:
        return []
    ring = ssh_keys.read_ring(node.paths)
    if node_name in ring:
        ssh_keys.change_ring(node.paths, "replace_or_add", {node_uuid: ring[node_name]})
        ring = ssh_keys.change_ring(node.paths, "remove", {node_name: []})
    own = _own_keys(ring, node_uuid, node_name)
    failures = []
    for name in _online(node, node_name):
        change: dict[str, Json] = {}
        if to_authorized_keys:
            change["authorized_keys"] = ["add", own]
        if name == node_name and get_public_keys:
            change["public_keys"] = ["override", ring]
        elif to_public_keys and name in potential_master_candidates:
            change["public_keys"] = ["replace_or_add", own]
        failures += _update(node, name, change)
    return failures


@serves(calls.node_ssh_key_remove)
def node_ssh_key_remove(
    node: NodeContext,
    node_uuid: str,
    node_name: str,
    master_candidate_uuids: Sequence[str],
    potential_master_candidates: Sequence[str],
    from_authorized_keys: bool,
    from_public_keys: bool,
    clear_authorized_keys: bool,
    clear_public_keys: bool,
    readd: bool,
) -> Failures:
    """With `readd` the node itself is left alone: it will be told of the others' keys next."""
    if node.is_virtual:
        return []
    ring = ssh_keys.read_ring(node.paths)
    own: Keys = {node_uuid: ring.get(node_uuid, [])}
    failures = []
    for name in _online(node, node_name):
        change: dict[str, Json] = {}
        if name == node_name and not readd:
            others = {
                uuid: ring[uuid]
                for uuid in master_candidate_uuids
                if uuid in ring and uuid != node_uuid
            }
            if clear_authorized_keys:
                change["authorized_keys"] = ["remove", others]
            if clear_public_keys:
                change["public_keys"] = ["clear", {}]
        elif name != node_name:
            if from_authorized_keys and own[node_uuid]:
                change["authorized_keys"] = ["remove", own]
            if from_public_keys and name in potential_master_candidates:
                change["public_keys"] = ["remove", own]
        failures += _update(node, name, change)
    return failures


def _own_keys(ring: Keys, uuid: str, name: str) -> Keys:
    if uuid not in ring:
        raise OpExecError(
            f"the public SSH key of node {name} is not known here; gnt-node add --readd {name}"
            " brings it"
        )
    return {uuid: ring[uuid]}


def _online(node: NodeContext, name: str) -> list[str]:
    """The other nodes first, and at the end that one, which may be in no list (any more)."""
    return [*(one for one in node.ssconf("online_nodes").split() if one != name), name]


def _update(node: NodeContext, name: str, change: dict[str, Json]) -> Failures:
    if not change:
        return []
    if name == node.hostname:
        if "authorized_keys" in change:
            ssh_keys.change_authorized(node.paths, *change["authorized_keys"])
        if "public_keys" in change:
            ssh_keys.change_ring(node.paths, *change["public_keys"])
        return []
    from ganeti.utils import x509  # costs memory that a noded rarely needs

    cluster = node.ssconf("cluster_name")
    certificate = x509.load_pair(node.paths.server_pem).certificate_pem().decode()
    document = {"cluster_name": cluster, "node_daemon_certificate": certificate, **change}
    argv = ssh_argv("ssh", ssh_port(node, name), cluster, str(node.paths.known_hosts))
    done = node.run([*argv, f"root@{name}", HELPER], stdin=dump_bytes(document), timeout_s=UPDATE_S)
    return [] if done.ok else [(name, f"{done.reason}: {done.last_lines(3) or 'no output'}")]
