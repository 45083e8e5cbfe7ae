"""Manual pages from man/*.rst, with what the programs declare about themselves.

A page is reStructuredText with these directives of our own:

    .. command:: startup            one sub-command of the page's program: synopsis, its docstring,
       more words about it          then the words, then its options
    .. other-commands::             the sub-commands that the page has not named, in the same form
    .. program-options:: NAME       the options of a daemon, and of every command of a gnt- program
                                    without NAME
    .. parameters:: TABLE [NAME]    a table of parameters: hv kvm, be, nic, disk drbd, nd
    .. fields:: KIND                the columns of a list: instance, node, job, lock, os
    .. exit-codes::                 exit codes of the gnt- programs

Needs docutils, and what the programs themselves need.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from docutils import ApplicationError, nodes
from docutils.core import publish_string
from docutils.parsers.rst import Directive, directives
from docutils.utils import Reporter
from docutils.writers.manpage import Writer
from ganeti import constants
from ganeti.cli.app import Command, Program
from ganeti.cli.options import Option
from ganeti.model.params import Kind, ParamTable
from ganeti.model.params_be import BE_PARAMS
from ganeti.model.params_disk import DISK_PARAMS
from ganeti.model.params_hv import HV_PARAMS
from ganeti.model.params_nic import NIC_PARAMS
from ganeti.model.params_node import ND_PARAMS
from ganeti.query.engine import FIELDS
from ganeti.types import QueryResource
from ganeti.version import RELEASE

SOURCES = Path(__file__).resolve().parent.parent / "man"
FOOTER = "footer.rst"
PAGE = re.compile(r"(?P<name>[a-z-]+)\.(?P<section>[1-8])\.rst")
GROUP = "Ganeti Version"

EXIT_CODES = {
    constants.EXIT_SUCCESS: "the command did what it was asked, and so did all its jobs",
    constants.EXIT_FAILURE: "it did not; the error stream says why",
    constants.EXIT_USAGE: "an option is wrong",
    constants.EXIT_NO_CLUSTER: "this node has no cluster",
    constants.EXIT_NOT_MASTER: "this node is not the master",
    constants.EXIT_NODE_SETUP: "the node could not be prepared",
    constants.EXIT_CONFIRMATION: "the question was not answered with yes",
    constants.EXIT_UNKNOWN_FIELD: "a list was asked for a field that does not exist",
}

NUMBERED = ("disks", "nics")
"""Options whose values begin with the number of a disk or an interface."""

DAEMONS = {
    "ganeti-noded": "ganeti.node.daemon",
    "ganeti-masterd": "ganeti.master.daemon",
    "ganeti-rapi": "ganeti.rapi.daemon",
    "ganeti-kvmd": "ganeti.node.kvm_daemon",
}


class ManualError(Exception):
    """A page can't be made; says which and why."""


@dataclass(frozen=True, slots=True)
class Source:
    """One page: `name` and `section` are in its file name."""

    path: Path
    name: str
    section: str

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.section}"


def sources(directory: Path = SOURCES) -> list[Source]:
    """All pages, but for those of programs that are not written yet."""
    matches = ((path, PAGE.fullmatch(path.name)) for path in sorted(directory.glob("*.rst")))
    found = [Source(path, match["name"], match["section"]) for path, match in matches if match]
    return [one for one in found if not one.name.startswith("gnt-") or is_written(one.name)]


def module_of(program: str) -> str:
    return f"ganeti.cli.{program.replace('-', '_')}"


def is_written(program: str) -> bool:
    return importlib.util.find_spec(module_of(program)) is not None


def program_of(name: str) -> Program:
    """The declaration of a gnt- program."""
    found = importlib.import_module(module_of(name)).PROGRAM
    assert isinstance(found, Program)
    return found


def daemon_parser(name: str) -> argparse.ArgumentParser:
    made = importlib.import_module(DAEMONS[name]).make_parser()
    assert isinstance(made, argparse.ArgumentParser)
    return made


# Pieces of pages, as docutils' nodes: nothing has to be escaped.


def paragraph(*parts: str | nodes.Node) -> nodes.paragraph:
    made = nodes.paragraph()
    for part in parts:
        made += nodes.Text(part) if isinstance(part, str) else part
    return made


def definition(term: Sequence[nodes.Node], text: str) -> nodes.definition_list_item:
    return nodes.definition_list_item(
        "", nodes.term("", "", *term), nodes.definition("", paragraph(text))
    )


def definitions(items: Iterable[nodes.definition_list_item]) -> list[nodes.Node]:
    children = list(items)
    return [nodes.definition_list("", *children)] if children else []


