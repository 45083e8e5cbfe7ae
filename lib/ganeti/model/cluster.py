"""The cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti.model.base import OMIT_NONE, ConfigObject, SharedText, empty_map
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, HypervisorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(ConfigObject):
    """Settings of the whole cluster; fields as in facts/config-data.json, `cluster`."""

    cluster_name: str
    master_node: SharedText  # node uuid
    master_ip: str
    master_netdev: str
    master_netmask: int  # CIDR bits
    use_external_mip_script: bool = False
    primary_ip_family: int = 2  # 2 or 10, see types.IpFamily

    rsahostkeypub: str  # base64 part of the key
    dsahostkeypub: str | None = field(default=None, metadata=OMIT_NONE)
    ssh_key_type: str = "rsa"
    ssh_key_bits: int = 2048

    highest_used_port: int
    tcpudp_port_pool: tuple[int, ...]  # returned, free ports; the head is used next
    mac_prefix: str  # xx:xx:xx

    volume_group_name: str | None = field(default=None, metadata=OMIT_NONE)  # None: no LVM
    reserved_lvs: tuple[str, ...] = ()  # regular expressions over vg/lv
    drbd_usermode_helper: str | None = field(default=None, metadata=OMIT_NONE)
    file_storage_dir: str
    shared_file_storage_dir: str = ""
    gluster_storage_dir: str = ""
    enabled_disk_templates: tuple[DiskTemplate, ...]
    diskparams: Mapping[str, Mapping[str, Json]]  # by disk template

    enabled_hypervisors: tuple[HypervisorKind, ...]  # the first is the default
    hvparams: Mapping[str, Mapping[str, Json]]  # by hypervisor
    os_hvp: Mapping[str, Mapping[str, Mapping[str, Json]]] = field(default_factory=empty_map)
    beparams: Mapping[str, Mapping[str, Json]]  # key "default"
    nicparams: Mapping[str, Mapping[str, Json]]  # key "default"
    ndparams: Mapping[str, Json]
    osparams: Mapping[str, Mapping[str, Json]] = field(default_factory=empty_map)
    osparams_private_cluster: Mapping[str, Mapping[str, Json]] = field(default_factory=empty_map)
    ipolicy: Mapping[str, Json]
    hv_state_static: Mapping[str, Mapping[str, Json]] = field(default_factory=empty_map)
    disk_state_static: Mapping[str, Mapping[str, Json]] = field(default_factory=empty_map)

    candidate_pool_size: int
    candidate_certs: Mapping[str, str] = field(default_factory=empty_map)  # node uuid: digest
    modify_etc_hosts: bool = True
    modify_ssh_setup: bool = True
    maintain_node_health: bool = False
    uid_pool: tuple[tuple[int, int], ...] = ()
    default_iallocator: str = ""
    default_iallocator_params: Mapping[str, Json] = field(default_factory=empty_map)
    hidden_os: tuple[str, ...] = ()
    blacklisted_os: tuple[str, ...] = ()
    prealloc_wipe_disks: bool = False
    max_running_jobs: int = 20
    max_tracked_jobs: int = 25
    install_image: str = ""
    instance_communication_network: str = ""  # network name
    zeroing_image: str = ""
    compression_tools: tuple[str, ...] = ("gzip", "gzip-fast", "gzip-slow")
    enabled_user_shutdown: bool = False
    data_collectors: Mapping[str, Mapping[str, Json]] = field(default_factory=empty_map)

    default_bridge: str | None = field(default=None, metadata=OMIT_NONE)  # legacy
    default_hypervisor: str | None = field(default=None, metadata=OMIT_NONE)  # legacy
    tags: tuple[str, ...] = ()
