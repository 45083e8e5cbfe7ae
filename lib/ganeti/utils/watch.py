"""Noticing changed files, on a loop: by inotify where pyinotify works, else by looking.

What is watched is a name: a file that is replaced by rename, removed or made anew counts as
changed. Looking costs one stat per file and interval.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

POLL_S = 5.0
SETTLE_S = 0.1  # several changes at once are one


class FileWatch:
    """Calls `changed(path)` on the loop after a watched file changed; lives on the loop."""

    def __init__(
        self,
        paths: list[Path],
        changed: Callable[[Path], None],
        *,
        poll_s: float = POLL_S,
        inotify: bool = True,
    ) -> None:
        self._changed = changed
        self._poll_s = poll_s
        self._wants_inotify = inotify
        self._stamps = {path: _stamp(path) for path in paths}
        self._notifier: Any = None
        self._fd = -1
        self._timer: asyncio.TimerHandle | None = None

    @property
    def uses_inotify(self) -> bool:
        return self._notifier is not None

    def start(self) -> None:
        """Changes from now on are noticed."""
        self._stamps = {path: _stamp(path) for path in self._stamps}
        if self._wants_inotify:
            self._open_inotify()
        if self._notifier is None:
            self._again(self._poll_s)

    def stop(self) -> None:
        """Nothing is called any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._notifier is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._notifier.stop()
            self._notifier = None

    def _open_inotify(self) -> None:
        try:
            import pyinotify
        except ImportError as error:  # from Python 3.12 on it needs pyasyncore
            logger.info("no inotify (%s): looking every %.0f s", error, self._poll_s)
            return
        manager = pyinotify.WatchManager()
        mask = (
            pyinotify.IN_CLOSE_WRITE
            | pyinotify.IN_MOVED_TO
            | pyinotify.IN_MOVED_FROM
            | pyinotify.IN_DELETE
        )
        try:
            for directory in sorted({str(path.parent) for path in self._stamps}):
                manager.add_watch(directory, mask, quiet=False)
        except pyinotify.WatchManagerError as error:
            logger.info("no inotify (%s): looking every %.0f s", error, self._poll_s)
            manager.close()
            return
        self._notifier = pyinotify.Notifier(manager, self._on_event, timeout=0)
        self._fd = manager.get_fd()
        asyncio.get_running_loop().add_reader(self._fd, self._read_events)

    def _read_events(self) -> None:
        self._notifier.read_events()
        self._notifier.process_events()

    def _on_event(self, event: Any) -> None:
        if self._timer is None and Path(event.pathname) in self._stamps:
            self._again(SETTLE_S)

    def _again(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        for path, before in self._stamps.items():
            now = _stamp(path)
            if now != before:
                self._stamps[path] = now
                self._changed(path)
        if self._notifier is None:
            self._again(self._poll_s)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
