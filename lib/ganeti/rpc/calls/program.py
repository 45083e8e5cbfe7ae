"""Calls that run a program on a node: hooks, allocators, allowed commands."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping

from ganeti.model.report import HookResult
from ganeti.rpc.base import NORMAL, SLOW, call
from ganeti.rpc.calls.shapes import Params
from ganeti.serializer import Json


@call(timeout_s=SLOW)
def restricted_command(cmd: str) -> str:
    """Run one of the allowed commands; refusals answer after 10 s."""


@call(timeout_s=NORMAL)
def run_oob(oob_program: str, command: str, remote_node: str, timeout: int) -> Json:
    """Run the out-of-band program; its output as JSON."""


@call(timeout_s=NORMAL)
def hooks_runner(hpath: str, phase: str, env: Mapping[str, str]) -> list[HookResult]:
    """Run hook scripts; [script, status, output] each."""


@call(timeout_s=NORMAL)
def iallocator_runner(name: str, idata: str, default_iallocator_params: Params) -> str:
    """Run an allocator script; its output."""
