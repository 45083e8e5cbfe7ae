"""What gnt-cluster init asks for, from its options.

Source: facts/cli-behaviour.md §9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganeti.cli.changes import by_type_and_name
from ganeti.errors import Code, OpPrereqError
from ganeti.serializer import Json

if TYPE_CHECKING:
    from ganeti.master.bootstrap import InitRequest

# Option of the split policy → key of the policy.
SPLIT_SPECS = {
    "ispecs_mem_size": "memory-size",
    "ispecs_cpu_count": "cpu-count",
    "ispecs_disk_count": "disk-count",
    "ispecs_disk_size": "disk-size",
    "ispecs_nic_count": "nic-count",
}
BOUNDS = ("min", "max", "std")


def init_request(cluster_name: str, wanted: Any) -> InitRequest:
    """The request; OpPrereqError INVAL for options that contradict each other."""
    from ganeti.master.bootstrap import InitRequest

    return InitRequest(
        cluster_name=cluster_name,
        enabled_hypervisors=words(wanted.enabled_hypervisors),
        enabled_disk_templates=words(wanted.enabled_disk_templates),
        secondary_ip=wanted.secondary_ip,
        primary_ip_version=_number(wanted.primary_ip_version, "--primary-ip-version"),
        master_netdev=wanted.master_netdev,
        master_netmask=_number(wanted.master_netmask, "--master-netmask"),
        mac_prefix=wanted.mac_prefix,
        vg_name=wanted.vg_name,
        file_storage_dir=wanted.file_storage_dir,
        shared_file_storage_dir=wanted.shared_file_storage_dir,
        gluster_storage_dir=wanted.gluster_storage_dir,
        drbd_helper=wanted.drbd_helper,
        beparams=wanted.beparams,
        hvparams=by_ident(wanted.hvparams, "-H"),
        nicparams=wanted.nicparams,
        ndparams=wanted.ndparams or {},
        diskparams=by_ident(wanted.diskparams, "-D"),
        ipolicy=policy_of(wanted),
        hv_state=by_ident(wanted.hv_state, "--hypervisor-state"),
        disk_state=by_type_and_name(wanted.disk_state),
        candidate_pool_size=wanted.candidate_pool_size,
        modify_etc_hosts=wanted.modify_etc_hosts,
        modify_ssh_setup=wanted.modify_ssh_setup,
        maintain_node_health=bool(wanted.maintain_node_health),
        uid_pool=read_uid_pool(wanted.uid_pool),
        default_iallocator=wanted.default_iallocator,
        default_iallocator_params=wanted.default_iallocator_params,
        prealloc_wipe_disks=bool(wanted.prealloc_wipe_disks),
        use_external_mip_script=bool(wanted.use_external_mip_script),
        install_image=wanted.install_image,
        zeroing_image=wanted.zeroing_image,
        compression_tools=words(wanted.compression_tools),
        enabled_user_shutdown=bool(wanted.enabled_user_shutdown),
        ssh_key_type=wanted.ssh_key_type,
        ssh_key_bits=wanted.ssh_key_bits,
    )


def words(text: str | None) -> list[str] | None:
    """Parts of a comma list; None when the option was not given."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _number(text: Any, flag: str) -> Any:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise OpPrereqError(f"{flag}: {text!r} is not a number", Code.INVAL) from None


def by_ident(items: Sequence[tuple[str, Any]], flag: str) -> dict[str, Mapping[str, Json]]:
    """Parameters by what they are for, each at most once."""
    found: dict[str, Mapping[str, Json]] = {}
    for ident, params in items:
        if not isinstance(params, dict):
            raise OpPrereqError(f"{flag}: {ident} can't be switched off", Code.INVAL)
        if ident in found:
            raise OpPrereqError(f"{flag}: {ident} is given twice", Code.INVAL)
        found[ident] = params
    return found


def read_uid_pool(text: str | None) -> list[tuple[int, int]]:
    """`1000-1099,2000` → [(1000, 1099), (2000, 2000)]."""
    ranges = []
    for part in words(text) or ():
        low, dash, high = part.partition("-")
        try:
            first, last = int(low), int(high if dash else low)
        except ValueError:
            raise OpPrereqError(f"--uid-pool: {part!r} is not N or N-M", Code.INVAL) from None
        if first > last:
            raise OpPrereqError(f"--uid-pool: {part!r} ends before it begins", Code.INVAL)
        ranges.append((first, last))
    return ranges


def policy_of(wanted: Any) -> dict[str, Json]:
    """The instance policy of the options, without what was not said."""
    split = {key: getattr(wanted, option) for option, key in SPLIT_SPECS.items()}
    whole = wanted.ipolicy_bounds_specs is not None or wanted.ipolicy_std_specs is not None
    if whole and any(split.values()):
        raise OpPrereqError("--specs-* and --ipolicy-*-specs exclude each other", Code.INVAL)
    made: dict[str, Json] = {}
    if wanted.ipolicy_bounds_specs is not None:
        made["minmax"] = wanted.ipolicy_bounds_specs
    if wanted.ipolicy_std_specs is not None:
        made["std"] = wanted.ipolicy_std_specs
    if any(split.values()):
        made |= _joined(split)
    if wanted.ipolicy_disk_templates is not None:
        made["disk-templates"] = wanted.ipolicy_disk_templates
    for option, key in (
        ("ipolicy_vcpu_ratio", "vcpu-ratio"),
        ("ipolicy_spindle_ratio", "spindle-ratio"),
    ):
        ratio = getattr(wanted, option)
        if ratio is not None:
            made[key] = ratio
    return made


def _joined(split: Mapping[str, Mapping[str, Json]]) -> dict[str, Json]:
    """The policy of {size: {min, max, std}}: what is not said keeps its default."""
    specs: dict[str, dict[str, Json]] = {bound: {} for bound in BOUNDS}
    for key, bounds in split.items():
        for bound, value in bounds.items():
            if bound not in specs:
                raise OpPrereqError(f"{key}: {bound!r} is none of min, max, std", Code.INVAL)
            specs[bound][key] = value
    made: dict[str, Json] = {}
    if specs["min"] or specs["max"]:
        made["minmax"] = [{"min": specs["min"], "max": specs["max"]}]
    if specs["std"]:
        made["std"] = specs["std"]
    return made
