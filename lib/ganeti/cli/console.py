"""The console of an instance: how to get there, from what the master answers.

Kinds and keys: facts/opcodes.json `OP_INSTANCE_CONSOLE`; SSH options: facts/node-behaviour.md §13.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

from ganeti.cli.run import Run
from ganeti.constants import EXIT_SUCCESS
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.serializer import Json
from ganeti.utils.ssh_command import console_argv

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
