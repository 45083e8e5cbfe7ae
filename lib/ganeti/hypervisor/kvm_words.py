"""What QEMU says when it does not start. Before it is a daemon it may say it on its standard error,
else it stands in its log file (-D)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LAST_LINES: Final = 10
READ_BYTES: Final = 64 * 1024

# QEMU's words → the way out.
_WAYS_OUT: Final = (
    (
        "Address already in use",
        "another program holds that address (`ss -tlnp` shows which); end it, or choose another"
        " address (hvparams vnc_bind_address, spice_bind)",
    ),
    (
        'Failed to get "write" lock',
        "another process uses that disk; see whether the instance runs on another node",
    ),
    (
        "Cannot allocate memory",
        "the node has not enough free memory; free some, or start the instance with less",
    ),
    (
        "Could not access KVM kernel module",
        "load the node's module kvm_intel or kvm_amd, or set hvparam kvm_flag to disabled",
    ),
)


def size(file: Path) -> int:
    """Bytes of the log; 0 when there is none yet."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def since(file: Path, start: int) -> str:
    """What was written behind byte `start`; all of a file that began anew."""
    try:
        with open(file, "rb") as log:
            end = log.seek(0, 2)
            log.seek(max(start if start <= end else 0, end - READ_BYTES))
            return log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def failure(name: str, fate: str, said: str) -> str:
    """The sentence for the administrator: QEMU's own words, and the way out where it is known."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = "; ".join(lines[-LAST_LINES:]) or "it said nothing"
    hints = [way for pattern, way in _WAYS_OUT if pattern in said]
    return f"instance {name}: QEMU {fate}: {words}" + "".join(f"; {hint}" for hint in hints[:1])
