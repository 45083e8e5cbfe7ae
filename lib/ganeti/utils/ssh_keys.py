"""The public SSH keys of the cluster's nodes, and whose may log in where.

A node that may become master holds the ring DATA/ganeti_pub_keys, with lines `uuid type key
comment`. The keys of master candidates stand in root's authorized_keys of every node. Source:
facts/node-behaviour.md §6 and §13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ganeti.errors import Code, OpPrereqError
from ganeti.paths import Paths
from ganeti.types import SshKeyType
from ganeti.utils.files import LocalDisk
from ganeti.utils.process import run
from ganeti.utils.ssh import KEYGEN_TIMEOUT_S, root_directory

KEYS_MODE: Final = 0o600
BITS: Final = {SshKeyType.RSA: 2048, SshKeyType.DSA: 1024, SshKeyType.ECDSA: 256}
ECDSA_BITS: Final = (256, 384, 521)
LEAST_RSA_BITS: Final = 1024

Keys = Mapping[str, Sequence[str]]
"""Node uuid (its name until it has one): lines of its public key files."""


def check_kind(kind: SshKeyType | None, bits: int | None) -> None:
    """OpPrereqError unless ssh-keygen(1) makes such keys."""
    if bits is None:
        return
    fine = {
        SshKeyType.DSA: bits == BITS[SshKeyType.DSA],
        SshKeyType.ECDSA: bits in ECDSA_BITS,
    }.get(kind or SshKeyType.RSA, bits >= LEAST_RSA_BITS)
    if not fine:
        raise OpPrereqError(
            f"an SSH key of type {kind or SshKeyType.RSA} can't have {bits} bits: rsa has"
            f" {LEAST_RSA_BITS} or more, dsa {BITS[SshKeyType.DSA]}, ecdsa 256, 384 or 521",
            Code.INVAL,
        )


def parse_ring(text: str) -> dict[str, list[str]]:
    ring: dict[str, list[str]] = {}
    for line in text.splitlines():
        owner, _, key = line.strip().partition(" ")
        if key:
            ring.setdefault(owner, []).append(key)
    return ring


def ring_text(ring: Keys) -> str:
    return "".join(f"{owner} {key}\n" for owner, keys in ring.items() for key in keys)


def changed_ring(ring: Keys, action: str, keys: Keys) -> dict[str, list[str]]:
    """The ring after add, remove, replace_or_add (of these owners), override or clear (of all)."""
    made = {owner: list(own) for owner, own in ring.items()}
    match action:
        case "override":
            return {owner: list(own) for owner, own in keys.items()}
        case "clear":
            return {}
        case "remove":
            return {owner: own for owner, own in made.items() if owner not in keys}
        case "add":
            for owner, own in keys.items():
                known = made.setdefault(owner, [])
                known += [key for key in own if key not in known]
            return made
        case "replace_or_add":
            return made | {owner: list(own) for owner, own in keys.items()}
    raise OpPrereqError(f"unknown action {action!r} on public SSH keys", Code.INVAL)


def changed_authorized(text: str, action: str, keys: Keys) -> str:
    """Text of an authorized_keys file after add or remove; lines of others stay as they are."""
    given = {_data(key): key for own in keys.values() for key in own}
    lines = text.splitlines()
    if action == "remove":
        kept = [line for line in lines if not given.keys() & set(line.split())]
        return _joined(kept)
    if action == "add":
        known = {word for line in lines for word in line.split()}
        return _joined([*lines, *(key for data, key in given.items() if data not in known)])
    raise OpPrereqError(f"unknown action {action!r} on authorized SSH keys", Code.INVAL)


def _data(key: str) -> str:
    """The part of a public key line that tells it from others."""
    words = key.split()
    if len(words) < 2:
        raise OpPrereqError(f"{key[:40]!r} is no public SSH key", Code.INVAL)
    return words[1]


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def read_ring(paths: Paths) -> dict[str, list[str]]:
    """Empty when this node has none."""
    try:
        return parse_ring(paths.ssh_public_keys.read_text())
    except FileNotFoundError:
        return {}


def change_ring(paths: Paths, action: str, keys: Keys) -> dict[str, list[str]]:
    """The new ring of this node."""
    before = read_ring(paths)
    ring = changed_ring(before, action, keys)
    if ring != before:
        LocalDisk().replace(paths.ssh_public_keys, ring_text(ring).encode(), mode=KEYS_MODE)
    return ring


def change_authorized(paths: Paths, action: str, keys: Keys) -> None:
    """Root's authorized_keys of this node."""
    place = root_directory(paths) / "authorized_keys"
    before = place.read_text() if place.exists() else ""
    text = changed_authorized(before, action, keys)
    if text != before:
        LocalDisk().replace(place, text.encode(), mode=KEYS_MODE)


