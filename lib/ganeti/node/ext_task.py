"""Scripts of external storage that may take long, as tasks: they outlive noded, undo ends them.

A task is named after its volume. The master holds the lock of the instance: whatever still runs
under that name belongs to a call that nobody waits for any more, and is ended first.
"""

from __future__ import annotations

from ganeti.errors import BlockDeviceError
from ganeti.node.context import NodeContext
from ganeti.node.task import Tasks
from ganeti.storage.base import LongRun

# The command comes as arguments; what it says goes to the log, whose name is $0.
LOGGED = 'exec >>"$0" 2>&1; unset TASK; exec "$@"'


def task_argv(one: LongRun) -> list[str]:
    """The task's command, in its directory; see env(1)."""
    return ["/bin/sh", "-c", LOGGED, str(one.log), "/usr/bin/env", "-C", one.cwd, *one.argv]


def execute(node: NodeContext, one: LongRun) -> str:
    """The script has ended. How, if not well: by itself, or because its time was over."""
    tasks = Tasks(node)
    _forget(tasks, one.name)
    tasks.start(one.name, task_argv(one), env=dict(one.environment), about={"disk": one.disk})
    state = tasks.wait(one.name, one.timeout_s)
    if state.running:
        tasks.cancel(one.name)
        tasks.remove(one.name)
        return f"was ended after {one.timeout_s:g} s"
    tasks.remove(one.name)
    return "" if state.ok else state.reason


def _forget(tasks: Tasks, name: str) -> None:
    """Nothing is left of an earlier script on this volume."""
    found = tasks.find(name)
    if found is not None and found.running:
        found = tasks.cancel(name)
        if found is not None and found.running:
            raise BlockDeviceError(f"task {name}: an earlier script can't be ended")
    tasks.remove(name)
