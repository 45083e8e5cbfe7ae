"""gnt-os: definitions of guest operating systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti.cli import options, providers
from ganeti.cli.app import Argument, Program, many
from ganeti.cli.failure import Refused
from ganeti.cli.lists import print_table
from ganeti.cli.run import Run
from ganeti.cli.table import Column
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.serializer import Json

PROGRAM = Program("gnt-os", aliases={"show": "info"})

HIDDEN = options.value(
    "--hidden", dest="hidden", kind="bool", metavar="yes|no", help="leave it out of lists"
)
BLACKLISTED = options.value(
    "--blacklisted", dest="blacklisted", kind="bool", metavar="yes|no", help="refuse its use"
)

INFO_FIELDS = [
    "name", "valid", "variants", "parameters", "api_versions", "blacklisted", "hidden", "os_hvp",
    "osparams", "trusted",
]  # fmt: skip
DIAGNOSE_FIELDS = ["name", "valid", "variants", "node_status", "hidden", "blacklisted"]


def _ask(run: Run, fields: Sequence[str]) -> list[dict[str, Json]]:
    from ganeti.opcodes.query import OpOsDiagnose

    rows = run.submit(OpOsDiagnose(output_fields=fields, names=[]))
    if rows is None:
        raise Refused("The list of OS definitions can't be had")
    return [dict(zip(fields, row)) for row in rows]


@PROGRAM.command("list", options=[options.NO_HEADERS, options.PRIORITY, options.FORMAT])
def list_names(run: Run) -> None:
    """List the OS definitions that instances can have."""
    names = [
        name
        for one in _ask(run, ["name", "variants"])
        for name in names_with_variants(one["name"], one["variants"])
    ]
    if not providers.as_data(run, [{"name": name} for name in names]):
        print_table(run, [Column("Name")], [[name] for name in names], old=True)


def names_with_variants(name: str, variants: Sequence[str] | None) -> list[str]:
    """`os+variant` for each variant, or the bare name."""
    return [f"{name}+{variant}" for variant in variants] if variants else [name]


@PROGRAM.command("info", args=many("os"), options=[options.PRIORITY, options.FORMAT])
def show_info(run: Run) -> None:
    """Show what the definitions offer; all, or the named ones."""
    providers.show_info(run, _ask(run, INFO_FIELDS), _info_lines)


def _info_lines(one: Mapping[str, Json]) -> list[str]:
    lines = [f"{one['name']}:"]
    lines += [f"  - {word}: {one[word]}" for word in ("valid", "hidden", "blacklisted")]
    if one["valid"]:
        parameters = [f"{name}: {help}" for name, help in one["parameters"] or ()]
        for title, items in (
            ("API versions", one["api_versions"]),
            ("variants", one["variants"]),
            ("parameters", parameters),
        ):
            lines.append(f"  - {title}:")
            lines += [f"    - {item}" for item in items or ()]
    return [*lines, f"  - trusted: {one['trusted']}", ""]


@PROGRAM.command("diagnose", options=[options.PRIORITY, options.FORMAT])
def diagnose(run: Run) -> int:
    """Show the state of every definition on every node."""
    status = EXIT_SUCCESS
    found = _ask(run, DIAGNOSE_FIELDS)
    as_data = providers.as_data(run, found)
    for one in found:
        verdict = providers.verdict(one["node_status"])
        if verdict != "valid":
            status = EXIT_FAILURE
        if not as_data:
            for line in _diagnose_lines(one, verdict):
                run.out(line)
    return status


def _diagnose_lines(one: Mapping[str, Json], verdict: str) -> list[str]:
    marks = "".join(f" [{word}]" for word in ("hidden", "blacklisted") if one[word])
    lines = [f"OS: {one['name']} [global status: {verdict}]{marks}"]
    if one["variants"]:
        lines.append(f"  Variants: [{', '.join(one['variants'])}]")
    return [*lines, *providers.node_lines(one["node_status"], "OS", _marks), ""]


def _marks(
    variants: Sequence[str],
    parameters: Sequence[Sequence[str]],
    versions: Sequence[int],
    trusted: bool = True,
) -> list[str]:
    marks = [f"API versions: {_comma(versions)}" if versions else "no API versions declared"]
    if variants:
        marks.append(f"variants: {_comma(variants)}")
    if parameters:
        marks.append(f"parameters: {_comma([name for name, *_ in parameters])}")
    return [*marks, "trusted" if trusted else "untrusted"]


def _comma(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


@PROGRAM.command(
    "modify",
    args=[Argument("os")],
    options=[
        options.HYPERVISORS_PARAMETERS,
        options.OS_PARAMETERS,
        options.OS_PARAMETERS_PRIVATE,
        options.DRY_RUN,
        options.PRIORITY,
        HIDDEN,
        BLACKLISTED,
        *options.SUBMITTING,
    ],
)
def modify(run: Run) -> None:
    """Change the cluster's parameters for an OS definition, or whether it is shown or allowed."""
    from ganeti.opcodes.cluster import OpClusterSetParams

    name, wanted = run.names[0], run.options
    changes: dict[str, Json] = {}
    if wanted.hvparams:
        changes["os_hvp"] = {name: dict(wanted.hvparams)}
    if wanted.osparams:
        changes["osparams"] = {name: wanted.osparams}
    if wanted.osparams_private:
        changes["osparams_private_cluster"] = {name: wanted.osparams_private}
    for option, parameter in (("hidden", "hidden_os"), ("blacklisted", "blacklisted_os")):
        flag = getattr(wanted, option)
        if flag is not None:
            changes[parameter] = [["add" if flag else "remove", name]]
    if not changes:
        raise Refused("Nothing to change: give at least one of the options")
    run.submit(OpClusterSetParams(**changes))
