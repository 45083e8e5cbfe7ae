"""What clusters on one machine have in common, of virtual nodes and of namespace nodes.

Node N is `nodeN.example.com` and has the address NETWORK.N; the cluster itself is NETWORK.250.
Standard library only.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
DOMAIN = "example.com"
CLUSTER_NAME = f"cluster.{DOMAIN}"
CLUSTER_HOST = 250  # last byte of the cluster's own address
MOST_NODES = 200
OS_DIRECTORY = "/srv/ganeti/os"
INTERRUPTED_S = 20.0  # for a command to end after Ctrl-C


class NodesError(Exception):
    """One sentence for the person who wants the nodes."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended. A terminal has one output only: `err` is empty then."""

    rc: int
    out: str
    err: str


def names_of(count: int) -> tuple[str, ...]:
    """Of so many nodes; NodesError when that are too many or none."""
    if not 1 <= count <= MOST_NODES:
        raise NodesError(f"{count} nodes: from 1 to {MOST_NODES} are possible")
    return tuple(f"node{number}.{DOMAIN}" for number in range(1, count + 1))


class ClusterNodes:
    """Names and addresses. A node is called by its number, from 1, or by its name."""

    def __init__(self, network: str, names: Sequence[str]) -> None:
        self.network = network
        self.names = tuple(names)

    def number(self, node: str | int) -> int:
        """Of `node1`, `1` or the full name."""
        for number, name in enumerate(self.names, 1):
            if node in (number, name, name.partition(".")[0]):
                return number
        raise NodesError(f"no node {node!r}; there are {', '.join(self.names)}")

    def full_name(self, node: str | int) -> str:
        return self.names[self.number(node) - 1]

    def address(self, node: str | int) -> str:
        return f"{self.network}.{self.number(node)}"

    @property
    def cluster_address(self) -> str:
        return f"{self.network}.{CLUSTER_HOST}"

    def hosts(self) -> str:
        """The nodes' /etc/hosts."""
        lines = ["127.0.0.1\tlocalhost"]
        hosts = {number: name for number, name in enumerate(self.names, 1)}
        for host, name in {**hosts, CLUSTER_HOST: CLUSTER_NAME}.items():
            lines.append(f"{self.network}.{host}\t{name} {name.partition('.')[0]}")
        return "".join(f"{line}\n" for line in lines)


def run_command(
    argv: Sequence[str],
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    input: str,
    timeout_s: float,
    apart: bool = False,
) -> Done:
    """Run `argv`, in which `words` is what the caller asked for.

    NodesError when it does not end in time: it is killed then. So it is after Ctrl-C when it is
    `apart`, which the terminal does not reach; any other has been told and may have to undo.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=apart,
    ) as child:
        try:
            out, err = child.communicate(input, timeout=timeout_s)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and not apart:
                _let_end(child)
            else:
                _kill(child, apart)
            if isinstance(error, subprocess.TimeoutExpired):
                raise NodesError(
                    f"{shlex.join(words)!r} has not ended after {timeout_s:g} s"
                ) from None
            raise
    return Done(child.returncode, out, err)


def _let_end(child: subprocess.Popen[str]) -> None:
    try:
        child.wait(INTERRUPTED_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        child.kill()


def _kill(child: subprocess.Popen[str], with_group: bool) -> None:
    if with_group:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
