"""The node's part of `gnt-cluster verify`: one function per check.

A check that this version does not know is left out of the answer, as 3.x does. Names, arguments and
answers: facts/node-rpc.json, node_verify_items.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ganeti.errors import FileStoragePathError, GenericError, OpExecError, X509CertError
from ganeti.node.context import NodeContext
from ganeti.node.network import missing_bridges
from ganeti.rpc import calls
from ganeti.rpc.base import SERVED, Call, P, R, serves
from ganeti.serializer import Json, encode
from ganeti.storage import whitelist
from ganeti.utils import net
from ganeti.utils.ssh_command import DEFAULT_SSH_PORT, ssh_argv
from ganeti.version import CONFIG_VERSION, RELEASE

CONNECT_S = 5.0
SSH_S = 20.0
PIECE_BYTES = 1 << 20

Check = Callable[[NodeContext, Json, "Question"], Json]

LEAVE_OUT: Final = object()
"""What a check answers that has nothing to say."""


class Question:
    """What was asked as a whole: the checks, cluster name, hypervisor parameters."""

    def __init__(
        self, checks: Mapping[str, Json], cluster_name: str, hvparams: Mapping[str, Any]
    ) -> None:
        self.checks = checks
        self.cluster_name = cluster_name
        self.hvparams = hvparams

    def is_vm_capable(self, node: NodeContext) -> bool:
        return node.hostname not in (self.checks.get("nonvmnodes") or [])


@serves(calls.node_verify)
def node_verify(
    node: NodeContext,
    checkdict: calls.Params,
    cluster_name: str,
    all_hvparams: Mapping[str, calls.Params],
) -> dict[str, Json]:
    question = Question(checkdict, cluster_name, all_hvparams)
    vm_capable = question.is_vm_capable(node)
    answers = {}
    for name, argument in checkdict.items():
        check = CHECKS.get(name)
        if check is None or (name in VM_CHECKS and not vm_capable):
            continue
        answer = check(node, argument, question)
        if answer is not LEAVE_OUT:
            answers[name] = answer
    return answers


@serves(calls.node_verify_light)
def node_verify_light(
    node: NodeContext, checkdict: calls.Params, cluster_name: str, hvparams: calls.Params
) -> dict[str, Json]:
    return node_verify(node, checkdict, cluster_name, hvparams)


def ask_here(node: NodeContext, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> Json:
    """The answer of another served call on this node, in its form on the wire.

    A failure is its text, as these checks answer it.
    """
    function = SERVED.get(call.name)
    if function is None:
        return f"{call.name} is not served by this version of ganeti-noded"
    try:
        return call.encode_result(function(node, *args, **kwargs))
    except GenericError as error:
        return str(error)


# Files.


def check_filelist(node: NodeContext, names: Sequence[str], _: Question) -> dict[str, str]:
    """SHA1 of each file; what can't be read is left out."""
    found = ((name, fingerprint(node.paths.below(name))) for name in names)
    return {name: digest for name, digest in found if digest is not None}


