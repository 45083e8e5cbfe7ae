"""The call table: every call that a node answers.

Names, order of arguments and time limits are those of facts/node-rpc.json. A call has no body
here; the function of the same name under `node/` serves it.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.report import (
    AssembledDevice,
    BlockDeviceStatus,
    Dimensions,
    ExtStorageReport,
    FileInfo,
    HookResult,
    ImportExportStatus,
    LvInfo,
    MigrationStatus,
    MirrorOutcome,
    NodeInfo,
    NodeVolume,
    OsReport,
    RunningInfo,
    SyncPause,
    SyncProgress,
)
from ganeti.rpc.base import FAST, FOUR_HOURS, NORMAL, ONE_DAY, SLOW, URGENT, call
from ganeti.serializer import Json

Params: TypeAlias = Mapping[str, Json]
ReasonTrail: TypeAlias = Sequence[tuple[str, str, int]]
"""[source, text, nanoseconds since 1970] each."""
LogicalId: TypeAlias = tuple[Json, ...]
Packed: TypeAlias = tuple[int, str]
"""Text as [0, text] or [1, base64 of zlib]; see `rpc/packed.py`."""
QueueFile: TypeAlias = tuple[str, Packed]
"""[path, contents]."""
UploadedFile: TypeAlias = tuple[str, Packed, int | None, str, str, float, float]
"""[path, contents, mode, user, group, atime, mtime]."""
MasterParams: TypeAlias = Mapping[str, Json]
"""uuid, ip, netmask (prefix length), netdev, ip_family."""
ImpExpIo: TypeAlias = tuple[str, Sequence[Json]]
TokenRequest: TypeAlias = tuple[str, str, Mapping[str, Json] | None]
"""["ssl", get | create | delete, options]."""


JOURNAL_S = 10.0  # a commit does not wait that long; see rpc/replicate.py


@dataclass(frozen=True, slots=True)
class JournalState:
    """What a candidate has of a journal. `refused`: why the wish was not done; empty if it was."""

    generation: str = ""  # empty: no journal, or one that can't be read
    size: int = 0
    crc: int = 0  # of the whole file; only when it was asked for
    refused: str = ""
    deposed: bool = False  # refused because another master is obeyed here
    promised: str = ""  # generation of the newest master that the node knows


def _delay_deadline(duration: float) -> float:
    return int(duration) + 5.0


# Instances.


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


@call(timeout_s=SLOW)
def instance_run_rename(instance: FilledInstance, old_name: str, debug: int) -> None:
    """Run the OS's rename script."""


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


@call(timeout_s=ONE_DAY)
def instance_os_add(instance_osp: FilledInstance, reinstall: bool, debug: int) -> None:
    """Run the OS's create script."""


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


# Block devices.


@call(timeout_s=URGENT)
def bdev_sizes(devices: Sequence[str]) -> dict[str, int]:
    """Sizes (MiB) of block devices by path; what is none is left out."""


@call(timeout_s=NORMAL)
def blockdev_create(
    bdev: Disk, size: int, owner: str, on_primary: bool, info: str, exclusive_storage: bool
) -> LogicalId:
    """Create a device; answers its unique id."""


@call(timeout_s=SLOW)
def blockdev_convert(bdev_src: Disk, bdev_dest: Disk) -> None:
    """Copy the contents of one device to another."""


@call(timeout_s=SLOW)
def blockdev_image(bdev: Disk, image: str, size: int) -> None:
    """Write an image (URL or path) to the device."""


@call(timeout_s=SLOW)
def blockdev_wipe(bdev: Disk, offset: int, size: int) -> None:
    """Overwrite `size` MiB from `offset` MiB."""


@call(timeout_s=NORMAL)
def blockdev_remove(bdev: Disk) -> None:
    """Remove a device and its children; errors are joined."""


@call(timeout_s=NORMAL)
def blockdev_pause_resume_sync(disks: Sequence[Disk], pause: bool) -> list[SyncPause]:
    """Pause or resume the resync; per disk [ok, message]."""


