"""The page of gnt-cluster info. Source: facts/cli-behaviour.md §11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti.cli.info import Fields
from ganeti.cli.text import moment, roman
from ganeti.paths import OS_SEARCH
from ganeti.serializer import Json

Data = Mapping[str, Json]

MICROSECONDS = 1_000_000


def page(one: Data, as_roman: bool = False) -> Fields:
    """The page, from the answer to QueryClusterInfo."""
    enabled = one["enabled_hypervisors"]
    made = Fields()
    made.add("Cluster name", one["name"])
    made.add("Cluster UUID", one["uuid"])
    made.add("Creation time", moment(one["ctime"]))
    made.add("Modification time", moment(one["mtime"]))
    made.add("Master node", one["master"])
    made.add("Architecture (this node)", "{} ({})".format(*one["architecture"]))
    made.add("Tags", _comma(sorted(one["tags"])) or "(none)")
    made.add("Default hypervisor", one["default_hypervisor"])
    made.add("Enabled hypervisors", _comma(enabled))
    made.add("Hypervisor parameters", {name: one["hvparams"][name] for name in enabled})
    made.add("OS-specific hypervisor parameters", one["os_hvp"])
    made.add("OS parameters", one["osparams"])
    made.add("Hidden OSes", _comma(one["hidden_os"]))
    made.add("Blacklisted OSes", _comma(one["blacklisted_os"]))
    made.add("Cluster parameters", _parameters(one, as_roman))
    made.add("Default node parameters", _numbers(one["ndparams"], as_roman))
    made.add("Default instance parameters", _numbers(one["beparams"], as_roman))
    made.add("Default nic parameters", _numbers(one["nicparams"], as_roman))
    made.add("Default disk parameters", one["diskparams"])
    made.add("Instance policy - limits for instances", policy(one["ipolicy"], as_roman))
    made.add("Data collectors", _collectors(one))
    return made


def _comma(values: Sequence[Json]) -> str:
    return ", ".join(map(str, values))


def _numbers(values: Json, as_roman: bool) -> Json:
    if isinstance(values, dict):
        return {name: _numbers(value, as_roman) for name, value in values.items()}
    return roman(values, as_roman)


def _parameters(one: Data, as_roman: bool) -> Fields:
    made = Fields()
    for title, key in (
        ("candidate pool size", "candidate_pool_size"),
        ("maximal number of jobs running simultaneously", "max_running_jobs"),
        ("maximal number of jobs simultaneously tracked by the scheduler", "max_tracked_jobs"),
    ):
        made.add(title, roman(one[key], as_roman))
    for title, key in (
        ("mac prefix", "mac_prefix"),
        ("master netdev", "master_netdev"),
        ("master netmask", "master_netmask"),
        ("use external master IP address setup script", "use_external_mip_script"),
        ("lvm volume group", "volume_group_name"),
    ):
        made.add(title, one[key])
    made.add("lvm reserved volumes", _comma(one["reserved_lvs"]) or "(none)")
    for title, key in (
        ("drbd usermode helper", "drbd_usermode_helper"),
        ("file storage path", "file_storage_dir"),
        ("shared file storage path", "shared_file_storage_dir"),
        ("gluster storage path", "gluster_storage_dir"),
        ("maintenance of node health", "maintain_node_health"),
    ):
        made.add(title, one[key])
    made.add("uid pool", uid_pool(one["uid_pool"]))
    made.add("default instance allocator", one["default_iallocator"])
    made.add("default instance allocator parameters", one["default_iallocator_params"])
    made.add("primary ip version", roman(one["primary_ip_version"], as_roman))
    made.add("preallocation wipe disks", one["prealloc_wipe_disks"])
    made.add("OS search path", _comma(OS_SEARCH))
    providers = [path.removesuffix("/os") + "/extstorage" for path in OS_SEARCH]
    made.add("ExtStorage Providers search path", _comma(providers))
    made.add("enabled disk templates", _comma(one["enabled_disk_templates"]))
    for title, key in (
        ("install image", "install_image"),
        ("instance communication network", "instance_communication_network"),
        ("zeroing image", "zeroing_image"),
        ("compression tools", "compression_tools"),
        ("enabled user shutdown", "enabled_user_shutdown"),
        ("modify ssh setup", "modify_ssh_setup"),
        ("ssh_key_type", "ssh_key_type"),
        ("ssh_key_bits", "ssh_key_bits"),
    ):
        made.add(title, one[key])
    return made


def uid_pool(ranges: Sequence[Sequence[int]]) -> str:
    """`4000-4010, 4020`."""
    return _comma([str(low) if low == high else f"{low}-{high}" for low, high in ranges])


def policy(ipolicy: Data, as_roman: bool = False) -> Fields:
    """An instance policy: bounds, standard sizes, templates, ratios."""
    made = Fields()
    made.add(
        "bounds specs",
        [
            Fields(
                (f"{bound}/{index}", _numbers(pair[bound], as_roman)) for bound in ("max", "min")
            )
            for index, pair in enumerate(ipolicy["minmax"])
        ],
    )
    if "std" in ipolicy:
        made.add("std", _numbers(ipolicy["std"], as_roman))
    made.add("allowed disk templates", _comma(ipolicy["disk-templates"]))
    for ratio in ("vcpu-ratio", "spindle-ratio"):
        made.add(ratio, roman(ipolicy[ratio], as_roman))
    return made


def _collectors(one: Data) -> dict[str, Fields]:
    intervals = one["data_collector_interval"]
    return {
        name: Fields([("active", active), ("interval", f"{intervals[name] / MICROSECONDS:.3f}s")])
        for name, active in one["enabled_data_collectors"].items()
    }
