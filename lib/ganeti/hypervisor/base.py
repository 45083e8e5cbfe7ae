"""What every hypervisor does: the contract of the drivers.

A driver keeps no state of its own: what runs is found in files, sockets and processes of the
node, so that a restarted noded finds its instances (and other drivers' instances are left alone).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ganeti.errors import HotplugError, HypervisorError
from ganeti.model.report import RUNNING
from ganeti.serializer import Json
from ganeti.types import HypervisorKind

if TYPE_CHECKING:
    from ganeti.model.disk import Disk
    from ganeti.model.filled import FilledInstance
    from ganeti.model.instance import Instance
    from ganeti.model.nic import Nic
    from ganeti.model.node import Node
    from ganeti.model.report import HypervisorNodeInfo, MigrationStatus, RunningInfo
    from ganeti.paths import Paths
    from ganeti.utils.process import Runner


@dataclass(frozen=True, slots=True)
class HvCapabilities:
    """What a hypervisor can do; callers ask here, never for its name."""

    migrate: bool = False
    pause: bool = False
    balloon: bool = False
    hotplug: bool = False
    console_port: bool = False  # needs a cluster-wide port per instance (network_port)
    uris: bool = False  # opens storage by address, without a block device


@dataclass(frozen=True, slots=True)
class HvHost:
    """What a driver may touch of its node: files, programs, time, and whether it may make taps."""

    paths: Paths
    run: Runner
    privileged: bool  # may make network devices: root, and not a virtual node
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    clock: Callable[[], float] = time.time
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class GuestDisk:
    """A disk as it is given to a guest: its link below instance-disks, or an address."""

    disk: Disk
    link: Path
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class DiskIo:
    """What a guest has done with its disk of this number, since its process began."""

    index: int
    read_bytes: int
    written_bytes: int
    reads: int
    writes: int


class ConsoleKind:
    """How a console is reached; the words of OP_INSTANCE_CONSOLE."""

    SSH = "ssh"
    VNC = "vnc"
    SPICE = "spice"
    MESSAGE = "msg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Where an instance's console is. facts/opcodes.json, OP_INSTANCE_CONSOLE."""

    instance: str
    kind: str
    message: str | None = None
    host: str | None = None
    port: int | None = None
    user: str | None = None
    command: Sequence[str] | None = None
    display: int | None = None

    def to_json(self) -> dict[str, Json]:
        """The answer of the opcode; absent keys are left out."""
        pairs = ((name, getattr(self, name)) for name in self.__slots__)
        return {
            name: list(value) if name == "command" else value
            for name, value in pairs
            if value is not None
        }


# A guest that still boots does not hear a request: asked again, soon at first.
ASK_AGAIN_S, ASK_SOON_S = 5.0, 1.0
KILL_WAIT_S = 5.0  # a process in a system call on slow storage ends late
POLL_S = 0.5


