"""Making a machine a node: what `prepare-node-join` and `node-daemon-setup` do on it, and keeping
its SSH keys: `ssh-update`.

Each reads one JSON object on its standard input (facts/node-behaviour.md §6). They run on the new
node before any daemon of the cluster does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, FileStoragePathError, GenericError, OpPrereqError
from ganeti.node.membership import backup_name
from ganeti.paths import Paths
from ganeti.rpc.promise import Promise
from ganeti.serializer import decode, loads
from ganeti.storage import whitelist
from ganeti.utils import daemons, ssh, ssh_keys, x509
from ganeti.utils.files import LocalDisk

KEY_MODE = 0o440
SSCONF_MODE = 0o444
STORAGE_MODE = 0o750
MOST_INPUT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinDocument:
    """Input of `prepare-node-join`."""

    cluster_name: str
    node_daemon_certificate: str  # PEM, the certificate only
    ssh_host_key: tuple[tuple[str, str, str], ...] = ()  # [type, private, public]
    ssh_root_key: tuple[tuple[str, str, str], ...] = ()
    authorized_keys: dict[str, list[str]] = field(default_factory=dict)  # node uuid: keys
    ssh_key_type: str = "rsa"
    ssh_key_bits: int = 2048
    former_certificates: tuple[str, ...] = ()  # PEM; what the cluster had before (ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupDocument:
    """Input of `node-daemon-setup`."""

    cluster_name: str
    node_daemon_certificate: str  # PEM, key and certificate
    hmac_key: str
    ssconf: dict[str, str]
    node_name: str
    start_node_daemon: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysDocument:
    """Input of `ssh-update`; actions as in `utils.ssh_keys`."""

    cluster_name: str
    node_daemon_certificate: str  # PEM, the certificate only
    public_keys: tuple[str, dict[str, list[str]]] | None = None
    authorized_keys: tuple[str, dict[str, list[str]]] | None = None
    generate: tuple[str, int, str] | None = None  # type, bits, ending of root's new key pair
    activate: tuple[str, str, str] | None = None  # type, ending, former type (ours)


D = TypeVar("D", JoinDocument, SetupDocument, KeysDocument)


def check_cluster(paths: Paths, cluster_name: str) -> None:
    """Refuse a machine that belongs to another cluster."""
    try:
        found = paths.ssconf("cluster_name").read_text().strip()
    except FileNotFoundError:
        return
    if found != cluster_name:
        raise OpPrereqError(
            f"this machine is a node of cluster {found}, not of {cluster_name}",
            Code.STATE,
            hint=f"remove it from {found} first, or clean it with node-cleanup",
        )


def check_certificate(paths: Paths, pem: str, former: Sequence[str] = ()) -> None:
    """Refuse who does not know the certificate of this machine's cluster, if it has one.

    A node that was down when the cluster's certificate was renewed has a `former` one.
    """
    if not paths.server_pem.exists():
        return
    own = x509.digest(x509.load_certificate(paths.server_pem))
    known = (x509.parse_certificate(one.encode(), "input") for one in (pem, *former))
    if own not in {x509.digest(one) for one in known}:
        raise OpPrereqError(
            f"{paths.server_pem} is the certificate of another cluster",
            Code.STATE,
            hint="clean this machine with node-cleanup",
        )


def update_keys(paths: Paths, document: KeysDocument) -> None:
    """The keys that this machine knows, and those that may log in here, are changed."""
    check_certificate(paths, document.node_daemon_certificate)
    if paths.is_virtual:
        return
    if document.authorized_keys is not None:
        ssh_keys.change_authorized(paths, *document.authorized_keys)
    if document.public_keys is not None:
        ssh_keys.change_ring(paths, *document.public_keys)
    if document.generate is not None:
        ssh_keys.generate(paths, *document.generate)
    if document.activate is not None:
        ssh_keys.activate(paths, *document.activate)


def prepare_join(paths: Paths, document: JoinDocument) -> None:
    """Host keys and root's authorised keys are those of the cluster."""
    check_cluster(paths, document.cluster_name)
    check_certificate(paths, document.node_daemon_certificate, document.former_certificates)
    if paths.is_virtual:
        return
    changed = [_write_host_key(paths, *key) for key in document.ssh_host_key]
    if any(changed):
        ssh.reload_server(paths)
    ssh.make_root_key(paths, document.ssh_key_type, document.ssh_key_bits)
    keys = [key for keys in document.authorized_keys.values() for key in keys]
    ssh.authorize(paths, [ssh.PublicKey.parse(key, "authorized_keys") for key in keys])


