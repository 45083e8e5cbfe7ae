"""One command's options, parsed as optparse does.

optparse is the very parser whose messages, abbreviations and "titled" help the interface has
(facts/cli-behaviour.md §1); argparse lays out and abbreviates in another way.
"""

from __future__ import annotations

import optparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ganeti.cli.options import Option
from ganeti.cli.values import READERS
from ganeti.errors import Code, OpPrereqError, ParameterError, ParseError, UnitParseError

# Forms whose mistakes are option errors (exit 2); the others raise errors of ours (exit 1).
_OWN = frozenset({"string", "int", "float", "choice"})


class Leave(Exception):
    """Parsing ends the program: help was asked for, or an option is wrong."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


def _checker(kind: str) -> Callable[[optparse.Option, str, str], Any]:
    read = READERS[kind]

    def check(_option: optparse.Option, flag: str, text: str) -> Any:
        try:
            return read(text)
        except (UnitParseError, ValueError) as error:
            raise optparse.OptionValueError(f"option {flag}: {error}") from None
        except ParameterError as error:
            raise ParameterError(f"{flag}: {error}") from None
        except ParseError as error:
            raise OpPrereqError(f"{flag}: {error}", Code.INVAL) from None

    return check


class _Row(optparse.Option):
    TYPES = (*optparse.Option.TYPES, *(kind for kind in READERS if kind not in _OWN))
    TYPE_CHECKER = {
        **optparse.Option.TYPE_CHECKER,
        **{kind: _checker(kind) for kind in READERS if kind not in _OWN},
    }


class _Parser(optparse.OptionParser):
    """Raises Leave in place of printing and exiting."""

    def exit(self, status: int = 0, msg: str | None = None) -> NoReturn:
        raise Leave(status, msg or "")

    def error(self, msg: str) -> NoReturn:
        raise Leave(2, f"{self.get_usage()}\n{self.get_prog_name()}: error: {msg}\n")

    def print_help(self, file: object = None) -> None:
        raise Leave(0, self.format_help())


def _row(option: Option) -> optparse.Option:
    settings: dict[str, Any] = {"dest": option.dest, "action": option.action, "help": option.help}
    if option.action in ("store", "append"):
        settings["type"] = option.kind
        settings["metavar"] = option.metavar
    if option.choices:
        settings["choices"] = list(option.choices)
    if option.action == "store_const":
        settings["const"] = option.const
    return _Row(*option.flags, **settings)


def _fresh(default: Any) -> Any:
    """Defaults are shared by all calls in one process, values must not be."""
    return default.copy() if isinstance(default, (list, dict)) else default


def parse(
    program: str,
    usage: str,
    description: str,
    options: Sequence[Option],
    words: Sequence[str],
    *,
    mixed: bool = False,
) -> tuple[optparse.Values, list[str]]:
    """Options and arguments among `words`; what follows the first argument is an argument, unless
    they may be mixed.

    Raises Leave for --help and for options that are wrong.
    """
    parser = _Parser(
        prog=program,
        usage=usage,
        description=description,
        formatter=optparse.TitledHelpFormatter(),
        option_list=[_row(option) for option in options],
    )
    if not mixed:
        parser.disable_interspersed_args()
    defaults: dict[str, Any] = {}
    for option in options:
        if defaults.get(option.dest) is None:
            defaults[option.dest] = _fresh(option.default)
    parser.set_defaults(**defaults)
    values, arguments = parser.parse_args(list(words))
    return values, arguments
