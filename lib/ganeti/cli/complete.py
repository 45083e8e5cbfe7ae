"""Shell completion, by argcomplete; imported only when the shell asks for it.

Completed are commands, options, words of a choice, and what the running master knows: names of
instances, nodes, groups and networks, numbers of jobs, uuids of rules, fields of lists. What the
master itself would have to ask the nodes for, OS definitions and providers, is looked up on this
node. Without a master, names come from the ssconf files, and else there are none: pressing TAB
never prints an error and never waits longer than `WAIT_S`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ganeti.cli.app import Argument, Command, Program
from ganeti.cli.options import Option
from ganeti.errors import GenericError, LuxiTimeoutError
from ganeti.paths import Paths
from ganeti.serializer import Json

WAIT_S = 1.0
"""For the master's answer; who presses TAB does not wait longer."""

Words = Callable[[str], Iterable[str]]

_SSCONF = {"node": "node_list", "instance": "instance_list", "group": "nodegroups"}
_QUERIES = {
    "instance": ("instance", "name"),
    "node": ("node", "name"),
    "group": ("group", "name"),
    "network": ("network", "name"),
    "jobid": ("job", "id"),
    "filter": ("filter", "uuid"),
}
_OPTIONS = {
    "node": "node", "nodes": "node", "dst_node": "node", "new_primary_node": "node",
    "src_node": "node", "nodegroup": "group", "to": "group", "os": "os",
    "iallocator": "iallocator", "default_iallocator": "iallocator",
}  # fmt: skip
"""What the value of an option names, by the option's `dest`."""
_TWO_NODES = (
    ("gnt-instance", "add"),
    ("gnt-instance", "recreate-disks"),
    ("gnt-backup", "import"),
)
"""Their --node is primary:secondary."""


def complete(program: Program) -> None:
    """Answer the shell's question and end the process."""
    try:
        import argcomplete
    except ImportError:
        os._exit(1)  # the shell then completes names of files
    parser = parser_of(program, Paths.from_environment())
    argcomplete.autocomplete(parser, always_complete_options=False)


def parser_of(program: Program, paths: Paths) -> argparse.ArgumentParser:
    """A parser that knows what could be typed; it is never used for parsing."""
    parser = argparse.ArgumentParser(prog=program.name)
    commands = parser.add_subparsers()
    by_target: dict[str, list[str]] = {}
    for alias, target in program.aliases.items():
        by_target.setdefault(target, []).append(alias)
    for name, command in program.commands.items():
        made = commands.add_parser(name, aliases=by_target.get(name, []))
        _fill(made, program, command, paths)
    return parser


def _fill(
    parser: argparse.ArgumentParser, program: Program, command: Command, paths: Paths
) -> None:
    for option in command.options:
        settings: dict[str, Any] = {"dest": option.dest}
        takes_value = option.action in ("store", "append")
        if takes_value:
            settings["choices"] = list(option.choices) or None
        elif option.action == "count":
            settings["action"] = "count"
        else:
            settings["action"] = "store_true"
        made = parser.add_argument(*option.flags, **settings)
        if takes_value and not option.choices:
            made.completer = _completer(  # type: ignore[attr-defined]  # argcomplete reads it
                words_of_option(program, command, option, paths)
            )
    for index, argument in enumerate(command.args):
        action = parser.add_argument(f"argument{index}", nargs=_count(argument))
        action.completer = _completer_of(  # type: ignore[attr-defined]  # argcomplete reads it
            program, command, argument, paths
        )


def _count(argument: Argument) -> Any:
    if argument.most is None:
        return "*"
    if argument.most == 1:
        return None if argument.least else "?"
    return argument.most


def _completer_of(program: Program, command: Command, argument: Argument, paths: Paths) -> Any:
    if argument.kind in ("file", "command"):
        from argcomplete.completers import FilesCompleter

        return FilesCompleter()
    if argument.choices:
        return _completer(lambda prefix: argument.choices)
    if command.name == "list-fields":
        return _completer(lambda prefix: fields(program, command, paths))
    kind = "extstorage" if program.name == "gnt-storage" else argument.kind  # the table says os
    return _completer(lambda prefix: names(kind, paths))


