"""Shell completion, by argcomplete; imported only when the shell asks for it.

Completed are commands, options and words of a choice; names of nodes and instances come from the
ssconf files, so that nothing is asked over the network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ganeti.cli.app import Argument, Command, Program
from ganeti.paths import Paths

_SSCONF = {"node": "node_list", "instance": "instance_list", "group": "nodegroups"}


def complete(program: Program) -> None:
    """Answer the shell's question and end the process; returns when there is none."""
    import argcomplete

    argcomplete.autocomplete(parser_of(program, Paths.from_environment()))


def parser_of(program: Program, paths: Paths) -> argparse.ArgumentParser:
    """A parser that knows what could be typed; it is never used for parsing."""
    parser = argparse.ArgumentParser(prog=program.name)
    commands = parser.add_subparsers()
    by_target = {target: alias for alias, target in program.aliases.items()}
    for name, command in program.commands.items():
        aliases = [by_target[name]] if name in by_target else []
        _fill(commands.add_parser(name, aliases=aliases), command, paths)
    return parser


def _fill(parser: argparse.ArgumentParser, command: Command, paths: Paths) -> None:
    for option in command.options:
        settings: dict[str, Any] = {"dest": option.dest}
        if option.action in ("store", "append"):
            settings["choices"] = list(option.choices) or None
        elif option.action == "count":
            settings["action"] = "count"
        else:
            settings["action"] = "store_true"
        parser.add_argument(*option.flags, **settings)
    for index, argument in enumerate(command.args):
        action = parser.add_argument(f"argument{index}", nargs="*")
        action.completer = _completer(argument, paths)  # type: ignore[attr-defined]


def _completer(argument: Argument, paths: Paths) -> Any:
    if argument.kind == "file":
        from argcomplete.completers import FilesCompleter

        return FilesCompleter()

    def words(prefix: str, **_: object) -> Sequence[str]:
        known = argument.choices or names(argument.kind, paths)
        return [word for word in known if word.startswith(prefix)]

    return words


def names(kind: str, paths: Paths) -> list[str]:
    """Names of the objects of this kind, as far as this node knows them."""
    key = _SSCONF.get(kind)
    if key is None:
        return []
    try:
        lines = paths.ssconf(key).read_text().split("\n")
    except OSError:
        return []
    # A line of `nodegroups` is "UUID NAME".
    return [line.split(None, 1)[-1] for line in lines if line]