def fingerprint(place: Path) -> str | None:
    digest = hashlib.sha1()
    try:
        if not place.is_file():
            return None
        with open(place, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()


def check_user_scripts(node: NodeContext, names: Sequence[str], _: Question) -> list[str]:
    return [name for name in names if not _is_program(node.paths.below(name))]


def check_oob_paths(node: NodeContext, names: Sequence[str], _: Question) -> list[str | None]:
    return [_program_problem(node, name) for name in names]


def _program_problem(node: NodeContext, name: str) -> str | None:
    place = node.paths.below(name)
    if not place.exists():
        return f"{name} does not exist"
    return None if _is_program(place) else f"{name} is not an executable file"


def _is_program(place: Path) -> bool:
    return place.is_file() and os.access(place, os.X_OK)


def check_allowed_storage_paths(node: NodeContext, who: str, _: Question) -> Json:
    if who != node.hostname:
        return LEAVE_OUT
    return whitelist.forbidden(whitelist.read(node.paths.file_storage_paths))


def check_storage_path(node: NodeContext, path: str, _: Question) -> Json:
    """What is wrong with the cluster's directory; nothing is said when nothing is."""
    try:
        allowed = whitelist.read(node.paths.file_storage_paths)
        whitelist.check(path, allowed, directory=True)
    except FileStoragePathError as error:
        return str(error)
    return LEAVE_OUT if node.paths.below(path).is_dir() else f"{path} is no directory"


def check_client_cert(node: NodeContext, _: Json, __: Question) -> list[str | None]:
    from ganeti.utils import x509

    try:
        certificate = x509.load_certificate(node.paths.client_pem)
        server = x509.load_certificate(node.paths.server_pem)
        x509.check_signed_by(certificate, server, str(node.paths.client_pem))
    except X509CertError as error:
        return ["ERROR", str(error)]
    severity, text = x509.check_validity(certificate, node.clock.now())
    return [severity.name, text] if severity else [None, x509.digest(certificate)]


# Network.


def check_node_net(node: NodeContext, argument: Json, _: Question) -> dict[str, str]:
    """TCP from the own primary and secondary address to every node's noded, same kind."""
    nodes = argument[0] if argument and argument[0] and _is_nested(argument) else argument
    mine = next((row for row in nodes if row[0] == node.hostname), None)
    if mine is None:
        return {node.hostname: "own name is not in the list of nodes"}
    problems = {}
    for name, primary, secondary in nodes:
        failed = [_link_problem(node, "primary", mine[1], primary)]
        if secondary != primary:
            failed.append(_link_problem(node, "secondary", mine[2], secondary))
        texts = [text for text in failed if text is not None]
        if texts:
            problems[name] = "; ".join(texts)
    return problems


def _is_nested(argument: Json) -> bool:
    """Since 2.11 the list of nodes is the first of two."""
    return isinstance(argument[0][0], list)


def _link_problem(node: NodeContext, kind: str, source: str, target: str) -> str | None:
    reason = net.connect_error(target, node.settings.port, source=source, timeout_s=CONNECT_S)
    return None if reason is None else f"{kind} interface {source} to {target}: {reason}"


def check_nodelist(node: NodeContext, argument: Json, question: Question) -> dict[str, str]:
    """SSH to other nodes, whose own name has to be what we call them; failures only.

    Only master candidates' keys may log in elsewhere (facts/node-behaviour.md §13).
    """
    if node.is_virtual or (len(argument) > 2 and node.hostname not in argument[2]):
        return {}
    nodes = list(argument[0]) + list(argument[1].get(node.hostname, []))
    found = ((name, _ssh_problem(node, name, question.cluster_name)) for name in nodes)
    return {name: text for name, text in found if text is not None}


def _ssh_problem(node: NodeContext, name: str, cluster_name: str) -> str | None:
    result = node.run(host_check_argv(node, name, cluster_name), timeout_s=SSH_S)
    if not result.ok:
        return f"ssh: {result.reason}: {result.last_lines(1) or 'no output'}"
    said = result.stdout.strip()
    if said == name:
        return None
    return f"hostname mismatch: it calls itself {said!r}" if "." in said else "hostname not FQDN"


def host_check_argv(node: NodeContext, name: str, cluster_name: str) -> list[str]:
    """Ask the node for its own name, at the port where its sshd listens."""
    argv = ssh_argv("ssh", ssh_port(node, name), cluster_name, str(node.paths.known_hosts))
    return [*argv, f"root@{name}", "hostname --fqdn"]


def ssh_port(node: NodeContext, name: str) -> int:
    """What ssconf says, lines of `name=port`; 22 where it says nothing."""
    ports = dict(
        line.split("=", 1) for line in node.ssconf("ssh_ports").splitlines() if "=" in line
    )
    text = ports.get(name, "")
    return int(text) if text.isdigit() else DEFAULT_SSH_PORT


def check_ssh_setup(node: NodeContext, argument: Json, _: Question) -> list[str]:
    """Whether the keys that this node knows and lets in are those of the cluster."""
    from ganeti.utils.ssh import root_directory
    from ganeti.utils.ssh_keys import KeyOwner, read_authorized, read_ring, setup_problems

    owners = [KeyOwner(*row) for row in argument[0]]
    own = root_directory(node.paths) / f"id_{argument[1]}.pub"
    return setup_problems(
        owners,
        node.hostname,
        own.read_text() if own.is_file() else "",
        read_ring(node.paths),
        read_authorized(node.paths),
    )


def check_ssh_clutter(node: NodeContext, _: Json, __: Question) -> list[str]:
    from ganeti.utils.ssh_keys import clutter, read_authorized

    return clutter(read_authorized(node.paths))


def check_master_ip(node: NodeContext, argument: Json, _: Question) -> bool | None:
    """Whether the master's address answers. None: not asked of this node."""
    master, ip = argument[:2]
    candidates = argument[2] if len(argument) > 2 else [node.hostname]
    if node.is_virtual or node.hostname not in [*candidates, master]:
        return None
    if node.hostname == master:
        return net.is_own_address(ip)
    return net.is_port_open(ip, node.settings.port, timeout_s=CONNECT_S)


def check_bridges(node: NodeContext, names: Sequence[str], _: Question) -> list[str]:
    return missing_bridges(node, names)


# Hypervisors and guests.


def check_hypervisor(
    node: NodeContext, kinds: Sequence[str], question: Question
) -> dict[str, str | None]:
    return {kind: _hypervisor_problem(node, kind, question) for kind in kinds}


def _hypervisor_problem(node: NodeContext, kind: str, question: Question) -> str | None:
    try:
        return node.hypervisor(kind).verify(question.hvparams.get(kind) or {})
    except GenericError as error:
        return str(error)


def check_hvparams(
    node: NodeContext, rows: Sequence[tuple[str, str, Mapping[str, Json]]], _: Question
) -> list[tuple[str, str, str]]:
    problems = []
    for source, kind, params in rows:
        try:
            node.hypervisor(kind).validate_params(params)
        except GenericError as error:
            problems.append((source, kind, str(error)))
    return problems


def check_instancelist(node: NodeContext, kinds: Sequence[str], question: Question) -> Json:
    params = {kind: question.hvparams.get(kind) or {} for kind in kinds}
    return ask_here(node, calls.instance_list, kinds, params)


def check_hvinfo(node: NodeContext, kind: str, question: Question) -> Json:
    if not isinstance(kind, str):
        raise OpExecError("check hvinfo: the name of one hypervisor is expected")
    return encode(node.hypervisor(kind).node_info(question.hvparams.get(kind) or {}))


def check_oslist(node: NodeContext, _: Json, __: Question) -> Json:
    return ask_here(node, calls.os_diagnose)


# Storage.


def check_lvlist(node: NodeContext, group: Json, _: Question) -> Json:
    return ask_here(node, calls.lv_list, group if isinstance(group, list) else [group])


def check_vglist(node: NodeContext, _: Json, __: Question) -> Json:
    return ask_here(node, calls.vg_list)


def check_drbd_helper(node: NodeContext, _: Json, __: Question) -> list[Json]:
    if calls.drbd_helper.name not in SERVED:
        return [False, ask_here(node, calls.drbd_helper)]
    try:
        return [True, SERVED[calls.drbd_helper.name](node)]
    except GenericError as error:
        return [False, str(error)]


# The node itself.


def check_version(node: NodeContext, _: Json, __: Question) -> tuple[int, str]:
    return CONFIG_VERSION, RELEASE


def check_time(node: NodeContext, _: Json, __: Question) -> tuple[int, int]:
    """Seconds and microseconds since 1970."""
    seconds, part = divmod(node.clock.now(), 1)
    return int(seconds), int(part * 1_000_000)


def check_nodesetup(node: NodeContext, _: Json, __: Question) -> list[str]:
    """What is missing of sysfs and procfs; a virtual node has none of its own."""
    if node.is_virtual:
        return []
    needed = (
        ("sysfs", "/sys", ("/sys/block", "/sys/class/net"), os.path.isdir),
        ("procfs", "/proc", ("/proc/sys",), os.path.isdir),
        ("procfs", "/proc", ("/proc/sysrq-trigger",), os.path.isfile),
    )
    return [
        f"{kind} is not mounted under {top}: {path} is missing"
        for kind, top, paths, is_there in needed
        for path in paths
        if not is_there(path)
    ]


CHECKS: Final[dict[str, Check]] = {
    "filelist": check_filelist,
    "nodelist": check_nodelist,
    "node-net-test": check_node_net,
    "master-ip": check_master_ip,
    "hypervisor": check_hypervisor,
    "hvparms": check_hvparams,
    "instancelist": check_instancelist,
    "lvlist": check_lvlist,
    "vglist": check_vglist,
    "drbd-helper": check_drbd_helper,
    "version": check_version,
    "hvinfo": check_hvinfo,
    "nodesetup": check_nodesetup,
    "time": check_time,
    "oslist": check_oslist,
    "bridges": check_bridges,
    "user-scripts": check_user_scripts,
    "oob-paths": check_oob_paths,
    "allowed-file-storage-paths": check_allowed_storage_paths,
    "file-storage-path": check_storage_path,
    "shared-file-storage-path": check_storage_path,
    "client-cert": check_client_cert,
    "ssh-setup": check_ssh_setup,
    "ssh-clutter": check_ssh_clutter,
}

VM_CHECKS: Final = frozenset(
    {"hypervisor", "hvparms", "instancelist", "lvlist", "vglist", "drbd-helper", "hvinfo"}
)
"""Not done on nodes that are not vm capable."""
