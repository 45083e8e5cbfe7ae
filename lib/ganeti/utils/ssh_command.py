"""The command lines of ssh(1) and scp(1) between nodes, and what stands for them in a virtual
cluster. Source: facts/node-behaviour.md §13.

Apart from `ssh`, whose imports a console would have to wait for.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ganeti.paths import HOSTNAME_VARIABLE, ROOT_VARIABLE, Paths
from ganeti.serializer import Json

DEFAULT_SSH_PORT: Final = 22
CONNECT_TIMEOUT_S: Final = 10


def ssh_argv(program: str, port: int, cluster_name: str, known_hosts: str) -> list[str]:
    """ssh or scp with the cluster's host key and no questions."""
    settings = [
        "EscapeChar=none",
        "HashKnownHosts=no",
        f"GlobalKnownHostsFile={known_hosts}",
        "UserKnownHostsFile=/dev/null",
        "CheckHostIp=no",
        f"ConnectTimeout={CONNECT_TIMEOUT_S}",
        f"HostKeyAlias={cluster_name}",
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"Port={port}",
    ]
    return [program, "-q", *(f"-o{setting}" for setting in settings)]


def virtual_neighbour(own: Paths, node_name: str) -> Paths | None:
    """The files of another virtual node, a directory beside ours; None for a real node."""
    root = own.root.parent / node_name
    return Paths(root) if own.is_virtual and root.is_dir() else None


def virtual_argv(node: Paths, node_name: str, command: str) -> list[str]:
    """The command, for a shell, as on that virtual node: there is no SSH to it, and no need."""
    settings = [f"{ROOT_VARIABLE}={node.root}", f"{HOSTNAME_VARIABLE}={node_name}"]
    return ["env", *settings, "sh", "-c", command]


def console_argv(
    console: Mapping[str, Json], cluster_name: str, own: Paths, *, terminal: bool = True
) -> list[str]:
    """The command that opens a text console on its node, from what the master says of it.

    Without a terminal the line is carried as it is, by pipes: nothing is echoed, no key ends it.
    """
    command = console["command"]
    if not terminal and isinstance(command, list):
        command = [_without_terminal(word) for word in command]
    host = str(console["host"])
    if virtual := virtual_neighbour(own, host):
        words = [word.replace(str(own.root), str(virtual.root)) for word in in_checkout(command)]
        argv = virtual_argv(virtual, host, shlex.join(words))
        return argv if terminal else [*argv[:-3], *words]
    port = int(console.get("port") or DEFAULT_SSH_PORT)
    target = f"{console.get('user') or 'root'}@{host}"
    argv = ssh_argv("ssh", port, cluster_name, str(own.known_hosts))
    return [*argv, *(["-t"] if terminal else ["-T"]), target, shell_words(command)]


def _without_terminal(word: Json) -> str:
    """socat(1)'s STDIO without options, all of which are for terminals or for people."""
    return "STDIO" if str(word).startswith("STDIO,") else str(word)


def shell_words(command: Json) -> str:
    return shlex.join(command) if isinstance(command, list) else str(command)


def in_checkout(command: Json) -> Sequence[str]:
    """Virtual nodes may run from a checkout, which has the helper programs in `tools`."""
    words = command if isinstance(command, list) else shlex.split(str(command))
    if os.path.exists(words[0]):
        return words
    program = Path(__file__).resolve().parents[3] / "tools" / Path(words[0]).name
    return [str(program), *words[1:]] if program.exists() else words
