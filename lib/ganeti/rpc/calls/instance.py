"""Calls about instances: start, stop, migrate, hot-plug, what runs."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.report import MigrationStatus, RunningInfo
from ganeti.rpc.base import NORMAL, SLOW, URGENT, call
from ganeti.rpc.calls.shapes import Params, ReasonTrail
from ganeti.serializer import Json


@call(timeout_s=URGENT, none_as={})
def instance_info(instance: str, hname: str, hvparams: Params) -> RunningInfo | None:
    """Memory, state and CPU time of a running instance; None if it does not run here."""


@call(timeout_s=URGENT)
def all_instances_info(
    hypervisor_list: Sequence[str], all_hvparams: Mapping[str, Params]
) -> dict[str, RunningInfo]:
    """The same for all running instances, by name."""


@call(timeout_s=URGENT)
def instance_list(hypervisor_list: Sequence[str], hvparams: Params) -> list[str]:
    """Names of the running instances."""


@call(timeout_s=NORMAL)
def instance_reboot(
    inst: FilledInstance, reboot_type: str, shutdown_timeout: int, reason: ReasonTrail
) -> None:
    """Reboot, soft or hard (full is stop and start by the master)."""


@call(timeout_s=NORMAL)
def instance_shutdown(instance: FilledInstance, timeout: int, reason: ReasonTrail) -> None:
    """Stop the instance, by force when the timeout (s) is over."""


@call(timeout_s=NORMAL)
def instance_balloon_memory(instance: FilledInstance, memory: int) -> None:
    """Set the memory (MiB) of a running instance."""


@call(timeout_s=NORMAL)
def instance_migratable(instance: FilledInstance) -> None:
    """Fails when the instance does not run here."""


@call(timeout_s=NORMAL)
def migration_info(instance: FilledInstance) -> Json:
    """What the target needs to know, in a form of the hypervisor."""


@call(timeout_s=NORMAL)
def accept_instance(instance: FilledInstance, info: str, target: str) -> None:
    """Prepare this node as migration target."""


@call(timeout_s=NORMAL)
def instance_finalize_migration_dst(instance: FilledInstance, info: str, success: bool) -> None:
    """End a migration on its target."""


@call(timeout_s=SLOW)
def instance_migrate(cluster_name: str, instance: FilledInstance, target: str, live: bool) -> None:
    """Move the running instance to `target` (IP address)."""


@call(timeout_s=SLOW)
def instance_finalize_migration_src(instance: FilledInstance, success: bool, live: bool) -> None:
    """End a migration on its source."""


@call(timeout_s=SLOW)
def instance_get_migration_status(instance: FilledInstance) -> MigrationStatus:
    """How far a migration is."""


@call(timeout_s=NORMAL)
def instance_start(
    instance_hvp_bep: FilledInstance, startup_paused: bool, reason: ReasonTrail
) -> None:
    """Start the instance; its disks must be active. No-op when it already runs."""


@call(timeout_s=NORMAL)
def hotplug_device(
    instance: FilledInstance, action: str, dev_type: str, device: Params, extra: Json, seq: int
) -> Json:
    """Add, remove or change a device of a running instance."""


@call(timeout_s=NORMAL)
def resize_disk(instance: FilledInstance, disk: Disk, new_size: int) -> None:
    """Tell the running instance that its disk has `new_size` bytes."""


@call(timeout_s=NORMAL)
def hotplug_supported(instance: FilledInstance) -> None:
    """Fails when devices of this instance can not be hot-plugged."""


@call(timeout_s=URGENT)
def instance_metadata_modify(instance: Params) -> None:
    """Hand metadata to the metadata daemon."""


@call(timeout_s=NORMAL)
def hypervisor_validate_params(hvname: str, hvfull: Params) -> None:
    """Check hypervisor parameters against this node."""
