"""gnt-node restricted-command: output per node. Source: facts/cli-behaviour.md §10."""

from __future__ import annotations

from ganeti.cli.on_nodes import LINE
from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.serializer import Json


def run_restricted(run: Run) -> int:
    """1 when it failed on a node."""
    from ganeti.opcodes.node import OpRestrictedCommand

    command, *words = run.names
    if not (words or run.options.nodegroup):
        raise OpPrereqError("name nodes, or a node group with -g", Code.INVAL)
    nodes = _nodes(run, words)
    rows = run.submit(
        OpRestrictedCommand(command=command, nodes=nodes, use_locking=run.options.do_locking)
    )
    status = EXIT_SUCCESS
    for node, (good, text) in zip(nodes, rows):
        run.out(LINE)
        if not good:
            status = EXIT_FAILURE
            run.out(text)
        elif run.options.show_machine_names:
            for line in text.splitlines():
                run.out(f"{node}: {line}")
        else:
            run.out(f"Node: {node}")
            run.out(text)
    return status


def _nodes(run: Run, words: list[str]) -> list[str]:
    """Full names of the nodes that arguments and -g choose, without offline ones."""
    wanted: Json = ["|", *(["==", "name", word] for word in words)] if words else None
    group = run.options.nodegroup
    if group:
        in_group: Json = ["|", ["==", "group", group], ["==", "group.uuid", group]]
        wanted = ["&", wanted, in_group] if wanted else in_group
    answer = run.master.call("Query", "node", ["name", "offline"], wanted)
    rows = [[value for _, value in row] for row in answer["data"]]
    skipped = [name for name, offline in rows if offline]
    if skipped:
        run.err(f"Note: skipping offline node(s): {', '.join(skipped)}")
    return [name for name, offline in rows if not offline]
