"""Errors as people read them: a text and an exit code.

The first lines are fixed, scripts look for them. Source: facts/cli-behaviour.md §5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti import errors
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS, EXIT_USAGE


class JobSubmitted(Exception):
    """Not an error: the job was submitted and nobody waits for it; args: [number]."""


class Refused(Exception):
    """A command refuses, with a text of its own; `status` is the exit code."""

    def __init__(self, text: str = "", status: int = EXIT_FAILURE) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


Format = Callable[[Any], str]


def describe(error: BaseException) -> tuple[int, str]:
    """Exit code, and text without the final line break; the text may be empty."""
    if isinstance(error, Refused):
        return error.status, error.text
    status = next((code for cls, code in _STATUS if isinstance(error, cls)), EXIT_FAILURE)
    for cls, text in _FORMATS:
        if isinstance(error, cls):
            return status, text(error)
    return status, f"Unhandled exception: {error or type(error).__name__}"


def _prerequisite(error: errors.OpPrereqError) -> str:
    head = "Failure: prerequisites not met for this operation:\n"
    if error.code:
        head += f"error type: {error.code}, error details:\n"
    return head + str(error)


def _hooks_abort(error: errors.HooksAbort) -> str:
    lines = ["Failure: hooks execution failed:"]
    for node, script, output in error.refusals:
        said = f", output: {output}" if output else " (no output)"
        lines.append(f"  node: {node}, script: {script}{said}")
    return "\n".join(lines)


def _resolver(error: errors.ResolverError) -> str:
    import socket

    host = error.args[0]
    if host == socket.gethostname():
        return f"Failure: can't resolve my own hostname ('{host}')"
    return f"Failure: can't resolve hostname '{host}'"


def _no_master(error: errors.NoMasterError) -> str:
    path = str(error)
    ours = path.endswith(("/ganeti-master", "/ganeti-query")) or not error.args
    who = "the master daemon" if ours else f"socket '{path}'"
    return f"Cannot communicate with {who}.\nIs it running, and does it accept connections?"


def _filter(error: errors.QueryFilterParseError) -> str:
    details = error.args[1] if len(error.args) > 1 else ()
    lines = [details] if isinstance(details, str) else [str(line) for line in details or ()]
    return "\n".join([f"Error while parsing query filter: {error}", *lines])


def _line(form: str) -> Format:
    return lambda error: form % error


def _permission(error: errors.LuxiPermissionError) -> str:
    return (
        f"No permission to talk to the master daemon through {error}.\n"
        "Are you the right user? This is for root and the cluster's administrators."
    )


# The first row that fits counts.
_FORMATS: list[tuple[type[BaseException], Format]] = [
    (JobSubmitted, _line("JobID: %s")),
    (errors.ConfigurationError, _line("Corrupt configuration file: %s\nAborting.")),
    (errors.HooksAbort, _hooks_abort),
    (errors.HooksFailure, _line("Failure: hooks general failure: %s")),
    (errors.ResolverError, _resolver),
    (errors.OpPrereqError, _prerequisite),
    (errors.OpExecError, _line("Failure: command execution error:\n%s")),
    (errors.TagError, _line("Failure: invalid tag(s) given:\n%s")),
    (
        errors.JobQueueDrainError,
        lambda _: "Failure: the job queue is marked for drain, no job is taken",
    ),
    (errors.JobQueueFull, lambda _: "Failure: the job queue is full; archive old jobs first"),
    (errors.TypeEnforcementError, _line("Parameter Error: %s")),
    (errors.ParameterError, _line("Failure: unknown/wrong parameter name '%s'")),
    (errors.NoMasterError, _no_master),
    (
        errors.LuxiTimeoutError,
        _line("The call to the master daemon timed out, its jobs may go on: %s"),
    ),
    (errors.LuxiPermissionError, _permission),
    (
        errors.ProtocolError,
        _line("Unhandled protocol error while talking to the master daemon:\n%s"),
    ),
    (errors.JobLost, _line("Error checking job status: %s")),
    (errors.QueryFilterParseError, _filter),
    (errors.GenericError, _line("Unhandled Ganeti error: %s")),
]

_STATUS: list[tuple[type[BaseException], int]] = [
    (JobSubmitted, EXIT_SUCCESS),
    (errors.ConfigurationError, EXIT_USAGE),
]
