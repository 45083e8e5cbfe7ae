"""Running the scripts of an OS definition. Source: facts/node-behaviour.md §1, Calls.

A script runs in the definition's directory with a clean environment; what it says goes to a file
below LOG/os, and its last lines into the error when it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import Code, CommandError, OpExecError, OpPrereqError
from ganeti.os_defs import environment, find
from ganeti.os_defs.environment import ScriptDisk
from ganeti.os_defs.find import OsDefinition
from ganeti.serializer import Json
from ganeti.utils import script_log
from ganeti.utils.script_log import last_lines as last_lines  # its users import it from here

if TYPE_CHECKING:
    from ganeti.model.filled import FilledInstance
    from ganeti.paths import Paths
    from ganeti.utils.process import Runner

CREATE_TIMEOUT_S: Final = 24 * 3600.0  # as long as the call that waits for it
RENAME_TIMEOUT_S: Final = 3600.0
VERIFY_TIMEOUT_S: Final = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One run of a script that may take long. `disks` are the uuids of the disks it writes to."""

    instance: str
    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    log: Path
    timeout_s: float
    disks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a script ended."""

    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ScriptHost:
    """What running scripts needs of the node. `now` is Unix seconds, for names of log files.

    `execute` runs what may take long; None: in the caller, as everything else.
    """

    paths: Paths
    run: Runner
    now: float
    execute: Callable[[Script], Ending] | None = None


def run_directly(run: Runner, script: Script) -> Ending:
    """The script has ended; what it said is in its log. CommandError: it can't be started."""
    with script.log.open("ab") as file:
        result = run(
            script.argv,
            env=script.environment,
            clean_env=True,
            cwd=script.cwd,
            stdout=file.fileno(),
            stderr=file.fileno(),
            timeout_s=script.timeout_s,
        )
    return Ending(result.ok, result.reason)


def log_name(kind: str, os_name: str, instance: str, now: float, component: str = "") -> str:
    """`<kind>-<os>-<instance>[-<component>]-<time>.log`, local time."""
    parts = [kind, os_name, instance, *([component] if component else [])]
    return script_log.log_name(parts, now)


def _run_logged(host: ScriptHost, definition: OsDefinition, name: str, script: Script) -> None:
    """OpExecError with the script's fate and its last lines; the log stays either way."""
    host.paths.os_log.mkdir(parents=True, exist_ok=True, mode=0o750)
    try:
        ending = host.execute(script) if host.execute else run_directly(host.run, script)
    except CommandError as error:
        raise OpExecError(f"OS {name} script of {definition.name}: {error}") from error
    if not ending.ok:
        said = last_lines(script.log)
        raise OpExecError(
            f"OS {name} script of {definition.name} {ending.reason}; last lines of"
            f" {host.paths.virtual(script.log)}:\n{said or '(nothing)'}"
        )


def _script(
    host: ScriptHost,
    definition: OsDefinition,
    name: str,
    instance: FilledInstance,
    disks: Sequence[ScriptDisk],
    variables: Mapping[str, str],
    log: str,
    timeout_s: float,
) -> Script:
    return Script(
        instance=instance.name,
        argv=(str(definition.script(name)),),
        cwd=str(definition.path),
        environment=variables,
        log=host.paths.os_log / log,
        timeout_s=timeout_s,
        disks=tuple(one.disk.uuid for one in disks),
    )


def create(
    host: ScriptHost,
    instance: FilledInstance,
    disks: Sequence[ScriptDisk],
    *,
    reinstall: bool = False,
    debug_level: int = 0,
) -> None:
    """The instance's disks hold a fresh guest OS."""
    definition = find.require(host.paths, instance.os)
    if not definition.has(find.CREATE):
        raise OpPrereqError(
            f"OS {definition.name} has only the script {find.CREATE_UNTRUSTED}, which does not run"
            " on the node itself",
            Code.STATE,
        )
    variables = environment.instance_environment(definition, instance, disks, debug_level)
    if reinstall:
        variables["INSTANCE_REINSTALL"] = "1"
    log = log_name("add", instance.os, instance.name, host.now)
    script = _script(
        host, definition, find.CREATE, instance, disks, variables, log, CREATE_TIMEOUT_S
    )
    _run_logged(host, definition, find.CREATE, script)


def rename(
    host: ScriptHost,
    instance: FilledInstance,
    disks: Sequence[ScriptDisk],
    old_name: str,
    *,
    debug_level: int = 0,
) -> None:
    """The guest OS knows its new name."""
    definition = find.require(host.paths, instance.os)
    variables = environment.instance_environment(definition, instance, disks, debug_level)
    variables["OLD_INSTANCE_NAME"] = old_name
    log = log_name("rename", instance.os, f"{old_name}-{instance.name}", host.now)
    script = _script(
        host, definition, find.RENAME, instance, disks, variables, log, RENAME_TIMEOUT_S
    )
    _run_logged(host, definition, find.RENAME, script)


def validate(
    host: ScriptHost,
    name: str,
    checks: Sequence[str],
    osparams: Mapping[str, Json],
    *,
    required: bool,
    force_variant: bool = False,
) -> bool:
    """Whether the OS is here and accepts the parameters.

    False: it is not here and not `required`. OpPrereqError says what is wrong.
    """
    definition = find.require(host.paths, name) if required else find.find(host.paths, name)
    if definition is None:
        return False
    find.check_variant(definition, name, force=force_variant)
    unknown = set(checks) - {"parameters"}
    if unknown:
        raise OpPrereqError(f"OS check {sorted(unknown)[0]!r} is not known", Code.INVAL)
    if definition.api_version < find.API_PARAMETERS:
        return True
    if "parameters" in checks:
        find.check_parameter_names(definition, list(osparams))
    variables = environment.core_environment(definition, name, osparams, 0)
    try:
        result = host.run(
            [str(definition.script(find.VERIFY)), *checks],
            env=variables,
            clean_env=True,
            cwd=str(definition.path),
            timeout_s=VERIFY_TIMEOUT_S,
        )
    except CommandError as error:
        raise OpPrereqError(f"OS {definition.name}: {error}", Code.ENVIRON) from error
    if not result.ok:
        raise OpPrereqError(
            f"OS {definition.name} refuses these parameters: verify script {result.reason}:"
            f" {result.last_lines(script_log.LOG_LINES).strip() or 'it gave no reason'}",
            Code.INVAL,
        )
    return True


@dataclass(frozen=True, slots=True)
class TransferScript:
    """An export or import script, ready to be put into a pipe: what to run, where, and its log.

    `environment` comes on top of the node daemon's own, unlike that of the other scripts.
    """

    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    log: Path


def transfer_script(
    host: ScriptHost,
    script: str,
    instance: FilledInstance,
    disks: Sequence[ScriptDisk],
    index: int,
    debug_level: int = 0,
) -> TransferScript:
    """`find.EXPORT` writes a dump of disk `index` to its output, `find.IMPORT` reads one."""
    definition = find.require(host.paths, instance.os)
    base = environment.instance_environment(definition, instance, disks, debug_level)
    log = log_name(script, instance.os, instance.name, host.now, f"disk{index}")
    return TransferScript(
        argv=(str(definition.script(script)),),
        cwd=str(definition.path),
        environment=environment.transfer_environment(base, script, disks[index], index),
        log=host.paths.os_log / log,
    )
