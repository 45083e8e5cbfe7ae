"""A command on a terminal of its own, with somebody who answers its questions."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence

from cluster_nodes import Done, NodesError

CLOSED_S = 30.0  # from the end of the output to the end of the command
KEPT_WORDS = 500


def on_terminal(
    argv: Sequence[str],
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    answers: Iterable[tuple[str, str]],
    timeout_s: float,
) -> Done:
    """Run `argv`, in which `words` is what the caller asked for.

    Each of `answers` (question, answer) is typed when its question was shown. NodesError when the
    command does not end in time: it is killed then.
    """
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *argv],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "vt100"},
    )
    os.close(theirs)
    try:
        said = _talk(ours, words, list(answers), time.monotonic() + timeout_s, timeout_s)
        child.wait(CLOSED_S)
    finally:
        os.close(ours)
        if child.poll() is None:
            child.kill()
            child.wait()
    return Done(child.returncode, said.decode(errors="replace").replace("\r\n", "\n"), "")


def _talk(
    ours: int, words: Sequence[str], pending: list[tuple[str, str]], end: float, timeout_s: float
) -> bytes:
    """All that was said until nobody has the terminal open any more."""
    said = b""
    seen = 0
    while True:
        while pending and (at := said.find(pending[0][0].encode(), seen)) >= 0:
            seen = at + len(pending[0][0].encode())
            os.write(ours, pending.pop(0)[1].encode() + b"\n")
        if not select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
            raise NodesError(
                f"{shlex.join(words)!r} has not ended after {timeout_s:g} s,"
                f" it said {said.decode(errors='replace')[-KEPT_WORDS:]!r}"
            )
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO
            return said
        if not piece:
            return said
        said += piece
