"""commands.log: every call of a command, and the errors that ended one.

One append per line and no logging module, as a list must not wait for its import.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from ganeti.cli.options import Option
from ganeti.cli.world import World

HIDDEN = "<hidden>"
LOG_MODE = 0o640


class CommandLog:
    """Log lines of one call; none where the file can't be written, as lists are for everybody."""

    def __init__(self, world: World, program: str, command: str, debug: int) -> None:
        self._world = world
        self._name = f"{program} {command}"
        self._debug = debug

    def call(self, words: Sequence[str], options: Sequence[Option]) -> None:
        """Note the command line; values of private options are hidden."""
        import shlex

        line = shlex.join(hide(words, options))
        self.note("INFO", f"called: {self._name} {line}".rstrip())

    def error(self, error: Exception) -> None:
        """Note an error with where it came from."""
        import traceback

        self.note("ERROR", "".join(traceback.format_exception(error)).rstrip())

    def note(self, level: str, text: str) -> None:
        """Append a line; with -d also on the error stream."""
        now = self._world.now()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        line = f"{stamp},{int(now % 1 * 1000):03d}: {self._name} pid={os.getpid()} {level} {text}\n"
        if self._debug:
            self._world.stderr.write(line)
        self._append(line)

    def _append(self, line: str) -> None:
        try:
            file = os.open(
                self._world.paths.commands_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, LOG_MODE
            )
        except OSError:
            return
        try:
            os.write(file, line.encode(errors="backslashreplace"))
        except OSError:
            pass
        finally:
            os.close(file)


def hide(words: Sequence[str], options: Sequence[Option]) -> list[str]:
    """The words with the values of private options replaced; abbreviations count as well."""
    known = {flag: one.kind == "keyprivateval" for one in options for flag in one.flags}
    shown, hide_next = [], False
    for word in words:
        flag, equals, _ = word.partition("=")
        if hide_next:
            shown.append(HIDDEN)
            hide_next = False
            continue
        private = _is_private(flag, known)
        shown.append(f"{flag}={HIDDEN}" if private and equals else word)
        hide_next = private and not equals
    return shown


def _is_private(flag: str, known: Mapping[str, bool]) -> bool:
    """Whether the flag, or one that it abbreviates, takes a private value."""
    if flag in known or not flag.startswith("--"):
        return known.get(flag, False)
    return any(private and name.startswith(flag) for name, private in known.items())
