"""Names, sizes and texts as people write and read them (facts/cli-behaviour.md §7-§9)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from ganeti.errors import UnitParseError
from ganeti.serializer import Json

_RUN: Final = re.compile(r"\d+|\D+")
_MAX_RUNS: Final = 8
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*")
_MIB_PER_UNIT: Final = {
    "": 1, "m": 1, "mb": 1, "mib": 1,
    "g": 1024, "gb": 1024, "gib": 1024,
    "t": 1024 * 1024, "tb": 1024 * 1024, "tib": 1024 * 1024,
}  # fmt: skip


def nice_sort_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Key that sorts a2 before a10: up to eight runs of digits or others, digits as numbers."""
    key: list[tuple[int, int, str]] = []
    end = 0
    for match in _RUN.finditer(text):
        if len(key) == _MAX_RUNS:
            break
        run = match.group()
        key.append((0, int(run), "") if run.isdecimal() else (1, 0, run))
        end = match.end()
    key.append((-1, 0, text[end:]))
    return tuple(key)


def nice_sorted(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=nice_sort_key)


def parse_unit(text: str, *, multiple_of: int = 4) -> int:
    """MiB from a text such as `128`, `1.5g`, `512 MiB`, rounded up to a multiple of 4 MiB.

    UnitParseError when it is not a size or has another unit than m, g, t.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UnitParseError(f"{text!r} is not a size; a number and m, g or t is expected")
    factor = _MIB_PER_UNIT.get(match.group(2).lower())
    if factor is None:
        raise UnitParseError(f"size {text!r}: unknown unit {match.group(2)!r}; use m, g or t")
    mib = float(match.group(1)) * factor
    whole = int(mib) + (int(mib) < mib)
    return -(-whole // multiple_of) * multiple_of


def format_unit(mib: float, units: str) -> str:
    """A size in MiB as text. `units`: m, g or t (number only), or h for what people like best."""
    if units == "m" or (units == "h" and mib < 1024):
        return f"{round(mib)}{'M' if units == 'h' else ''}"
    if units == "g" or (units == "h" and mib < 1024 * 1024):
        return f"{mib / 1024:.1f}{'G' if units == 'h' else ''}"
    return f"{mib / (1024 * 1024):.1f}{'T' if units == 'h' else ''}"


def quote(word: str) -> str:
    """One word for a shell."""
    return shlex.quote(word)


def quote_all(words: Iterable[str]) -> str:
    """A command line for a shell, or for a log."""
    return " ".join(map(shlex.quote, words))


def escape_for_log(text: str) -> str:
    """Printable ASCII in one line; backslashes of the text stay as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character.isascii() and character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def told_plainly(value: Json) -> Json:
    """Whole numbers without a fraction, inside of lists and mappings too.

    The daemons of 3.x tell cpu_speed 1.0 as 1, and so they tell ratios of a policy and the figures
    in opcodes (recorded).
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: told_plainly(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [told_plainly(inner) for inner in value]
    return value
