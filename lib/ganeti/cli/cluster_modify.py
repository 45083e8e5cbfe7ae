"""What gnt-cluster modify asks for, from its options. Source: facts/cli-behaviour.md §9."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganeti.cli.changes import by_type_and_name
from ganeti.cli.cluster_init import by_ident, read_uid_pool, words
from ganeti.cli.group_policy import policy_of_options
from ganeti.cli.run import Run
from ganeti.cli.values import read_bool, read_number, split_list
from ganeti.constants import EXIT_FAILURE
from ganeti.errors import Code, OpPrereqError

MICROSECONDS = 1_000_000

# Options whose value is that of the opcode's parameter of the same name.
SAME = (
    "candidate_pool_size", "max_running_jobs", "max_tracked_jobs", "install_image",
    "instance_communication_network", "mac_prefix", "master_netdev", "maintain_node_health",
    "drbd_helper", "default_iallocator", "default_iallocator_params", "prealloc_wipe_disks",
    "ndparams", "use_external_mip_script", "modify_etc_hosts", "enabled_user_shutdown",
    "file_storage_dir", "shared_file_storage_dir", "zeroing_image", "vg_name",
)  # fmt: skip


def modify_cluster(run: Run) -> int | None:
    """Submit what the options say; when the master has made jobs of it, follow those, too."""
    from ganeti.opcodes.cluster import OpClusterSetParams

    given = changes_of(run.options)
    if not given:
        run.err("Please give at least one of the parameters.")
        return EXIT_FAILURE
    result = run.submit(OpClusterSetParams(force=run.options.force, **given))
    if not result:
        return None
    jobs = run.job_set()
    jobs.add_submitted(result["jobs"])
    return None if all(good for good, _ in jobs.wait()) else EXIT_FAILURE


def changes_of(wanted: Any) -> dict[str, Any]:
    """Parameters of the opcode; what was not said is left out."""
    made = {name: getattr(wanted, name) for name in SAME}
    made |= {
        "enabled_hypervisors": words(wanted.enabled_hypervisors),
        "enabled_disk_templates": words(wanted.enabled_disk_templates),
        "compression_tools": words(wanted.compression_tools),
        "uid_pool": _uids(wanted.uid_pool),
        "add_uids": _uids(wanted.add_uids),
        "remove_uids": _uids(wanted.remove_uids),
        "reserved_lvs": None if wanted.reserved_lvs is None else split_list(wanted.reserved_lvs),
        "master_netmask": _netmask(wanted.master_netmask),
    }
    found = {name: value for name, value in made.items() if value is not None}
    grouped = {
        "beparams": wanted.beparams,
        "nicparams": wanted.nicparams,
        "hvparams": by_ident(wanted.hvparams, "-H"),
        "diskparams": by_ident(wanted.diskparams, "-D"),
        "hv_state": by_ident(wanted.hv_state, "--hypervisor-state"),
        "disk_state": by_type_and_name(wanted.disk_state),
        "ipolicy": policy_of_options(wanted),
        "enabled_data_collectors": _switches(wanted.enabled_data_collectors),
        "data_collector_interval": _intervals(wanted.data_collector_interval),
    }
    return found | {name: value for name, value in grouped.items() if value}


def _uids(text: str | None) -> list[tuple[int, int]] | None:
    return None if text is None else read_uid_pool(text)


def _netmask(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise OpPrereqError(f"--master-netmask: {text!r} is not a number of bits", Code.INVAL)
    return int(text)


def _switches(given: Mapping[str, Any]) -> dict[str, bool]:
    return {
        name: value if isinstance(value, bool) else read_bool(str(value))
        for name, value in given.items()
    }


def _intervals(given: Mapping[str, Any]) -> dict[str, int]:
    """Seconds, as microseconds."""
    return {name: int(read_number(str(value)) * MICROSECONDS) for name, value in given.items()}
