"""Hooks: scripts of the administrator around operations (facts/hooks.json)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ganeti.errors import CommandError, OpExecError
from ganeti.model.report import HOOK_FAILED, HOOK_SKIPPED, HOOK_SUCCEEDED, HookResult
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.types import HooksPhase

NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
SCRIPT_S = 600.0  # the call may take 900 s


@serves(calls.hooks_runner)
def hooks_runner(
    node: NodeContext, hpath: str, phase: str, env: Mapping[str, str]
) -> list[HookResult]:
    if phase not in list(HooksPhase):
        raise OpExecError(f"hooks phase {phase!r} is not known; use pre or post")
    if NAME.fullmatch(hpath) is None:
        raise OpExecError(f"hooks path {hpath!r} is not a name")
    folder = f"{hpath}-{phase}.d"
    return [
        HookResult(f"{folder}/{name}", status, output)
        for name, status, output in run_parts(node, node.paths.hooks / folder, env)
    ]


def run_parts(
    node: NodeContext, directory: Path, env: Mapping[str, str]
) -> list[tuple[str, int, str]]:
    """Run all scripts of a directory in the order of their names: (name, status, output).

    They get exactly the variables `env`. What has an odd name or can't be executed is skipped; a
    missing directory holds nothing.
    """
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except FileNotFoundError:
        return []
    return [(name, *_run_one(node, directory / name, env)) for name in names]


def _run_one(node: NodeContext, script: Path, env: Mapping[str, str]) -> tuple[int, str]:
    if not (NAME.fullmatch(script.name) and script.is_file() and os.access(script, os.X_OK)):
        return HOOK_SKIPPED, ""
    try:
        result = node.run([str(script)], env=env, clean_env=True, stdin=b"", timeout_s=SCRIPT_S)
    except CommandError as error:
        return HOOK_FAILED, str(error)
    output = result.output.strip()
    if result.ok:
        return HOOK_SUCCEEDED, output
    return HOOK_FAILED, f"{output}\n{result.stopped}".strip() if result.stopped else output
