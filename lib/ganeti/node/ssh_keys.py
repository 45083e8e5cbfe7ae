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
NEW = ".new"  # ending of a key pair that waits for its turn

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


@serves(calls.node_ssh_keys_renew)
def node_ssh_keys_renew(
    node: NodeContext,
    node_uuids: Sequence[str],
    node_names: Sequence[str],
    master_candidate_uuids: Sequence[str],
    potential_master_candidates: Sequence[str],
    old_key_type: str,
    new_key_type: str,
    new_key_bits: int,
) -> Failures:
    """Until the end the old keys may log in as well; this node changes its own key last."""
    if node.is_virtual:
        return []
    before = ssh_keys.read_ring(node.paths)
    names = sorted(zip(node_names, node_uuids), key=lambda one: one[0] == node.hostname)
    new: dict[str, list[str]] = {}
    failures: Failures = []
    for name, uuid in names:
        try:
            new[uuid] = [_generated(node, name, new_key_type, new_key_bits)]
        except OpExecError as error:
            failures.append((name, str(error)))
    if node.hostname not in {name for name, uuid in names if uuid in new}:
        return failures  # without a key of its own this node could reach no other any more
    log_in = {uuid: keys for uuid, keys in new.items() if uuid in master_candidate_uuids}
    failures += _spread(node, names, potential_master_candidates, ("add", log_in), ("add", new))
    for name, uuid in names:
        if uuid in new:
            change = {"activate": [new_key_type, NEW, old_key_type]}
            failures += _update(node, name, change)
    gone = {
        uuid: [key for key in before.get(uuid, []) if key not in keys] for uuid, keys in new.items()
    }
    removed = ("remove", {uuid: keys for uuid, keys in gone.items() if keys})
    return failures + _spread(
        node, names, potential_master_candidates, removed, ("replace_or_add", new)
    )


def _generated(node: NodeContext, name: str, kind: str, bits: int) -> str:
    """The public key of a new pair on that node, which does not use it yet."""
    if name == node.hostname:
        return ssh_keys.generate(node.paths, kind, bits, NEW)
    for _, problem in _update(node, name, {"generate": [kind, bits, NEW]}):
        raise OpExecError(f"no new key: {problem}")
    argv = [*_ssh(node, name), "cat", f"/root/.ssh/id_{kind}{NEW}.pub"]
    done = node.run(argv, timeout_s=UPDATE_S)
    if not done.ok:
        raise OpExecError(f"its new key can't be read: {done.reason}: {done.last_lines(3)}")
    return done.stdout.strip()


def _spread(
    node: NodeContext,
    names: Sequence[tuple[str, str]],
    potential_master_candidates: Sequence[str],
    authorized: tuple[str, Keys],
    ring: tuple[str, Keys],
) -> Failures:
    failures = []
    for name, _ in names:
        change: dict[str, Json] = {"authorized_keys": list(authorized)} if authorized[1] else {}
        if name in potential_master_candidates:
            change["public_keys"] = list(ring)
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
        if "activate" in change:
            ssh_keys.activate(node.paths, *change["activate"])
        return []
    from ganeti.utils import x509  # costs memory that a noded rarely needs

    cluster = node.ssconf("cluster_name")
    certificate = x509.load_pair(node.paths.server_pem).certificate_pem().decode()
    document = {"cluster_name": cluster, "node_daemon_certificate": certificate, **change}
    done = node.run([*_ssh(node, name), HELPER], stdin=dump_bytes(document), timeout_s=UPDATE_S)
    return [] if done.ok else [(name, f"{done.reason}: {done.last_lines(3) or 'no output'}")]


def _ssh(node: NodeContext, name: str) -> list[str]:
    known = str(node.paths.known_hosts)
    argv = ssh_argv("ssh", ssh_port(node, name), node.ssconf("cluster_name"), known)
    return [*argv, f"root@{name}"]
