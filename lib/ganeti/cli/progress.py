"""Following a job: its log lines as they come, then its results or its error.

Source: facts/cli-behaviour.md §6.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ganeti.cli.world import Master
from ganeti.errors import JobCanceled, JobLost, OpExecError, decode_error
from ganeti.serializer import Json
from ganeti.utils.text import escape_for_log

POLL_S = 60  # then a notice about a job that still waits; the master allows 89
FINAL = frozenset({"success", "error", "canceled"})
NO_CHANGE = "nochange"

Say = Callable[[str], None]

_NOTICES = {
    "queued": "Job {} is waiting in queue",
    "waiting": "Job {} is trying to acquire all necessary locks",
}


class Follower:
    """Follows jobs of one master; log lines go to `out`, notices to `err`."""

    def __init__(self, master: Master, out: Say, err: Say) -> None:
        self._master = master
        self._out = out
        self._err = err

    def follow(self, number: int, *, quiet: bool = False) -> list[Json]:
        """Wait for the job's end; returns the results of its opcodes.

        Raises the error of the opcode that failed, JobCanceled, or JobLost.
        """
        self._wait(number, quiet)
        rows = self._master.call("QueryJobs", [number], ["status", "opstatus", "opresult"])
        if not rows or not rows[0] or rows[0][0] is None:
            raise JobLost(f"job {number} is no longer there")
        status, states, results = rows[0]
        if status == "success":
            return list(results)
        raise failure_of(status, states, results)

    def _wait(self, number: int, quiet: bool) -> None:
        known: Json = None
        serial: int | None = None
        noticed: set[str] = set()
        while True:
            answer = self._master.call(
                "WaitForJobChange", number, ["status"], known, serial, POLL_S
            )
            if not answer:
                raise JobLost(f"job {number} is not known")
            if answer == NO_CHANGE:
                self._notice(number, known, noticed)
                continue
            known, entries = answer
            for entry in entries or ():
                if not quiet:
                    self._out(log_line(entry))
                serial = max(serial or 0, entry[0])
            if known[0] in FINAL:
                return

    def _notice(self, number: int, known: Json, noticed: set[str]) -> None:
        """Say, once for each state, why nothing happens."""
        status = known[0] if known else None
        if status in _NOTICES and status not in noticed:
            noticed.add(status)
            self._err(_NOTICES[status].format(number))


def failure_of(status: str, states: list[str], results: list[Json]) -> Exception:
    """The error that tells why a job did not succeed."""
    if status == "canceled":
        return JobCanceled("Job was canceled")
    some_succeeded = False
    for index, (state, result) in enumerate(zip(states, results)):
        if state == "success":
            some_succeeded = True
        elif state == "error":
            error = decode_error(result)
            if error is not None:
                return error
            if some_succeeded:
                return OpExecError(f"partial failure (opcode {index}): {result}")
            return OpExecError(str(result))
    return OpExecError(str(results))


def log_line(entry: list[Json]) -> str:
    """`CTIME MESSAGE` of a log entry [serial, [seconds, microseconds], type, message]."""
    _, (seconds, _), kind, message = entry
    text = message if kind == "message" and isinstance(message, str) else str(message)
    return f"{time.ctime(seconds)} {escape_for_log(text)}"
