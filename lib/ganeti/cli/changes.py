"""What the modify commands share: options that name parts, and what was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti.cli.run import Run
from ganeti.errors import Code, OpPrereqError


def tell_changes(run: Run, what: str, result: Any) -> None:
    """`Modified WHAT` and a line for each change; nothing when nothing is told."""
    if not result:
        return
    run.out(f"Modified {what}")
    for name, value in result:
        run.out(f" - {name:<5} -> {value}")


def by_type_and_name(items: Sequence[tuple[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """--disk-state plain/xenvg:disk_total=… as {plain: {xenvg: {disk_total: …}}}."""
    made: dict[str, dict[str, Mapping[str, Any]]] = {}
    for ident, values in items:
        kind, slash, name = ident.partition("/")
        if not slash or not isinstance(values, dict):
            raise OpPrereqError(
                f"--disk-state: {ident!r} is not of the form TEMPLATE/NAME:KEY=VALUE", Code.INVAL
            )
        made.setdefault(kind, {})[name] = values
    return made
