"""SSH: this node's keys, and commands on another node.

Keys and files: facts/node-behaviour.md §13. paramiko is imported when a connection is made.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.paths import Paths
from ganeti.utils.files import LocalDisk
from ganeti.utils.process import run

if TYPE_CHECKING:
    import paramiko

HOST_KEY_TYPES = ("rsa", "ecdsa", "ed25519", "dsa")
CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 120.0
KEYGEN_TIMEOUT_S = 60.0
RELOAD_TIMEOUT_S = 30.0
SSHD_PID_FILE = "/run/sshd.pid"
SYSTEMD_MARK = "/run/systemd/system"  # see sd_booted(3)
MOST_OUTPUT_BYTES = 1 << 20

AskPassword = Callable[[str], str | None]
"""Asks the person at the terminal; None when there is none."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One line of a public key file."""

    kind: str  # ssh-rsa
    data: str  # base64
    comment: str = ""

    @classmethod
    def parse(cls, line: str, where: str) -> PublicKey:
        words = line.split(None, 2)
        if len(words) < 2:
            raise OpPrereqError(f"{where}: no public key in {line[:40]!r}", Code.ENVIRON)
        return cls(words[0], words[1], words[2].strip() if len(words) > 2 else "")

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.data, self.comment) if part)


def host_key_file(paths: Paths, kind: str) -> Path:
    """The private host key of that type; the public one has `.pub` at its end."""
    return paths.below(f"/etc/ssh/ssh_host_{kind}_key")


def host_keys(paths: Paths) -> dict[str, PublicKey]:
    """The public host keys of this node, by type."""
    found = {}
    for kind in HOST_KEY_TYPES:
        path = host_key_file(paths, kind).with_suffix(".pub")
        if path.exists():
            found[kind] = PublicKey.parse(path.read_text(), str(path))
    return found


def reload_server(paths: Paths) -> None:
    """The SSH server reads its keys again; sessions go on. CommandError when it can't be told.

    sshd(8) does so at HUP, which is also what its unit sends.
    """
    try:
        pid = int(paths.below(SSHD_PID_FILE).read_text())
    except (FileNotFoundError, ValueError):
        if paths.below(SYSTEMD_MARK).is_dir():
            run(["systemctl", "reload", "ssh.service"], timeout_s=RELOAD_TIMEOUT_S).check()
        return  # it is not running, or is started for each connection
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return


def prepare_master(paths: Paths, cluster_name: str) -> str:
    """Write the cluster's known_hosts.

    Returns the base64 part of the RSA host key. OpPrereqError ENV when this node has no host key.
    """
    keys = host_keys(paths)
    if "rsa" not in keys:
        raise OpPrereqError(
            "this node has no RSA host key in /etc/ssh",
            Code.ENVIRON,
            hint="install the SSH server, or make the keys with ssh-keygen -A",
        )
    lines = [f"{cluster_name} {key.kind} {key.data}" for key in keys.values()]
    LocalDisk().replace(paths.known_hosts, "".join(f"{line}\n" for line in lines).encode())
    return keys["rsa"].data


def make_root_key(paths: Paths, kind: str = "rsa", bits: int = 2048) -> PublicKey:
    """Root's own key pair, made when it is missing; the public part."""
    private = root_directory(paths) / f"id_{kind}"
    if not private.exists():
        argv = ["ssh-keygen", "-q", "-t", kind, "-b", str(bits), "-N", "", "-f", str(private)]
        run(argv, timeout_s=KEYGEN_TIMEOUT_S).check()
    public = private.with_suffix(".pub")
    return PublicKey.parse(public.read_text(), str(public))


def authorize(paths: Paths, keys: Sequence[PublicKey]) -> None:
    """These keys may log in as root on this node; others stay."""
    path = root_directory(paths) / "authorized_keys"
    old = path.read_text().splitlines() if path.exists() else []
    known = {line.split()[1] for line in old if len(line.split()) > 1}
    new = [str(key) for key in {key.data: key for key in keys}.values() if key.data not in known]
    if new:
        LocalDisk().replace(path, "".join(f"{line}\n" for line in [*old, *new]).encode())