def _write_host_key(paths: Paths, kind: str, private: str, public: str) -> bool:
    """This machine has the host key; the one that it had stays as a backup. Whether it is new."""
    if kind not in ssh.HOST_KEY_TYPES:
        raise OpPrereqError(f"unknown type {kind!r} of an SSH host key", Code.INVAL)
    disk = LocalDisk()
    place = ssh.host_key_file(paths, kind)
    old = disk.read(place) if disk.exists(place) else None
    if old == private.encode():
        return False
    if old is not None:
        disk.replace(backup_name(place, time.time()), old, mode=0o600)
    disk.replace(place, private.encode(), mode=0o600)
    disk.replace(place.with_suffix(".pub"), public.encode(), mode=0o644)
    return True


def set_up_daemon(paths: Paths, document: SetupDocument) -> None:
    """The node has the cluster's secrets and ssconf, and its daemon runs."""
    check_cluster(paths, document.cluster_name)
    disk = LocalDisk()
    for directory, mode in paths.directories.items():
        disk.mkdir(directory, mode=mode)
    daemons.stop(paths, daemons.NODED)
    if not paths.ssconf("cluster_name").exists():  # new here: what a former cluster left is void
        for journal in (paths.config_journal, paths.queue_journal):
            disk.unlink(Promise(journal, paths.lock, disk).path, missing_ok=True)
    for key, value in document.ssconf.items():
        disk.replace(_ssconf_place(paths, key), value.encode(), mode=SSCONF_MODE)
    disk.replace(paths.hmac_key, document.hmac_key.encode(), mode=KEY_MODE)
    server = x509.parse_pair(document.node_daemon_certificate.encode(), "node_daemon_certificate")
    disk.replace(paths.server_pem, server.pem(), mode=KEY_MODE)
    client = x509.make_client(document.node_name, server, time.time())
    disk.replace(paths.client_pem, client.pem(), mode=KEY_MODE)
    for left in (paths.server_pem_new, paths.server_pem_old, paths.client_pem_new):
        disk.unlink(left, missing_ok=True)
    make_storage_directories(paths, document.ssconf)
    if document.start_node_daemon:
        daemons.start(paths, document.node_name, daemons.NODED)


def make_storage_directories(paths: Paths, ssconf: Mapping[str, str]) -> None:
    """The cluster's directories for disks in files exist, where this node allows them."""
    allowed = whitelist.read(paths.file_storage_paths)
    for key in ("file_storage_dir", "shared_file_storage_dir"):
        place = ssconf.get(key, "").strip()
        try:
            if place:
                whitelist.check(place, allowed, directory=True)
                paths.below(place).mkdir(STORAGE_MODE, parents=True, exist_ok=True)
        except FileStoragePathError as error:
            sys.stderr.write(f"{key}: {error}\n")


def _ssconf_place(paths: Paths, key: str) -> Path:
    if not key.replace("_", "").replace("-", "").isalnum():
        raise OpPrereqError(f"{key!r} is no name of a ssconf value", Code.INVAL)
    return paths.ssconf(key)


def _main(
    name: str,
    summary: str,
    argv: Sequence[str] | None,
    kind: type[D],
    act: Callable[[Paths, D], None],
) -> int:
    parser = argparse.ArgumentParser(prog=name, description=summary)
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    parser.add_argument("-d", "--debug", action="store_true", help="show where an error arose")
    parser.add_argument("--dry-run", action="store_true", help="check the input only")
    options = parser.parse_args(argv)
    paths = Paths.from_environment()
    try:
        text = sys.stdin.buffer.read(MOST_INPUT_BYTES)
        document = decode(kind, loads(text, "standard input"), "input")
        check_cluster(paths, document.cluster_name)
        if not options.dry_run:
            act(paths, document)
    except (GenericError, OSError) as error:
        if options.debug:
            raise
        sys.stderr.write(f"{name}: {error}\n")
        return EXIT_FAILURE
    return EXIT_SUCCESS


def main_prepare_join(argv: Sequence[str] | None = None) -> int:
    """The program `prepare-node-join`."""
    return _main(
        "prepare-node-join",
        "Bring SSH keys of the cluster to this machine.",
        argv,
        JoinDocument,
        prepare_join,
    )


def main_daemon_setup(argv: Sequence[str] | None = None) -> int:
    """The program `node-daemon-setup`."""
    return _main(
        "node-daemon-setup",
        "Bring certificates and ssconf to this machine and start its node daemon.",
        argv,
        SetupDocument,
        set_up_daemon,
    )


def main_ssh_update(argv: Sequence[str] | None = None) -> int:
    """The program `ssh-update`."""
    return _main(
        "ssh-update",
        "Change which SSH keys of the cluster are known on this machine.",
        argv,
        KeysDocument,
        update_keys,
    )
