"""Values as people read them: times, flags, lists, numerals."""

from __future__ import annotations

import time
from typing import Any


def moment(seconds: float | None) -> str:
    """`YYYY-MM-DD HH:MM:SS` in local time; N/A when absent."""
    if not isinstance(seconds, (int, float)):
        return "N/A"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def job_moment(stamp: Any) -> str:
    """The time stamp [seconds, microseconds] of a job, with `.uuuuuu`; ? when absent."""
    match stamp:
        case [seconds, micros]:
            return f"{moment(seconds)}.{micros:06d}"
    return "?"


def yes_no(flag: object) -> str:
    return "Y" if flag else "N"


def joined(values: Any) -> str:
    """`a,b`, for lists in one cell."""
    return ",".join(map(str, values))


def roman(number: Any, wanted: bool = True) -> Any:
    """A positive integer as a roman numeral, if a converter is installed; else as it is."""
    if not wanted or isinstance(number, bool) or not isinstance(number, int):
        return number
    try:
        from roman import toRoman  # type: ignore[import-not-found, unused-ignore]  # optional
    except ImportError:
        return number
    try:
        return str(toRoman(number))
    except ValueError:
        return number
