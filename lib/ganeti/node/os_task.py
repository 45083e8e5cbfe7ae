"""Scripts of guest OSes as tasks: they outlive noded, and undo can end them.

A task is named after its instance: the master holds the instance's lock, so whatever still runs
under that name belongs to a call that nobody waits for any more, and is ended first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from ganeti.errors import OpExecError
from ganeti.node.context import NodeContext
from ganeti.node.task import Tasks
from ganeti.os_defs.run import Ending, Script, ScriptHost

PREFIX: Final = "os-script-"
# The command comes as arguments; what it says goes to the log, whose name is $0.
LOGGED: Final = 'exec >>"$0" 2>&1; exec "$@"'
SHELL_VARIABLES: Final = ("PWD", "OLDPWD", "SHLVL", "_", "TASK", "LC_ALL")
"""What the shells before the script add to its environment."""


def script_host(node: NodeContext) -> ScriptHost:
    return ScriptHost(
        paths=node.paths,
        run=node.run,
        now=node.clock.now(),
        execute=lambda script: execute(node, script),
    )


def task_name(instance_name: str) -> str:
    return PREFIX + instance_name


def task_argv(script: Script, inherited: Sequence[str]) -> list[str]:
    """The task's command: a clean environment, without its values in the argument list.

    Those may be secret, and arguments are for all to see. `inherited`: names of the variables that
    noded itself has. See env(1).
    """
    unwanted = sorted((set(inherited) | set(SHELL_VARIABLES)) - set(script.environment))
    unset = [word for name in unwanted for word in ("-u", name)]
    clean = ["/usr/bin/env", "-C", script.cwd, *unset, *script.argv]
    return ["/bin/sh", "-c", LOGGED, str(script.log), *clean]


def execute(node: NodeContext, script: Script) -> Ending:
    """The script has ended, by itself or because its time was over."""
    tasks = Tasks(node)
    name = task_name(script.instance)
    _forget(tasks, name)
    about = {"instance": script.instance, "disks": " ".join(script.disks)}
    tasks.start(
        name, task_argv(script, list(os.environ)), env=dict(script.environment), about=about
    )
    state = tasks.wait(name, script.timeout_s)
    if state.running:
        tasks.cancel(name)
        tasks.remove(name)
        return Ending(False, f"was ended after {script.timeout_s:g} s")
    tasks.remove(name)
    return Ending(state.ok, state.reason)


def cancel_scripts_on(node: NodeContext, disk_uuids: Sequence[str]) -> None:
    """No script writes to one of these disks any more. OpExecError when one can't be ended."""
    tasks = Tasks(node)
    for state in tasks.all():
        used = set(state.record.about.get("disks", "").split())
        if state.record.name.startswith(PREFIX) and used & set(disk_uuids):
            tasks.cancel(state.record.name)


def _forget(tasks: Tasks, name: str) -> None:
    """Nothing is left of an earlier script on this instance."""
    found = tasks.find(name)
    if found is not None and found.running:
        found = tasks.cancel(name)
        if found is not None and found.running:
            raise OpExecError(f"task {name}: an earlier script can't be ended")
    tasks.remove(name)
