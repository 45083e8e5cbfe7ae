"""The command lines of ssh(1) and scp(1) between nodes. Source: facts/node-behaviour.md §13.

Apart from `ssh`, whose imports a console would have to wait for.
"""

from __future__ import annotations

from typing import Final

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
