"""The configuration of a cluster that is being created: values in, document out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganeti import constants
from ganeti.errors import Code, OpPrereqError
from ganeti.logic.param_changes import changed_disk_state, changed_hv_state
from ganeti.model import ipolicy
from ganeti.model.base import EMPTY
from ganeti.model.cluster import Cluster
from ganeti.model.config import ConfigDocument
from ganeti.model.group import NodeGroup
from ganeti.model.node import Node
from ganeti.model.params import ParamTable, check_params, defaults
from ganeti.model.params_be import BE_PARAMS, check_beparams, split_memory
from ganeti.model.params_disk import DISK_PARAMS
from ganeti.model.params_hv import HV_PARAMS, check_hvparams, table_of
from ganeti.model.params_kvm import KVM_NEW_CLUSTER
from ganeti.model.params_nic import NIC_PARAMS, check_nicparams
from ganeti.model.params_node import ND_PARAMS
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, HypervisorKind, IpFamily, SshKeyType
from ganeti.utils.ssh_keys import BITS, check_kind
from ganeti.version import CONFIG_VERSION

if TYPE_CHECKING:
    from ganeti.master.bootstrap import InitRequest

COLLECTORS = (
    "cpu-avg-load",
    "diskstats",
    "drbd",
    "inst-status-xen",
    "lv",
    "xen-cpu-avg-load",
)
COLLECTOR_INTERVAL_US = 5_000_000
DEFAULT_VG = "xenvg"
COMPRESSION_TOOLS = ("gzip", "gzip-fast", "gzip-slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What was found out about the first node and the cluster's name."""

    cluster_name: str
    master_ip: str
    node_name: str
    primary_ip: str
    secondary_ip: str
    family: IpFamily
    netdev: str
    host_key: str  # base64 part of the RSA host key
    now: float
    cluster_uuid: str
    node_uuid: str
    group_uuid: str
    certificate_digest: str


def build_document(request: InitRequest, identity: Identity, paths: Paths) -> ConfigDocument:
    """The first configuration; OpPrereqError or TypeEnforcementError for a wrong parameter."""
    now = identity.now
    return ConfigDocument(
        version=CONFIG_VERSION,
        serial_no=1,
        ctime=now,
        mtime=now,
        cluster=_cluster(request, identity, paths),
        nodes={identity.node_uuid: _node(identity)},
        nodegroups={
            identity.group_uuid: NodeGroup(
                uuid=identity.group_uuid, ctime=now, mtime=now, name=constants.DEFAULT_GROUP
            )
        },
        instances={},
        disks={},
        networks={},
        filters={},
    )


def _node(identity: Identity) -> Node:
    return Node(
        uuid=identity.node_uuid,
        ctime=identity.now,
        mtime=identity.now,
        name=identity.node_name,
        primary_ip=identity.primary_ip,
        secondary_ip=identity.secondary_ip,
        group=identity.group_uuid,
        master_candidate=True,
        offline=False,
        drained=False,
    )


def ssh_key(request: InitRequest) -> tuple[SshKeyType, int]:
    """Type and length of root's SSH keys; OpPrereqError when there are none such."""
    kind = SshKeyType(request.ssh_key_type or SshKeyType.RSA)
    check_kind(kind, request.ssh_key_bits)
    return kind, request.ssh_key_bits or BITS[kind]


def _cluster(request: InitRequest, identity: Identity, paths: Paths) -> Cluster:
    kind, bits = ssh_key(request)
    hypervisors, templates = _hypervisors(request), _templates(request)
    uses_lvm = bool({DiskTemplate.PLAIN, DiskTemplate.DRBD} & set(templates))
    return Cluster(
        uuid=identity.cluster_uuid,
        ctime=identity.now,
        mtime=identity.now,
        cluster_name=identity.cluster_name,
        master_node=identity.node_uuid,
        master_ip=identity.master_ip,
        master_netdev=identity.netdev,
        master_netmask=request.master_netmask or (32 if identity.family is IpFamily.IPV4 else 128),
        use_external_mip_script=request.use_external_mip_script,
        primary_ip_family=int(identity.family),
        rsahostkeypub=identity.host_key,
        dsahostkeypub="",
        ssh_key_type=str(kind),
        ssh_key_bits=bits,
        highest_used_port=constants.FIRST_DRBD_PORT - 1,
        tcpudp_port_pool=(),
        mac_prefix=(request.mac_prefix or constants.DEFAULT_MAC_PREFIX).lower(),
        volume_group_name=(request.vg_name or DEFAULT_VG) if uses_lvm else None,
        drbd_usermode_helper=_drbd_helper(request, templates),
        file_storage_dir=_storage_dir(
            request.file_storage_dir, "/srv/ganeti/file-storage", DiskTemplate.FILE, templates
        ),
        shared_file_storage_dir=_storage_dir(
            request.shared_file_storage_dir,
            "/srv/ganeti/shared-file-storage",
            DiskTemplate.SHARED_FILE,
            templates,
        ),
        gluster_storage_dir=request.gluster_storage_dir or paths.virtual(paths.run / "gluster"),
        enabled_disk_templates=templates,
        diskparams=_diskparams(request.diskparams),
        enabled_hypervisors=hypervisors,
        hvparams=_hvparams(request.hvparams, hypervisors),
        beparams={"default": _beparams(request.beparams)},
        nicparams={"default": _nicparams(request.nicparams)},
        ndparams=_merged(ND_PARAMS, request.ndparams),
        ipolicy=_ipolicy(request.ipolicy, templates),
        hv_state_static=changed_hv_state(EMPTY, request.hv_state),
        disk_state_static=changed_disk_state(EMPTY, request.disk_state),
        candidate_pool_size=_pool_size(request.candidate_pool_size),
        candidate_certs={identity.node_uuid: identity.certificate_digest},
        modify_etc_hosts=request.modify_etc_hosts,
        modify_ssh_setup=request.modify_ssh_setup,
        maintain_node_health=request.maintain_node_health,
        uid_pool=tuple(request.uid_pool),
        default_iallocator=request.default_iallocator or "",
        default_iallocator_params=request.default_iallocator_params or {},
        prealloc_wipe_disks=request.prealloc_wipe_disks,
        install_image=request.install_image or "",
        zeroing_image=request.zeroing_image or "",
        compression_tools=tuple(request.compression_tools or COMPRESSION_TOOLS),
        enabled_user_shutdown=request.enabled_user_shutdown,
        data_collectors=_collectors(),
    )


