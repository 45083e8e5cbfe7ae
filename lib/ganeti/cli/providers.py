"""What gnt-os and gnt-storage share: pages about things that each node has or lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ganeti.cli import formats
from ganeti.cli.run import Run
from ganeti.serializer import Json


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
