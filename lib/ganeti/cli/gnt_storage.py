"""gnt-storage: providers of external storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganeti.cli import options, providers
from ganeti.cli.app import Program, many
from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.serializer import Json
from ganeti.utils.text import nice_sorted

PROGRAM = Program("gnt-storage")

INFO_FIELDS = ["name", "nodegroup_status", "parameters"]
DIAGNOSE_FIELDS = ["name", "node_status", "nodegroup_status"]


def _ask(run: Run, fields: Sequence[str]) -> list[dict[str, Json]]:
    from ganeti.opcodes.query import OpExtStorageDiagnose

    rows = run.submit(OpExtStorageDiagnose(output_fields=fields, names=[]))
    if not rows:
        raise Refused("No node has a provider of external storage")
    return [dict(zip(fields, row)) for row in rows]


@PROGRAM.command("info", args=many("os"), options=[options.PRIORITY, options.FORMAT])
def show_info(run: Run) -> None:
    """Show the providers, their parameters and the node groups where they work."""
    providers.show_info(run, _ask(run, INFO_FIELDS), _info_lines)


def _info_lines(one: Mapping[str, Any]) -> Iterator[str]:
    yield f"{one['name']}:"
    groups = [name for name, good in one["nodegroup_status"].items() if good]
    yield f"  - valid for node groups: {', '.join(nice_sorted(groups)) or 'none'}"
    yield "  - parameters:"
    for name, description in one["parameters"]:
        yield f"    - {name}: {description}"
    yield ""


@PROGRAM.command("diagnose", options=[options.PRIORITY, options.FORMAT])
def diagnose(run: Run) -> int:
    """Tell what each node has of each provider, and what is wrong with it."""
    found = _ask(run, DIAGNOSE_FIELDS)
    names = dict(run.master.call("QueryNodes", [], ["uuid", "name"], False))
    for one in found:
        one["node_status"] = {
            names.get(uuid, uuid): copies for uuid, copies in one["node_status"].items()
        }
    good = all(all(one["nodegroup_status"].values()) for one in found)
    if not providers.as_data(run, found):
        for one in found:
            for line in _diagnose_lines(one):
                run.out(line)
    return EXIT_SUCCESS if good else EXIT_FAILURE


def _diagnose_lines(one: Mapping[str, Any]) -> Iterator[str]:
    verdict = providers.verdict(one["node_status"])
    yield f"Provider: {one['name']} [global status: {verdict}]"
    yield from providers.node_lines(one["node_status"], "provider", _marks)
    for group, valid in sorted(one["nodegroup_status"].items()):
        yield f"  Node group: {group}, status: {'valid' if valid else 'invalid'}"
    yield ""


def _marks(parameters: Sequence[Sequence[str]]) -> list[str]:
    return [f"parameters: {', '.join(name for name, *_ in parameters)}"] if parameters else []