def sentence(text: str) -> str:
    """The text with a capital at the beginning and a full stop."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def flags_term(flags: Sequence[str], word: str) -> list[nodes.Node]:
    """`-o FIELDS, --output=FIELDS`."""
    term: list[nodes.Node] = []
    for flag in flags:
        if term:
            term.append(nodes.Text(", "))
        term.append(nodes.strong("", flag))
        if word:
            term.append(nodes.Text("=" if flag.startswith("--") else " "))
            term.append(nodes.emphasis("", word))
    return term


def word_of(option: Option) -> str:
    """The word that stands for the option's value."""
    if option.action not in ("store", "append"):
        return ""
    if option.metavar:
        return option.metavar.replace("<", "").replace(">", "")
    if option.choices:
        return "|".join(option.choices)
    by_kind = {
        "keyval": "NAME=VALUE,...",
        "keyprivateval": "NAME=VALUE,...",
        "identkeyval": "N:KEY=VALUE,..." if option.dest in NUMBERED else "NAME:KEY=VALUE,...",
        "bool": "yes|no",
        "unit": "SIZE",
        "int": "NUMBER",
        "float": "NUMBER",
    }
    return by_kind.get(option.kind) or option.dest.upper()


def remarks(option: Option) -> str:
    """What the declaration says beside the help: choices and default."""
    text = ""
    if option.choices and option.metavar and "|" not in option.metavar:
        text += f" One of: {', '.join(option.choices)}."
    if option.action == "store" and option.default not in (None, "", [], {}):
        text += f" Default: {option.default}."
    if option.action == "append":
        text += " Can be given more than once." if "again" not in option.help else ""
    return text


def option_items(options: Iterable[Option]) -> list[nodes.Node]:
    return definitions(
        definition(
            flags_term(option.flags, word_of(option)), sentence(option.help) + remarks(option)
        )
        for option in options
    )


def parser_items(parser: argparse.ArgumentParser) -> list[nodes.Node]:
    items = []
    for action in parser._actions:  # argparse has no public way to list them
        word = ""
        if action.nargs != 0:
            word = "|".join(action.choices or ()) or str(action.metavar or action.dest.upper())
        text = sentence(action.help or "")
        if word and action.default not in (None, argparse.SUPPRESS):
            text += f" Default: {action.default}."
        items.append(definition(flags_term(action.option_strings, word), text))
    return definitions(items)


def shown(kind: Kind, default: object) -> str:
    if default is None:
        return "none"
    if kind is Kind.BOOL:
        return str(default).lower()
    text = "empty" if default == "" else str(default)
    return f"{text} MiB" if kind is Kind.SIZE else text


def parameter_items(table: ParamTable) -> list[nodes.Node]:
    items = []
    for name, param in sorted(table.items()):
        text = sentence(param.help)
        if param.check is not None:
            text += f" Has to be {param.check.wish}."
        if param.cluster_only:
            text += " Set for the whole cluster only."
        text += f" Default: {shown(param.kind, param.default)}."
        term: list[nodes.Node] = [nodes.strong("", name), nodes.Text(f" ({param.kind})")]
        items.append(definition(term, text))
    return definitions(items)


def parameter_table(words: Sequence[str]) -> ParamTable:
    """KeyError when there is none of that name."""
    families: dict[str, Mapping[str, ParamTable]] = {"hv": HV_PARAMS, "disk": DISK_PARAMS}
    single: dict[str, ParamTable] = {"be": BE_PARAMS, "nic": NIC_PARAMS, "nd": ND_PARAMS}
    return families[words[0]][words[1]] if len(words) == 2 else single[words[0]]


_SEVERAL = re.compile(r"(?<=[./])\d+(?=/|$)")


def field_items(kind: str) -> list[nodes.Node]:
    """Columns; those that exist once per disk or interface are shown with N for the number."""
    seen: dict[str, nodes.definition_list_item] = {}
    for name, field in FIELDS[QueryResource(kind)].items():
        pattern = _SEVERAL.sub("N", name)
        if pattern in seen:
            continue
        term: list[nodes.Node] = [nodes.strong("", pattern), nodes.Text(f" ({field.kind.value})")]
        text = field.doc if pattern == name else re.sub(r"\b0\b|\bfirst\b", "N", field.doc)
        seen[pattern] = definition(term, sentence(text))
    return definitions(seen.values())


def section_titled(title: str, *children: nodes.Node) -> nodes.section:
    made = nodes.section(ids=[nodes.make_id(title)], names=[nodes.fully_normalize_name(title)])
    made += nodes.title("", title)
    made += list(children)
    return made


def own_options(command: Command) -> list[Option]:
    """Without those that every command has."""
    return list(command.options[1:-1])


