"""Programs that the master has run on a node: allocators, out-of-band, restricted commands."""

from __future__ import annotations

import logging
import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ganeti.errors import GenericError, LockError, OpExecError, ParseError
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.serializer import Json, loads

logger = logging.getLogger(__name__)

NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
ALLOCATOR_S = 840.0  # the call may take 900 s
ALLOCATOR_LINES = 3  # of its output, told when it fails
RESTRICTED_S = 3540.0  # the call may take 3600 s
REFUSAL_S = 10.0  # so that names can't be tried out quickly
RESTRICTED_LOCK_S = 8.0
MOST_MODE = 0o755


@serves(calls.iallocator_runner)
def iallocator_runner(
    node: NodeContext, name: str, idata: str, default_iallocator_params: calls.Params
) -> str:
    script = find_allocator(node, name)
    options = [_option(key, value) for key, value in sorted(default_iallocator_params.items())]
    with tempfile.NamedTemporaryFile("w", prefix="ganeti-iallocator.", suffix=".json") as file:
        file.write(idata)
        file.flush()
        result = node.run([str(script), file.name, *options], timeout_s=ALLOCATOR_S)
    if not result.ok:
        words = result.last_lines(ALLOCATOR_LINES).strip()
        said = f"its last words: {words!r}" if words else "no output"
        raise OpExecError(f"iallocator {name!r}: {result.reason}; {said}")
    return result.stdout


def find_allocator(node: NodeContext, name: str) -> Path:
    if name and "/" not in name:
        for directory in node.paths.allocator_search:
            if os.access(directory / name, os.X_OK) and (directory / name).is_file():
                return directory / name
    raise OpExecError(f"iallocator {name!r} is not in the search path")


def _option(key: str, value: Json) -> str:
    return f"--{key}" if value is None or value == "" else f"--{key}={value}"


@serves(calls.run_oob)
def run_oob(
    node: NodeContext, oob_program: str, command: str, remote_node: str, timeout: int
) -> Json:
    program = str(node.paths.below(oob_program))
    result = node.run([program, command, remote_node], timeout_s=float(timeout))
    result.check(f"out-of-band program {oob_program}, {command} of node {remote_node}")
    if not result.stdout.strip():
        return None
    try:
        return loads(result.stdout, f"output of {oob_program}")
    except ParseError as error:
        raise OpExecError(f"{command} of node {remote_node}: {error}") from error


@serves(calls.restricted_command)
def restricted_command(node: NodeContext, cmd: str) -> str:
    """Every refusal looks the same and takes 10 s; the log has the reason."""
    try:
        return _restricted(node, cmd)
    except (GenericError, OSError) as error:
        logger.warning("restricted command %r: %s", cmd, error)
        node.clock.sleep(REFUSAL_S)
        raise OpExecError(f"Executing command {cmd!r} failed") from error


def _restricted(node: NodeContext, cmd: str) -> str:
    if not node.settings.restricted_commands:
        raise OpExecError("restricted commands are not enabled on this node")
    if NAME.fullmatch(cmd) is None:
        raise OpExecError("the name has other characters than letters, digits, _ and -")
    directory = node.paths.conf / "restricted-commands"
    script = directory / cmd
    owner = 0 if not node.is_virtual else os.geteuid()
    _check_access(directory.lstat(), owner, str(directory), stat.S_ISDIR)
    _check_access(script.lstat(), owner, str(script), stat.S_ISREG)
    try:
        with node.files.lock(
            node.paths.lock / "ganeti-restricted-commands.lock", timeout_s=RESTRICTED_LOCK_S
        ):
            pass  # one start at a time; the command itself runs without the lock
    except LockError as error:
        raise OpExecError(f"another restricted command is being started: {error}") from error
    result = node.run([str(script)], env={}, clean_env=True, timeout_s=RESTRICTED_S)
    return result.check().output


def _check_access(
    status: os.stat_result, owner: int, name: str, is_kind: Callable[[int], bool]
) -> None:
    if not is_kind(status.st_mode):
        raise OpExecError(f"{name} is of the wrong kind")
    if (status.st_uid, status.st_gid) != (owner, owner):
        raise OpExecError(f"{name} is not owned by root:root")
    mode = stat.S_IMODE(status.st_mode)
    if mode & ~MOST_MODE:
        raise OpExecError(f"{name} has mode {mode:04o}, at most {MOST_MODE:04o} is allowed")
    if not mode & stat.S_IXUSR:
        raise OpExecError(f"{name} is not executable")