def _drbd_helper(request: InitRequest, templates: Sequence[DiskTemplate]) -> str | None:
    return (request.drbd_helper or "/bin/true") if DiskTemplate.DRBD in templates else None


def _hypervisors(request: InitRequest) -> tuple[HypervisorKind, ...]:
    names = request.enabled_hypervisors or (constants.DEFAULT_ENABLED_HYPERVISOR,)
    return tuple(HypervisorKind(name) for name in names)


def _templates(request: InitRequest) -> tuple[DiskTemplate, ...]:
    names = request.enabled_disk_templates or constants.DEFAULT_ENABLED_DISK_TEMPLATES
    return tuple(DiskTemplate(name) for name in names)


def _merged(table: ParamTable, given: Mapping[str, Json]) -> dict[str, Json]:
    return {**defaults(table), **check_params(table, given)}


def _hvparams(
    given: Mapping[str, Mapping[str, Json]], enabled: Sequence[HypervisorKind]
) -> dict[str, dict[str, Json]]:
    made = {name: defaults(table) for name, table in HV_PARAMS.items()}
    made[HypervisorKind.KVM] |= KVM_NEW_CLUSTER
    for name, values in given.items():
        made[name] = {**made.get(name, {}), **check_params(table_of(name), values)}
    for hypervisor in enabled:
        check_hvparams(hypervisor, made[hypervisor])
    return made


def _diskparams(given: Mapping[str, Mapping[str, Json]]) -> dict[str, dict[str, Json]]:
    for template in given:
        if template not in DISK_PARAMS:
            raise OpPrereqError(f"unknown disk template {template!r}", Code.INVAL)
    return {name: _merged(table, given.get(name, {})) for name, table in DISK_PARAMS.items()}


def _beparams(given: Mapping[str, Json]) -> dict[str, Json]:
    made = _merged(BE_PARAMS, split_memory(given))
    check_beparams(made)
    return made


def _nicparams(given: Mapping[str, Json]) -> dict[str, Json]:
    made = _merged(NIC_PARAMS, given)
    check_nicparams(made)
    return made


def _ipolicy(given: Mapping[str, Json], enabled: Sequence[DiskTemplate]) -> dict[str, Json]:
    made = ipolicy.merge(ipolicy.default_ipolicy(), ipolicy.check_ipolicy(given, for_group=False))
    if "disk-templates" not in given:
        made = ipolicy.restrict_templates(made, enabled)
    ipolicy.check_std(made)
    ipolicy.check_enabled(made, enabled)
    return made


def _storage_dir(
    given: str | None, default: str, template: DiskTemplate, templates: tuple[DiskTemplate, ...]
) -> str:
    place = default if given is None else given
    if not place:
        if template in templates:
            raise OpPrereqError(
                f"disk template {template} is enabled but has no directory", Code.INVAL
            )
        return ""
    if not place.startswith("/"):
        raise OpPrereqError(f"storage directory {place!r} is not an absolute path", Code.INVAL)
    return place


def _pool_size(given: int | None) -> int:
    if given is None:
        return constants.DEFAULT_CANDIDATE_POOL_SIZE
    if given < 1:
        raise OpPrereqError(f"candidate pool size {given} is below 1", Code.INVAL)
    return given


def _collectors() -> Mapping[str, Mapping[str, Json]]:
    return {name: {"active": True, "interval": COLLECTOR_INTERVAL_US} for name in COLLECTORS}