def command_section(
    program: Program, command: Command, words: Sequence[nodes.Node]
) -> nodes.section:
    synopsis = paragraph(nodes.strong("", command.name))
    if own_options(command):
        synopsis += [nodes.Text(" [options...]")]
    if command.usage:
        synopsis += [nodes.Text(" "), nodes.emphasis("", command.usage)]
    aliases = sorted(name for name, target in program.aliases.items() if target == command.name)
    children: list[nodes.Node] = [synopsis]
    children += [paragraph(sentence(part)) for part in command.description.split("\n\n") if part]
    if aliases:
        children.append(paragraph(f"Also called: {', '.join(aliases)}."))
    children += words
    children += option_items(own_options(command))
    return section_titled(command.name, *children)


# Directives. `page` is set for the page that is being made.


class PageDirective(Directive):
    """Knows the page that it stands in."""

    page: ClassVar[Source]
    named: ClassVar[set[str]]
    optional_arguments = 2
    has_content = True

    def program(self) -> Program:
        return program_of(self.page.name)


class CommandDirective(PageDirective):
    required_arguments = 1
    optional_arguments = 0

    def run(self) -> list[nodes.Node]:
        program, name = self.program(), self.arguments[0]
        command = program.commands.get(name)
        if command is None:
            raise self.error(f"{program.name} has no command {name!r}")
        self.named.add(name)
        words = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, words)
        return [command_section(program, command, words.children)]


class OtherCommands(PageDirective):
    def run(self) -> list[nodes.Node]:
        program = self.program()
        return [
            command_section(program, command, [])
            for name, command in sorted(program.commands.items())
            if name not in self.named
        ]


class ProgramOptions(PageDirective):
    def run(self) -> list[nodes.Node]:
        if self.arguments:
            return parser_items(daemon_parser(self.arguments[0]))
        command = next(iter(self.program().commands.values()))
        return option_items([command.options[0], command.options[-1]])


class Parameters(PageDirective):
    def run(self) -> list[nodes.Node]:
        try:
            return parameter_items(parameter_table(self.arguments))
        except KeyError:
            raise self.error(f"there is no table {' '.join(self.arguments)!r}") from None


class Fields(PageDirective):
    def run(self) -> list[nodes.Node]:
        return field_items(self.arguments[0])


class ExitCodes(PageDirective):
    def run(self) -> list[nodes.Node]:
        return definitions(
            definition([nodes.strong("", str(code))], sentence(text))
            for code, text in EXIT_CODES.items()
        )


DIRECTIVES: Mapping[str, type[PageDirective]] = {
    "command": CommandDirective,
    "other-commands": OtherCommands,
    "program-options": ProgramOptions,
    "parameters": Parameters,
    "fields": Fields,
    "exit-codes": ExitCodes,
}


def full_text(source: Source) -> str:
    """The page with its head (title, section, version) and the parts that end every page.

    Its first line is the purpose, the second one is empty.
    """
    purpose, _, body = source.path.read_text().partition("\n")
    bar = "=" * max(len(source.name), len(purpose))
    line = "-" * len(bar)
    head = f"{bar}\n{source.name}\n{bar}\n\n{line}\n{purpose}\n{line}\n\n"
    head += f":Manual section: {source.section}\n:Manual group: {GROUP} {RELEASE}\n\n"
    return head + body + "\n" + (source.path.parent / FOOTER).read_text()


def build(source: Source) -> str:
    """The page in the language of man(7); ManualError for a warning of docutils."""
    made: dict[str, Any] = {
        "page": source,
        "named": set(re.findall(r"^\.\. command:: (\S+)$", source.path.read_text(), re.M)),
    }
    for name, cls in DIRECTIVES.items():
        directives.register_directive(name, type(cls.__name__, (cls,), made))
    try:
        page = publish_string(
            full_text(source),
            source_path=str(source.path),
            writer=Writer(),
            settings_overrides={
                "report_level": Reporter.WARNING_LEVEL,
                "halt_level": Reporter.WARNING_LEVEL,
                "output_encoding": "unicode",
                "warning_stream": False,
                "traceback": True,
                "file_insertion_enabled": False,
            },
        )
    except ApplicationError as error:
        raise ManualError(f"{source.path.name}: {error}") from error
    return without_origin(str(page))


def without_origin(page: str) -> str:
    """Without the comment that says where and when docutils made it: builds are the same again."""
    return "\n".join(line for line in page.split("\n") if not line.startswith('.\\" ')) + "\n"


def main(arguments: Sequence[str], say: Callable[[str], object] = sys.stderr.write) -> int:
    parser = argparse.ArgumentParser(prog="make-man", description="Build the manual pages.")
    parser.add_argument("--output", type=Path, required=True, help="directory of the pages")
    parser.add_argument("pages", nargs="*", help="such as gnt-job.8; all by default")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for source in sources():
        if options.pages and source.file_name not in options.pages:
            continue
        try:
            (options.output / source.file_name).write_text(build(source))
        except ManualError as error:
            say(f"make-man: {error}\n")
            return 1
    return 0
