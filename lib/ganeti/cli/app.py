"""The frame of every program: find the command, parse, run, tell errors, give the exit code.

A command is one function and its declaration:

    PROGRAM = Program("gnt-instance", aliases={"start": "startup"})

    @PROGRAM.command("startup", args=INSTANCES, options=[options.FORCE, ...])
    def startup(run: Run) -> int | None:
        \"\"\"Start one or more instances.\"\"\"

Nothing slow is imported at the top; a test lists what a command imports.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from ganeti.cli import options as shared
from ganeti.cli.failure import describe
from ganeti.cli.options import Option
from ganeti.cli.run import Run
from ganeti.cli.world import World
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, OpPrereqError
from ganeti.version import RELEASE, VCS_VERSION

Function = Callable[[Run], int | None]

USAGE_WIDTH = 79
OBJECTS = frozenset(
    {"instance", "node", "group", "network", "jobid", "host", "os", "extstorage", "filter"}
)
"""Kinds of arguments that name something: they don't look like options of the command."""


class Argument:
    """A group of positional arguments: of `least` to `most` (None: any number) of one kind.

    `kind` is one of facts/cli.json `argument_kinds`; `choices` are hints for completion and help.
    """

    __slots__ = ("choices", "kind", "least", "most")

    def __init__(
        self, kind: str, least: int = 1, most: int | None = 1, choices: tuple[str, ...] = ()
    ) -> None:
        self.kind = kind
        self.least = least
        self.most = most
        self.choices = choices

    def usage(self) -> str:
        word = "|".join(self.choices).join("{}") if self.choices else f"<{_WORDS[self.kind]}>"
        if self.most is None:
            return f"{word}..." if self.least else f"[{word}...]"
        return word if self.least else f"[{word}]"


_WORDS = {
    "instance": "instance", "node": "node", "group": "group", "network": "network",
    "jobid": "job-id", "file": "file", "command": "command", "host": "host", "os": "os",
    "extstorage": "provider", "filter": "filter-uuid", "suggest": "word", "free": "word",
}  # fmt: skip


def one(kind: str) -> tuple[Argument, ...]:
    return (Argument(kind),)


def many(kind: str, least: int = 0) -> tuple[Argument, ...]:
    return (Argument(kind, least, None),)


