"""What a served function may use of its node. A served function has no other way out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ganeti.constants import NODED_PORT
from ganeti.paths import Paths
from ganeti.utils.files import Disk, LocalDisk
from ganeti.utils.process import Runner, run

if TYPE_CHECKING:
    from ganeti.hypervisor.base import HvHost, Hypervisor
    from ganeti.storage.base import BlockDevice, StorageHost


class Clock(Protocol):
    """Time as it comes in from outside."""

    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def sleep(self, seconds: float) -> None:
        """Block the calling worker."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """How one node daemon is set up; the defaults are those of ganeti-noded."""

    paths: Paths
    hostname: str
    bind: str = "0.0.0.0"
    port: int = NODED_PORT  # 0: any free one, see NodeDaemon.port
    certificate: Path | None = None  # instead of server.pem (-C)
    key: Path | None = None  # instead of the one in the certificate's file (-K)
    metrics: tuple[str | None, int] | None = None  # address (or that above) and port of /metrics
    workers: int = 20  # calls served at the same time (--max-clients)
    restricted_commands: bool = False  # --restricted-commands; a build option of the classic
    master_daemons: Sequence[str] = ("ganeti-masterd", "ganeti-rapi")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


@dataclass(slots=True, kw_only=True)
class NodeContext:
    """One node, as the served functions see it.

    `hypervisors` and `storages` make drivers by name: the kinds of facts/constants.json. They are
    made at first use and kept (drivers have no state of their own).
    """

    settings: NodeSettings
    clock: Clock = field(default_factory=SystemClock)
    run: Runner = run
    files: Disk = field(default_factory=LocalDisk)
    stop_daemon: Callable[[], None] = lambda: None  # node_leave_cluster ends noded with it
    renew_tls: Callable[[], None] = lambda: None  # noded reads its certificates again
    # Start a program that nobody waits for, said what it is about: node/background.py.
    in_background: Callable[[Sequence[str], str], object] = lambda argv, about: None
    _hypervisors: dict[str, Hypervisor] = field(default_factory=dict, repr=False)
    _storages: dict[str, BlockDevice] = field(default_factory=dict, repr=False)

    @property
    def paths(self) -> Paths:
        return self.settings.paths

    @property
    def hostname(self) -> str:
        """The node's own full name."""
        return self.settings.hostname

    @property
    def is_virtual(self) -> bool:
        """A node that is only a root directory: no addresses, bridges or daemons of its own."""
        return self.paths.is_virtual

    def hypervisor(self, kind: str) -> Hypervisor:
        """The driver; HypervisorError when there is no such hypervisor."""
        from ganeti.hypervisor import registry

        made = self._hypervisors.get(kind)
        if made is None:
            made = self._hypervisors[kind] = registry.make(kind, self.hypervisor_host)
        return made

    def storage(self, kind: str) -> BlockDevice:
        """The driver of one kind of device; BlockDeviceError when there is no such kind."""
        from ganeti.storage import registry

        made = self._storages.get(kind)
        if made is None:
            made = self._storages[kind] = registry.make(kind, self.storage_host)
        return made

    @property
    def hypervisor_host(self) -> HvHost:
        from ganeti.hypervisor.base import HvHost

        privileged = os.geteuid() == 0 and not self.is_virtual
        return HvHost(paths=self.paths, run=self.run, privileged=privileged)

    @property
    def storage_host(self) -> StorageHost:
        from ganeti.node import ext_task
        from ganeti.storage.base import StorageHost

        return StorageHost(
            paths=self.paths,
            run=self.run,
            execute=lambda one: ext_task.execute(self, one),
            now=self.clock.now,
        )

    def ssconf(self, key: str) -> str:
        """The value of an ssconf file without its last newline; "" when there is none."""
        try:
            return self.paths.ssconf(key).read_text().removesuffix("\n")
        except FileNotFoundError:
            return ""
