"""What a node knows of its cluster, its certificate, and how it leaves."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ganeti.errors import OpExecError
from ganeti.node import job_file
from ganeti.node.context import NodeContext
from ganeti.node.file import write
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.utils import daemons
from ganeti.version import CONFIG_VERSION

logger = logging.getLogger(__name__)

PAUSE_MODE = 0o644
PAUSE_FORGOTTEN_S = 3600  # a pause so long over is removed


@serves(calls.version)
def version(node: NodeContext) -> int:
    return CONFIG_VERSION


@serves(calls.master_node_name)
def master_node_name(node: NodeContext) -> str:
    return node.ssconf("master_node")


@serves(calls.node_demote_from_mc)
def node_demote_from_mc(node: NodeContext) -> None:
    """config.data is put aside under another name, so that nobody takes it for current."""
    if node.ssconf("master_node") == node.hostname:
        raise OpExecError(f"node {node.hostname} is the master and can't be demoted")
    if daemons.running_pid(node.paths, daemons.MASTERD) is not None:
        raise OpExecError(f"node {node.hostname}: the master daemon runs here; stop it first")
    for place in (node.paths.config_data, node.paths.config_journal):
        if place.exists():
            node.files.rename(place, backup_name(place, node.clock.now()))


def backup_name(place: Path, now: float) -> Path:
    """facts/node-behaviour.md §13: `<name>.backup-<time>.<random>`."""
    stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.localtime(now))
    return place.with_name(f"{place.name}.backup-{stamp}.{os.urandom(4).hex()}")


@serves(calls.node_crypto_tokens)
def node_crypto_tokens(
    node: NodeContext, token_request: Sequence[calls.TokenRequest]
) -> list[tuple[str, str]]:
    """Digests of the client certificate, after what was asked was done with it."""
    from ganeti.node import certificates  # costs memory that a noded rarely needs

    answers = []
    for kind, action, options in token_request:
        if kind != "ssl":
            raise OpExecError(f"crypto token type {kind!r} is not known; only ssl is")
        answers.append((kind, certificates.ssl_token(node, action, options or {})))
    return answers


@serves(calls.get_watcher_pause)
def get_watcher_pause(node: NodeContext) -> float | None:
    try:
        until = int(node.paths.watcher_pause.read_text().strip())
    except FileNotFoundError:
        return None
    except ValueError:
        node.files.unlink(node.paths.watcher_pause, missing_ok=True)
        return None
    now = node.clock.now()
    if until + PAUSE_FORGOTTEN_S < now:
        node.files.unlink(node.paths.watcher_pause, missing_ok=True)
    return until if until > now else None


@serves(calls.set_watcher_pause)
def set_watcher_pause(node: NodeContext, until: float | None) -> None:
    if until is None:
        node.files.unlink(node.paths.watcher_pause, missing_ok=True)
    else:
        write(node, node.paths.watcher_pause, b"%d\n" % int(until), PAUSE_MODE, None)


@serves(calls.node_leave_cluster)
def node_leave_cluster(node: NodeContext, modify_ssh_setup: bool) -> str:
    """Nothing of the cluster is left but logs; noded ends a second after the answer."""
    paths = node.paths
    if modify_ssh_setup:
        logger.info("root's SSH keys stay: whoever removes the node withdraws them on the others")
    if paths.queue.is_dir():
        job_file.remove_all(node)
    for directory in (paths.crypto_keys, paths.data):
        for place in sorted(directory.glob("*")) if directory.is_dir() else []:
            if place.is_file() and not place.is_symlink() and not _is_certificate(node, place):
                node.files.unlink(place, missing_ok=True)
    for place in (paths.hmac_key, paths.rapi_pem, paths.spice_pem, paths.spice_ca_pem):
        node.files.unlink(place, missing_ok=True)
    for name in ("ganeti-confd",):
        daemons.stop(paths, name)
    for place in (paths.client_pem, paths.server_pem):
        node.files.unlink(place, missing_ok=True)  # last: with them the call can be repeated
    node.stop_daemon()
    return "Shutdown scheduled"


def _is_certificate(node: NodeContext, place: Path) -> bool:
    return place in (node.paths.server_pem, node.paths.client_pem)