@call(timeout_s=NORMAL)
def blockdev_assemble(
    disk: Disk, instance: FilledInstance, on_primary: bool, idx: int
) -> AssembledDevice:
    """Activate a device; answers [device, link, uri]."""


@call(timeout_s=NORMAL)
def blockdev_shutdown(disk: Disk) -> None:
    """Deactivate a device."""


@call(timeout_s=NORMAL)
def blockdev_addchildren(bdev: Disk, ndevs: Sequence[Disk]) -> None:
    """Add mirror legs."""


@call(timeout_s=NORMAL)
def blockdev_removechildren(bdev: Disk, ndevs: Sequence[Disk]) -> None:
    """Remove mirror legs."""


@call(timeout_s=NORMAL)
def blockdev_close(instance_name: str, disks: Sequence[Disk]) -> None:
    """Make the disks read-only (secondary)."""


@call(timeout_s=NORMAL)
def blockdev_open(instance_name: str, disks: Sequence[Disk], exclusive: bool) -> None:
    """Make the disks writable (primary)."""


@call(timeout_s=NORMAL)
def blockdev_getdimensions(disks: Sequence[Disk]) -> list[Dimensions | None]:
    """Per disk [bytes, spindles], null when absent."""


@call(timeout_s=NORMAL)
def blockdev_grow(
    cf_bdev: Disk, amount: int, dryrun: bool, backingstore: bool, es_flag: bool
) -> None:
    """Grow by `amount` MiB."""


@call(timeout_s=NORMAL)
def blockdev_snapshot(cf_bdev: Disk, snap_name: str | None, snap_size: int | None) -> LogicalId:
    """Take a snapshot; answers its id."""


@call(timeout_s=NORMAL)
def blockdev_rename(devlist: Sequence[tuple[Disk, LogicalId]]) -> None:
    """Give devices new logical ids."""


@call(timeout_s=NORMAL)
def blockdev_find(disk: Disk) -> BlockDeviceStatus | None:
    """Status of a device; None if it does not exist."""


@call(timeout_s=NORMAL)
def blockdev_getmirrorstatus(disks: Sequence[Disk]) -> list[BlockDeviceStatus]:
    """Status of devices, children counted in; fails if one is missing."""


@call(timeout_s=NORMAL)
def blockdev_getmirrorstatus_multi(
    node_disks: Sequence[Disk],
) -> list[MirrorOutcome]:
    """Per disk [true, status] or [false, message]."""


@call(timeout_s=NORMAL)
def blockdev_setinfo(disk: Disk, info: str) -> None:
    """Set the text (LV tag) of a device."""


@call(timeout_s=NORMAL)
def blockdev_verify(disk: Disk) -> None:
    """Fails when the disk's own parameters are wrong here (ours, not in facts/node-rpc.json)."""


# Transfers.


@call(timeout_s=NORMAL)
def import_start(opts: Params, instance: FilledInstance, component: str, dest: ImpExpIo) -> str:
    """Start a receiving transfer; answers its name."""


@call(timeout_s=NORMAL)
def export_start(
    opts: Params, host: str, port: int, instance: FilledInstance, component: str, source: ImpExpIo
) -> str:
    """Start a sending transfer; answers its name."""


@call(timeout_s=FAST)
def impexp_status(names: Sequence[str]) -> list[ImportExportStatus | None]:
    """Status of transfers, null for unknown ones."""


@call(timeout_s=NORMAL)
def impexp_abort(name: str) -> None:
    """Send TERM to a transfer."""


@call(timeout_s=NORMAL)
def impexp_cleanup(name: str) -> None:
    """End a transfer and remove its directory."""


@call(timeout_s=FAST)
def export_info(path: str) -> str:
    """The config.ini text of an export."""


@call(timeout_s=NORMAL)
def finalize_export(instance: FilledInstance, snap_disks: Sequence[Disk | bool]) -> None:
    """Write config.ini and move the export to its place."""


