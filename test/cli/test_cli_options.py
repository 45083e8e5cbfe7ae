"""Commands, arguments and options are those of facts/cli.json."""

from __future__ import annotations

from typing import Any

import pytest
from fact_tables import facts
from fakes.command_line import PROGRAMS, program_of
from ganeti.cli.app import Command
from ganeti.cli.options import Option
from ganeti.cli.parser import parse

TABLE = facts("cli")["programs"]

# Ours, beyond the classic ones.
ADDED = {"--format"}
ADDED_COMMANDS = {("gnt-cluster", "token")}
# 3.0 and 3.1 have them in opposite senses; here both forms are known and the checks are on.
BOTH_WAYS = {"--ip-check", "--no-ip-check", "--name-check", "--no-name-check", "--hotplug"}


def commands() -> list[Any]:
    return [
        pytest.param(TABLE[name]["commands"][command.name], command, id=f"{name} {command.name}")
        for name in PROGRAMS
        for command in program_of(name).commands.values()
        if (name, command.name) not in ADDED_COMMANDS
    ]


def normal(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table in comparable form."""
    return {
        "action": row["action"],
        "dest": row["dest"],
        "kind": row.get("type", "string"),
        "choices": sorted(row.get("choices") or ()),
        "const": row.get("const"),
        "default": as_number(row.get("default")),
        "metavar": row.get("metavar"),
    }


def as_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


def declared(option: Option) -> dict[str, Any]:
    return {
        "action": option.action,
        "dest": option.dest,
        "kind": option.kind,
        "choices": sorted(option.choices),
        "const": option.const,
        "default": as_number(option.default),
        "metavar": option.metavar,
    }


@pytest.mark.parametrize(("row", "command"), commands())
def test_the_options_are_those_of_the_table(row: dict[str, Any], command: Command) -> None:
    wanted = {
        tuple(one["flags"]): normal(one)
        for one in row["options"]
        if not one.get("removed") and "until" not in one and one["flags"][0] not in BOTH_WAYS
    }
    found = {
        option.flags: declared(option)
        for option in command.options
        if option.flags[0] not in {"-d", "--reason"} | ADDED | BOTH_WAYS
    }
    former = {
        tuple(one["flags"]): normal(one)
        for one in row["options"]
        if "until" in one and not one.get("removed")
    }
    kept = {flags for flags in former.keys() - wanted.keys() if found.get(flags) == former[flags]}
    assert {flags: one for flags, one in found.items() if flags not in kept} == wanted


def flags_of(table: dict[str, Any]) -> set[str]:
    return {flag for row in table["options"] if not row.get("removed") for flag in row["flags"]}


def test_what_is_ours_is_declared_and_not_of_the_table() -> None:
    """Else an entry of the lists above would stand for nothing."""
    ours = {(name, one) for name in PROGRAMS for one in program_of(name).commands}
    told = {(name, one) for name in PROGRAMS for one in TABLE[name]["commands"]}
    assert ours - told == ADDED_COMMANDS
    pairs = [(param.values[0], param.values[1]) for param in commands()]
    found = {option.flags[0] for _, command in pairs for option in command.options}
    assert found - set().union(*(flags_of(row) for row, _ in pairs)) == ADDED | {"-d", "--reason"}
    assert found >= BOTH_WAYS


@pytest.mark.parametrize(("row", "command"), commands())
def test_the_arguments_are_those_of_the_table(row: dict[str, Any], command: Command) -> None:
    wanted = [(one["kind"], one["min"], one["max"]) for one in row["args"]]
    if row["opcodes"] == ["OpNetworkRename"]:
        wanted = [("network", 2, 2)]  # the table says group, so that completion would mislead
    assert [(one.kind, one.least, one.most) for one in command.args] == wanted


@pytest.mark.parametrize(("row", "command"), commands())
def test_every_command_and_option_has_help(row: dict[str, Any], command: Command) -> None:
    assert command.summary and len(command.summary) < 90
    assert all(option.help for option in command.options)
    assert len({option.flags for option in command.options}) == len(command.options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_aliases_lead_to_their_commands(name: str) -> None:
    program = program_of(name)
    wanted = {
        one["alias"]: one["command"]
        for one in TABLE[name]["aliases"]
        if "until" not in one and one["command"] in program.commands
    }
    assert program.aliases == wanted
    assert sorted(program.environment_defaults) == TABLE[name]["env_default_args_commands"]


def test_defaults_are_not_shared_between_calls() -> None:
    command = program_of("gnt-instance").commands["add"]
    first, _ = parse("p", "", "", command.options, ["--disk", "0:size=1g", "x"])
    second, _ = parse("p", "", "", command.options, ["x"])
    assert first.disks == [("0", {"size": "1g"})]
    assert second.disks == []


def test_name_and_address_are_checked_unless_said_otherwise() -> None:
    options = program_of("gnt-instance").commands["add"].options

    def checks(*words: str) -> tuple[bool, bool]:
        values, _ = parse("p", "", "", options, [*words, "x"])
        return values.name_check, values.ip_check

    assert checks() == (True, True)
    assert checks("--no-name-check", "--no-ip-check") == (False, False)
    assert checks("--no-name-check", "--name-check") == (True, True)


def test_values_of_options_are_completed_with_what_the_table_says() -> None:
    from ganeti.cli.complete import kind_of_option

    for name in PROGRAMS:
        for command in program_of(name).commands.values():
            if (name, command.name) in ADDED_COMMANDS:
                continue
            rows = TABLE[name]["commands"][command.name]["options"]
            told = {tuple(row["flags"]): row["value_kind"] for row in rows if "value_kind" in row}
            for option in command.options:
                if option.flags in told:
                    kind = kind_of_option(name, command.name, option.dest)
                    assert kind == told[option.flags], (name, command.name, option.flags)
