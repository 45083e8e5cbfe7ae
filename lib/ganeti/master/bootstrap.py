"""Creating a cluster: what runs on the first node while no master is alive.

Order of checks and actions: facts/master.md §A2. Nothing is changed before all checks have passed;
when a later step fails, what was made is removed again, so that the command can simply be repeated.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ganeti import constants
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.luxi.client import Client
from ganeti.master import crypto
from ganeti.master.new_cluster import Identity, build_document, ssh_key
from ganeti.model.config import ConfigDocument
from ganeti.model.ssconf import ssconf_values
from ganeti.opcodes.cluster import OpClusterPostInit
from ganeti.paths import Paths
from ganeti.serializer import Json, dump_bytes, encode
from ganeti.types import DiskTemplate, HypervisorKind, IpFamily
from ganeti.utils import daemons, hosts, net, ssh, ssh_keys
from ganeti.utils.files import LocalDisk
from ganeti.version import RELEASE

Say = Callable[[str], None]

CONFIG_MODE = 0o640
SSCONF_MODE = 0o444
STORAGE_MODE = 0o750
PING_S = 5.0
LEAVE_S = 15.0
POLL_S = 0.02
POST_INIT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """What the administrator wants; names are the options' of `gnt-cluster init`.

    None stands for "not said": the default of the facts is taken. Parameter tables are not
    checked yet.
    """

    cluster_name: str
    enabled_hypervisors: Sequence[str] | None = None
    enabled_disk_templates: Sequence[str] | None = None
    secondary_ip: str | None = None
    primary_ip_version: int = 4
    master_netdev: str | None = None
    master_netmask: int | None = None
    mac_prefix: str | None = None
    vg_name: str | None = None
    file_storage_dir: str | None = None
    shared_file_storage_dir: str | None = None
    gluster_storage_dir: str | None = None
    drbd_helper: str | None = None
    beparams: Mapping[str, Json] = field(default_factory=dict)
    hvparams: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    nicparams: Mapping[str, Json] = field(default_factory=dict)
    ndparams: Mapping[str, Json] = field(default_factory=dict)
    diskparams: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    ipolicy: Mapping[str, Json] = field(default_factory=dict)
    hv_state: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    disk_state: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    candidate_pool_size: int | None = None
    modify_etc_hosts: bool = True
    modify_ssh_setup: bool = True
    maintain_node_health: bool = False
    uid_pool: Sequence[tuple[int, int]] = ()
    default_iallocator: str | None = None
    default_iallocator_params: Mapping[str, Json] | None = None
    prealloc_wipe_disks: bool = False
    use_external_mip_script: bool = False
    install_image: str | None = None
    zeroing_image: str | None = None
    compression_tools: Sequence[str] | None = None
    enabled_user_shutdown: bool = False
    ssh_key_type: str | None = None
    ssh_key_bits: int | None = None


def init_cluster(
    paths: Paths,
    hostname: str,
    request: InitRequest,
    say: Say,
    *,
    reason: Sequence[tuple[str, str, int]] = (),
) -> int:
    """Create the cluster with this node as its master; returns the number of the first job.

    `say` gets a line for what is skipped or takes its time, `reason` is the trail of that job.
    Raises OpPrereqError, with nothing changed, or the error of the step that failed, with
    everything undone.
    """
    identity = check(paths, hostname, request)
    made = Undone(paths)
    try:
        rapi = _create(paths, hostname, request, identity, say)
        try:
            return _post_init(paths, reason)
        finally:
            _await_rapi(rapi, say)
    except BaseException:
        made.undo()
        raise


def check(paths: Paths, hostname: str, request: InitRequest) -> Identity:
    """All that can be found out before anything is changed."""
    if paths.config_data.exists():
        raise OpPrereqError("Cluster is already initialised", Code.STATE)
    _check_empty(paths.queue)
    _check_names(request.enabled_hypervisors, HypervisorKind, "hypervisor")
    _check_names(request.enabled_disk_templates, DiskTemplate, "disk template")
    family = _family(request.primary_ip_version)
    primary = _own_address(paths, hostname, family)
    cluster = hosts.look_up(paths, request.cluster_name, family)
    if not paths.is_virtual and net.is_port_open(
        cluster.ip, constants.NODED_PORT, timeout_s=PING_S
    ):
        raise OpPrereqError(
            f"the address {cluster.ip} of cluster {cluster.name} is used already: a node daemon"
            " answers there",
            Code.NOTUNIQUE,
            hint="give the cluster a name with an address of its own",
        )
    secondary = _secondary_address(paths, request, family, primary)
    prefix = request.mac_prefix or constants.DEFAULT_MAC_PREFIX
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){2}", prefix.lower()):
        raise OpPrereqError(
            f"MAC prefix {prefix!r} is not three pairs of hexadecimal digits like aa:00:00",
            Code.INVAL,
        )
    _check_netmask(request.master_netmask, family)
    netdev = request.master_netdev or constants.DEFAULT_MASTER_NETDEV
    if not paths.is_virtual and not Path("/sys/class/net", netdev).exists():
        raise OpPrereqError(
            f"network device {netdev!r} does not exist on this node",
            Code.INVAL,
            hint="name the device for the master address with --master-netdev",
        )
    identity = Identity(
        cluster_name=cluster.name,
        master_ip=cluster.ip,
        node_name=hostname,
        primary_ip=primary,
        secondary_ip=secondary,
        family=family,
        netdev=netdev,
        host_key="",
        now=time.time(),
        cluster_uuid=str(uuid.uuid4()),
        node_uuid=str(uuid.uuid4()),
        group_uuid=str(uuid.uuid4()),
        certificate_digest="",
    )
    build_document(request, identity, paths)  # every parameter is checked here
    return identity


def _create(
    paths: Paths, hostname: str, request: InitRequest, identity: Identity, say: Say
) -> daemons.Starting:
    """The master daemon is ready; the remote API is told to start."""
    disk = LocalDisk()
    for directory, mode in paths.directories.items():
        disk.mkdir(directory, mode=mode)
    for place in (request.file_storage_dir, request.shared_file_storage_dir):
        if place:
            paths.below(place).mkdir(mode=STORAGE_MODE, parents=True, exist_ok=True)
    host_key = ""
    if paths.is_virtual:
        say("this is a virtual cluster: SSH keys and the master address are left alone")
    else:
        host_key = ssh.prepare_master(paths, identity.cluster_name)
        if request.modify_ssh_setup:
            own = ssh.make_root_key(paths, *ssh_key(request))
            ssh.authorize(paths, [own])
            ssh_keys.change_ring(paths, "override", {identity.node_uuid: [str(own)]})
        if request.modify_etc_hosts:
            hosts.add_host(paths.etc_hosts, identity.primary_ip, hostname)
    digest = crypto.make_missing(paths, hostname, identity.now, disk)
    identity = replace(identity, host_key=host_key, certificate_digest=digest)
    document = build_document(request, identity, paths)
    disk.replace(paths.config_data, dump_bytes(encode(document)), mode=CONFIG_MODE)
    for key, value in _ssconf(document).items():
        disk.replace(paths.ssconf(key), ssconf_bytes(value), mode=SSCONF_MODE)
    daemons.start(paths, hostname, daemons.NODED)
    rapi = daemons.begin(paths, hostname, daemons.RAPI)
    try:
        daemons.start(paths, hostname, daemons.MASTERD)
    except BaseException:
        _await_rapi(rapi, say)
        raise
    return rapi


def _await_rapi(rapi: daemons.Starting, say: Say) -> None:
    """A cluster without its remote API is one all the same."""
    try:
        rapi.wait()
    except OpExecError as error:
        say(f"Warning: there is no remote API: {error}")


def _ssconf(document: ConfigDocument) -> dict[str, str]:
    return ssconf_values(
        document.cluster,
        document.nodes.values(),
        document.nodegroups.values(),
        document.instances.values(),
        document.networks.values(),
        release=RELEASE,
    )


def ssconf_bytes(value: str) -> bytes:
    """Contents of a ssconf file: one final newline, nothing for an empty value."""
    text = value if not value or value.endswith("\n") else value + "\n"
    return text.encode()


def _post_init(paths: Paths, reason: Sequence[tuple[str, str, int]]) -> int:
    """Run the first job, whose hooks tell that the cluster is there."""
    client = Client(paths)
    number = int(client.call("SubmitJob", [OpClusterPostInit(reason=list(reason)).to_json()]))
    end = time.monotonic() + POST_INIT_TIMEOUT_S
    while time.monotonic() < end:
        answer = client.call("WaitForJobChange", number, ["status"], None, None, 10)
        if answer and answer[0][0] in ("success", "error", "canceled"):
            break
    return number


def finalize_destroy(paths: Paths, hostname: str, master_uuid: str) -> None:
    """After OP_CLUSTER_DESTROY: the daemons end, and the last node forgets the cluster."""
    for name in (daemons.RAPI, daemons.MASTERD):
        daemons.stop(paths, name)
    _leave(paths, hostname, master_uuid)
    end = time.monotonic() + LEAVE_S
    while daemons.running_pid(paths, daemons.NODED) is not None:
        if time.monotonic() > end:
            raise OpExecError(f"the node daemon of {hostname} does not end; stop it by hand")
        time.sleep(POLL_S)


def _leave(paths: Paths, hostname: str, uuid: str) -> None:
    """The node daemon is told to forget the cluster. What creating one has no use for is loaded."""
    import asyncio

    from ganeti.http.tls import client_context
    from ganeti.rpc import calls
    from ganeti.rpc.base import Target
    from ganeti.rpc.client import HttpTransport, RpcClient

    async def leave(node: Target) -> None:
        client = RpcClient(HttpTransport(client_context(paths)))
        try:
            await client.one(node, calls.node_leave_cluster, not paths.is_virtual)
        finally:
            await client.close()

    asyncio.run(leave(Target(uuid, hostname, _address(paths, hostname))))


def _address(paths: Paths, hostname: str) -> str:
    family = paths.ssconf("primary_ip_family").read_text().strip()
    return hosts.look_up(paths, hostname, IpFamily(int(family))).ip


def _check_empty(directory: Path) -> None:
    # The queue's lock file outlives its cluster: a process may hold it.
    found = [entry for entry in directory.glob("*") if entry.is_file() and entry.name != "lock"]
    if found:
        raise OpPrereqError(
            f"directory {directory} of a new cluster must be empty, but holds {found[0].name}",
            Code.STATE,
            hint="move the files of the old cluster away",
        )


def _check_names(
    given: Sequence[str] | None, known: type[HypervisorKind] | type[DiskTemplate], what: str
) -> None:
    if given is None:
        return
    words = [member.value for member in known]
    if not given:
        raise OpPrereqError(f"no {what} is enabled", Code.INVAL, hint="enable at least one")
    for name in given:
        if name not in words:
            raise OpPrereqError(f"unknown {what} {name!r}; known: {', '.join(words)}", Code.INVAL)


def _family(version: int) -> IpFamily:
    if version not in (4, 6):
        raise OpPrereqError(f"IP version {version} is neither 4 nor 6", Code.INVAL)
    return IpFamily.IPV4 if version == 4 else IpFamily.IPV6


def _own_address(paths: Paths, hostname: str, family: IpFamily) -> str:
    address = hosts.look_up(paths, hostname, family)
    if paths.is_virtual:
        return address.ip
    if hosts.is_loopback(address.ip):
        raise OpPrereqError(
            f"this host's name {hostname} resolves to the loopback address {address.ip}",
            Code.ENVIRON,
            hint="put its real address into /etc/hosts or DNS",
        )
    if not net.is_own_address(address.ip):
        raise OpPrereqError(
            f"this host's name {hostname} resolves to {address.ip}, which is not an address of"
            " this host",
            Code.ENVIRON,
        )
    return address.ip


def _secondary_address(paths: Paths, request: InitRequest, family: IpFamily, primary: str) -> str:
    given = request.secondary_ip
    if given is None:
        if family is IpFamily.IPV6:
            raise OpPrereqError(
                "with IPv6 as primary network a secondary IPv4 address is needed",
                Code.INVAL,
                hint="give --secondary-ip",
            )
        return primary
    if not net.is_address(given) or net.family_of(given) is not IpFamily.IPV4:
        raise OpPrereqError(f"secondary address {given!r} is not IPv4", Code.INVAL)
    if not paths.is_virtual and not net.is_own_address(given):
        raise OpPrereqError(f"secondary address {given} is not of this host", Code.ENVIRON)
    return given


def _check_netmask(netmask: int | None, family: IpFamily) -> None:
    most = 32 if family is IpFamily.IPV4 else 128
    if netmask is not None and not 0 < netmask <= most:
        raise OpPrereqError(
            f"netmask {netmask} of the master address is not in 1..{most}", Code.INVAL
        )


class Undone:
    """Takes back what a failed creation has made: only what was not there before."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._before = set(paths.data.glob("*")) if paths.data.exists() else set()

    def undo(self) -> None:
        for name in (daemons.RAPI, daemons.MASTERD, daemons.NODED):
            daemons.stop(self._paths, name)
        for path in self._paths.data.glob("*"):
            if path in self._before:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                os.unlink(path)