def generate(paths: Paths, kind: str, bits: int, ending: str) -> str:
    """Root has a new key pair, `id_KIND` with that ending; one of that name is replaced.

    Returns the line of its public key.
    """
    private = _key_file(paths, kind, ending)
    public = private.with_name(f"{private.name}.pub")
    for place in (private, public):
        place.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-t", kind, "-b", str(bits), "-N", "", "-f", str(private)]
    run(argv, timeout_s=KEYGEN_TIMEOUT_S).check()
    return public.read_text().strip()


def activate(paths: Paths, kind: str, ending: str, former: str) -> None:
    """The key pair with that ending is root's own now; one of another type is gone.

    The public part goes away first: ssh(1) would offer it with a private key that is another's.
    """
    new, own = _key_file(paths, kind, ending), _key_file(paths, kind, "")
    disk = LocalDisk()
    if new.exists():
        disk.unlink(own.with_name(f"{own.name}.pub"), missing_ok=True)
        disk.rename(new, own)
    public = new.with_name(f"{new.name}.pub")
    if public.exists():
        disk.rename(public, own.with_name(f"{own.name}.pub"))
    if former != kind:
        old = _key_file(paths, former, "")
        for place in (old, old.with_name(f"{old.name}.pub")):
            disk.unlink(place, missing_ok=True)


def _key_file(paths: Paths, kind: str, ending: str) -> Path:
    if not kind.isalnum() or "/" in ending:
        raise OpPrereqError(f"{kind!r} with {ending!r} is no kind of SSH key", Code.INVAL)
    return root_directory(paths) / f"id_{kind}{ending}"


# Whether all is in place.


class KeyOwner(NamedTuple):
    """A node as `gnt-cluster verify` describes it to the others."""

    uuid: str
    name: str
    is_candidate: bool
    may_be_candidate: bool
    is_online: bool


def read_authorized(paths: Paths) -> str:
    """Root's authorized_keys of this node; empty when there is none."""
    place = root_directory(paths) / "authorized_keys"
    return place.read_text() if place.exists() else ""


def setup_problems(
    owners: Sequence[KeyOwner], own_name: str, own_key: str, ring: Keys, authorized: str
) -> list[str]:
    """What is wrong with the keys of the node `own_name`. `own_key`: line of root's public key."""
    here = next((one for one in owners if one.name == own_name), None)
    if here is None:
        return [f"its own name {own_name} is not among the nodes of the cluster"]
    if not here.may_be_candidate:
        return []  # it holds no ring to compare with
    may_log_in = set(authorized.split())
    problems = []
    for one in owners:
        keys = ring.get(one.uuid, ())
        if not one.may_be_candidate:
            if keys:
                problems.append(f"the ring has a key of {one.name}, which is not master_capable")
        elif not keys:
            problems.append(
                f"the ring of public SSH keys has none of node {one.name};"
                f" gnt-node add --readd {one.name} brings it"
            )
        elif len(keys) > 1:
            problems.append(f"the ring has {len(keys)} public SSH keys of node {one.name}")
        known = [_data(key) in may_log_in for key in keys]
        if one.is_candidate and not all(known):
            problems.append(f"the key of master candidate {one.name} may not log in here")
        elif not one.is_candidate and one.uuid != here.uuid and any(known):
            problems.append(f"the key of {one.name}, no master candidate, may log in here")
    strangers = ring.keys() - {one.uuid for one in owners}
    problems += [f"the ring has a key of {who}, which is no node" for who in sorted(strangers)]
    if own_key.split()[1:2] != [_data(key) for key in ring.get(here.uuid, ())][:1]:
        problems.append("root's own SSH key is not the one that the ring has of this node")
    return problems


def clutter(authorized: str) -> list[str]:
    """Owners (the comments of keys) that have several keys in authorized_keys."""
    owners = Counter(
        words[-1]
        for line in authorized.splitlines()
        if len(words := line.split()) > 2 and not line.startswith("#")
    )
    return [
        f"authorized_keys has {count} keys of {owner}; those that are not in use should go"
        for owner, count in sorted(owners.items())
        if count > 1
    ]
