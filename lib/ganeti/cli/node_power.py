"""gnt-node power and health: orders to the nodes' out-of-band programs.

Source: facts/cli-behaviour.md §3, facts/master.md §A6 (OOB).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ganeti.cli.lists import print_table
from ganeti.cli.run import Run
from ganeti.cli.table import ABNORMAL, Column
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.types import FieldStatus, OobCommand

COMMANDS = {
    "cycle": OobCommand.POWER_CYCLE,
    "off": OobCommand.POWER_OFF,
    "on": OobCommand.POWER_ON,
    "status": OobCommand.POWER_STATUS,
}
STOPPING = (OobCommand.POWER_CYCLE, OobCommand.POWER_OFF)


def power(run: Run) -> int:
    from ganeti.opcodes.node import OpNodeSetParams, OpOobCommand

    word, *nodes = run.names
    command = COMMANDS.get(word)
    if command is None:
        raise OpPrereqError(f"{word!r} is none of {', '.join(sorted(COMMANDS))}", Code.INVAL)
    options = run.options
    if command in STOPPING:
        if not nodes:
            raise OpPrereqError(f"power {word}: name the nodes", Code.INVAL)
        agreed = options.force or run.confirm_many(nodes, "nodes", f"power {word}", "--force")
        if not agreed:
            return EXIT_FAILURE
    opcodes: list[Any] = []
    if command is OobCommand.POWER_OFF and not options.ignore_status:
        opcodes = [
            OpNodeSetParams(node_name=node, offline=True, auto_promote=options.auto_promote)
            for node in nodes
        ]
    opcodes.append(
        OpOobCommand(
            node_names=nodes,
            command=command,
            timeout=options.oob_timeout,
            power_delay=options.power_delay,
            ignore_status=options.ignore_status,
        )
    )
    rows = run.submit_together(opcodes)[-1]
    if command is OobCommand.POWER_STATUS:
        return _table(run, rows, lambda answer: "powered" if answer["powered"] else "unpowered")
    return _table(run, rows, lambda answer: "success")


def health(run: Run) -> int:
    from ganeti.opcodes.node import OpOobCommand

    rows = run.submit(
        OpOobCommand(
            node_names=run.names, command=OobCommand.HEALTH, timeout=run.options.oob_timeout
        )
    )
    return _table(
        run, rows, lambda answer: ", ".join(f"{item}={status}" for item, status in answer)
    )


def _table(run: Run, rows: Sequence[Any], text: Callable[[Any], str]) -> int:
    """Print name and answer of each node; 1 when one has none."""
    cells = []
    failed = False
    for (_, name), (status, answer) in rows:
        good = status == FieldStatus.NORMAL
        failed |= not good
        cells.append([name, text(answer) if good else ABNORMAL[status][1]])
    print_table(run, [Column("Node"), Column("Status")], cells, old=True)
    return EXIT_FAILURE if failed else EXIT_SUCCESS
