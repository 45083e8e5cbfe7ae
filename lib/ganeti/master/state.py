"""What the master knows besides configuration and jobs: the watcher's pause, its machine."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from functools import partial

from ganeti.config.snapshot import Snapshot
from ganeti.paths import Paths
from ganeti.rpc import calls
from ganeti.rpc.base import target_of
from ganeti.rpc.client import RpcClient
from ganeti.utils.files import Disk
from ganeti.utils.offload import in_thread

PAUSE_MODE = 0o644


class MasterState:
    """See query.sources.MasterState."""

    def __init__(
        self,
        paths: Paths,
        disk: Disk,
        rpc: RpcClient,
        config: Callable[[], Snapshot],
        drained: Callable[[], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._paths = paths
        self._disk = disk
        self._rpc = rpc
        self._config = config
        self._drained = drained
        self.now = now

    @property
    def drained(self) -> bool:
        return self._drained()

    @property
    def architecture(self) -> tuple[str, str]:
        bits = "64bits" if sys.maxsize > 2**32 else "32bits"
        return bits, platform.machine()

    @property
    def watcher_pause_until(self) -> float | None:
        """Unix seconds; None when there is no pause, or it is over."""
        try:
            text = self._paths.watcher_pause.read_text().strip()
            until = float(text)
        except (FileNotFoundError, ValueError):
            return None
        return until if until > self.now() else None

    async def set_watcher_pause(self, until: float | None) -> None:
        """All online nodes know of the pause; the file here is what counts."""
        place = self._paths.watcher_pause
        if until is None:
            await in_thread(partial(self._disk.unlink, place, missing_ok=True))
        else:
            text = f"{int(until)}\n".encode()
            await in_thread(partial(self._disk.replace, place, text, mode=PAUSE_MODE))
        config = self._config()
        others = [
            target_of(node)
            for node in config.online_nodes()
            if node.uuid != config.cluster.master_node
        ]
        await self._rpc.all(others, calls.set_watcher_pause, until)
