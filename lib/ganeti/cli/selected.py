"""The same operation on several instances, chosen by name, node or tag.

Source: facts/cli-behaviour.md §8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError

if TYPE_CHECKING:
    from ganeti.opcodes.base import Opcode

NAMED = "instances"
EVERYTHING = "cluster"

# Mode → which of a node's lists count: primary, secondary.
_SIDES = {"nodes": (True, True), "nodes-pri": (True, False), "nodes-sec": (False, True)}
_BY_TAGS = "-by-tags"


def for_selected(run: Run, operation: str, make: Callable[[str], Opcode]) -> int:
    """One job for each chosen instance; the exit status.

    Asks first when several are meant, unless --force-multiple.
    """
    mode = run.options.multi_mode or NAMED
    names = chosen(run, mode)
    if not names:
        if mode != EVERYTHING:
            given = ", ".join(run.names)
            raise OpPrereqError(
                f"the selection does not match any instance: {given}",
                Code.INVAL,
                hint="gnt-instance list shows all",
            )
        run.out("There is no instance in the cluster.")
        return EXIT_SUCCESS
    several = mode != NAMED or len(names) > 1
    if several and not run.options.force_multi:
        if not run.confirm_many(names, "instances", operation, "--force-multiple"):
            return EXIT_FAILURE
    return run.each(names, make)


def chosen(run: Run, mode: str) -> list[str]:
    """Full names of the instances that the arguments choose in this mode, each once."""
    words = run.names
    if mode == EVERYTHING:
        if words:
            raise OpPrereqError("with --all there are no arguments", Code.INVAL)
        rows = run.master.call("QueryInstances", [], ["name"], False)
        return [name for (name,) in rows]
    kind = "node" if mode.startswith("nodes") else "instance"
    what = "tags" if mode.endswith(_BY_TAGS) else f"{kind} names"
    if not words:
        raise OpPrereqError(f"No {what} passed", Code.INVAL)
    if mode == NAMED:
        rows = run.master.call("QueryInstances", words, ["name"], False)
        return _once([name for (name,) in rows])
    if mode == NAMED + _BY_TAGS:
        rows = run.master.call("QueryInstances", [], ["name", "tags"], False)
        return [name for name, tags in rows if not set(words).isdisjoint(tags)]
    return _of_nodes(run, mode, words)


def _of_nodes(run: Run, mode: str, words: Sequence[str]) -> list[str]:
    by_tags = mode.endswith(_BY_TAGS)
    fields = ["name", "pinst_list", "sinst_list", "tags"]
    rows = run.master.call("QueryNodes", [] if by_tags else words, fields, False)
    primary, secondary = _SIDES[mode.removesuffix(_BY_TAGS)]
    names: list[str] = []
    for _, primaries, secondaries, tags in rows:
        if by_tags and set(words).isdisjoint(tags):
            continue
        names += primaries if primary else []
        names += secondaries if secondary else []
    return _once(names)


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