def _completer(words: Words) -> Any:
    def those_that_fit(prefix: str, **_: object) -> Sequence[str]:
        return [word for word in words(prefix) if word.startswith(prefix)]

    return those_that_fit


def kind_of_option(program: str, command: str, dest: str) -> str:
    """What the value of an option names, in the words of facts/cli.json `value_kind`; or ""."""
    if dest == "node" and (program, command) in _TWO_NODES:
        return "pnode:snode"
    return _OPTIONS.get(dest, "")


def words_of_option(program: Program, command: Command, option: Option, paths: Paths) -> Words:
    """What the value of this option could be."""
    if option.dest == "output":
        return lambda prefix: _last_of_many(prefix, fields(program, command, paths))
    kind = kind_of_option(program.name, command.name, option.dest)
    if kind == "pnode:snode":
        return lambda prefix: _second_node(prefix, names("node", paths))
    return lambda prefix: names("variant" if kind == "os" else kind, paths)


def _last_of_many(prefix: str, known: Iterable[str]) -> list[str]:
    """`name,st` becomes `name,status`; `+st` `+status`."""
    before, comma, _ = prefix.rpartition(",")
    sign = "+" if prefix.startswith("+") and not comma else ""
    given = before.removeprefix("+").split(",")
    return [f"{before}{comma}{sign}{word}" for word in known if word not in given]


def _second_node(prefix: str, known: Iterable[str]) -> list[str]:
    before, colon, _ = prefix.partition(":")
    return [f"{before}{colon}{word}" if colon else word for word in known if word != before]


def names(kind: str, paths: Paths) -> list[str]:
    """Names of the objects of this kind, as the master or else this node knows them."""
    if kind == "iallocator":
        return [".", *_entries(paths.allocator_search)]
    if kind in ("os", "extstorage"):
        return sorted(_entries(paths.os_search if kind == "os" else paths.extstorage_search))
    if kind == "variant":
        return [word for place in _entries(paths.os_search).values() for word in _variants(place)]
    if kind not in _QUERIES:
        return []
    what, field = _QUERIES[kind]
    answer = _ask(paths, "Query", what, [field], None)
    if answer is None:
        return _from_ssconf(kind, paths)
    return [str(value) for ((_, value),) in answer["data"]]


def fields(program: Program, command: Command, paths: Paths) -> list[str]:
    """Fields that this list can have."""
    if command.name not in ("list", "list-fields", "locks"):
        return []
    what = "lock" if command.name == "locks" else program.name.removeprefix("gnt-")
    answer = _ask(paths, "QueryFields", {"backup": "export"}.get(what, what), None)
    return [field["name"] for field in answer["fields"]] if answer else []


def _ask(paths: Paths, method: str, *args: Json) -> Json:
    """The master's answer; None when there is none within a second."""
    from ganeti.luxi.client import Client, socket_path

    client = Client(
        socket_path(paths, os.environ),
        connect_timeout_s=WAIT_S / 2,
        read_timeout_s=WAIT_S / 2,
        sleep=_do_not_wait,
    )
    try:
        with client:
            return client.call(method, *args)
    except (GenericError, OSError):
        return None


def _do_not_wait(seconds: float) -> None:
    raise LuxiTimeoutError(f"the master is not to be waited for, not even {seconds:g} s")


def _from_ssconf(kind: str, paths: Paths) -> list[str]:
    key = _SSCONF.get(kind)
    if key is None:
        return []
    try:
        lines = paths.ssconf(key).read_text().split("\n")
    except OSError:
        return []
    # A line of `nodegroups` is "UUID NAME".
    return [line.split(None, 1)[-1] for line in lines if line]


def _entries(directories: Iterable[Path]) -> dict[str, Path]:
    """What lies in these directories, by name; the first of a name counts."""
    found: dict[str, Path] = {}
    for directory in directories:
        try:
            found = {path.name: path for path in sorted(directory.iterdir())} | found
        except OSError:
            continue
    return found


def _variants(place: Path) -> list[str]:
    """An OS definition as an instance can have it: `busybox+default`, or without a variant."""
    try:
        lines = (place / "variants.list").read_text().split()
    except OSError:
        lines = []
    return [f"{place.name}+{variant}" for variant in lines] or [place.name]
