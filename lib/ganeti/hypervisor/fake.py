"""Instances that exist only as files; for tests, and for trying a cluster without virtualisation.

`RUN/fake-hypervisor/NAME` holds three lines: 0, memory in MiB, virtual processors
(facts/hypervisors.md, Fake). Faults are asked for with the file `.control` beside them, a JSON
object {instance name or "*": {knob: value}}:

    fail_start       text: the start fails with it
    start_delay_s    seconds that a start takes
    fail_shutdown    text: asking for a shutdown fails with it
    ignore_shutdown  true: the guest ignores requests to shut down, only force ends it
    fail_migrate     text: the migration fails with it
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ganeti.errors import HypervisorError
from ganeti.hypervisor import machine
from ganeti.hypervisor.base import (
    Console,
    ConsoleKind,
    GuestDisk,
    HvCapabilities,
    Hypervisor,
)
from ganeti.model.report import HypervisorNodeInfo, MigrationStatus, RunningInfo
from ganeti.serializer import Json, loads
from ganeti.types import HypervisorKind

if TYPE_CHECKING:
    from ganeti.model.disk import Disk
    from ganeti.model.filled import FilledInstance
    from ganeti.model.instance import Instance
    from ganeti.model.node import Node
    from ganeti.paths import Paths

CONTROL_FILE = ".control"


class FakeHypervisor(Hypervisor):
    """See the module."""

    kind: ClassVar[HypervisorKind] = HypervisorKind.FAKE
    capabilities: ClassVar[HvCapabilities] = HvCapabilities(migrate=True, balloon=True)

    @property
    def directory(self) -> Path:
        return self.host.paths.run / "fake-hypervisor"

    def info(self, name: str) -> RunningInfo | None:
        try:
            lines = (self.directory / name).read_text().splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 3 or not (lines[1].isdigit() and lines[2].isdigit()):
            raise HypervisorError(f"instance {name}: its file does not hold 0, memory and vcpus")
        return RunningInfo(memory=int(lines[1]), vcpus=int(lines[2]))

    def all_info(self) -> dict[str, RunningInfo]:
        found = {}
        for name in self.running():
            info = self.info(name)
            if info is not None:
                found[name] = info
        return found

    def running(self) -> list[str]:
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.startswith("."))

    def start(
        self, instance: FilledInstance, disks: Sequence[GuestDisk], *, paused: bool = False
    ) -> None:
        if self.info(instance.name) is not None:
            raise HypervisorError(f"instance {instance.name}: runs already")
        self._fault(instance.name, "fail_start")
        self.host.sleep(float(self._knob(instance.name, "start_delay_s") or 0.0))
        free = self.node_info({}).memory_free
        limits = instance.beparams
        memory = machine.start_memory_mib(
            int(limits.get("minmem", instance.memory_mib)), instance.memory_mib, free
        )
        self._write(instance, memory)

    def ask_shutdown(self, instance: FilledInstance, *, again: bool) -> None:
        self._fault(instance.name, "fail_shutdown")
        if not self._knob(instance.name, "ignore_shutdown"):
            self.kill(instance)

    def kill(self, instance: FilledInstance) -> None:
        (self.directory / instance.name).unlink(missing_ok=True)

    def reboot(self, instance: FilledInstance) -> None:
        if self.info(instance.name) is None:
            raise HypervisorError(f"instance {instance.name}: does not run, it can't be rebooted")

    def balloon(self, instance: FilledInstance, memory_mib: int) -> None:
        if self.info(instance.name) is None:
            raise HypervisorError(f"instance {instance.name}: does not run")
        self._write(instance, memory_mib)

    def resize_disk(self, instance: FilledInstance, disk: Disk, size_bytes: int) -> None:
        """There is no guest that would have to see it."""

    def _write(self, instance: FilledInstance, memory_mib: int) -> None:
        """Whole or not at all: others read these files at any moment."""
        self.directory.mkdir(parents=True, exist_ok=True)
        new = self.directory / f".{instance.name}.new"
        new.write_text(f"0\n{memory_mib}\n{instance.vcpus}\n")
        new.rename(self.directory / instance.name)

    # Migration: the target writes the file, the source removes it.
    def accept(
        self, instance: FilledInstance, info: str, target: str, disks: Sequence[GuestDisk]
    ) -> None:
        if self.info(instance.name) is not None:
            raise HypervisorError(f"instance {instance.name}: runs here already")

    def migrate(self, cluster_name: str, instance: FilledInstance, target: str, live: bool) -> None:
        if self.info(instance.name) is None:
            raise HypervisorError(f"instance {instance.name}: does not run, it can't be migrated")
        self._fault(instance.name, "fail_migrate")

    def migration_status(self, instance: FilledInstance) -> MigrationStatus:
        failed = self._knob(instance.name, "fail_migrate")
        return MigrationStatus(status="failed" if failed else "completed")

    def finalize_target(self, instance: FilledInstance, info: str, success: bool) -> None:
        if success:
            self._write(instance, instance.memory_mib)

    def finalize_source(self, instance: FilledInstance, success: bool, live: bool) -> None:
        if success:
            self.kill(instance)

    def node_info(self, hvparams: Mapping[str, Json]) -> HypervisorNodeInfo:
        """The node's own, less what the instances would use."""
        info = machine.read_node_info(self.host.proc)
        used = sum(guest.memory for guest in self.all_info().values())
        return replace(info, memory_free=max(0, (info.memory_free or 0) - used))

    def verify(self, hvparams: Mapping[str, Json]) -> str | None:
        if self.directory.exists() and not self.directory.is_dir():
            return f"{self.directory} is no directory"
        return None

    @staticmethod
    def console(
        instance: Instance,
        node: Node,
        hvparams: Mapping[str, Json],
        beparams: Mapping[str, Json],
        paths: Paths,
    ) -> Console:
        return Console(
            instance=instance.name,
            kind=ConsoleKind.MESSAGE,
            message="Console not available for fake hypervisor",
        )

    # Faults.
    def _knob(self, name: str, knob: str) -> Json:
        try:
            text = (self.directory / CONTROL_FILE).read_text()
        except FileNotFoundError:
            return None
        control = loads(text, f"fake hypervisor's {CONTROL_FILE}")
        return {**control.get("*", {}), **control.get(name, {})}.get(knob)

    def _fault(self, name: str, knob: str) -> None:
        text = self._knob(name, knob)
        if text:
            raise HypervisorError(f"instance {name}: {text}")