@call(timeout_s=FAST)
def export_list() -> list[str]:
    """Names of the exports here, sorted."""


@call(timeout_s=FAST)
def export_remove(export: str) -> None:
    """Remove an export."""


@call(timeout_s=NORMAL)
def x509_cert_create(validity: int) -> tuple[str, str]:
    """Make a certificate for a transfer; answers [name, PEM]."""


@call(timeout_s=NORMAL)
def x509_cert_remove(name: str) -> None:
    """Remove the certificate."""


# Storage units and DRBD.


@call(timeout_s=FAST)
def file_storage_dir_create(file_storage_dir: str) -> None:
    """Make a directory for file storage, mode 0750; it must lie below an allowed path."""


@call(timeout_s=FAST)
def file_storage_dir_remove(file_storage_dir: str) -> None:
    """Remove an empty file storage directory; a missing one is fine."""


@call(timeout_s=FAST)
def file_storage_dir_rename(old_file_storage_dir: str, new_file_storage_dir: str) -> None:
    """Move a file storage directory."""


@call(timeout_s=NORMAL)
def storage_list(
    su_name: str, su_args: Sequence[Json], name: str | None, fields: Sequence[str]
) -> list[list[Json]]:
    """Rows of storage units, values in the order of `fields`; sizes in MiB."""


@call(timeout_s=NORMAL)
def storage_modify(su_name: str, su_args: Sequence[Json], name: str, changes: Params) -> None:
    """Change a storage unit; only `allocatable` of lvm-pv."""


@call(timeout_s=NORMAL)
def storage_execute(su_name: str, su_args: Sequence[Json], name: str, op: str) -> None:
    """Repair a storage unit; only fix-consistency of lvm-vg."""


@call(timeout_s=NORMAL)
def drbd_disconnect_net(disks: Sequence[Disk]) -> None:
    """Stand alone."""


@call(timeout_s=NORMAL)
def drbd_attach_net(disks: Sequence[Disk], multimaster: bool) -> None:
    """Connect to the peer; waits up to 120 s."""


@call(timeout_s=SLOW)
def drbd_wait_sync(disks: Sequence[Disk]) -> SyncProgress:
    """[all done, lowest percent]."""


@call(timeout_s=NORMAL)
def drbd_needs_activation(disks: Sequence[Disk]) -> list[str]:
    """UUIDs of disks that are standalone, diskless or absent."""


@call(timeout_s=FAST)
def node_volumes() -> list[NodeVolume]:
    """Logical volumes; one row per physical volume a volume uses."""


@call(timeout_s=URGENT)
def lv_list(vg_name: Sequence[str]) -> dict[str, LvInfo]:
    """ "vg/lv" to [size text in MiB, inactive, open]."""


@call(timeout_s=URGENT)
def vg_list() -> dict[str, int]:
    """Volume groups and their size in MiB."""


@call(timeout_s=URGENT)
def drbd_helper() -> str:
    """DRBD's usermode helper of the kernel module."""


# OS definitions and providers.


@call(timeout_s=FAST)
def os_diagnose() -> list[OsReport]:
    """Every OS definition found here."""


@call(timeout_s=FAST)
def os_validate(
    required: bool, name: str, checks: Sequence[str], params: Params, force_variant: bool
) -> bool:
    """Check an OS and its parameters; false: absent and not required."""


@call(timeout_s=FAST)
def os_export(instance: FilledInstance, override_env: Params) -> str:
    """Pack the OS scripts and environment; answers the path."""


@call(timeout_s=FAST)
def extstorage_diagnose() -> list[ExtStorageReport]:
    """Every external storage provider found here."""


# The node.


@call(timeout_s=FAST)
def node_has_ip_address(address: str) -> bool:
    """Whether an address is configured here."""


