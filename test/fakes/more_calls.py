"""What fake nodes do when instances are changed and moved; see fakes.services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fakes.transfer_calls import TransferCalls
from ganeti.errors import HotplugError, HypervisorError, OpExecError
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.report import BlockDeviceStatus, MigrationStatus, RunningInfo

INCOMING = "incoming"
SENT = "sent"


class InstanceCalls(TransferCalls):
    """Guests move as QEMU moves them: the target waits, and goes on when all has arrived.

    `places` of the subclass hold what is where; a guest that waits or was sent away is in
    `Place.running` with that state.
    """

    places: dict[str, Any]
    migration: Sequence[str] = ("active", "completed")
    stalled = False  # nothing is sent

    def file_storage_dir_rename(self, place: Any, old: str, new: str) -> None:
        if new in place.directories and old not in place.directories:
            return
        if old not in place.directories or new in place.directories:
            raise OpExecError(f"{old} can't become {new}")
        place.directories.discard(old)
        place.directories.add(new)

    def instance_run_rename(
        self, place: Any, instance: FilledInstance, old_name: str, debug: int
    ) -> None:
        assert all(disk.uuid in place.active for disk in instance.disks_info)
        place.installed.append(f"{old_name} is {instance.name}")

    def blockdev_setinfo(self, place: Any, disk: Disk, info: str) -> None:
        self._device(place, disk)

    def blockdev_grow(
        self, place: Any, disk: Disk, amount: int, dry_run: bool, backing: bool, exclusive: bool
    ) -> None:
        self._device(place, disk)
        if not dry_run and backing:
            place.devices[disk.uuid] += amount

    def blockdev_find(self, place: Any, disk: Disk) -> BlockDeviceStatus | None:
        if disk.uuid not in place.devices:
            return None
        return BlockDeviceStatus(dev_path=str(disk.logical_id[1]))

    def blockdev_open(self, place: Any, name: str, disks: Sequence[Disk], exclusive: bool) -> None:
        for disk in disks:
            self._device(place, disk)

    def blockdev_close(self, place: Any, name: str, disks: Sequence[Disk]) -> None:
        pass

    def blockdev_convert(self, place: Any, source: Disk, target: Disk) -> None:
        self._device(place, source)
        self._device(place, target)

    def resize_disk(self, place: Any, instance: FilledInstance, disk: Disk, size: int) -> None:
        assert instance.name in place.running
        place.resized[disk.uuid] = size

    def instance_balloon_memory(self, place: Any, instance: FilledInstance, memory: int) -> None:
        place.running[instance.name] = replace(place.running[instance.name], memory=memory)

    def hotplug_supported(self, place: Any, instance: FilledInstance) -> None:
        if not place.hotplug:
            raise HotplugError("the hypervisor can't do it")

    def hotplug_device(
        self,
        place: Any,
        instance: FilledInstance,
        action: str,
        kind: str,
        device: Any,
        extra: Any,
        seq: int,
    ) -> Any:
        self.hotplug_supported(place, instance)
        place.plugged.append((action, kind, seq, extra))
        return {"driver": "virtio-net-pci"}

    # Migration.

    def instance_list(self, place: Any, kinds: Any, params: Any) -> list[str]:
        return sorted(place.running)

    def instance_migratable(self, place: Any, instance: FilledInstance) -> None:
        if instance.name not in place.running:
            raise HypervisorError(f"instance {instance.name}: does not run here")

    def migration_info(self, place: Any, instance: FilledInstance) -> str:
        return "runtime"

    def accept_instance(self, place: Any, instance: FilledInstance, info: str, target: str) -> None:
        if instance.name in place.running:
            raise HypervisorError(f"instance {instance.name}: runs here already")
        place.running[instance.name] = RunningInfo(
            memory=instance.memory_mib, vcpus=1, state=INCOMING
        )

    def instance_migrate(
        self, place: Any, cluster: str, instance: FilledInstance, target: str, live: bool
    ) -> None:
        place.migration = list(self.migration)

    def instance_get_migration_status(
        self, place: Any, instance: FilledInstance
    ) -> MigrationStatus:
        if not place.migration:
            raise HypervisorError("no migration was begun")
        status = place.migration[0]
        if len(place.migration) > 1:
            place.migration.pop(0)
        if status == "completed":
            self._hand_over(place, instance.name)
        place.sent += not self.stalled
        return MigrationStatus(status=status, transferred_ram=place.sent, total_ram=2)

    def _hand_over(self, source: Any, name: str) -> None:
        for place in self.places.values():
            if name in place.running and place.running[name].state == INCOMING:
                place.running[name] = replace(place.running[name], state=0)
                source.running[name] = replace(source.running[name], state=SENT)

    def instance_finalize_migration_dst(
        self, place: Any, instance: FilledInstance, info: str, success: bool
    ) -> None:
        if not success:
            place.running.pop(instance.name, None)
        elif instance.name not in place.running:
            raise HypervisorError(f"instance {instance.name}: has not arrived")

    def instance_finalize_migration_src(
        self, place: Any, instance: FilledInstance, success: bool, live: bool
    ) -> None:
        place.migration = []
        if success:
            place.running.pop(instance.name, None)
        elif instance.name in place.running:
            place.running[instance.name] = replace(place.running[instance.name], state=0)

    def _device(self, place: Any, disk: Disk) -> None:
        if disk.uuid not in place.devices:
            raise OpExecError(f"device {disk.uuid} does not exist")
