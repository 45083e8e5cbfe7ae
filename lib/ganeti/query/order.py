"""The order of lists: names with the numbers in them compared as numbers (cli-behaviour.md §7)."""

from __future__ import annotations

import re
from typing import Final

_RUNS: Final = re.compile(r"\d+|\D+")
_RUNS_COMPARED: Final = 8  # what follows is compared as text


def nice_key(name: str) -> str:
    """A text that sorts like `name` should: a1, a2, a10.

    Runs are joined by a character below all others; a number becomes its length and its digits,
    so that plain texts can be compared, which is much faster than lists.
    """
    runs = _RUNS.findall(name)
    keys = [_number(run) if run[0].isdecimal() else run for run in runs[:_RUNS_COMPARED]]
    if len(runs) > _RUNS_COMPARED:
        keys.append("".join(runs[_RUNS_COMPARED:]))
    return "\0".join(keys)


def _number(digits: str) -> str:
    kept = digits.lstrip("0")
    return f"{len(kept):04}{kept}"