@call(timeout_s=URGENT)
def node_info(
    storage_units: Sequence[tuple[str, str | None, Sequence[Json]]],
    hv_specs: Sequence[tuple[str, Params | None]],
) -> NodeInfo:
    """Boot id, storage and hypervisor figures."""


@call(timeout_s=NORMAL)
def node_verify(
    checkdict: Params, cluster_name: str, all_hvparams: Mapping[str, Params]
) -> dict[str, Json]:
    """Answers of the asked checks (facts/node-rpc.json, node_verify_items)."""


@call(timeout_s=FAST)
def node_demote_from_mc() -> None:
    """Put the configuration away; refused on the master."""


@call(timeout_s=NORMAL, offline_too=True)
def node_powercycle(hypervisor: str, hvparams: Params) -> str:
    """Reboot the node in 5 s."""


@call(timeout_s=NORMAL)
def node_configure_ovs(ovs_name: str, ovs_link: str | None) -> None:
    """Make an Open vSwitch and its uplink."""


@call(timeout_s=SLOW)
def node_crypto_tokens(token_request: Sequence[TokenRequest]) -> list[tuple[str, str]]:
    """Get, create or delete the client certificate; answers its digest."""


@call(timeout_s=URGENT)
def node_ensure_daemon(daemon: str, run: bool) -> bool:
    """Start or stop a daemon; only ganeti-kvmd."""


@call(timeout_s=FAST)
def node_ssh_key_add(
    node_uuid: str,
    node_name: str,
    potential_master_candidates: Sequence[str],
    to_authorized_keys: bool,
    to_public_keys: bool,
    get_public_keys: bool,
) -> list[tuple[str, str]]:
    """Distribute the SSH key of a node; [node, error] of the failures."""


@call(timeout_s=FAST)
def node_ssh_key_remove(
    node_uuid: str,
    node_name: str,
    master_candidate_uuids: Sequence[str],
    potential_master_candidates: Sequence[str],
    from_authorized_keys: bool,
    from_public_keys: bool,
    clear_authorized_keys: bool,
    clear_public_keys: bool,
    readd: bool,
) -> list[tuple[str, str]]:
    """Withdraw the SSH key of a node; [node, error] of the failures."""


@call(timeout_s=FOUR_HOURS)
def node_ssh_keys_renew(
    node_uuids: Sequence[str],
    node_names: Sequence[str],
    master_candidate_uuids: Sequence[str],
    potential_master_candidates: Sequence[str],
    old_key_type: str,
    new_key_type: str,
    new_key_bits: int,
) -> list[tuple[str, str]]:
    """New SSH keys for nodes; [node, error] of the failures."""


@call(timeout_s=URGENT)
def bridges_exist(bridges_list: Sequence[str]) -> None:
    """Fails naming the missing bridges."""


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


@call(timeout_s=_delay_deadline)
def test_delay(duration: float) -> None:
    """Wait."""


@call(timeout_s=URGENT)
def get_watcher_pause() -> float | None:
    """Until when the watcher rests here; None: it does not."""


@call(timeout_s=URGENT)
def set_watcher_pause(until: float | None) -> None:
    """Let the watcher rest until then (Unix seconds); None: go on."""


@call(timeout_s=FAST)
def node_start_master_daemons(no_voting: bool) -> None:
    """Start the daemons of the master."""


@call(timeout_s=FAST)
def node_activate_master_ip(master_params: MasterParams, use_external_mip_script: bool) -> None:
    """Configure the master IP address here."""


@call(timeout_s=FAST)
def node_stop_master() -> None:
    """Stop the daemons of the master."""


@call(timeout_s=FAST)
def node_deactivate_master_ip(master_params: MasterParams, use_external_mip_script: bool) -> None:
    """Take the master IP address away."""


@call(timeout_s=FAST)
def node_change_master_netmask(
    old_netmask: int, netmask: int, master_ip: str, master_netdev: str
) -> None:
    """Change the prefix length of the master IP address."""


