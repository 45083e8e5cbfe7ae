"""Every program has a page, every command and option is in it, and no page gives a warning."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import manual
import pytest
from ganeti.cli.options import Option
from ganeti.cli.parser import Leave, parse

TOP = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(path.name for path in (TOP / "scripts").iterdir())
PROGRAMS = [name for name in SCRIPTS if manual.is_written(name)]
DAEMONS = sorted(path.name for path in (TOP / "daemons").iterdir())
SOURCES = {source.file_name: source for source in manual.sources()}
OVERVIEWS = ["ganeti.7", "ganeti-extstorage-interface.7", "ganeti-os-interface.7"]


@cache
def page(file_name: str) -> str:
    """The built page, with what man(7) writes in another way read back."""
    text = manual.build(SOURCES[file_name])
    return re.sub(r"\\f[BIPR]", "", text).replace("\\-", "-").replace("\\(aq", "'")


def option_lines(text: str) -> set[str]:
    """The lines that follow .TP: what options and parameters are called."""
    return {flag for line in re.findall(r"^\.TP\n(.*)$", text, re.M) for flag in words(line)}


def words(line: str) -> list[str]:
    return re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", line.removeprefix(".B "))


def part_of(text: str, command: str) -> str:
    """The section of one command."""
    found = re.search(rf"^\.SS {command}\n(.*?)(?=^\.S[HS] |\Z)", text, re.M | re.S)
    assert found, f"there is no section {command}"
    return found[1]


def flags(options: list[Option]) -> set[str]:
    return {flag for option in options for flag in option.flags}


def test_every_program_and_overview_has_a_page() -> None:
    expected = {f"{name}.8" for name in (*PROGRAMS, *DAEMONS)} | set(OVERVIEWS)
    assert expected == set(SOURCES)


@pytest.mark.parametrize("file_name", sorted(SOURCES))
def test_a_page_is_built_without_warnings(file_name: str) -> None:
    text = page(file_name)
    name, section = file_name.split(".")
    assert f'.TH "{name}" "{section}"' in text
    for part in ("Description", "Reporting bugs", "See also", "Copyright"):
        assert f".SH {part}\n" in text


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_page_has_every_command_with_all_its_options(name: str) -> None:
    text = page(f"{name}.8")
    for command in manual.program_of(name).commands.values():
        part = part_of(text, command.name)
        assert flags(manual.own_options(command)) <= option_lines(part), command.name
        assert command.summary.split("\n")[0][:20] in part.replace("\n", " ")
    assert {"-d", "--debug", "--reason"} <= option_lines(text)


@pytest.mark.parametrize("name", DAEMONS)
def test_a_page_has_every_option_of_the_daemon(name: str) -> None:
    parser = manual.daemon_parser(name)
    known = {flag for action in parser._actions for flag in action.option_strings}
    assert known <= option_lines(page(f"{name}.8"))


def test_parameters_and_fields_come_from_their_tables() -> None:
    text = page("gnt-instance.8")
    for name in ("kernel_path", "serial_console", "maxmem", "auto_balance"):
        assert re.search(rf"^\.TP\n(\.B )?{name} \(", text, re.M), name
    assert "disk.size/N" in text
    assert "disk.size/1" not in text


def test_a_page_that_names_an_unknown_command_is_refused(tmp_path: Path) -> None:
    (tmp_path / "footer.rst").write_text("")
    path = tmp_path / "gnt-job.8.rst"
    path.write_text("jobs\n\nCommands\n--------\n\n.. command:: fly\n")
    with pytest.raises(manual.ManualError, match="gnt-job has no command 'fly'"):
        manual.build(manual.Source(path, "gnt-job", "8"))


def test_a_command_that_the_page_does_not_name_is_added(tmp_path: Path) -> None:
    (tmp_path / "footer.rst").write_text("")
    path = tmp_path / "gnt-job.8.rst"
    path.write_text("jobs\n\nCommands\n--------\n\n.. command:: list\n\n.. other-commands::\n")
    text = manual.build(manual.Source(path, "gnt-job", "8"))
    assert text.count(".SS list\n") == 1
    assert ".SS watch\n" in text


def test_building_leaves_one_file_per_page(tmp_path: Path) -> None:
    said: list[str] = []
    assert manual.main(["--output", str(tmp_path), "gnt-os.8"], said.append) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["gnt-os.8"]
    assert said == []


EXAMPLE = re.compile(r"^ +(?:# |\$ on |\$ )?(gnt-[a-z]+ [^\n]*?(?:\\\n[^\n]*?)*)$", re.M)
TEXTS = sorted((*(TOP / "man").glob("*.rst"), *(TOP / "doc").glob("*.rst"), TOP / "README"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_examples_are_commands_that_exist_with_options_before_arguments(path: Path) -> None:
    for example in EXAMPLE.findall(path.read_text()):
        line = re.sub(r"\\\n", " ", example)
        name, first, *rest = shlex.split(re.split(r" {3,}# |  +\(", line)[0])
        program = manual.program_of(name)
        command = program.commands[program.aliases.get(first, first)]
        try:
            _, arguments = parse(name, "", "", command.options, rest, mixed=command.mixed)
        except Leave as leave:
            pytest.fail(f"{line}: {leave.text}")
        assert not command.miscount(len(arguments)), line
        if first != "command":
            assert not [word for word in arguments if word.startswith("-")], line