class Command:
    """A sub-command: its function, its arguments and the options it takes.

    `mixed`: options may also follow arguments; the classic commands take them only before.
    """

    __slots__ = ("args", "function", "mixed", "name", "options", "usage")

    def __init__(
        self,
        name: str,
        function: Function,
        args: Sequence[Argument],
        options: Sequence[Option],
        usage: str | None,
        mixed: bool = False,
    ) -> None:
        self.name = name
        self.mixed = mixed
        self.function = function
        self.args = tuple(args)
        self.options = (shared.DEBUG, *options, shared.REASON)
        self.usage = usage or " ".join(argument.usage() for argument in args)

    @property
    def summary(self) -> str:
        """First line of the function's docstring, without its full stop."""
        return (self.function.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        return (self.function.__doc__ or "").strip()

    def miscount(self, given: int) -> str:
        """What is wrong with this number of arguments; empty when nothing is."""
        least = sum(argument.least for argument in self.args)
        most: int | None = 0
        for argument in self.args:
            most = None if argument.most is None or most is None else most + argument.most
        if given >= least and (most is None or given <= most):
            return ""
        if most == 0:
            wanted = "no arguments"
        elif least == most:
            wanted = f"{least} argument(s)"
        elif given < least:
            wanted = f"at least {least} argument(s)"
        else:
            wanted = f"only {most} argument(s)"
        return f"Error: Command {self.name} expects {wanted}"

    def misplaced(self, names: Sequence[str]) -> str | None:
        """An option of the command that stands where an object is to be named."""
        kinds = [one.kind for one in self.args for _ in range(one.most or len(names))]
        for kind, word in zip(kinds, names):
            if kind in OBJECTS and word.startswith("-") and self._is_option(word):
                return word
        return None

    def _is_option(self, word: str) -> bool:
        """Abbreviated, and with its value, too."""
        long = word.partition("=")[0]
        return any(
            flag.startswith(long) if word.startswith("--") else word.startswith(flag)
            for option in self.options
            for flag in option.flags
            if flag.startswith("--") == word.startswith("--")
        )


class Program:
    """One gnt-* program: its commands by name.

    `aliases` maps other names to commands, `environment_defaults` names the commands for which a
    variable such as GNT_NODE_LIST gives options.
    """

    def __init__(
        self,
        name: str,
        *,
        aliases: Mapping[str, str] | None = None,
        environment_defaults: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.aliases = dict(aliases or {})
        self.environment_defaults = frozenset(environment_defaults)
        self.commands: dict[str, Command] = {}

    def command(
        self,
        name: str,
        *,
        args: Sequence[Argument] = (),
        options: Sequence[Option] = (),
        usage: str | None = None,
        mixed: bool = False,
    ) -> Callable[[Function], Function]:
        """Register the function below as a command; its docstring is the help."""

        def register(function: Function) -> Function:
            self.add(Command(name, function, args, options, usage, mixed))
            return function

        return register

    def add(self, command: Command) -> None:
        self.commands[command.name] = command

    def main(self) -> int:
        """Run with the words of this process; returns the exit status."""
        if "_ARGCOMPLETE" in os.environ:
            from ganeti.cli.complete import complete

            complete(self)
        import gc

        gc.disable()  # a command lives shortly: collecting would only walk the declarations
        try:
            world = World.real()
        except Exception as error:
            status, text = describe(error)
            print(text, file=sys.stderr)
            return status
        return self.run(sys.argv[1:], world)

    def run(self, words: Sequence[str], world: World) -> int:
        """Run in `world`; returns the exit status. Broken pipes and Ctrl-C are ends like others."""
        try:
            status = self._dispatch(list(words), world)
            world.stdout.flush()
            world.stderr.flush()
        except BrokenPipeError:
            _close_quietly(world)
            return EXIT_FAILURE
        except KeyboardInterrupt:
            world.stderr.write("Interrupted; jobs that were submitted go on.\n")
            return EXIT_FAILURE
        return status

    def _dispatch(self, words: list[str], world: World) -> int:
        first = words[0] if words else ""
        if first == "--version":
            world.stdout.write(f"{self.name} (ganeti {VCS_VERSION}) {RELEASE}\n")
            return EXIT_SUCCESS
        command = self.commands.get(self.aliases.get(first, first))
        if command is None:
            world.stdout.write(self.usage_page())
            return EXIT_SUCCESS if first == "--help" else EXIT_FAILURE
        return self._parse_and_run(command, words[1:], world)

    def _parse_and_run(self, command: Command, words: list[str], world: World) -> int:
        from ganeti.cli.parser import Leave, parse

        try:
            words = self._from_environment(command, world.environ) + words
            usage = f"%prog {command.name} {command.usage}"
            values, names = parse(
                self.name, usage, command.description, command.options, words, mixed=command.mixed
            )
            problem = command.miscount(len(names))
            if problem:
                raise Leave(EXIT_FAILURE, problem + "\n")
            if word := command.misplaced(names):
                raise OpPrereqError(
                    f"{word} stands behind a name, where it is taken for a name",
                    Code.NOENT,
                    hint="options come before names",
                )
        except Leave as leave:
            (world.stdout if leave.status == EXIT_SUCCESS else world.stderr).write(leave.text)
            return leave.status
        except Exception as error:
            return _tell(error, world)
        run = Run(world, self.name, command.name, values, names)
        run.log.call(words, command.options)
        try:
            return command.function(run) or EXIT_SUCCESS
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            run.log.note("INFO", "interrupted")
            raise
        except Exception as error:
            run.log.error(error)
            return _tell(error, world)

    def _from_environment(self, command: Command, environ: Mapping[str, str]) -> list[str]:
        if command.name not in self.environment_defaults:
            return []
        name = f"{self.name}_{command.name}".replace("-", "_").upper()
        text = environ.get(name)
        if not text:
            return []
        import shlex

        return shlex.split(text)

    def usage_page(self) -> str:
        """The page for a missing or unknown command."""
        import textwrap

        width = max(map(len, self.commands))
        lines = [
            f"Usage: {self.name} {{command}} [options...] [argument...]",
            f"{self.name} <command> --help to see details, or man {self.name}",
            "",
            "Commands:",
        ]
        for name, command in sorted(self.commands.items()):
            head = f" {name:<{width}} - "
            lines += textwrap.wrap(
                command.summary, USAGE_WIDTH, initial_indent=head, subsequent_indent=" " * len(head)
            ) or [head]
        return "\n".join([*lines, "", ""])


def _tell(error: Exception, world: World) -> int:
    """Print the error as §5 has it; returns the exit status."""
    status, text = describe(error)
    world.stdout.flush()
    if text:
        world.stderr.write(text + "\n")
    return status


def _close_quietly(world: World) -> None:
    """Give the streams of a broken pipe a place to flush to when the interpreter ends."""
    if world.stdout is not sys.stdout:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
