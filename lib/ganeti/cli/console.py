"""The console of an instance: how to get there, from what the master answers.

Kinds and keys: facts/opcodes.json `OP_INSTANCE_CONSOLE`; SSH options: facts/node-behaviour.md §13.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from ganeti.cli.run import Run
from ganeti.constants import EXIT_SUCCESS
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.utils.ssh_command import (
    DEFAULT_SSH_PORT,
    ssh_argv,
    virtual_argv,
    virtual_neighbour,
)

FIRST_DISPLAY_PORT = 5900


def open_console(run: Run, name: str, *, show: bool) -> int:
    """Print where the console is, or (unless `show`) run it; the exit status."""
    (cluster_name,) = run.master.call("QueryConfigValues", ["cluster_name"])
    rows = run.master.call("QueryInstances", [name], ["console", "oper_state"], False)
    if not rows:
        raise OpPrereqError(f"Instance {name!r} is not known", Code.NOENT)
    console, running = rows[0]
    if running is False or not console:
        why = "it is not running" if not running else "its console is not known"
        raise OpExecError(f"no console for instance {name}: {why}")
    if console["kind"] != "ssh":
        run.out(describe(console))
        return EXIT_SUCCESS
    argv = console_argv(console, cluster_name, run.world.paths)
    if show:
        run.out(shlex.join(argv))
        return EXIT_SUCCESS
    run.world.stdout.flush()
    return run_in_terminal(argv)


def describe(console: Mapping[str, Json]) -> str:
    """Where a graphical console listens, or the text in place of a console."""
    name, host, port = console["instance"], console.get("host"), console.get("port")
    if console["kind"] == "msg":
        return str(console["message"])
    if console["kind"] == "spice":
        return f"Instance {name} has SPICE listening on {host}:{port}"
    display = console.get("display")
    if display is None:
        display = int(port or 0) - FIRST_DISPLAY_PORT
    return (
        f"Instance {name} has VNC listening on {host}:{port} (display {display}),"
        f" URL <vnc://{host}:{port}/>"
    )


def console_argv(console: Mapping[str, Json], cluster_name: str, own: Paths) -> list[str]:
    """The command that opens a text console on its node."""
    command = console["command"]
    host = str(console["host"])
    if virtual := virtual_neighbour(own, host):
        return virtual_argv(virtual, host, shell_words(in_checkout(command)))
    port = int(console.get("port") or DEFAULT_SSH_PORT)
    target = f"{console.get('user') or 'root'}@{host}"
    argv = ssh_argv("ssh", port, cluster_name, str(own.known_hosts))
    return [*argv, "-t", target, shell_words(command)]


def shell_words(command: Json) -> str:
    return shlex.join(command) if isinstance(command, list) else str(command)


def in_checkout(command: Json) -> Json:
    """Virtual nodes may run from a checkout, which has the helper programs in `tools`."""
    if not isinstance(command, list) or os.path.exists(command[0]):
        return command
    program = Path(__file__).resolve().parents[3] / "tools" / Path(command[0]).name
    return [str(program), *command[1:]] if program.exists() else command


def run_in_terminal(argv: list[str]) -> int:
    """Run a command that has the terminal; 0, or 1 when it fails."""
    import subprocess

    try:
        ended = subprocess.run(argv, env=os.environ, check=False)
    except OSError as error:
        raise OpExecError(f"{argv[0]}: {error.strerror}") from error
    if ended.returncode:
        raise OpExecError(f"{argv[0]} ended with exit code {ended.returncode}")
    return EXIT_SUCCESS
