"""What the two ends of a transfer tell, and what follows from it. Pure.

Both ends must end well, and have passed the same number of bytes: a connection that was cut early
looks to the receiver like the end of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ganeti.model.report import ImportExportStatus

SHOWN_LINES: Final = 3


class Verdict(StrEnum):
    """How a transfer is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Ends:
    """The last word of both ends. None: not begun yet."""

    receiver: ImportExportStatus | None = None
    sender: ImportExportStatus | None = None

    @property
    def port(self) -> int | None:
        """Where the receiver waits for the sender."""
        return None if self.receiver is None else self.receiver.listen_port

    @property
    def all_ended(self) -> bool:
        return _has_ended(self.receiver) and (self.sender is None or _has_ended(self.sender))

    @property
    def verdict(self) -> Verdict:
        """FAILED as soon as one end has failed."""
        if _failed(self.receiver) or _failed(self.sender):
            return Verdict.FAILED
        if not (_has_ended(self.receiver) and _has_ended(self.sender)):
            return Verdict.RUNNING
        return Verdict.DONE if self.is_whole else Verdict.FAILED

    @property
    def is_whole(self) -> bool:
        """Whether as much has arrived as was sent."""
        if self.receiver is None or self.sender is None:
            return False
        return self.receiver.progress_mbytes == self.sender.progress_mbytes

    @property
    def moved_mib(self) -> float:
        """What the further end has passed; it grows while the transfer lives."""
        ends = (self.receiver, self.sender)
        return max((one.progress_mbytes or 0.0 for one in ends if one is not None), default=0.0)


def _has_ended(one: ImportExportStatus | None) -> bool:
    return one is not None and one.exit_status is not None


def _failed(one: ImportExportStatus | None) -> bool:
    return one is not None and one.exit_status not in (None, 0)


def problem(ends: Ends, source: str, target: str) -> str:
    """Why it failed, in the words of both ends; `source` and `target` are names of nodes."""
    parts = [
        f"{doing} on node {node}: {_words(one)}"
        for doing, node, one in (
            ("receiving", target, ends.receiver),
            ("sending", source, ends.sender),
        )
        if one is not None and _failed(one)
    ]
    if not parts:
        sent = ends.sender.progress_mbytes if ends.sender else None
        arrived = ends.receiver.progress_mbytes if ends.receiver else None
        return f"{_mib(sent)} were sent, {_mib(arrived)} have arrived: the connection was cut"
    return "; ".join(parts)


def _words(one: ImportExportStatus) -> str:
    said = " / ".join(one.recent_output[-SHOWN_LINES:])
    text = one.error_message or f"exited with exit code {one.exit_status}"
    return f"{text} ({said})" if said else text


def _mib(amount: float | None) -> str:
    return "no data" if amount is None else f"{amount:.1f} MiB"


def progress_text(label: str, status: ImportExportStatus) -> str | None:
    """How far the sender is: amount, rate, share, time left. None when it does not know yet."""
    if status.progress_mbytes is None:
        return None
    parts = [f"{label} sent {status.progress_mbytes:.0f}M"]
    if status.progress_throughput is not None:
        parts.append(f"{status.progress_throughput:.1f} MiB/s")
    if status.progress_percent is not None:
        parts.append(f"{status.progress_percent:.0f}%")
    if status.progress_eta is not None:
        parts.append(f"{status.progress_eta:.0f} s left")
    return ", ".join(parts)