def root_directory(paths: Paths) -> Path:
    directory = paths.below("/root/.ssh")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


@dataclass(frozen=True, slots=True)
class Finished:
    """What a remote command left."""

    exit_code: int
    output: str


class Connection:
    """A login as root on another node."""

    def __init__(self, client: paramiko.SSHClient, host: str) -> None:
        self._client = client
        self._host = host

    @classmethod
    def open(
        cls,
        host: str,
        *,
        port: int = 22,
        known_hosts: Sequence[Path] = (),
        check_host_key: bool = True,
        ask_password: AskPassword | None = None,
    ) -> Connection:
        """Log in with the agent, root's keys, or a password that is asked for.

        OpExecError says why it did not work and what to do.
        """
        import paramiko

        client = paramiko.SSHClient()
        for path in known_hosts:
            if path.exists():
                # Not load_host_keys: a host that is accepted unseen would be written into the file.
                client.load_system_host_keys(str(path))
        client.load_system_host_keys()
        policy = paramiko.RejectPolicy() if check_host_key else paramiko.AutoAddPolicy()
        client.set_missing_host_key_policy(policy)
        try:
            _login(client, host, port, None)
        except paramiko.AuthenticationException as error:
            password = ask_password(f"root@{host}'s password: ") if ask_password else None
            if password is None:
                raise OpExecError(
                    f"root@{host} accepts none of the keys; load a key into the agent, or run"
                    " this on a terminal to be asked for the password"
                ) from error
            _login(client, host, port, password)
        return cls(client, host)

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = COMMAND_TIMEOUT_S
    ) -> Finished:
        """Run a program there; SSH knows command lines only, so every word is quoted."""
        command = shlex.join(argv)
        transport = self._client.get_transport()
        assert transport is not None  # it is made when the client connects
        channel = transport.open_session(timeout=CONNECT_TIMEOUT_S)
        try:
            channel.settimeout(timeout_s)
            channel.set_combine_stderr(True)
            channel.exec_command(command)
            channel.sendall(stdin.encode())
            channel.shutdown_write()
            output = b""
            while len(output) < MOST_OUTPUT_BYTES and (piece := channel.recv(65536)):
                output += piece
            return Finished(channel.recv_exit_status(), output.decode(errors="replace"))
        except TimeoutError as error:
            raise OpExecError(
                f"{argv[0]} on {self._host} did not end within {timeout_s:.0f} s"
            ) from error
        finally:
            channel.close()

    def close(self) -> None:
        self._client.close()


def _login(client: paramiko.SSHClient, host: str, port: int, password: str | None) -> None:
    import paramiko

    try:
        client.connect(
            host,
            port=port,
            username="root",
            password=password,
            timeout=CONNECT_TIMEOUT_S,
            banner_timeout=CONNECT_TIMEOUT_S,
            auth_timeout=CONNECT_TIMEOUT_S,
            look_for_keys=password is None,
            allow_agent=password is None and "SSH_AUTH_SOCK" in os.environ,
        )
    except paramiko.AuthenticationException:
        if password is None:
            raise
        raise OpExecError(f"root@{host} does not accept the password") from None
    except paramiko.BadHostKeyException as error:
        raise OpExecError(
            f"the SSH host key of {host} is not the known one; if the node was installed anew,"
            f" remove the old key from known_hosts ({error})"
        ) from error
    except (paramiko.SSHException, OSError) as error:
        reasons = getattr(error, "errors", None)  # of each address: NoValidConnectionsError
        said = ", ".join(str(one) for one in reasons.values()) if reasons else error
        raise OpExecError(
            f"no SSH connection to {host} port {port}: {said}; check that sshd runs there and,"
            " for an unknown host key, look at it and use --no-ssh-key-check"
        ) from error
