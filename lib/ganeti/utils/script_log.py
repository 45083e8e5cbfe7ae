"""Log files of the scripts that others write: one for each run, with its time in the name."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

LOG_LINES: Final = 20
TAIL_BYTES: Final = 64 * 1024
STAMP: Final = "%Y-%m-%d_%H_%M_%S"


def log_name(parts: Sequence[str], now: float) -> str:
    """`<part>-<part>-…-<time>.log`, local time; a single file name whatever the parts are."""
    stamp = time.strftime(STAMP, time.localtime(now))
    return "-".join([*parts, stamp]).replace("/", "_") + ".log"


def last_lines(path: Path, count: int = LOG_LINES) -> str:
    """The end of a log; "" when it can't be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])
