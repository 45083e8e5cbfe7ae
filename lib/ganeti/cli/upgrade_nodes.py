"""Running the same on many nodes while no daemon lives: over SSH, or as on a virtual node.

Which nodes there are is read from ssconf, which is there without a master too.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from ganeti.cli.on_nodes import Node, command_argv
from ganeti.cli.world import World
from ganeti.constants import EXIT_FAILURE
from ganeti.utils.ssh_command import DEFAULT_SSH_PORT

AT_ONCE: Final = 32  # SSH connections
STEP_S: Final = 300.0  # on one node; stopping a busy daemon takes half a minute
SSH_FAILED: Final = 255  # see ssh(1)


class Answer(NamedTuple):
    """What a command printed on both streams, and its exit code."""

    output: str
    status: int

    @property
    def problem(self) -> str:
        """Why it did not work: the last words, or the exit code."""
        if not self.status:
            return ""
        last = self.output.strip().splitlines()[-1:]
        if not last and self.status == SSH_FAILED:
            return "can't be reached over SSH"
        return last[0] if last else f"exit code {self.status}"


class Machines(Protocol):
    """Runs a command line of the shell on nodes, at once on all of them."""

    def on(
        self, names: Sequence[str], command: str, *, timeout_s: float = STEP_S
    ) -> Mapping[str, Answer]: ...


class Nodes:
    """The nodes of the cluster as ssconf knows them; the master is this one."""

    __slots__ = ("all", "master", "offline", "others")

    def __init__(self, world: World) -> None:
        self.master = world.ssconf("master_node")
        offline = world.ssconf("offline_nodes").split()
        listed = world.ssconf("node_list").split()
        self.offline = [name for name in listed if name in offline and name != self.master]
        self.others = [name for name in listed if name not in (*offline, self.master)]
        self.all = [*self.others, self.master]


class Shells:
    """The real ones."""

    def __init__(self, world: World) -> None:
        self._world = world

    def on(
        self, names: Sequence[str], command: str, *, timeout_s: float = STEP_S
    ) -> Mapping[str, Answer]:
        ports = dict(self._ports())
        cluster = self._world.ssconf("cluster_name")
        found: dict[str, Answer] = {}
        for some in _portions(names):
            begun = {
                name: _begin(self._argv(name, ports.get(name), cluster, command)) for name in some
            }
            for name, process in begun.items():
                found[name] = _await(process, timeout_s)
        return found

    def _ports(self) -> Iterator[tuple[str, int]]:
        for line in self._world.ssconf("ssh_ports").splitlines():
            name, _, port = line.partition("=")
            yield name, int(port)

    def _argv(self, name: str, port: int | None, cluster: str, command: str) -> list[str]:
        if name == self._world.hostname and not self._world.paths.is_virtual:
            return ["sh", "-c", command]
        node = Node(name, name, port or DEFAULT_SSH_PORT)
        return command_argv(self._world.paths, node, cluster, command)


def _portions(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[first : first + AT_ONCE] for first in range(0, len(names), AT_ONCE))


def _begin(argv: Sequence[str]) -> subprocess.Popen[bytes] | OSError:
    """In a session of its own: Ctrl-C must not end a step on half of the nodes."""
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return error


def _await(process: subprocess.Popen[bytes] | OSError, timeout_s: float) -> Answer:
    if isinstance(process, OSError):
        return Answer(str(process), EXIT_FAILURE)
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has started holds the pipe as well
        process.communicate()
        return Answer(f"has not ended after {timeout_s:.0f} s", EXIT_FAILURE)
    return Answer(output.decode(errors="replace"), process.returncode)
