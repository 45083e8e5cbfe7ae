"""Bringing a machine into the cluster: what `gnt-node add` does before its job.

The new node gets its part through two helper programs, each fed with one JSON object. How they are
reached is a `NodeShell`: over SSH on real nodes, directly in a virtual cluster, where the node is a
directory beside the master's.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ganeti import constants
from ganeti.build import LIBDIR
from ganeti.errors import OpExecError, OpPrereqError
from ganeti.paths import Paths
from ganeti.serializer import Json, dumps
from ganeti.types import IpFamily
from ganeti.utils import daemons, hosts, net, ssh, ssh_keys, x509

Say = Callable[[str], None]

NODED_WAIT_S = 10.0
HELPER_TIMEOUT_S = 120.0
POLL_S = 0.02
SSCONF_PREFIX = "ssconf_"


class NodeShell(Protocol):
    """How helper programs are run on the machine that is to become a node."""

    def run_helper(self, name: str, document: Json) -> None:
        """Run a helper with the document on its input; OpExecError with its words if it fails."""

    def read_file(self, path: str) -> str:
        """A file of that machine; OpExecError when it can't be read."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LocalShell:
    """A virtual node: its root is a directory of this machine."""

    paths: Paths
    hostname: str

    def run_helper(self, name: str, document: Json) -> None:
        done = subprocess.run(
            [sys.executable, str(daemons.helper(name))],
            env=daemons.environment(self.paths, self.hostname),
            input=dumps(document),
            capture_output=True,
            text=True,
            timeout=HELPER_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise OpExecError(f"{self.hostname}: {done.stderr.strip() or done.stdout.strip()}")

    def read_file(self, path: str) -> str:
        try:
            return self.paths.below(path).read_text()
        except OSError as error:
            raise OpExecError(f"{self.hostname}: {path}: {error.strerror}") from error

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class SshShell:
    """A machine that is reached over SSH as root."""

    connection: ssh.Connection
    hostname: str

    def run_helper(self, name: str, document: Json) -> None:
        done = self.connection.run([f"{LIBDIR}/{name}"], stdin=dumps(document))
        if done.exit_code != 0:
            said = done.output.strip()
            raise OpExecError(
                f"{self.hostname}: {name} ended with exit code {done.exit_code}:"
                f" {said or 'no output; is the software installed there?'}"
            )

    def read_file(self, path: str) -> str:
        done = self.connection.run(["cat", path])
        if done.exit_code != 0:
            raise OpExecError(f"{self.hostname}: {done.output.strip()}")
        return done.output

    def close(self) -> None:
        self.connection.close()


def open_shell(
    paths: Paths,
    hostname: str,
    *,
    ssh_port: int = 22,
    check_host_key: bool = True,
    ask_password: ssh.AskPassword | None = None,
) -> NodeShell:
    """The way to the new node; OpPrereqError or OpExecError when there is none."""
    if not paths.is_virtual:
        connection = ssh.Connection.open(
            hostname,
            port=ssh_port,
            known_hosts=[paths.known_hosts],
            check_host_key=check_host_key,
            ask_password=ask_password,
        )
        return SshShell(connection, hostname)
    root = paths.root.parent / hostname
    if not root.is_dir():
        raise OpPrereqError(
            f"there is no virtual node {hostname}: {root} does not exist",
            hint="make its directory first, as tools/quickstart does",
        )
    return LocalShell(Paths(root), hostname)


def join_node(
    paths: Paths,
    node_name: str,
    *,
    modify_ssh_setup: bool,
    ssh_key_type: str = "rsa",
    ssh_key_bits: int = 2048,
    ssh_port: int = 22,
    check_host_key: bool = True,
    ask_password: ssh.AskPassword | None = None,
    say: Say = lambda text: None,
) -> None:
    """The machine has the cluster's keys, its node daemon runs and answers.

    Run on the master before OP_NODE_ADD is submitted. `node_name` is the full name.
    """
    shell = open_shell(
        paths,
        node_name,
        ssh_port=ssh_port,
        check_host_key=check_host_key,
        ask_password=ask_password,
    )
    try:
        if not paths.is_virtual and modify_ssh_setup:
            say(f"bringing SSH keys to {node_name}")
            shell.run_helper("prepare-node-join", _join_document(paths, ssh_key_type, ssh_key_bits))
            key = shell.read_file(f"/root/.ssh/id_{ssh_key_type}.pub").strip()
            ssh_keys.change_ring(paths, "replace_or_add", {node_name: [key]})
        say(f"starting the node daemon on {node_name}")
        shell.run_helper("node-daemon-setup", setup_document(paths, node_name))
    finally:
        shell.close()
    wait_for_noded(paths, node_name)


def _join_document(paths: Paths, key_type: str, key_bits: int) -> Json:
    """Input of `prepare-node-join`: all nodes have the same host keys, root's key may log in."""
    server = x509.load_pair(paths.server_pem)
    root_key = ssh.make_root_key(paths, key_type, key_bits)
    return {
        "cluster_name": read_ssconf(paths)["cluster_name"].strip(),
        "node_daemon_certificate": server.certificate_pem().decode(),
        "ssh_host_key": [
            [kind, ssh.host_key_file(paths, kind).read_text(), f"{public}\n"]
            for kind, public in ssh.host_keys(paths).items()
        ],
        "authorized_keys": {**_candidates_keys(paths), "master": [str(root_key)]},
        "ssh_key_type": key_type,
        "ssh_key_bits": key_bits,
        "former_certificates": former_certificates(paths),
    }


def former_certificates(paths: Paths) -> list[str]:
    """What the cluster's certificate was before; a node that was down then still has it."""
    try:
        text = paths.server_pem_former.read_bytes()
    except FileNotFoundError:
        return []
    return [pem.decode() for pem in x509.split_certificates(text)]


def _candidates_keys(paths: Paths) -> dict[str, list[str]]:
    """Public SSH keys of the master candidates, by node uuid."""
    certificates = read_ssconf(paths).get("master_candidates_certs", "").splitlines()
    uuids = {line.partition("=")[0] for line in certificates}
    return {uuid: keys for uuid, keys in ssh_keys.read_ring(paths).items() if uuid in uuids}


def setup_document(paths: Paths, node_name: str) -> Json:
    """Input of `node-daemon-setup` (facts/node-behaviour.md §6)."""
    ssconf = read_ssconf(paths)
    return {
        "cluster_name": ssconf["cluster_name"].strip(),
        "node_daemon_certificate": paths.server_pem.read_text(),
        "hmac_key": paths.hmac_key.read_text(),
        "ssconf": ssconf,
        "start_node_daemon": True,
        "node_name": node_name,
    }


def read_ssconf(paths: Paths) -> dict[str, str]:
    """All ssconf values of this node, as they are in the files."""
    return {
        path.name.removeprefix(SSCONF_PREFIX): path.read_text()
        for path in paths.data.glob(f"{SSCONF_PREFIX}*")
    }


def wait_for_noded(paths: Paths, node_name: str) -> None:
    """Returns when the node daemon's port answers; OpExecError after 10 s."""
    family = IpFamily(int(read_ssconf(paths).get("primary_ip_family", "2").strip() or 2))
    address = hosts.look_up(paths, node_name, family).ip
    end = time.monotonic() + NODED_WAIT_S
    while not net.is_port_open(address, constants.NODED_PORT, timeout_s=1.0):
        if time.monotonic() > end:
            raise OpExecError(
                f"the node daemon of {node_name} does not answer on {address} port"
                f" {constants.NODED_PORT}; look into its node-daemon.log"
            )
        time.sleep(POLL_S)
