"""gnt-cluster command and copyfile: the same on many nodes, over the system's ssh.

Source: facts/cli-behaviour.md §8 and §10; SSH options: facts/node-behaviour.md §13.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.utils.ssh_command import (
    DEFAULT_SSH_PORT,
    ssh_argv,
    virtual_argv,
    virtual_neighbour,
)

LINE = "-" * 48


Execute = Callable[[Sequence[str]], tuple[str, int]]


def execute(argv: Sequence[str]) -> tuple[str, int]:
    """What the command printed on both streams, and its exit code."""
    try:
        ended = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        return f"{argv[0]}: {error.strerror}\n", EXIT_FAILURE
    return ended.stdout.decode(errors="replace"), ended.returncode


class Node:
    """A node to go to."""

    __slots__ = ("address", "name", "port")

    def __init__(self, name: str, address: str, port: int) -> None:
        self.name = name
        self.address = address
        self.port = port


def run_everywhere(run: Run, execute: Execute = execute) -> None:
    """Run the command on each node, the master last, and show output and exit code."""
    cluster_name, master = run.master.call("QueryConfigValues", ["cluster_name", "master_node"])
    nodes = online_nodes(run, secondary=False)
    nodes.sort(key=lambda node: node.name == master)
    command = " ".join(run.names)
    for node in nodes:
        output, status = execute(command_argv(run.world.paths, node, cluster_name, command))
        if status == 0 and run.options.failure_only:
            continue
        run.out(LINE)
        if run.options.show_machine_names:
            for line in output.splitlines():
                run.out(f"{node.name}: {line}")
        else:
            run.out(f"node: {node.name}")
            run.out(output)
        run.out(f"return code = {status}")


def copy_everywhere(run: Run, execute: Execute = execute) -> int:
    """Copy the file to the same place on each node but this one; 1 if that failed somewhere."""
    path = os.path.abspath(run.names[0])
    if not os.path.exists(path):
        raise OpPrereqError(f"{path}: no such file", Code.INVAL)
    (cluster_name,) = run.master.call("QueryConfigValues", ["cluster_name"])
    status = EXIT_SUCCESS
    for node in online_nodes(run, secondary=run.options.use_replication_network):
        if node.name == run.world.hostname:
            continue
        output, code = execute(copy_argv(run.world.paths, node, cluster_name, path))
        if code:
            run.err(f"Copying {path} to node {node.name} failed: {output.strip() or code}")
            status = EXIT_FAILURE
    return status


def command_argv(own: Paths, node: Node, cluster_name: str, command: str) -> list[str]:
    """What runs the command, for a shell, on that node."""
    if virtual := virtual_neighbour(own, node.name):
        return virtual_argv(virtual, node.name, command)
    argv = ssh_argv("ssh", node.port, cluster_name, str(own.known_hosts))
    return [*argv, f"root@{node.address}", command]


def copy_argv(own: Paths, node: Node, cluster_name: str, path: str) -> list[str]:
    """What copies the file to the same place on that node; OpPrereqError when it has no place
    there."""
    if virtual := virtual_neighbour(own, node.name):
        if not Path(path).is_relative_to(own.root):
            raise OpPrereqError(
                f"{path} is not below {own.root}, the root of this virtual node", Code.INVAL
            )
        return ["cp", "-p", path, str(virtual.below(own.virtual(path)))]
    argv = ssh_argv("scp", node.port, cluster_name, str(own.known_hosts))
    return [*argv, "-p", path, f"root@{node.address}:{path}"]


def online_nodes(run: Run, *, secondary: bool) -> list[Node]:
    """The nodes that -n and -g choose; offline ones are left out, with a note."""
    names = run.options.nodes
    wanted: Json = ["|", *(["==", "name", name] for name in names)] if names else None
    if run.options.nodegroup:
        group = run.options.nodegroup
        in_group: Json = ["|", ["==", "group", group], ["==", "group.uuid", group]]
        wanted = ["&", wanted, in_group] if wanted else in_group
    fields = ["name", "offline", "pip", "sip", "ndp/ssh_port"]
    rows = [
        [value for _, value in row]
        for row in run.master.call("Query", "node", fields, wanted)["data"]
    ]
    skipped = [name for name, offline, *_ in rows if offline]
    if skipped:
        run.err(f"Note: skipping offline node(s): {', '.join(skipped)}")
    return [
        Node(name, sip if secondary else name, int(port or DEFAULT_SSH_PORT))
        for name, offline, _, sip, port in rows
        if not offline
    ]
