"""The command lines of ssh(1) and scp(1) between nodes, and what stands for them in a virtual
cluster. Source: facts/node-behaviour.md §13.

Apart from `ssh`, whose imports a console would have to wait for.
"""

from __future__ import annotations

from typing import Final

from ganeti.paths import HOSTNAME_VARIABLE, ROOT_VARIABLE, Paths

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
