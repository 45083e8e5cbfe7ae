"""What gnt-os and gnt-storage share: pages about things that each node has or lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ganeti.cli import formats
from ganeti.cli.run import Run
from ganeti.serializer import Json
from ganeti.utils.text import nice_sorted


def as_data(run: Run, value: Any) -> bool:
    """Print as data when --format asks for it."""
    if run.options.format == "table":
        return False
    run.world.stdout.write(formats.render(value, run.options.format))
    return True


def show_info(
    run: Run,
    rows: Sequence[Mapping[str, Json]],
    lines_of: Callable[[Mapping[str, Json]], Iterable[str]],
) -> None:
    """The named ones, or all; a name that nothing has gets an empty page."""
    found = [one for one in rows if not run.names or one["name"] in run.names]
    if as_data(run, found):
        return
    for one in found:
        for line in lines_of(one):
            run.out(line)
    known = {one["name"] for one in found}
    for name in run.names:
        if name not in known:
            run.out(f"{name}: ")
            run.out()


def verdict(nodes: Mapping[str, Json]) -> str:
    """`valid` when the first copy is so on every node, else `partial valid` or `invalid`."""
    good = [bool(copies and copies[0][1]) for copies in nodes.values()]
    if all(good):
        return "valid"
    return "partial valid" if any(good) else "invalid"


def node_lines(
    nodes: Mapping[str, Json], noun: str, marks: Callable[..., Sequence[str]]
) -> Iterator[str]:
    """What each node has. A copy is path, valid, why not, and what `marks` makes of the rest."""
    for node in nice_sorted(nodes):
        if not nodes[node]:
            yield f"  Node: {node}, status: {noun} not found"
            continue
        (path, valid, why, *rest), *hidden = nodes[node]
        shown = "".join(f" [{mark}]" for mark in marks(*rest))
        yield f"  Node: {node}, status: {_status(valid, why)} (path: {path}){shown}"
        for path, valid, why, *_ in hidden:
            yield f"    [hidden] path: {path}, status: {_status(valid, why)}"


def _status(valid: bool, why: str) -> str:
    return "valid" if valid else f"invalid - {why}"