@call(timeout_s=NORMAL)
def node_leave_cluster(modify_ssh_setup: bool) -> str:
    """Remove all of the cluster's files; noded ends afterwards."""


@call(timeout_s=URGENT, express=True)
def master_node_name() -> str:
    """The master as this node knows it."""


@call(timeout_s=URGENT, offline_too=True, express=True)
def version() -> int:
    """Version of the protocol between nodes."""


@call(timeout_s=NORMAL)
def node_verify_light(checkdict: Params, cluster_name: str, hvparams: Params) -> dict[str, Json]:
    """node_verify, for callers without a configuration."""


# Files and job queue.


@call(timeout_s=NORMAL)
def etc_hosts_modify(mode: str, name: str, ip: str | None) -> bool:
    """Add or remove a line of /etc/hosts."""


@call(timeout_s=FAST)
def get_file_info(file_path: str) -> FileInfo:
    """[exists, {"size": bytes}]."""


@call(timeout_s=URGENT)
def jobqueue_update(file_name: str, content: Packed) -> None:
    """Write a file of the job queue."""


@call(timeout_s=NORMAL)
def jobqueue_place(files: Sequence[QueueFile], durable: bool) -> None:
    """Write files of the job queue. Unless `durable`, a crash of the node may damage them until
    `jobqueue_settle`."""


@call(timeout_s=NORMAL)
def jobqueue_settle(files: Mapping[str, int]) -> list[str]:
    """Make files durable if they have this crc32; the paths of those that have not."""


@call(timeout_s=NORMAL)
def jobqueue_purge() -> None:
    """Empty the job queue."""


@call(timeout_s=URGENT)
def jobqueue_rename(rename: Sequence[tuple[str, str]]) -> list[None]:
    """Move files of the job queue."""


@call(timeout_s=URGENT)
def jobqueue_set_drain_flag(flag: bool) -> bool | None:
    """Refuse or accept new jobs."""


@call(timeout_s=NORMAL)
def upload_file(file_name: UploadedFile) -> None:
    """Write one of the allowed files."""


@call(timeout_s=NORMAL)
def upload_file_single(
    file_name: str,
    content: Packed,
    mode: int | None,
    uid: str,
    gid: str,
    atime: float,
    mtime: float,
) -> None:
    """Write one of the allowed files."""


@call(timeout_s=NORMAL)
def write_ssconf_files(values: Mapping[str, str], generation: str = "") -> None:
    """Write ssconf files. `generation` (ours): of the configuration journal, see journal_promise;
    a node that knows a newer master refuses."""


# Journals of the master (ours, not in facts/node-rpc.json); the form of a journal:
# utils/journal.py. `name` is config, queue, or config.data (the file that config builds upon);
# to be read also job-N.


@call(timeout_s=JOURNAL_S, express=True)
def journal_append(name: str, generation: str, offset: int, data: str) -> JournalState:
    """`data` is durably at the end of the journal, if it is of this generation and size."""


@call(timeout_s=JOURNAL_S, express=True)
def journal_state(name: str, checksum: bool) -> JournalState:
    """What the node has of the journal."""


@call(timeout_s=JOURNAL_S, express=True)
def journal_promise(name: str, generation: str) -> JournalState:
    """The node obeys no master of an earlier term, nor another one of this term."""


@call(timeout_s=JOURNAL_S, express=True)
def journal_read(name: str, offset: int, size: int) -> str:
    """A piece of the file; empty at its end or when there is no file."""


@call(timeout_s=URGENT)
def journal_job_files() -> dict[str, tuple[int, int]]:
    """Size and CRC-32 of each job file that is not archived, by its name."""
    raise NotImplementedError


@call(timeout_s=JOURNAL_S, express=True)
def journal_replace(
    name: str, generation: str, offset: int, data: str, total: int, crc: int
) -> JournalState:
    """One piece of a new whole file.

    The pieces come in order; with the last one (offset + length = total) the file durably is in
    place, if its CRC-32 is `crc` and the node has no journal of a later term.
    """