class Hypervisor(ABC):
    """Driver of one hypervisor on one node. Raises HypervisorError that names the instance."""

    kind: ClassVar[HypervisorKind]
    capabilities: ClassVar[HvCapabilities]

    def __init__(self, host: HvHost) -> None:
        self.host = host

    # What runs.
    @abstractmethod
    def info(self, name: str) -> RunningInfo | None:
        """The instance, or None when it does not run here."""

    @abstractmethod
    def all_info(self) -> dict[str, RunningInfo]:
        """Every instance that the hypervisor has here, by name."""

    @abstractmethod
    def running(self) -> list[str]:
        """Names of the instances that run here, sorted."""

    def disk_io(self, limit_s: float) -> Mapping[str, Sequence[DiskIo]]:
        """What running instances have done with their disks, by name. Those that can't be told
        about within `limit_s` are left out."""
        return {}

    def is_alive(self, name: str) -> bool:
        """Whether the instance runs here; cheaper than `info` where that asks the guest."""
        info = self.info(name)
        return info is not None and info.state == RUNNING

    # Its life.
    @abstractmethod
    def start(
        self, instance: FilledInstance, disks: Sequence[GuestDisk], *, paused: bool = False
    ) -> None:
        """The instance runs; its disks are active. HypervisorError when it runs already.

        After a failure nothing of it runs, and `cleanup` was done.
        """

    @abstractmethod
    def ask_shutdown(self, instance: FilledInstance, *, again: bool) -> None:
        """The guest was told to shut down; a guest that can't be told is left as it is."""

    @abstractmethod
    def kill(self, instance: FilledInstance) -> None:
        """The guest was ended without asking. No-op when it does not run."""

    def stop(
        self, instance: FilledInstance, *, force: bool = False, timeout_s: float = 120.0
    ) -> None:
        """The instance does not run (any more), and nothing of it is left here.

        Asks the guest, again after 1 s and at last every 5 s, up to `timeout_s`, and then ends
        it; `force` ends it at once. HypervisorError when it still runs afterwards. Source:
        facts/hypervisors.md, Common.
        """
        if not force:
            self._ask_until(instance, timeout_s)
        if self.is_alive(instance.name):
            self.kill(instance)
            if not self.wait_gone(instance.name, KILL_WAIT_S):
                raise HypervisorError(
                    f"instance {instance.name}: still runs {KILL_WAIT_S:g} s after it was killed"
                )
        self.cleanup(instance.name)

    def _ask_until(self, instance: FilledInstance, timeout_s: float) -> None:
        began = self.host.monotonic()
        again = False
        while self.is_alive(instance.name):
            asked_s = self.host.monotonic() - began
            if asked_s >= timeout_s:
                return
            self.ask_shutdown(instance, again=again)
            again = True
            pause_s = min(max(ASK_SOON_S, asked_s / 2), ASK_AGAIN_S)
            if self.wait_gone(instance.name, min(timeout_s - asked_s, pause_s)):
                return

    def wait_gone(self, name: str, timeout_s: float) -> bool:
        """Whether the instance was gone before `timeout_s` had passed."""
        end = self.host.monotonic() + timeout_s
        while self.is_alive(name):
            if self.host.monotonic() >= end:
                return False
            self.host.sleep(POLL_S)
        return True

    def cleanup(self, name: str) -> None:  # noqa: B027  a kind may leave nothing behind
        """Nothing is left on this node of an instance that does not run."""

    @abstractmethod
    def reboot(self, instance: FilledInstance) -> None:
        """The guest started anew, on the same devices ("soft" reboot)."""

    def balloon(self, instance: FilledInstance, memory_mib: int) -> None:
        """The running instance has `memory_mib` MiB."""
        raise HypervisorError(
            f"instance {instance.name}: memory can't change while it runs under {self.kind}"
        )

    def resize_disk(self, instance: FilledInstance, disk: Disk, size_bytes: int) -> None:
        """The running guest sees that its disk has `size_bytes` now."""
        raise HotplugError(
            f"instance {instance.name}: {self.kind} can't tell a running guest of a larger disk"
        )

    # Devices of a running guest. A device is recognised by its uuid.
    def check_hotplug(self, instance: FilledInstance) -> None:
        """HotplugError when devices of this guest can't be changed while it runs."""
        raise self._no_hotplug(instance)

    def hot_add(self, instance: FilledInstance, device: GuestDisk | Nic, index: int) -> None:
        """The guest has the device too; `index` is its place among those of its kind."""
        raise self._no_hotplug(instance)

    def hot_remove(
        self, instance: FilledInstance, device: GuestDisk | Nic
    ) -> Mapping[str, Json] | None:
        """The guest has let go of the device; answers where it was (`hvinfo`), if it was there.

        HotplugError when the guest does not let go of it; then it may still do so later.
        """
        raise self._no_hotplug(instance)

    def hot_modify(self, instance: FilledInstance, device: GuestDisk | Nic, index: int) -> None:
        """The guest has the device as it is described now, at the same place."""
        raise self._no_hotplug(instance)

    def disks_of_guest(self, instance: FilledInstance) -> Sequence[GuestDisk]:
        """The disks that the running guest has, in their order, as the driver remembers them."""
        raise self._no_hotplug(instance)

    def links_moved(self, instance: FilledInstance, links: Mapping[str, Path]) -> None:
        """The guest's disks, by uuid, are found behind these links from now on."""
        raise self._no_hotplug(instance)

    def _no_hotplug(self, instance: FilledInstance) -> HotplugError:
        return HotplugError(
            f"instance {instance.name}: devices of a running {self.kind} instance can't be changed;"
            " the change will be seen at its next start"
        )

    # Migration; see facts/storage.md §6.
    def migration_info(self, instance: FilledInstance) -> str:
        """What the target needs to receive the instance."""
        return ""

    def accept(
        self, instance: FilledInstance, info: str, target: str, disks: Sequence[GuestDisk]
    ) -> None:
        """This node waits at address `target` for the instance."""
        raise self._no_migration(instance)

    def finalize_target(self, instance: FilledInstance, info: str, success: bool) -> None:
        """The instance has arrived and is known here, or nothing of it is left here."""
        raise self._no_migration(instance)

    def migrate(self, cluster_name: str, instance: FilledInstance, target: str, live: bool) -> None:
        """The move to address `target` has begun."""
        raise self._no_migration(instance)

    def finalize_source(self, instance: FilledInstance, success: bool, live: bool) -> None:
        """The instance is not known here any more, or it runs here as before."""
        raise self._no_migration(instance)

    def migration_status(self, instance: FilledInstance) -> MigrationStatus:
        """How far the move is."""
        raise self._no_migration(instance)

    def _no_migration(self, instance: FilledInstance) -> HypervisorError:
        return HypervisorError(f"instance {instance.name}: {self.kind} can't migrate instances")

    # The node.
    @abstractmethod
    def node_info(self, hvparams: Mapping[str, Json]) -> HypervisorNodeInfo:
        """Memory and processors of the node."""

    @abstractmethod
    def verify(self, hvparams: Mapping[str, Json]) -> str | None:
        """What is wrong with the hypervisor on this node; None when nothing is."""

    def validate_params(self, hvparams: Mapping[str, Json]) -> None:  # noqa: B027  nothing, for most kinds
        """Files, directories and programs that the (filled) parameters name exist here."""

    # The master's side: pure.
    @staticmethod
    def private_state(hvparams: Mapping[str, Json]) -> Sequence[str]:
        """What a guest with these parameters keeps outside of its disks, in the manual's words."""
        return ()

    @staticmethod
    @abstractmethod
    def console(
        instance: Instance,
        node: Node,
        hvparams: Mapping[str, Json],
        beparams: Mapping[str, Json],
        paths: Paths,
    ) -> Console:
        """Where the console is. Pure: nothing is asked, nothing is read."""
