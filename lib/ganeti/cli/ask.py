"""Questions, asked on the terminal itself and never on the standard streams.

Source: facts/cli-behaviour.md §3.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

Choice = tuple[str, str, str]
"""(letter, answer, description)."""

YES_NO: Sequence[Choice] = (
    ("y", "y", "Perform the operation"),
    ("n", "n", "Do not perform the operation"),
)
WIDTH = 70
MANY = 20  # more names than that are shown on demand only
ANSWER_BYTES = 2  # a letter and the end of the line
PASSWORD_BYTES = 4096  # the longest line of a terminal


def ask(terminal: str, text: str, choices: Sequence[Choice]) -> str:
    """The answer that was chosen; the last one when there is no terminal, or it ends."""
    default = choices[-1][1]
    try:
        file = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return default
    try:
        return _ask_on(file, text, choices) or default
    finally:
        os.close(file)


def has_terminal(terminal: str) -> bool:
    """Whether somebody can be asked."""
    try:
        os.close(os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _ask_on(file: int, text: str, choices: Sequence[Choice]) -> str | None:
    letters = [letter for letter, _, _ in choices]
    letters[-1] = f"[{letters[-1]}]"
    question = wrapped(text) + "\n" + "/".join([*letters, "?"]) + ": "
    while True:
        _write(file, question)
        line = os.read(file, ANSWER_BYTES)
        if not line:
            return None
        if not line.endswith(b"\n"):
            _read_rest_of_line(file)
        letter = line[:1].decode(errors="replace").strip().lower()
        for known, answer, _ in choices:
            if letter == known:
                return answer
        if letter == "?":
            for known, _, description in choices:
                _write(file, f" {known} - {description}\n")
            _write(file, "\n")


def _write(file: int, text: str) -> None:
    left = text.encode(errors="backslashreplace")
    while left:
        left = left[os.write(file, left) :]


def _read_rest_of_line(file: int) -> None:
    """Drop the rest of a longer answer, which is no answer to the next question."""
    while True:
        letter = os.read(file, 1)
        if letter in (b"", b"\n"):
            return


def wrapped(text: str) -> str:
    """The text with each line folded at 70 columns."""
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent=line[: len(line) - len(line.lstrip())])
        for line in text.splitlines()
    )


def confirm_many(terminal: str, names: Sequence[str], kind: str, operation: str) -> bool:
    """Whether the operation may touch all these objects; `kind` is their plural."""
    head = f"The {operation} concerns {len(names)} {kind}.\nContinue?"
    full = "\n".join([head, f"Affected {kind}:", *(f"  {name}" for name in names)])
    if len(names) <= MANY:
        return ask(terminal, full, YES_NO) == "y"
    yes, no = YES_NO
    answer = ask(terminal, head, (yes, ("v", "v", f"View the list of affected {kind}"), no))
    return answer == "y" or (answer == "v" and ask(terminal, full, YES_NO) == "y")


def ask_password(terminal: str, prompt: str) -> str | None:
    """What was typed, unseen; None when there is no terminal, or it ends."""
    import termios

    try:
        file = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        before = termios.tcgetattr(file)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(file, termios.TCSADRAIN, silent)
        try:
            _write(file, prompt)
            line = os.read(file, PASSWORD_BYTES)
        finally:
            termios.tcsetattr(file, termios.TCSADRAIN, before)
        _write(file, "\n")
    finally:
        os.close(file)
    return line.decode(errors="surrogateescape").rstrip("\n") if line else None
